//! `handfast doctor`: what this machine can do, tried out and said in words.
//!
//! Each probe does the thing itself instead of asking for a version, and returns a [`Finding`]. The
//! judgement (what an error number means, what to do about it) is a pure function in each probe's
//! module. The exit code depends on what the method "sync" needs; io_uring and limits are told for
//! later methods.

mod finding;
mod futex;
mod kernel;
mod limits;
mod locks;
mod memory;
mod pool;
mod uring;

use std::io::Write;
use std::process::ExitCode;

pub use futex::run_peer;

use finding::Finding;

/// Tries everything, prints one line for each finding, and tells whether method sync works here.
pub fn run() -> ExitCode {
    let probes: [fn() -> Finding; 9] = [
        kernel::release,
        kernel::proc_mounted,
        memory::sealed_segment,
        locks::ofd_locks,
        futex::across_processes,
        uring::ring,
        limits::locked_memory,
        limits::open_files,
        pool::sync_read,
    ];
    let mut works = true;
    let mut out = std::io::stdout().lock();
    for probe in probes {
        let finding = probe();
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
