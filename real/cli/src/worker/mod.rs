//! `handfast worker`: processes that carry out the IO of a pool whose method is "worker".
//!
//! | part | what |
//! |---|---|
//! | [`one`] | one worker: attaches, works, leaves |
//! | [`crew`] | the workers as child processes: started, seen to end, told to leave |
//! | [`supervisor`] | how many there are, and until when |
//!
//! Workers end with their supervisor, in whatever way it ends: told to, or by the kernel.

mod crew;
mod one;
mod supervisor;

use std::io::{self, Write};
use std::process::ExitCode;

use handfast::WorkerLimits;

use crate::args::WorkerOptions;
use crate::system::{say, with_remedy};

pub use one::run as run_one;
pub use supervisor::Tally;

/// Runs workers until it is told to stop.
pub fn run(options: &WorkerOptions, limits: WorkerLimits) -> ExitCode {
    match supervisor::supervise(options, limits) {
        Ok((signal, tally)) => {
            if options.parent.is_some() {
                // Nobody is there to tell if the parent does not listen.
                let _ = writeln!(io::stdout(), "{}", tally.to_line());
            } else {
                say(&format!("stopped by {}; {tally}", signal.name()));
            }
            ExitCode::from(signal.exit_code())
        }
        Err(error) => {
            say(&with_remedy(&error));
            ExitCode::FAILURE
        }
    }
}
