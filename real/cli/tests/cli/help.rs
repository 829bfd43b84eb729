//! The help teaches.

use std::process::Command;

use crate::support::{HANDFAST, run};

/// The long help of a command, with every run of blanks and line ends as one blank: where lines
/// break is the terminal's.
fn help_of(command: &str) -> String {
    let help = run(Command::new(HANDFAST).args([command, "--help"])).succeeds();
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_help_of_copy_tells_ranges_examples_exit_codes_and_what_ctrl_c_does() {
    let help = help_of("copy");
    for part in [
        "DST appears whole or not at all",
        "symbolic link",
        "Holes in SRC are filled",
        "reports size 0",
        "[1 to 256]",
        "[1 to 1024]",
        "from 512 to 16M",
        "[default: 64K]",
        "- worker: Worker processes carry them out",
        "- io_uring: The kernel",
        "- auto: The best one",
        "[default: 1:8]",
        "One number is both: 3 means 3:3",
        "Refused with a method that has none",
        "Examples:",
        "On Ctrl-C",
        "Exit codes:",
        "130",
        "Ctrl-\\",
        "131",
    ] {
        assert!(help.contains(part), "{part:?} is missing in {help}");
    }
}

#[test]
fn the_help_of_the_program_names_its_commands() {
    for arguments in [&["--help"][..], &["help"], &["-h"]] {
        let help = run(Command::new(HANDFAST).args(arguments)).succeeds();
        assert!(
            ["  copy ", "  doctor ", "  worker "].into_iter().all(|name| help.contains(name)),
            "{help}"
        );
        assert!(!help.contains("__"), "{help}");
    }
    run(&mut Command::new(HANDFAST)).fails(2, &["Usage: handfast"]);
    let version = run(Command::new(HANDFAST).arg("--version")).succeeds();
    assert_eq!(version, format!("handfast {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_of_worker_tells_ranges_limits_of_use_examples_and_exit_codes() {
    let help = help_of("worker");
    for part in [
        "[1 to 32]",
        "[default: 2, or MOST if that is less]",
        "[default: 8, or LEAST if that is more]",
        "[default: 60]",
        "even if nobody else uses the pool any more",
        "Process::work",
        "--pool-fd",
        "Examples:",
        "Exit codes:",
        "143",
    ] {
        assert!(help.contains(part), "{part:?} is missing in {help}");
    }
}

#[test]
fn the_help_of_doctor_tells_its_exit_codes() {
    let help = help_of("doctor");
    assert!(help.contains("exit code is 0"), "{help}");
}
