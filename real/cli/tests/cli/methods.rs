//! Methods: the copy is the same by each of them; what cannot be used is told, and `auto` does without.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::support::{
    Fixture, HANDFAST, Started, assert_same, eventually, has_rings, kill, methods, noise, skipped,
};

/// Runs something in a thread whose children, and theirs, get EPERM for new rings.
pub fn without_rings<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    filtered(libc::SYS_io_uring_setup, Vec::new(), act)
}

/// The same for rings with a table of more than one file, unlike the one by which the library tries whether
/// there are any.
fn without_large_rings<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    const REGISTER_FILES: u64 = 2;
    let dword = SeccompCmpArgLen::Dword;
    let files = SeccompCondition::new(1, dword.clone(), SeccompCmpOp::Eq, REGISTER_FILES);
    let several = SeccompCondition::new(3, dword, SeccompCmpOp::Gt, 1);
    let both = vec![files.expect("a condition"), several.expect("a condition")];
    filtered(libc::SYS_io_uring_register, vec![SeccompRule::new(both).expect("a rule")], act)
}

/// The same for futex_waitv(2).
pub fn without_sleep_on_several<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    filtered(libc::SYS_futex_waitv, Vec::new(), act)
}

fn filtered<T: Send>(
    call: libc::c_long,
    rules: Vec<SeccompRule>,
    act: impl FnOnce() -> T + Send,
) -> T {
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(1));
    let rules = [(call, rules)].into_iter().collect();
    let machine = std::env::consts::ARCH.try_into().expect("a machine that seccompiler knows");
    let filter = SeccompFilter::new(rules, others, these, machine).expect("a plain filter");
    let filter: BpfProgram = filter.try_into().expect("a short filter");
    std::thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            seccompiler::apply_filter(&filter).expect("seccomp in this kernel");
            act()
        });
        filtered.join().expect("what was to be done")
    })
}

fn copies_equal(fixture: &Fixture, options: &[&str]) {
    for (number, size) in [0, 1, 65_536, 1_000_003].into_iter().enumerate() {
        let source = fixture.file("src", &noise(size, number as u64 + 20));
        for processes in ["1", "2", "8"] {
            let numbers = ["src", "dst", "-b", "4K", "-d", "16", "-p", processes];
            fixture.copy(&[&numbers[..], options].concat()).succeeds();
            assert_same(&source, &fixture.path("dst"));
        }
    }
}

#[test]
fn the_copy_is_the_same_by_every_method() {
    for method in methods() {
        copies_equal(&Fixture::on_disk(), &["--method", method]);
    }
}

#[test]
fn the_direct_copy_is_the_same_by_every_method() {
    let Some((fixture, unit)) = crate::direct::direct_fixture("direct copies by method") else {
        return;
    };
    if unit > 4096 {
        return skipped("direct copies by method", "blocks of 4 KiB are too small here");
    }
    for method in methods() {
        copies_equal(&fixture, &["--direct", "--method", method]);
    }
}

#[test]
fn a_source_without_size_is_read_to_its_end_by_every_method() {
    let fixture = Fixture::new();
    let expected = fs::read("/proc/version").expect("a file of /proc");
    for method in methods() {
        fixture.copy(&["/proc/version", "dst", "--fsync", "--method", method]).succeeds();
        assert_eq!(fs::read(fixture.path("dst")).expect("the copy"), expected, "{method}");
        fs::remove_file(fixture.path("dst")).expect("the copy");
    }
}

#[test]
fn a_read_error_is_named_by_every_method() {
    let fixture = Fixture::new();
    for method in methods() {
        let run = fixture.copy(&["/proc/self/mem", "dst", "--method", method]);
        run.fails(1, &["cannot read /proc/self/mem at offset 0", "Input/output error"]);
    }
}

#[test]
fn a_source_that_is_renamed_and_replaced_during_the_copy_is_copied_by_every_method() {
    for method in methods() {
        let fixture = Fixture::on_disk();
        let content = noise(16 << 20, 21);
        fixture.file("src", &content);
        let started = start(&fixture, &["--method", method, "-p", "2", "-b", "512"]);
        eventually("the copiers run", || started.in_role("__copier").len() == 2);
        started.signal_group(Signal::STOP);
        fs::rename(fixture.path("src"), fixture.path("other")).expect("another name");
        fixture.file("src", b"another file");
        started.signal_group(Signal::CONT);
        started.wait().succeeds();
        assert_same(&fixture.path("other"), &fixture.path("dst"));
    }
}

/// Starts a copy with standard signals.
fn start(fixture: &Fixture, options: &[&str]) -> Started {
    let mut command = Command::new("env");
    command.current_dir(fixture.root()).args(["--default-signal", HANDFAST, "copy", "src", "dst"]);
    Started::new(command.args(options))
}

#[test]
fn a_filter_against_io_uring_makes_auto_take_workers_and_say_why() {
    let fixture = Fixture::new();
    let source = fixture.file("src", &noise(1_000_000, 22));
    let run = without_rings(|| fixture.copy(&["src", "dst", "--verbose"]));
    assert!(run.status.success() && run.stdout.ends_with(", method worker\n"), "{run:?}");
    assert_same(&source, &fixture.path("dst"));
    for part in [
        "io_uring is not used",
        "seccomp filter",
        "allow io_uring_setup",
        "method worker, chosen by auto: 1 to 8 workers",
        "started, 0 of them in place of dead ones",
    ] {
        assert!(run.stderr.contains(part), "{part:?} is missing in {}", run.stderr);
    }
}

#[test]
fn limits_of_workers_that_auto_does_not_need_are_told_to_whoever_listens() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    let limits = ["src", "dst", "--workers", "1:3"];
    let told = "--workers is not used: the method io_uring has none";
    let verbose = [&limits[..], &["--verbose"]].concat();
    if has_rings() {
        let run = fixture.copy(&verbose);
        assert!(run.status.success() && run.stderr.contains(told), "{run:?}");
        let run = fixture.copy(&limits);
        assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    }
    let run = without_rings(|| fixture.copy(&verbose));
    assert!(run.status.success() && run.stderr.contains("1 to 3 workers"), "{run:?}");
    assert!(!run.stderr.contains("--workers"), "{run:?}");
}

#[test]
fn auto_takes_workers_where_only_smaller_rings_than_its_own_are_made() {
    let fixture = Fixture::new();
    let source = fixture.file("src", &noise(1_000_000, 25));
    let large = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Gt, 4);
    let rule = SeccompRule::new(vec![large.expect("a condition")]).expect("a rule");
    let copy = || fixture.copy(&["src", "dst"]);
    let run = filtered(libc::SYS_io_uring_setup, vec![rule], copy);
    assert!(run.status.success() && run.stdout.ends_with(", method worker\n"), "{run:?}");
    assert_same(&source, &fixture.path("dst"));
}

#[test]
fn a_filter_against_io_uring_refuses_the_method_io_uring_with_cause_and_remedy() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    let run = without_rings(|| fixture.copy(&["src", "dst", "--method", "io_uring"]));
    run.fails(
        1,
        &["io_uring is not used", "seccomp filter", "allow io_uring_setup", "method auto"],
    );
    assert_eq!(fixture.names(), ["src"]);
}

#[test]
fn a_copier_that_cannot_follow_the_method_does_without_and_says_why() {
    if !has_rings() {
        return skipped("a copier without a ring", "no copier has one here");
    }
    let fixture = Fixture::new();
    let source = fixture.file("src", &noise(1_000_000, 23));
    let run = without_large_rings(|| fixture.copy(&["src", "dst", "-p", "2", "--verbose"]));
    let expected = ", method io_uring (2 did without)\n";
    assert!(run.status.success() && run.stdout.ends_with(expected), "{run:?}");
    assert!(run.stderr.contains("method io_uring, chosen by auto"), "{run:?}");
    for copier in ["1", "2"] {
        let part =
            format!("handfast: copier {copier} carries out its IO by itself: io_uring is not used");
        let line = run.stderr.lines().find(|line| line.starts_with(&part)).expect("a line for it");
        assert!(line.contains("seccomp filter") && line.contains("allow io_uring_setup"), "{line}");
    }
    assert_same(&source, &fixture.path("dst"));
    fs::remove_file(fixture.path("dst")).expect("the copy");
    let run = without_large_rings(|| fixture.copy(&["src", "dst", "--method", "io_uring"]));
    run.fails(1, &["a copier could not attach", "seccomp filter", "method auto"]);
    assert_eq!(fixture.names(), ["src"]);
}

/// A copy by workers that takes a while, and has at least two workers.
fn start_with_workers(fixture: &Fixture) -> Started {
    fixture.file("src", &noise(24 << 20, 24));
    let options = ["--method", "worker", "--workers", "2:4", "-p", "2", "-b", "512", "-v"];
    let started = start(fixture, &options);
    eventually("copiers and workers run", || {
        started.workers().len() >= 2 && started.in_role("__copier").len() == 2
    });
    started
}

#[test]
fn killed_workers_are_replaced_and_the_copy_is_right() {
    let fixture = Fixture::on_disk();
    let started = start_with_workers(&fixture);
    let first = started.workers();
    first.iter().for_each(|worker| kill(*worker));
    eventually("others take their place", || {
        started.workers().iter().filter(|worker| !first.contains(worker)).count() >= 2
    });
    let run = started.wait();
    assert!(run.status.success(), "{run:?}");
    assert_same(&fixture.path("src"), &fixture.path("dst"));
    assert!(!run.stderr.contains(" 0 of them in place of dead ones"), "{run:?}");
}

#[test]
fn a_killed_supervisor_takes_its_workers_along_and_the_copy_goes_on() {
    let fixture = Fixture::on_disk();
    let started = start_with_workers(&fixture);
    kill(started.in_role("worker")[0]);
    eventually("the workers are gone", || started.workers().is_empty());
    let run = started.wait();
    assert!(run.status.success(), "{run:?}");
    assert!(run.stderr.contains("the copiers go on without them"), "{run:?}");
    assert_same(&fixture.path("src"), &fixture.path("dst"));
}

#[test]
fn a_stop_signal_leaves_no_worker_behind() {
    let fixture = Fixture::on_disk();
    for whole_group in [false, true] {
        let started = start_with_workers(&fixture);
        if whole_group {
            started.signal_group(Signal::INT);
        } else {
            started.signal(Signal::INT);
        }
        let run = started.wait();
        assert_eq!(run.status.code(), Some(130), "{run:?}");
        assert!(run.stderr.contains("stopped by SIGINT; dst is as it was before"), "{run:?}");
        assert_eq!(fixture.names(), ["src"]);
    }
}

#[test]
fn workers_die_with_a_killed_coordinator() {
    let fixture = Fixture::on_disk();
    let started = start_with_workers(&fixture);
    started.signal(Signal::KILL);
    started.wait_until_group_is_empty();
}

#[test]
fn a_killed_copier_fails_the_copy_and_no_worker_is_left() {
    let fixture = Fixture::on_disk();
    let started = start_with_workers(&fixture);
    kill(started.in_role("__copier")[0]);
    let run = started.wait();
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stderr.contains("was killed by signal 9"), "{run:?}");
    assert_eq!(fixture.names(), ["src"]);
}

#[test]
fn a_stopped_worker_does_not_keep_the_copy_from_being_stopped() {
    let fixture = Fixture::on_disk();
    let started = start_with_workers(&fixture);
    for worker in started.workers() {
        let stopped = rustix::process::kill_process(crate::support::pid(worker), Signal::STOP);
        stopped.expect("the worker is there");
    }
    started.signal(Signal::TERM);
    let run = started.wait();
    assert_eq!(run.status.code(), Some(143), "{run:?}");
    assert_eq!(fixture.names(), ["src"]);
}
