//! Resources that run out: disk space, descriptors, file size.

use std::fs;
use std::process::Command;

use crate::support::{Fixture, HANDFAST, Run, is_root, noise, run, skipped};

/// Runs a copy into a small tmpfs of its own, in a mount namespace of its own, which is gone with
/// the run. The standard output lists the tmpfs afterwards, and has the content of `dst`.
fn copy_into_tmpfs(fixture: &Fixture, size: &str, source: &str) -> Option<Run> {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o "size=$1" none mount || exit 99
        echo old > mount/dst || exit 99
        "$0" copy -p 2 "$2" mount/dst
        code=$?
        ls -A mount
        cat mount/dst
        exit $code"#;
    fs::create_dir_all(fixture.path("mount")).expect("a directory");
    let mut command = Command::new("sh");
    command.args(["-c", "exec unshare \"$@\"", "sh"]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", SCRIPT, HANDFAST, size, source]);
    let run = run(command.current_dir(fixture.root()));
    // 1 without a word of handfast is unshare's own.
    let handfast_ran = run.stderr.contains("handfast: ") || run.status.success();
    if handfast_ran {
        return Some(run);
    }
    skipped("a full file system", &format!("no right to mount a tmpfs: {}", run.stderr.trim()));
    None
}

#[test]
fn a_full_file_system_is_known_before_anything_is_copied() {
    let fixture = Fixture::new();
    fixture.file("src", &noise(2 << 20, 5));
    let Some(run) = copy_into_tmpfs(&fixture, "1m", "src") else { return };
    assert_eq!(run.stdout, "dst\nold\n", "DST is untouched, and nothing is left");
    assert_eq!(run.status.code(), Some(1));
    for part in
        ["no space for 2097152 bytes in mount", "No space left on device", "another directory"]
    {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

#[test]
fn a_file_system_that_gets_full_during_the_copy_is_an_error_of_that_write() {
    let source = "/proc/kallsyms";
    let fixture = Fixture::new();
    if fs::read(source).map_or(0, |symbols| symbols.len()) < 100_000 {
        return skipped("a write without space", "/proc/kallsyms is too short here");
    }
    let Some(run) = copy_into_tmpfs(&fixture, "64k", source) else { return };
    assert_eq!(run.stdout, "dst\nold\n", "DST is untouched, and nothing is left");
    assert_eq!(run.status.code(), Some(1));
    for part in ["cannot write mount/.dst.handfast-", "No space left on device"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
}

/// Runs a copy under limits of a shell.
fn copy_under_limit(fixture: &Fixture, limit: &str, arguments: &[&str]) -> Run {
    let script = format!("ulimit {limit}; exec \"$0\" copy \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, HANDFAST]).args(arguments).current_dir(fixture.root());
    run(&mut command)
}

#[test]
fn eight_processes_get_along_with_16_descriptors() {
    let fixture = Fixture::new();
    let content = noise(100_000, 6);
    fixture.file("src", &content);
    copy_under_limit(&fixture, "-n 16", &["-p", "8", "--fsync", "src", "dst"]).succeeds();
    assert!(fs::read(fixture.path("dst")).expect("the copy") == content);
}

#[test]
fn every_limit_of_descriptors_either_suffices_or_is_named() {
    let fixture = Fixture::new();
    let content = noise(100_000, 6);
    fixture.file("src", &content);
    let mut refused = 0;
    for limit in 4..=20 {
        let option = format!("-n {limit}");
        let run = copy_under_limit(&fixture, &option, &["-p", "8", "--fsync", "src", "dst"]);
        assert!(fixture.temporaries().is_empty());
        if run.status.success() {
            assert!(fs::read(fixture.path("dst")).expect("the copy") == content);
            fs::remove_file(fixture.path("dst")).expect("the copy");
            continue;
        }
        refused += 1;
        assert!(!fixture.path("dst").exists());
        // Below about 5 not even the dynamic loader gets along, and that speaks for itself.
        if run.stderr.starts_with("handfast: ") {
            assert_eq!(run.status.code(), Some(1), "{run:?}");
            let named = format!("the limit of open files (ulimit -n) is {limit}: raise it");
            assert!(run.stderr.contains(&named), "{run:?}");
            assert_one_remedy(&run);
        }
    }
    assert!((1..=12).contains(&refused), "{refused} of 17 limits were too low");
}

/// The remedy is to raise the limit; where the library met it is of no use to anybody.
#[track_caller]
fn assert_one_remedy(run: &Run) {
    assert_eq!(run.stderr.matches("raise it").count(), 1, "{run:?}");
    for other in ["see open(2)", "/proc", "smaller settings"] {
        assert!(!run.stderr.contains(other), "{other}: {run:?}");
    }
    assert_eq!(run.stderr.matches("ulimit").count(), 1, "{run:?}");
}

#[test]
fn a_hundred_processes_have_enough_descriptors_or_name_the_limit_once() {
    let fixture = Fixture::new();
    let source = fs::File::create(fixture.path("src")).expect("a file");
    // Long enough for all of them to get to work.
    source.set_len(64 << 20).expect("a hole");
    for limit in [8, 14, 24, 40] {
        let option = format!("-n {limit}");
        let arguments = ["-p", "100", "-d", "1", "-b", "4096", "src", "dst"];
        let run = copy_under_limit(&fixture, &option, &arguments);
        if run.status.success() {
            fs::remove_file(fixture.path("dst")).expect("the copy");
            continue;
        }
        assert_one_remedy(&run);
        let limit = format!("the limit of open files (ulimit -n) is {limit}: raise it");
        run.fails(1, &["Too many open files (os error 24)", &limit]);
        assert_eq!(fixture.names(), ["src"]);
    }
}

#[test]
fn a_limit_of_the_file_size_is_an_error_and_no_death() {
    let fixture = Fixture::new();
    fixture.file("src", &noise(3 << 20, 7));
    let run = copy_under_limit(&fixture, "-f 8", &["src", "dst"]);
    run.fails(1, &["File too large", "ulimit -f"]);
    assert_eq!(fixture.names(), ["src"]);
    // The segment is a file too.
    let run = copy_under_limit(&fixture, "-f 0", &["/proc/version", "dst"]);
    let message = run.fails(1, &["File too large", "ulimit -f"]);
    assert!(!message.contains("smaller settings"), "{message}");
    assert_eq!(fixture.names(), ["src"]);
}

#[test]
fn a_limit_of_the_file_size_that_a_copier_meets_is_told_once() {
    let source = "/proc/kallsyms";
    let fixture = Fixture::new();
    if fs::read(source).map_or(0, |symbols| symbols.len()) < 300_000 {
        return skipped("a write beyond the limit", "/proc/kallsyms is too short here");
    }
    // The unit is 512 or 1024 bytes; the segment stays below. Without a size known in advance it
    // is a write that meets the limit.
    let run = copy_under_limit(&fixture, "-f 200", &[source, "dst"]);
    let message = run.fails(1, &["cannot write ./.dst.handfast-", "File too large"]);
    assert_eq!(message.matches("ulimit -f").count(), 1, "{message}");
    assert!(fixture.names().is_empty());
}

#[test]
fn a_summary_that_cannot_be_printed_does_not_undo_the_copy() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    let script = "\"$0\" copy src dst > /dev/full";
    let run = run(Command::new("sh").args(["-c", script, HANDFAST]).current_dir(fixture.root()));
    assert!(run.status.success(), "{run:?}");
    assert!(run.stderr.contains("the copy is complete"), "{run:?}");
    assert_eq!(fs::read(fixture.path("dst")).expect("the copy"), b"content");
}
