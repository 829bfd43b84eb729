//! Runs one scenario in one tool: `cargo run --release -p handfast-model -- loom issuer_waiter`.

use clap::{Parser, Subcommand};
use handfast_model::scenario::{self, Entry, Reach};
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
    }
    ExitCode::SUCCESS
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
