//! Runs one scenario in one tool: `cargo run --release -p handfast-model -- loom issuer_waiter`.

use clap::{Parser, Subcommand};
use handfast_core::site::Site;
use handfast_model::scenario::{self, Entry, Reach};
use handfast_model::sweep::{self, Row, Verdict};
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
    /// List the scenarios and what each is about
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
        /// At most this many processes die
        #[arg(long, default_value_t = 0)]
        deaths: u8,
        /// At most this many sleeps end for no reason
        #[arg(long, default_value_t = 0)]
        spurious: u8,
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
        #[arg(long, default_value_t = 100_000)]
        schedules: u32,
        /// The seed of the first one
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn site(name: &str) -> Result<Site, String> {
    let found = Site::ALL.iter().copied().find(|site| site.name() == name);
    found.ok_or_else(|| format!("there is no site {name}: core/src/site.rs lists them"))
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::List => list(),
        Command::Loom { scenario, preemptions } => {
            let Some(entry) = find(&scenario) else { return ExitCode::from(2) };
            (entry.loom)(preemptions);
        }
        Command::Search { scenario, deaths, spurious } => {
            let Some(entry) = find(&scenario) else { return ExitCode::from(2) };
            (entry.search)(Reach { deaths, spurious, ..Reach::ALIVE });
        }
        Command::Orderings { sites } => return orderings(&sites),
        Command::Shuttle { scenario, schedules, seed } => {
            let Some(entry) = find(&scenario) else { return ExitCode::from(2) };
            (entry.shuttle)(schedules, seed);
        }
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
    let good = |row: &Row| matches!(row.verdict, Verdict::Caught { .. } | Verdict::Relaxed { .. });
    if rows.iter().all(good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() {
    for entry in scenario::ALL {
        println!("{:24} {}", entry.name, entry.covers.join(" "));
    }
}

fn find(name: &str) -> Option<Entry> {
    let found = scenario::named(name);
    if found.is_none() {
        eprintln!("there is no scenario {name}: `list` shows them all");
    }
    found
}
