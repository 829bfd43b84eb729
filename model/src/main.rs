//! Runs one scenario in one tool: `cargo run --release -p handfast-model -- loom issuer_waiter`; and
//! planted mistakes: `cargo run -p handfast-model -- mutants --all`.

use clap::{Parser, Subcommand};
use handfast_core::site::Site;
use handfast_model::coverage;
use handfast_model::mutant::{self, Mutant};
use handfast_model::mutants::mistake::{self, Mistake, Tool};
use handfast_model::mutants::results::{self, Weakened};
use handfast_model::mutants::{run, select};
use handfast_model::pins::BLESS;
use handfast_model::report::{self, Then};
use handfast_model::scenario::{self, Entry, Level, Reach};
use handfast_model::sweep::{self, Row, Verdict};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io::Write as _;
use std::process::ExitCode;

/// handfast's protocol under model checkers.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the scenarios, their tools, and the races (model/src/races.rs) that each is about
    List,
    /// Run a scenario under loom: every interleaving, weak memory
    Loom {
        /// The scenario's name
        scenario: String,
        /// At most this many preemptions in an execution; without it, every execution
        #[arg(long)]
        preemptions: Option<usize>,
    },
    /// Search a scenario: every state, deaths, liveness
    Search {
        /// The scenario's name
        scenario: String,
        /// At most this many processes die; as many as planned, unless told
        #[arg(long)]
        deaths: Option<u8>,
        /// At most this many sleeps end for no reason; as many as planned, unless told
        #[arg(long)]
        spurious: Option<u8>,
    },
    /// Weaken the sites one by one; each must be noticed by a scenario
    Orderings {
        /// Only these sites
        #[arg(value_parser = site)]
        sites: Vec<Site>,
    },
    /// Run a scenario under shuttle: random interleavings of large scenarios
    Shuttle {
        /// The scenario's name
        scenario: String,
        /// How many schedules
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
        schedules: u32,
        /// The seed of the first one
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// The wide level: the largest searches, and as many random schedules as planned (an hour)
    Wide {
        /// Only these scenarios
        scenarios: Vec<String>,
        /// The seed of each first schedule
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Plant mistakes in a copy of the source; each must be noticed by the scenario that it names
    Mutants {
        /// Names of files in model/mutants, without their ending
        #[arg(required_unless_present_any = ["all", "changed_since"], value_parser = mistake_name)]
        names: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "names")]
        all: bool,
        /// Those whose files have changed since this revision, as many as CI has time for
        #[arg(long, value_name = "REVISION", conflicts_with_all = ["names", "all"])]
        changed_since: Option<String>,
    },
    /// Write model/COVERAGE.md from the lists and from what runs found
    Coverage {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
}

fn site(name: &str) -> Result<Site, String> {
    let found = Site::ALL.iter().copied().find(|site| site.name() == name);
    found.ok_or_else(|| format!("there is no site {name}: core/src/site.rs lists them"))
}

fn mistake_name(name: &str) -> Result<String, String> {
    let names = mistake::names().map_err(|error| error.to_string())?;
    let known = names.iter().any(|known| known == name);
    if known { Ok(name.to_owned()) } else { Err("the example break_it lists them".to_owned()) }
}

fn main() -> ExitCode {
    if std::env::var_os(report::REPORT).is_some() {
        // Started by a program that has set a time limit: nobody would end it if that one is ended.
        let _without_it = set_parent_process_death_signal(Some(Signal::KILL));
    }
    report::install(Then::Exit);
    if let Err(what) = mutant::checked() {
        eprintln!("{what}");
        return ExitCode::from(2);
    }
    match Arguments::parse().command {
        Command::List => list(),
        Command::Loom { scenario, preemptions } => {
            let Some(entry) = find(&scenario, Tool::Loom) else { return ExitCode::from(2) };
            entry.loom(preemptions);
        }
        Command::Search { scenario, deaths, spurious } => {
            let Some(entry) = find(&scenario, Tool::Search) else { return ExitCode::from(2) };
            let planned = entry.plan.search.unwrap_or(Reach::ALIVE);
            let deaths = deaths.unwrap_or(planned.deaths);
            entry.search(Reach {
                deaths,
                spurious: spurious.unwrap_or(planned.spurious),
                ..planned
            });
        }
        Command::Orderings { sites } => return orderings(&sites),
        Command::Shuttle { scenario, schedules, seed } => {
            let Some(entry) = find(&scenario, Tool::Shuttle) else { return ExitCode::from(2) };
            entry.shuttle(schedules, seed);
        }
        Command::Wide { scenarios, seed } => return wide(&scenarios, seed),
        Command::Mutants { names, all, changed_since } => {
            return or_usage(mutants(names, all, changed_since.as_deref()));
        }
        Command::Coverage { check } => return or_usage(write_coverage(check)),
    }
    ExitCode::SUCCESS
}

/// The table; fails if a mutant survives or breaks something else.
fn orderings(sites: &[Site]) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("the program cannot find itself ({error}): start it by its path");
            return ExitCode::from(2);
        }
    };
    println!("{:20} {:>10} {:>8}  caught by", "mutant", "executions", "seconds");
    let rows = sweep::orderings(&program, sites, |row| {
        let (executions, text) = match &row.verdict {
            Verdict::Relaxed { reason } => (String::new(), format!("Relaxed: {reason}")),
            Verdict::Caught { scenario, message, executions } => {
                (executions.to_string(), format!("{scenario}: {message}"))
            }
            Verdict::Survived => (String::new(), "SURVIVES: no scenario notices".to_owned()),
            Verdict::Broken { scenario, said } => {
                (String::new(), format!("BROKEN: {scenario} fails otherwise: {said}"))
            }
        };
        println!("{:20} {executions:>10} {:>8.2}  {text}", row.mutant, row.seconds);
    });
    if let Err(error) = keep(&rows) {
        eprintln!("model/results/{} cannot be written: {error}", results::ORDERINGS);
        return ExitCode::from(2);
    }
    let good = |row: &Row| matches!(row.verdict, Verdict::Caught { .. } | Verdict::Relaxed { .. });
    if rows.iter().all(good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends with the first scenario that fails: it is told, and the line that repeats it.
fn wide(only: &[String], seed: u64) -> ExitCode {
    if only.iter().any(|name| scenario::named(name).is_none()) {
        eprintln!("there is no such scenario: `list` shows them all");
        return ExitCode::from(2);
    }
    let is_asked_for = |entry: &&Entry| only.is_empty() || only.iter().any(|it| it == entry.name);
    let mut ran = false;
    for entry in scenario::ALL.iter().filter(is_asked_for) {
        if let Some(reach) = entry.plan.search.filter(|reach| reach.level == Level::Wide) {
            entry.search(reach);
            ran = true;
        }
        if let Some([_, schedules]) = entry.plan.shuttle {
            entry.shuttle(schedules, seed);
            ran = true;
        }
    }
    if !ran {
        eprintln!("the wide level has nothing more of these than `cargo test` has");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

fn list() {
    let mut out = std::io::stdout().lock();
    for entry in scenario::ALL {
        let tools = Tool::ALL.into_iter().filter(|tool| tool.runs(entry)).map(Tool::name);
        // Whoever reads only the beginning closes the pipe.
        let _read_or_not = writeln!(
            out,
            "{:28} {:20} {}",
            entry.name,
            tools.collect::<Vec<_>>().join(" "),
            entry.covers.join(" ")
        );
    }
}

/// The scenario, if it is for this tool; weakened orderings are for loom alone.
fn find(name: &str, tool: Tool) -> Option<Entry> {
    let Some(found) = scenario::named(name) else {
        eprintln!("there is no scenario {name}: `list` shows them all");
        return None;
    };
    if !tool.runs(&found) {
        eprintln!("{name} is not for {}: `list` says for which tools it is", tool.name());
        return None;
    }
    if tool != Tool::Loom && mutant::weakened().is_some() {
        eprintln!("{} knows one order of memory: only loom sees a weakened ordering", tool.name());
        return None;
    }
    Some(found)
}

/// Makes what was found the known results, if that is wanted.
fn keep(rows: &[Row]) -> std::io::Result<()> {
    if std::env::var_os(BLESS).is_none() {
        return Ok(());
    }
    results::change(results::ORDERINGS, |lines: &mut Vec<Weakened>| {
        lines.retain(|line| Mutant::named(&line.mutant).is_some());
        for row in rows {
            lines.retain(|line| line.mutant != row.mutant);
            if let Verdict::Caught { scenario, message, executions } = &row.verdict {
                lines.push(Weakened {
                    mutant: row.mutant.clone(),
                    tool: "loom".to_owned(),
                    scenario: (*scenario).to_owned(),
                    executions: *executions,
                    message: message.clone(),
                });
            }
        }
    })
}

type Done = Result<ExitCode, Box<dyn std::error::Error>>;

fn or_usage(done: Done) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

fn mutants(names: Vec<String>, all: bool, changed_since: Option<&str>) -> Done {
    let mistakes = match changed_since {
        Some(revision) => select::changed_since(revision)?,
        None => {
            let names = if all { mistake::names()? } else { names };
            names.iter().map(|name| Mistake::read(name)).collect::<Result<_, _>>()?
        }
    };
    Ok(if run::all(&mistakes)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_coverage(check: bool) -> Done {
    let (text, path) = (coverage::text()?, coverage::path());
    if check {
        let same = std::fs::read_to_string(&path).is_ok_and(|there| there == text);
        if !same {
            eprintln!("model/COVERAGE.md is not what the lists and results say: run `coverage`");
        }
        return Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    std::fs::write(path, text)?;
    Ok(ExitCode::SUCCESS)
}
