//! Runs the examples as a user does, and reads what they print.
//!
//! `cargo test -p handfast` builds them; after `cargo test --test examples` alone they may be missing
//! or old, and these tests say what to do.

use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("the test knows its own path");
    let built: Option<PathBuf> =
        test.ancestors().nth(2).map(|profile| profile.join("examples").join(name));
    let built = built.filter(|path| path.exists());
    let missing = || panic!("no example {name}: run `cargo build -p handfast --examples` first");
    Command::new(built.unwrap_or_else(missing))
}

struct Run {
    status: ExitStatus,
    output: String,
    errors: String,
}

/// Runs an example to its end. One that hangs is killed with the processes it started.
fn run(command: &mut Command) -> Run {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let file = |name: &str| File::create(at(name)).expect("a file");
    command.process_group(0).stdout(file("output")).stderr(file("errors"));
    let mut child = command.spawn().expect("the example starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::yield_now(),
            None => {
                let _gone = kill_process_group(Pid::from_child(&child), Signal::KILL);
                let _reaped = child.wait();
                panic!("{command:?} did not end");
            }
        }
    };
    let read = |name: &str| std::fs::read_to_string(at(name)).expect("text");
    Run { status, output: read("output"), errors: read("errors") }
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let Run { status, output, errors } = run(command);
    assert!(status.success(), "{status}: {errors}\n{output}");
    assert!(errors.is_empty(), "unexpected on standard error: {errors}");
    output
}

/// The numbers of the line of `shared_cache` that begins with this word: issued, joined, hit, bytes.
#[track_caller]
fn row(text: &str, name: &str) -> [u64; 4] {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    let numbers = line.expect("there is such a line").split_whitespace().skip(1);
    let numbers: Vec<u64> = numbers.map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("four numbers")
}

#[test]
fn two_processes_tells_its_story_to_the_end() {
    let story = succeeds(&mut example("two_processes"));
    let told = |part: &str| story.contains(part);
    assert!(told("every step was as told"), "{story}");
    // Which slot A has depends on who attaches first.
    let handles = ["h0", "h1", "h2"];
    let told_of = |handle: &&str| {
        told(&format!("{handle}g1 again: recycled"))
            && told(&format!("A: uses the handle again: {handle}g2"))
    };
    assert_eq!(handles.iter().filter(|handle| told_of(handle)).count(), 1, "{story}");
    assert!(succeeds(example("two_processes").arg("--help")).contains("Usage"));
    assert_eq!(run(example("two_processes").arg("C")).status.code(), Some(2));
}

#[test]
fn shared_cache_reads_each_block_once_and_joins_what_is_in_flight() {
    let options = ["--size", "4", "--processes", "4", "--ensure-join"];
    let text = succeeds(example("shared_cache").args(options));
    let [issued, joined, hit, checked] = row(&text, "total");
    assert_eq!(issued, 512, "4 MiB in blocks of 8 KiB, each read once");
    assert!(joined >= 1, "the first block was joined for certain");
    assert_eq!(issued + joined + hit, 4 * 512);
    assert_eq!(checked, 4 * (4 << 20), "every process compared every byte");
    let rows = ["0", "1", "2", "3"].map(|name| row(&text, name));
    assert_eq!(rows.iter().map(|row| row[1]).sum::<u64>(), joined);
}

#[test]
fn shared_cache_takes_any_file_of_any_length() {
    for len in [0, 1, 511, 512, 513, 8192 * 3 + 5] {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        let bytes: Vec<u8> = (0..len).map(|at: usize| (at % 251).to_le_bytes()[0]).collect();
        file.write_all(&bytes).expect("there is room");
        let options = ["--processes", "2", "--block-size", "512"];
        let text = succeeds(example("shared_cache").arg(file.path()).args(options));
        let [issued, _, _, checked] = row(&text, "total");
        assert_eq!((issued, checked), (len.div_ceil(512) as u64, 2 * len as u64), "{len} bytes");
    }
}

/// The methods that work on this machine.
fn methods() -> impl Iterator<Item = &'static str> {
    let rings = handfast::MethodChoice::here().method == handfast::Method::IoUring;
    ["sync", "worker", "auto"].into_iter().chain(rings.then_some("io_uring"))
}

#[test]
fn two_processes_tells_its_story_by_every_method() {
    for method in methods() {
        let story = succeeds(example("two_processes").args(["--method", method]));
        assert!(story.contains("every step was as told"), "{method}: {story}");
        let by_worker = story.contains("method worker");
        assert_eq!(story.contains("a worker is there"), by_worker, "{method}: {story}");
    }
    let refused = run(example("two_processes").args(["--method", "magic"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.errors.contains("auto, sync, worker, io_uring"), "{}", refused.errors);
}

#[test]
fn shared_cache_is_right_by_every_method() {
    for method in methods() {
        let options = ["--size", "2", "--ensure-join", "--method", method];
        let text = succeeds(example("shared_cache").args(options));
        let [issued, joined, hit, _] = row(&text, "total");
        assert_eq!((issued, issued + joined + hit), (256, 4 * 256), "{method}: {text}");
    }
    let rings = methods().any(|method| method == "io_uring");
    let text = succeeds(example("shared_cache").args(["--size", "1", "--workers", "1"]));
    assert_eq!(text.contains("--workers is not used: the method io_uring"), rings, "{text}");
}

#[test]
fn shared_cache_is_held_up_by_no_process_that_is_busy_with_reads_in_flight() {
    for method in methods() {
        for busy in ["--spin", "--sleep"] {
            let options = ["--size", "1", busy, "3000", "--processes", "2", "--method", method];
            let text = succeeds(example("shared_cache").args(options));
            assert!(row(&text, "total")[1] >= 1, "{method} {busy}: {text}");
        }
    }
}

#[test]
fn shared_cache_refuses_what_it_cannot_do_in_words() {
    for (code, arguments, part) in [
        (1, &["/nowhere/at/all"][..], "/nowhere/at/all"),
        (1, &["/"], "not a regular file"),
        (1, &["--block-size", "700", "--size", "1"], "multiple of 512"),
        (2, &["--processes", "0"], "from 1"),
        (2, &["--processes"], "needs a number"),
        (2, &["--fast"], "no option --fast"),
        (2, &["--method", "magic"], "auto, sync, worker, io_uring"),
        (2, &["--workers", "33"], "from 1 to 32"),
        (2, &["--workers", "2", "--method", "sync"], "sync has no workers: leave out --workers"),
        (2, &["--method", "io_uring", "--workers", "2"], "or ask for --method worker"),
    ] {
        let Run { status, errors, .. } = run(example("shared_cache").args(arguments));
        assert_eq!(status.code(), Some(code), "{arguments:?}");
        assert!(errors.contains(part), "{arguments:?}: {errors}");
    }
    assert!(succeeds(example("shared_cache").arg("--help")).contains("Usage"));
}
