//! `handfast doctor`: one line for each fact, and an exit code.

use std::process::Command;

use crate::support::{HANDFAST, has_rings, run};

const FACTS: [&str; 12] = [
    "kernel",
    "/proc",
    "memfd and seals",
    "OFD locks",
    "futex across processes",
    "futex on several words",
    "io_uring",
    "results of the dead",
    "method auto",
    "locked-memory limit",
    "open-files limit",
    "method sync",
];

/// The answer to one fact.
fn line<'out>(report: &'out str, fact: &str) -> &'out str {
    let is_it =
        |line: &&str| line.get(4..).is_some_and(|rest| rest.starts_with(&format!("{fact} ")));
    report.lines().find(is_it).unwrap_or_else(|| panic!("{fact} is missing in {report}"))
}

#[test]
fn a_machine_that_runs_these_tests_can_do_method_sync() {
    let report = run(Command::new(HANDFAST).arg("doctor")).succeeds();
    for fact in FACTS {
        let line = line(&report, fact);
        assert!(line.starts_with("yes ") || line.starts_with("no  "), "{line}");
    }
    assert!(line(&report, "method sync").starts_with("yes "), "{report}");
    assert!(line(&report, "futex across processes").starts_with("yes "), "{report}");
    let methods =
        if has_rings() { "sync, worker and io_uring" } else { "sync and worker, not by io_uring" };
    let verdict = format!("handfast works here: by the methods {methods}");
    assert_eq!(report.lines().last(), Some(&*verdict));
    assert_eq!(report.lines().count(), FACTS.len() + 1, "{report}");
}

#[test]
fn what_auto_stands_for_is_told() {
    let report = run(Command::new(HANDFAST).arg("doctor")).succeeds();
    let (answer, method) = if has_rings() { ("yes ", "io_uring") } else { ("no  ", "worker") };
    assert!(line(&report, "io_uring").starts_with(answer), "{report}");
    assert!(line(&report, "method auto").contains(&format!("stands for {method}")), "{report}");
    assert!(has_rings() || line(&report, "results of the dead").starts_with("no "), "{report}");
}

#[test]
fn a_filter_against_io_uring_is_told_with_what_to_allow() {
    let report = crate::methods::without_rings(|| run(Command::new(HANDFAST).arg("doctor")));
    let report = report.succeeds();
    let ring = line(&report, "io_uring");
    assert!(ring.starts_with("no ") && ring.contains("seccomp filter"), "{ring}");
    assert!(ring.contains("allow io_uring_setup"), "{ring}");
    let auto = line(&report, "method auto");
    assert!(
        auto.contains("stands for worker, because there is no io_uring: run workers"),
        "{auto}"
    );
    assert!(line(&report, "results of the dead").starts_with("no "), "{report}");
    assert!(report.contains("handfast works here"), "{report}");
}

#[test]
fn a_filter_against_sleeping_on_several_words_is_told_and_does_not_fail_the_report() {
    let filtered = crate::methods::without_sleep_on_several;
    let report = filtered(|| run(Command::new(HANDFAST).arg("doctor"))).succeeds();
    let line = line(&report, "futex on several words");
    assert!(line.starts_with("no ") && line.contains("every millisecond"), "{line}");
    assert!(line.contains("5.16") && line.contains("allow futex_waitv"), "{line}");
}

#[test]
fn a_report_that_cannot_be_printed_is_a_failure_and_one_that_nobody_reads_is_none() {
    let doctor = |script| run(Command::new("sh").args(["-c", script, HANDFAST]));
    doctor("\"$0\" doctor > /dev/full").fails(1, &["could not be printed", "No space left"]);
    let unread = doctor("{ \"$0\" doctor; echo $? >&2; } | true");
    assert_eq!(unread.stderr, "0\n", "{unread:?}");
}

#[test]
fn low_limits_are_told_and_do_not_fail_the_report() {
    let script = "ulimit -n 20; exec \"$0\" doctor";
    let report = run(Command::new("sh").args(["-c", script, HANDFAST])).succeeds();
    let line = line(&report, "open-files limit");
    assert!(line.starts_with("no ") && line.contains("ulimit -n"), "{line}");
}

#[test]
fn a_machine_without_what_method_sync_needs_fails_the_report_with_reasons() {
    let script = "ulimit -n 4; exec \"$0\" doctor";
    let run = run(Command::new("sh").args(["-c", script, HANDFAST]));
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let line = line(&run.stdout, "method sync");
    assert!(line.starts_with("no ") && line.contains("ulimit -n) is 4"), "{line}");
    assert!(run.stdout.contains("handfast does not work here"), "{run:?}");
}
