//! `handfast worker`: workers appear, work, are replaced and disappear; what is no pool for them is refused.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use handfast::{Callback, CallbackId, Method, Pool, PoolBuilder, Registry};
use rustix::process::Signal;

use crate::support::{Fixture, HANDFAST, Run, Started, eventually, kill, noise, pid, run};

/// A named pool in a directory of its own.
struct Named {
    fixture: Fixture,
    pool: Pool,
    path: PathBuf,
}

const FRAME: usize = 4096;

fn named(change: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Named {
    let fixture = Fixture::new();
    let path = fixture.path("pool");
    let builder = Pool::builder().processes(12).handles_per_process(32).frames(64).frame_size(4096);
    let pool = change(builder.method(Method::Worker)).create_named(&path).expect("a pool");
    Named { fixture, pool, path }
}

impl Named {
    fn plain() -> Self {
        named(|builder| builder)
    }

    /// `handfast worker` for this pool.
    fn start(&self, options: &[&str]) -> Started {
        let mut command = Command::new("env");
        command.args(["--default-signal", HANDFAST, "worker"]).arg(&self.path).args(options);
        Started::new(&mut command)
    }

    fn run(&self, options: &[&str]) -> Run {
        run(Command::new(HANDFAST).arg("worker").arg(&self.path).args(options))
    }

    fn eventually_working(&self, number: u32) {
        eventually(&format!("{number} workers work"), || self.pool.workers() == number);
    }

    /// Reads every frame of a file at once through the pool; whether a worker can have done it is seen by
    /// nothing but the number of workers.
    fn read_file(&self, content: &[u8]) {
        let path = self.fixture.file("data", content);
        let mut process = self.pool.attach().expect("a slot");
        let file = process.open(&path, OpenOptions::new().read(true)).expect("the file");
        let frames: Vec<_> = (0..32).map(|_| process.frame().expect("a frame")).collect();
        let mut scope = process.scope();
        let mut batch = scope.batch();
        let mut reads = Vec::new();
        for (number, frame) in (0_u64..).zip(frames) {
            let handle = batch.acquire().expect("a handle");
            reads.push(handle.read(&file, frame, number * FRAME as u64).expect("a start"));
        }
        batch.submit().expect("a submission");
        for (read, expected) in reads.into_iter().zip(content.chunks(FRAME)) {
            let done = scope.finish(read).expect("an end");
            assert_eq!(done.outcome.bytes().expect("bytes") as usize, expected.len());
            let mut found = vec![0; expected.len()];
            done.memory.copy_to_slice(0, &mut found).expect("bytes");
            assert!(found == expected);
        }
    }
}

#[track_caller]
fn assert_stopped(run: &Run, code: i32, signal: &str) {
    assert_eq!(run.status.code(), Some(code), "{run:?}");
    assert!(run.stderr.contains(&format!("stopped by {signal}; ")), "{run:?}");
}

#[test]
fn workers_appear_work_and_disappear_with_their_supervisor() {
    let named = Named::plain();
    let content = noise(32 * FRAME, 30);
    named.read_file(&content);
    let started = named.start(&["--least", "2", "--most", "4"]);
    named.eventually_working(2);
    assert_eq!(started.workers().len(), 2);
    named.read_file(&content);
    started.signal(Signal::TERM);
    assert_stopped(&started.wait(), 143, "SIGTERM");
    assert_eq!(named.pool.workers(), 0);
    // Without workers the pool's processes do their IO themselves.
    named.read_file(&content);
}

#[test]
fn more_workers_come_while_there_is_work_and_go_when_they_are_idle() {
    let named = Named::plain();
    let started = named.start(&["--least", "1", "--most", "3", "--idle", "1"]);
    named.eventually_working(1);
    let content = noise(32 * FRAME, 31);
    eventually("there are as many as there may be", || {
        named.read_file(&content);
        assert!(started.workers().len() <= 3);
        named.pool.workers() == 3
    });
    named.eventually_working(1);
    eventually("those that are not needed have ended", || started.workers().len() == 1);
    started.signal_group(Signal::INT);
    assert_stopped(&started.wait(), 130, "SIGINT");
}

#[test]
fn a_worker_that_is_killed_or_told_to_leave_is_replaced() {
    let named = Named::plain();
    let started = named.start(&["--least", "2", "--most", "2"]);
    named.eventually_working(2);
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let before = started.workers();
        let told = rustix::process::kill_process(pid(before[0]), signal);
        told.expect("the worker is there");
        eventually("another one has taken its place", || {
            let now = started.workers();
            now.len() == 2 && !now.contains(&before[0]) && now.contains(&before[1])
        });
        named.eventually_working(2);
    }
    started.signal(Signal::TERM);
    let run = started.wait();
    assert_stopped(&run, 143, "SIGTERM");
    assert!(
        run.stderr.contains("5 workers were started, 1 of them in place of dead ones"),
        "{run:?}"
    );
}

#[test]
fn workers_die_with_a_killed_supervisor() {
    let named = Named::plain();
    let started = named.start(&[]);
    named.eventually_working(2);
    started.signal(Signal::KILL);
    started.wait_until_group_is_empty();
    named.read_file(&noise(32 * FRAME, 32));
}

#[test]
fn a_stopped_worker_is_killed_when_its_time_is_over_or_at_the_second_signal() {
    let named = Named::plain();
    let started = named.start(&[]);
    named.eventually_working(2);
    let stopped = rustix::process::kill_process(pid(started.workers()[0]), Signal::STOP);
    stopped.expect("the worker is there");
    started.signal(Signal::TERM);
    eventually("the other one has left", || started.workers().len() == 1);
    started.signal(Signal::TERM);
    assert_stopped(&started.wait(), 143, "SIGTERM");
}

#[test]
fn a_pool_can_be_inherited_or_found_by_its_descriptor() {
    let named = Named::plain();
    let inherited = "exec \"$0\" worker --pool-fd 3 3<>\"$1\"";
    let opened = "exec 3<>\"$1\"; exec \"$0\" worker /proc/$$/fd/3";
    for script in [inherited, opened] {
        let mut command = Command::new("sh");
        command.args(["-c", script, HANDFAST]).arg(&named.path);
        let started = Started::new(&mut command);
        named.eventually_working(2);
        started.signal(Signal::TERM);
        assert_stopped(&started.wait(), 143, "SIGTERM");
    }
}

#[test]
fn a_full_pool_is_told_and_gets_its_worker_when_there_is_room() {
    let named = named(|builder| builder.processes(2));
    let process = named.pool.attach().expect("a slot");
    let _other = named.pool.attach().expect("the other slot");
    let mut started = named.start(&[]);
    let said = started.hears();
    assert!(said.contains("all 2 slots of the pool are in use: "), "{said}");
    assert!(said.contains("end workers, or make the pool for more processes"), "{said}");
    process.detach().expect("the slot");
    named.eventually_working(1);
    started.signal(Signal::TERM);
    let run = started.wait();
    assert_stopped(&run, 143, "SIGTERM");
    assert!(run.stderr.contains("1 worker was started, 0 of them"), "{run:?}");
}

#[test]
fn a_worker_that_finds_no_slot_says_so_by_its_exit_code_alone() {
    let named = named(|builder| builder.processes(1));
    let _process = named.pool.attach().expect("the only slot");
    let me = std::process::id().to_string();
    let orders = ["__worker", "--supervisor", &me, "--least", "1", "--idle", "1"];
    let pool = OpenOptions::new().read(true).write(true).open(&named.path).expect("the pool");
    let output = Command::new(HANDFAST).args(orders).stdin(pool).output().expect("it starts");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_pool_with_one_slot_is_refused() {
    let named = named(|builder| builder.processes(1));
    named.run(&[]).fails(1, &["one slot", "make it for more processes"]);
    assert_eq!(named.pool.workers(), 0);
}

#[test]
fn workers_leave_the_application_a_slot_however_much_there_is_to_do() {
    let named = named(|builder| builder.processes(4));
    let _process = named.pool.attach().expect("a slot");
    let started = named.start(&[]);
    named.eventually_working(2);
    let content = noise(32 * FRAME, 34);
    for _ in 0..100 {
        // It attaches: that would fail with three workers.
        named.read_file(&content);
    }
    assert_eq!(started.workers().len(), 2);
    started.signal(Signal::TERM);
    let run = started.wait();
    assert_stopped(&run, 143, "SIGTERM");
    assert!(run.stderr.contains("2 workers were started, 0 of them in place"), "{run:?}");
}

struct Nothing;

impl Callback for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
}

#[test]
fn a_pool_that_workers_cannot_serve_is_refused_with_the_reason() {
    let id = CallbackId::new(1).expect("a number");
    let registry = Registry::new().callback(id, Arc::new(Nothing)).expect("a callback");
    let of_application = named(|builder| builder.registry(registry));
    of_application.run(&[]).fails(1, &["has callbacks", "Process::work"]);
    named(|builder| builder.common_regions(2))
        .run(&[])
        .fails(1, &["2 common regions", "Process::work"]);
    let sync = named(|builder| builder.method(Method::Sync));
    sync.run(&[]).fails(1, &["the method sync, which needs no workers", "method worker"]);
    let fixture = Fixture::new();
    let in_it = |arguments: &[&str]| run(fixture.command().arg("worker").args(arguments));
    in_it(&["nothing"]).fails(1, &["cannot open the pool nothing", "No such file or directory"]);
    fixture.file("text", b"no pool");
    fixture.file("empty", b"");
    in_it(&["text"]).fails(1, &["cannot open the pool text"]);
    for name in ["empty", "/dev/null"] {
        in_it(&[name])
            .fails(1, &["cannot open the pool", name, "is not a handfast pool; open the file"]);
    }
    in_it(&["--pool-fd", "77"]).fails(1, &["cannot open the pool /proc/self/fd/77"]);
}

#[test]
fn absurd_limits_of_workers_are_refused_with_the_allowed_range() {
    let named = Named::plain();
    for (options, part) in [
        (&["--least", "0"][..], "1..=32"),
        (&["--least", "33"], "1..=32"),
        (&["--most", "33"], "1..=32"),
        (&["--most", "-1"], "1..=32"),
        (&["--least", "9", "--most", "8"], "9 to 8 workers: the least must be 1 to 32"),
        (&["--least", "4", "--most", "3"], "Usage: handfast worker [OPTIONS] [POOL]"),
        (&["--idle", "0"], "1..=86400"),
        (&["--idle", "soon"], "invalid"),
        (&["--pool-fd", "3"], "cannot be used with"),
    ] {
        named.run(options).fails(2, &[part]);
    }
    run(Command::new(HANDFAST).arg("worker")).fails(2, &["POOL"]);
    assert_eq!(named.pool.workers(), 0);
}

#[test]
fn workers_of_two_supervisors_work_side_by_side() {
    let named = Named::plain();
    let one = named.start(&["--least", "1", "--most", "1"]);
    let other = named.start(&["--least", "2", "--most", "2"]);
    named.eventually_working(3);
    kill(one.workers()[0]);
    named.read_file(&noise(32 * FRAME, 33));
    named.eventually_working(3);
    for started in [one, other] {
        started.signal(Signal::TERM);
        assert_stopped(&started.wait(), 143, "SIGTERM");
    }
    assert_eq!(named.pool.workers(), 0);
}
