//! Checks a small buffer manager's completion callback, as you would check your own.
//!
//! ```text
//! cargo run --release -p handfast-model --example buffer_manager
//! cargo run --release -p handfast-model --example buffer_manager -- --bug not-idempotent
//! ```
//!
//! `buffer.rs` is the buffer manager, as production has it; `checked.rs` tells the model what its words
//! are and what must be true. A planted bug is found, and explained, in less than a minute.
//! Exit codes: 0 no fault found, 1 a fault was found, 2 wrong usage.

mod buffer;
mod checked;

use buffer::{Bug, Header};
use checked::BufferManager;
use clap::{Parser, ValueEnum};
use handfast_model::check::Checker;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;

/// Check a small buffer manager's completion callback under loom and shuttle
#[derive(Parser)]
#[command(after_help = "Exit codes: 0 no fault found, 1 a fault was found, 2 wrong usage")]
struct Arguments {
    /// Plant this mistake in the callback
    #[arg(long)]
    bug: Option<Planted>,
    /// Check with these tools only
    #[arg(long, value_enum, default_values_t = [Tool::Shuttle, Tool::Loom])]
    tool: Vec<Tool>,
    /// How many random schedules of each scene shuttle tries
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    schedules: u32,
    /// The seed of the first one
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// Random schedules, sequentially consistent
    Shuttle,
    /// Every schedule up to two preemptions, weak memory
    Loom,
}

#[derive(Clone, Copy, ValueEnum)]
enum Planted {
    /// It loads the header, computes, and stores it: a change in between is lost
    LostFlag,
    /// It gives the IO's pin back each time it runs, and after a death it runs again
    NotIdempotent,
    /// The header says VALID when the IO is staged, not when it is over
    EarlyValid,
    /// It says VALID with a relaxed change: the page may not be visible yet (loom only)
    RelaxedValid,
    /// It asks the pool whether an IO is over
    UsesPool,
}

impl Planted {
    const fn bug(self) -> Bug {
        match self {
            Self::LostFlag => Bug::LostFlag,
            Self::NotIdempotent => Bug::NotIdempotent,
            Self::EarlyValid => Bug::EarlyValid,
            Self::RelaxedValid => Bug::RelaxedValid,
            Self::UsesPool => Bug::UsesPool,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    as_in_production();
    checked::plant(arguments.bug.map(Planted::bug));
    let checker = Checker::<BufferManager>::new("buffer manager").exit_on_failure(1);
    for tool in arguments.tool {
        let report = match tool {
            Tool::Shuttle => checker.under_shuttle(arguments.schedules, arguments.seed),
            Tool::Loom => checker.under_loom(),
        };
        if report.repeats == 0 {
            eprintln!(
                "nobody died in so few schedules, so that nothing is known of deaths: try more"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// The very same code over a plain atomic: what a `handfast::Callback` of production calls.
fn as_in_production() {
    let header = Header(AtomicU64::new(0));
    header.read_begins();
    header.read_is_over(true, None);
    assert!(header.is_valid() && header.pins() == 0, "one thread alone cannot fail");
}
