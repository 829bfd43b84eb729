//! `handfast copy`: one file, several processes, one pool.
//!
//! | part | decides or does |
//! |---|---|
//! | [`block`] | decides: which bytes come next after any short read or write |
//! | [`direct`] | decides: whether O_DIRECT is possible, and with which unit |
//! | [`plan`] | decides: processes, depth, geometry and memory of one copy |
//! | [`source`] | opens SRC, refuses what is no file |
//! | [`destination`] | judges DST |
//! | [`temporary`] | the file that becomes DST, from its creation to the rename |
//! | [`shared`] | the words that coordinator and copiers share; all orderings are there |
//! | [`copier`] | the loop of one process |
//! | [`children`] | starts copiers and sees them end |
//! | [`workers`] | starts the supervisor of workers, and sees it end |
//! | [`progress`] | the bar |
//! | [`coordinator`] | one copy from the first check to the rename |
//!
//! Who may touch what: only the coordinator creates, truncates, renames and removes; copiers only
//! read SRC and write blocks that they took from the shared counter, so no byte is written by two
//! of them.

mod block;
mod children;
mod coordinator;
mod copier;
mod destination;
mod direct;
mod plan;
mod progress;
mod shared;
mod source;
mod temporary;
mod workers;

use std::io::Write;
use std::process::ExitCode;

use crate::args::CopyOptions;
use crate::signals::Signals;
use crate::system::{say, with_remedy};
use coordinator::{CopyError, Summary};

pub use copier::run as run_copier;

/// Copies, and prints the summary or the error.
pub fn run(options: &CopyOptions) -> ExitCode {
    let outcome = Signals::install()
        .map_err(CopyError::Signals)
        .and_then(|mut signals| coordinator::copy(options, &mut signals));
    match outcome {
        Ok(summary) => {
            if !options.quiet {
                print(&summary);
            }
            ExitCode::SUCCESS
        }
        Err(CopyError::Stopped(signal)) => {
            say(&format!(
                "stopped by {}; {} is as it was before",
                signal.name(),
                options.destination.display()
            ));
            ExitCode::from(signal.exit_code())
        }
        Err(error) => {
            say(&with_remedy(&error));
            ExitCode::FAILURE
        }
    }
}

/// The copy is done and in place by now, so a summary that nobody can read is not a failure of it.
fn print(summary: &Summary) {
    if let Err(error) = writeln!(std::io::stdout(), "{summary}") {
        say(&format!("the copy is complete, but the summary could not be printed: {error}"));
    }
}
