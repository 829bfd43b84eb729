//! Plants a mistake in a copy of the protocol, lets the model find it, and prints how it goes wrong.
//!
//! ```text
//! cargo run -p handfast-model --example break_it              # lists what can be planted
//! cargo run -p handfast-model --example break_it -- Publish   # an ordering that is too weak
//! cargo run -p handfast-model --example break_it -- wake_before_publish
//! ```
//!
//! The status is 0 if the mistake was found, 1 if it was not, 2 if there is no such name. The first use
//! builds the copy and what it depends on, which takes a minute or two; later ones take seconds.

use handfast_model::mutant::Mutant;
use handfast_model::mutants::child::{Ended, Planted, Run, trace_of};
use handfast_model::mutants::copy::Copy;
use handfast_model::mutants::mistake::{self, Mistake, Tool};
use handfast_model::mutants::run::{self, LIMIT, Verdict};
use handfast_model::{report, sweep};
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

const NOT_FOUND: u8 = 1;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let done = match names.as_slice() {
        [] => list(),
        [name] => plant(name),
        _ => {
            eprintln!("one name at a time; without a name all are listed");
            return ExitCode::from(USAGE);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(USAGE)
    })
}

fn plant(name: &str) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(mutant) = Mutant::named(name) {
        return weaken(mutant);
    }
    if mistake::names()?.iter().any(|known| known == name) {
        return patch(&Mistake::read(name)?);
    }
    eprintln!("there is no {name}: without a name all are listed");
    Ok(ExitCode::from(USAGE))
}

fn patch(mistake: &Mistake) -> Result<ExitCode, Box<dyn Error>> {
    println!("planting {} in {}", mistake.name, mistake.files().join(", "));
    println!("building the copy, then running {} under {}", mistake.scenario, mistake.tool.name());
    let verdict = run::one(&Copy::take()?, mistake);
    if let Verdict::Caught(_, said) = &verdict {
        return Ok(found(said, &mistake.name));
    }
    eprintln!("NOT FOUND. {}", verdict.complaint(mistake));
    Ok(ExitCode::from(NOT_FOUND))
}

fn weaken(mutant: Mutant) -> Result<ExitCode, Box<dyn Error>> {
    let name = mutant.to_string();
    let entry = sweep::expected(mutant).ok_or("no scenario is known to notice it")?;
    println!("building the copy, then running {} under loom with {name} weakened", entry.name);
    let program = Copy::take()?.unplanted(Tool::Loom, entry.name)?;
    let run = Run {
        program: &program,
        planted: Planted::Site(&name),
        tool: Tool::Loom,
        scenario: entry.name,
        limit: LIMIT,
    };
    if let Ended::Broke(_, said) = run.run(&trace_of(&name))? {
        return Ok(found(&said, &name));
    }
    eprintln!("NOT FOUND. {} passes with a weakened {name}", entry.name);
    Ok(ExitCode::from(NOT_FOUND))
}

fn found(said: &str, name: &str) -> ExitCode {
    println!("{}", said.trim_end());
    println!("\nFOUND. The same steps for programs: {}", trace_of(name).display());
    ExitCode::SUCCESS
}

fn list() -> Result<ExitCode, Box<dyn Error>> {
    let mut text = String::from("orderings: an access that is weakened\n\n");
    for mutant in Mutant::all() {
        writeln!(text, "  {:18} {}", mutant.to_string(), report::in_short(mutant.site))?;
    }
    text.push_str("\nmistakes: a patch to the protocol\n\n");
    for mistake in Mistake::all()? {
        writeln!(text, "  {}\n      {}", mistake.name, mistake.about)?;
    }
    text.push_str(
        "\ncargo run -p handfast-model --example break_it -- NAME plants one and finds it",
    );
    // Whoever reads only the beginning closes the pipe.
    let _read_or_not = writeln!(std::io::stdout(), "{text}");
    Ok(ExitCode::SUCCESS)
}
