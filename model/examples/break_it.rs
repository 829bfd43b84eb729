//! Plants a mistake in a copy of the protocol, lets the model find it, and prints how it goes wrong.
//!
//! ```text
//! cargo run -p handfast-model --example break_it              # lists what can be planted
//! cargo run -p handfast-model --example break_it -- Publish-release   # an ordering that is too weak
//! cargo run -p handfast-model --example break_it -- wake_before_publish
//! ```
//!
//! `--help` says what the exit codes are.

use clap::Parser;
use handfast_core::site::Site;
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

/// Plant a mistake in a copy of the protocol, let the model find it, and see how it goes wrong
#[derive(Parser)]
#[command(
    after_help = "Exit codes: 0 found (or listed), 1 not found, 2 wrong usage. The first use builds the copy \
                        and what it depends on, which takes a minute or two; later ones take seconds."
)]
struct Arguments {
    /// What to plant; without it all are listed
    name: Option<String>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().name {
        None => list(),
        Some(name) => plant(&name),
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
    let names = mistake::names()?;
    if names.iter().any(|known| known == name) {
        return patch(&Mistake::read(name)?);
    }
    if let Some(&site) = Site::ALL.iter().find(|site| site.name() == name) {
        let halves: Vec<_> = Mutant::all().filter(|mutant| mutant.site == site).collect();
        if let [one, other] = halves[..] {
            eprintln!("{name} has two halves: weaken {one} or {other}");
            return Ok(ExitCode::from(USAGE));
        }
        eprintln!("{name} is Relaxed already: {}", sweep::reason(site));
        return Ok(ExitCode::from(USAGE));
    }
    eprintln!("there is no {name}: without a name all are listed");
    let alike = |known: &&String| {
        let (known, name) = (known.to_lowercase(), name.to_lowercase());
        let same = known.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
        same > 3 || known.contains(&name)
    };
    let orderings: Vec<_> = Mutant::all().map(|mutant| mutant.to_string()).collect();
    for similar in orderings.iter().chain(&names).filter(alike).take(5) {
        eprintln!("  did you mean {similar}?");
    }
    Ok(ExitCode::from(USAGE))
}

fn patch(mistake: &Mistake) -> Result<ExitCode, Box<dyn Error>> {
    println!("planting {} in {}", mistake.name, mistake.files().join(", "));
    println!(
        "building the copy (a minute or two for the first time), then running {} under {}",
        mistake.scenario,
        mistake.tool.name()
    );
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
    println!(
        "building the copy (a minute or two for the first time), then running {} under loom with {name} weakened",
        entry.name
    );
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
