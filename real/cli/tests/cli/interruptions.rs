//! Signals, deaths and a source that changes: no process is left, no temporary file, and DST is
//! what it was.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Fixture, HANDFAST, Run, Started, eventually, noise, pid, skipped};

/// Bytes of a source that takes a second or more to copy in blocks of 512 bytes, by one process one
/// after the other. It is one hole, so it costs nothing but that time.
const SLOW_BYTES: u64 = 512 << 20;

/// A fixture with a slow source and an old DST.
fn slow_fixture() -> Fixture {
    fixture_of(SLOW_BYTES)
}

fn fixture_of(bytes: u64) -> Fixture {
    let fixture = Fixture::on_disk();
    let source = File::create(fixture.path("src")).expect("a file");
    source.set_len(bytes).expect("a hole");
    fixture.file("dst", b"old");
    fixture
}

/// Starts a slow copy, and waits until its copiers run. The signals are as at a terminal, also where
/// the tests themselves were started with some of them ignored, as a shell does for what it runs in
/// the background.
fn start_slow(fixture: &Fixture, processes: usize) -> Started {
    let number = processes.to_string();
    let mut command = Command::new("env");
    command.current_dir(fixture.root()).args(["--default-signal", HANDFAST]);
    command.args(["copy", "src", "dst", "-b", "512", "-d", "1", "-p", &number]);
    let started = Started::new(&mut command);
    eventually("all copiers run", || started.children().len() == processes);
    started
}

#[track_caller]
fn assert_untouched(fixture: &Fixture) {
    assert_eq!(fixture.names(), ["dst", "src"]);
    assert_eq!(fs::read(fixture.path("dst")).expect("the old file"), b"old");
}

#[test]
fn stop_signals_end_the_copy_with_their_exit_code() {
    let fixture = slow_fixture();
    for (signal, name, code) in [
        (Signal::INT, "SIGINT", 130),
        (Signal::QUIT, "SIGQUIT", 131),
        (Signal::TERM, "SIGTERM", 143),
        (Signal::HUP, "SIGHUP", 129),
    ] {
        let started = start_slow(&fixture, 2);
        started.signal(signal);
        started.wait().fails(code, &[name, "dst is as it was before"]);
        assert_untouched(&fixture);
    }
}

#[test]
fn a_key_on_a_terminal_reaches_the_whole_group_and_is_still_one_clean_stop() {
    let fixture = slow_fixture();
    for (signal, name, code) in [(Signal::INT, "SIGINT", 130), (Signal::QUIT, "SIGQUIT", 131)] {
        let started = start_slow(&fixture, 4);
        started.signal_group(signal);
        started.wait().fails(code, &[name]);
        assert_untouched(&fixture);
    }
}

#[test]
fn a_stopped_copier_does_not_keep_the_coordinator_from_ending() {
    let fixture = slow_fixture();
    let started = start_slow(&fixture, 2);
    let copier = started.children()[0];
    rustix::process::kill_process(pid(copier), Signal::STOP).expect("the copier is there");
    started.signal(Signal::TERM);
    // The second one says that there is no patience for the grace period.
    eventually("the other copier has stopped", || started.children().len() == 1);
    started.signal(Signal::TERM);
    started.wait().fails(143, &["SIGTERM"]);
    assert_untouched(&fixture);
}

#[test]
fn a_hangup_that_was_ignored_from_the_start_stays_ignored() {
    let fixture = slow_fixture();
    let mut command = Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" copy src dst -b 512 -d 1 -p 1";
    command.args(["-c", script, HANDFAST]).current_dir(fixture.root());
    let started = Started::new(&mut command);
    eventually("the copier runs", || started.children().len() == 1);
    let status = fs::read_to_string(format!("/proc/{}/status", started.pid)).expect("its page");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
    let caught = u64::from_str_radix(caught.trim(), 16).expect("a number");
    assert_eq!(caught & 1, 0, "SIGHUP is not caught");
    started.signal(Signal::HUP);
    started.signal(Signal::TERM);
    started.wait().fails(143, &["SIGTERM"]);
    assert_untouched(&fixture);
}

#[test]
fn a_killed_copier_fails_the_copy() {
    let fixture = slow_fixture();
    let started = start_slow(&fixture, 3);
    let copier = started.children()[1];
    rustix::process::kill_process(pid(copier), Signal::KILL).expect("the copier is there");
    started
        .wait()
        .fails(1, &[&format!("(process {copier}) was killed by signal 9"), "start it again"]);
    assert_untouched(&fixture);
}

#[test]
fn copiers_die_with_a_killed_coordinator_and_the_next_copy_cleans_up() {
    let fixture = slow_fixture();
    let started = start_slow(&fixture, 3);
    started.signal(Signal::KILL);
    started.wait_until_group_is_empty();
    assert_eq!(fixture.temporaries().len(), 1, "nobody was left to remove it");

    fixture.file("src", &noise(5000, 8));
    eventually("a copy cleans up", || {
        copy_beside(&fixture, "dst");
        fixture.names() == ["dst", "src"]
    });
}

/// Copies where a killed copy may have left its file. Its lock, which says that it may still be written to,
/// is given up when the kernel has ended the IO of the dead, some moments after them.
fn copy_beside(fixture: &Fixture, name: &str) {
    crate::support::run(fixture.command().args(["copy", "src", name])).succeeds();
}

/// Makes a file as a killed copy leaves it.
fn leave_behind(fixture: &Fixture, name: &str) {
    fixture.file(name, b"of nobody alive");
    chmod(fixture, name, 0o600);
}

fn chmod(fixture: &Fixture, name: &str, mode: u32) {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(fixture.path(name), permissions).expect("chmod");
}

#[test]
fn only_what_a_copy_to_the_same_dst_has_left_is_cleaned_up() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    let left = ".dst.handfast-4000000-0123456789abcdef";
    leave_behind(&fixture, left);
    crate::support::run(fixture.command().args(["copy", "src", "dst"])).succeeds();
    assert!(!fixture.path(left).exists());

    let of_the_user = [
        ".dst.handfast-1-0123456789abcdef.bak",
        ".dst.handfast-1-0123456789abcdeF",
        ".dst.handfast-2-0123456789abcde",
        ".dst.handfast-notes",
        ".dst.handfast-of-the-user",
        ".other.handfast-1-0123456789abcdef",
    ];
    of_the_user.iter().for_each(|name| leave_behind(&fixture, name));
    let (public, linked, link, directory) = (
        ".dst.handfast-3-0123456789abcdef",
        ".dst.handfast-4-0123456789abcdef",
        ".dst.handfast-5-0123456789abcdef",
        ".dst.handfast-6-0123456789abcdef",
    );
    leave_behind(&fixture, public);
    chmod(&fixture, public, 0o644);
    leave_behind(&fixture, linked);
    fs::hard_link(fixture.path(linked), fixture.path("hard")).expect("a link");
    symlink("hard", fixture.path(link)).expect("a link");
    fs::create_dir(fixture.path(directory)).expect("a directory");
    let before = fixture.names();
    crate::support::run(fixture.command().args(["copy", "src", "dst"])).succeeds();
    assert_eq!(fixture.names(), before);
}

#[test]
fn what_a_copy_to_a_long_name_left_is_not_taken_for_that_of_another_long_name() {
    let fixture = Fixture::on_disk();
    File::create(fixture.path("src")).expect("a file").set_len(SLOW_BYTES).expect("a hole");
    let (one, other) = ("n".repeat(254) + "1", "n".repeat(254) + "2");
    let mut command = fixture.command();
    let started = Started::new(command.args(["copy", "src", &one, "-b", "512", "-d", "1"]));
    eventually("all copiers run", || started.children().len() == 4);
    started.signal(Signal::KILL);
    started.wait_until_group_is_empty();
    let left = fixture.temporaries();
    assert_eq!(left.len(), 1, "nobody was left to remove it");

    fixture.file("src", b"content");
    crate::support::run(fixture.command().args(["copy", "src", &other])).succeeds();
    assert_eq!(fixture.temporaries(), left, "it is of another DST");
    eventually("a copy to the same DST cleans up", || {
        copy_beside(&fixture, &one);
        fixture.temporaries().is_empty()
    });
}

#[test]
fn the_temporary_file_of_a_living_copy_is_left_alone() {
    let fixture = slow_fixture();
    let started = start_slow(&fixture, 1);
    let temporary = fixture.temporaries();
    assert_eq!(temporary.len(), 1);
    let quick = crate::support::run(fixture.command().args(["copy", "/proc/version", "dst"]));
    quick.succeeds();
    assert_eq!(fixture.temporaries(), temporary);
    started.signal(Signal::INT);
    started.wait().fails(130, &["SIGINT"]);
    assert_eq!(fixture.names(), ["dst", "src"]);
}

/// Does something while a copy has begun and cannot have ended, because all its processes are
/// stopped meanwhile; returns how it ended.
fn meanwhile(started: Started, act: impl FnOnce()) -> Run {
    started.signal_group(Signal::STOP);
    act();
    started.signal_group(Signal::CONT);
    started.wait()
}

#[test]
fn a_destination_that_appears_during_the_copy_is_left_alone() {
    let fixture = fixture_of(SLOW_BYTES / 8);
    fs::remove_file(fixture.path("dst")).expect("no DST");
    let run = meanwhile(start_slow(&fixture, 2), || {
        fixture.file("dst", b"old");
    });
    run.fails(1, &["dst did not exist at the start", "copy again"]);
    assert_untouched(&fixture);
}

#[test]
fn a_destination_that_becomes_the_source_during_the_copy_is_left_alone() {
    let fixture = fixture_of(SLOW_BYTES / 8);
    let run = meanwhile(start_slow(&fixture, 2), || {
        fs::remove_file(fixture.path("dst")).expect("no DST");
        fs::hard_link(fixture.path("src"), fixture.path("dst")).expect("a link");
    });
    run.fails(1, &["dst is the same file as SRC"]);
    assert_eq!(fixture.names(), ["dst", "src"]);
    let inode = |name| fs::metadata(fixture.path(name)).expect("a file").ino();
    assert_eq!(inode("dst"), inode("src"));
}

#[test]
fn a_destination_that_vanishes_during_the_copy_is_made() {
    let fixture = fixture_of(SLOW_BYTES / 8);
    let run = meanwhile(start_slow(&fixture, 2), || {
        fs::remove_file(fixture.path("dst")).expect("no DST");
    });
    run.succeeds();
    assert_eq!(fs::metadata(fixture.path("dst")).expect("the copy").len(), SLOW_BYTES / 8);
}

/// A stop signal that comes while space is reserved is obeyed before all of it is: what the test
/// keeps open shows how far it came. A signal can come after the reservation all the same, so there
/// are several attempts; without the pieces none of them would do.
#[test]
fn a_stop_signal_is_seen_while_space_is_reserved() {
    const BYTES: u64 = 1 << 30;
    let Some(fixture) = Fixture::in_memory(2 * BYTES) else {
        return skipped("a signal during the reservation", "no tmpfs with enough space");
    };
    File::create(fixture.path("src")).expect("a file").set_len(BYTES).expect("a hole");
    let stopped_early = || {
        let mut command = Command::new("env");
        command.current_dir(fixture.root()).args(["--default-signal", HANDFAST, "copy", "src"]);
        let started = Started::new(command.arg("dst"));
        let mut open = None;
        eventually("space is being reserved", || {
            let path = fixture.temporaries().pop();
            open = open.take().or_else(|| File::open(path?).ok());
            open.as_ref().is_some_and(|file| blocks(file) > 0)
        });
        started.signal(Signal::INT);
        started.wait().fails(130, &["SIGINT"]);
        assert_eq!(fixture.names(), ["src"]);
        open.is_some_and(|file| blocks(&file) * 512 < BYTES)
    };
    assert!((0..8).any(|_| stopped_early()), "all space was reserved each time");
}

fn blocks(file: &File) -> u64 {
    file.metadata().expect("an open file").blocks()
}

/// Changes the source of a copy that has begun and cannot have ended, because all its processes are
/// stopped meanwhile.
fn change_source_during_copy(fixture: &Fixture, len: u64) -> Started {
    let started = start_slow(fixture, 2);
    started.signal_group(Signal::STOP);
    let source = File::options().write(true).open(fixture.path("src")).expect("the source");
    source.set_len(len).expect("another size");
    started.signal_group(Signal::CONT);
    started
}

#[test]
fn a_source_that_is_truncated_during_the_copy_is_an_error_with_both_sizes() {
    let fixture = slow_fixture();
    let started = change_source_during_copy(&fixture, 1000);
    started.wait().fails(1, &["src was truncated during the copy", &SLOW_BYTES.to_string()]);
    assert_untouched(&fixture);
}

#[test]
fn a_source_that_grows_during_the_copy_is_copied_as_it_was_at_the_start() {
    let bytes = SLOW_BYTES / 4;
    let fixture = fixture_of(bytes);
    let started = change_source_during_copy(&fixture, bytes + 1000);
    let summary = started.wait().succeeds();
    assert!(summary.starts_with(&format!("copied {bytes} bytes in ")), "{summary}");
    assert_eq!(fs::metadata(fixture.path("dst")).expect("the copy").len(), bytes);
}
