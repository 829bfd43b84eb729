//! `handfast doctor`: what this machine can do, tried out and said in words.
//!
//! Each probe does the thing itself instead of asking for a version, and returns a [`Finding`]. The
//! judgement (what an error number means, what to do about it) is a pure function in each probe's
//! module. The exit code depends on what the method "sync" needs; io_uring and limits are told for the
//! other methods.

mod finding;
mod futex;
mod kernel;
mod limits;
mod locks;
mod memory;
mod methods;
mod pool;

use std::io::Write;
use std::process::ExitCode;

pub use futex::run_peer;

use finding::Finding;

/// Tries everything, prints one line for each finding, and tells whether method sync works here.
pub fn run() -> ExitCode {
    let probes: [fn() -> Vec<Finding>; 10] = [
        || vec![kernel::release()],
        || vec![kernel::proc_mounted()],
        || vec![memory::sealed_segment()],
        || vec![locks::ofd_locks()],
        || vec![futex::across_processes()],
        || vec![futex::on_several()],
        || methods::findings().into(),
        || vec![limits::locked_memory()],
        || vec![limits::open_files()],
        || vec![pool::sync_read()],
    ];
    let mut works = true;
    let mut out = std::io::stdout().lock();
    // One is printed before the next is tried, which may take a while.
    for finding in probes.into_iter().flat_map(|probe| probe()) {
        works &= finding.works || !finding.needed;
        // Who closes the output early is not interested in the rest, but still gets the exit code.
        let _ = writeln!(out, "{finding}");
    }
    let verdict = if works {
        "handfast works here: method sync, and so handfast copy"
    } else {
        "handfast does not work here: see the lines with \"no\" above"
    };
    let _ = writeln!(out, "{verdict}");
    if works { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
