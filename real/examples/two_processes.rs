//! Two unrelated programs and one IO: A starts it, B waits for it by 16 bytes that came over a pipe.
//!
//! The program starts itself twice. The two processes share nothing but the pool, which each of them
//! maps at an address of its own, and two pipes. Every step is checked; the exit code is 0 only if
//! all of them were as told. With the method worker a thread of the launcher is the worker.
//!
//! ```text
//!   A                                             B
//!   stages a read, sends its wait reference ────▶ waits for it, asleep
//!   sees the sleeper in the snapshot, submits ──▶ wakes up, reads the frame by its number
//!   offers the frame, uses the handle again ────▶ the old reference: recycled, at once
//!                                                 adopts the frame by its token
//! ```

#![expect(clippy::disallowed_types, reason = "the flag is the example's own")]

use handfast::{
    Finished, Frame, FrameId, FrameToken, Method, Pending, Pool, Process, Registry, Scope, WaitRef,
    Waited, WorkOptions,
};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const HELP: &str = "\
Shows two processes that share one pool of IO handles: one starts an IO, the other waits for it.

Usage: cargo run -p handfast --example two_processes -- [--method auto|sync|worker|io_uring]

It uses a temporary file of its own. With the method worker, a thread executes the reads of both
processes. Exit code 0: everything was as told; 2: the command line was not understood.";

/// One frame, and so one read, in bytes.
const BLOCK: u32 = 8192;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        [] => launch(Method::Auto),
        ["--method", name] => match method(name) {
            Some(method) => launch(method),
            None => return refuse("--method needs one of auto, sync, worker, io_uring"),
        },
        ["A", pool, file] => issuer(Path::new(pool), Path::new(file)),
        ["B", pool] => waiter(Path::new(pool)),
        ["--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => return refuse(&format!("two_processes takes no such arguments\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("two_processes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn method(name: &str) -> Option<Method> {
    let all = [Method::Auto, Method::Sync, Method::Worker, Method::IoUring];
    all.into_iter().find(|method| method.name() == name)
}

/// A command line that is not understood.
fn refuse(why: &str) -> ExitCode {
    eprintln!("two_processes: {why}");
    ExitCode::from(2)
}

/// What the file holds: any bytes that zeroes and misplaced blocks differ from.
fn content() -> Vec<u8> {
    (0..BLOCK).map(|at| (at % 251).to_le_bytes()[0] + 1).collect()
}

/// The launcher: makes the pool, with a slot for a worker, and starts A and B.
fn launch(method: Method) -> Outcome {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&content())?;
    // One handle per process, so that A's second IO has to use the same one again.
    let pool = Pool::builder()
        .method(method)
        .processes(3)
        .handles_per_process(1)
        .frames(2)
        .frame_size(BLOCK)
        .user_words(1)
        .create()?;
    for refusal in &pool.method_choice().refusals {
        say("pool", &refusal.to_string());
    }
    if pool.method() == Method::Worker {
        with_worker(&pool, || run_both(&pool, file.path()))?;
    } else {
        run_both(&pool, file.path())?;
    }
    say("pool", "every step was as told");
    Ok(())
}

/// Does something while a thread carries out the IO of others: without any worker, issuers do it themselves.
fn with_worker(pool: &Pool, act: impl FnOnce() -> Outcome) -> Outcome {
    let (me, leave) = (pool.attach()?, AtomicBool::new(false));
    std::thread::scope(|threads| {
        let worker = threads.spawn(|| work(me, &leave));
        let outcome = await_worker(pool).and_then(|()| act());
        leave.store(true, Ordering::Release);
        pool.rouse_workers();
        let worked = worker.join().map_err(|_| "the worker panicked")?;
        outcome?;
        Ok(worked?)
    })
}

fn work(mut me: Process<'_>, leave: &AtomicBool) -> Result<(), handfast::Error> {
    let _asked = me.work(WorkOptions::default(), leave)?;
    Ok(me.detach()?)
}

fn await_worker(pool: &Pool) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while pool.workers() == 0 {
        ensure(Instant::now() < deadline, "the worker does not come")?;
        std::thread::yield_now();
    }
    say("pool", "a worker is there");
    Ok(())
}

/// Starts A and B, and waits for their end.
fn run_both(pool: &Pool, file: &Path) -> Outcome {
    // The segment is a memfd without a name; a process of the same user can open it through /proc.
    let segment = format!("/proc/{}/fd/{}", std::process::id(), pool.as_fd().as_raw_fd());
    let (bytes, method) = (pool.segment_len(), pool.method());
    say("pool", &format!("{bytes} bytes, method {method}, opened by A and B as {segment}"));
    let (from_b, to_a) = std::io::pipe()?;
    let (from_a, to_b) = std::io::pipe()?;
    let file = file.to_str().ok_or("the temporary directory's name is not UTF-8")?;
    let a = start(&["A", &segment, file], from_b.into(), to_b.into())?;
    let b = start(&["B", &segment], from_a.into(), to_a.into())?;
    for (name, mut child) in [("A", a), ("B", b)] {
        let status = child.wait()?;
        ensure(status.success(), &format!("{name} ended with {status}"))?;
    }
    Ok(())
}

/// Starts this program again. Its standard input and output are the pipes to the other process; it
/// tells its part of the story on standard error, which is our standard output.
fn start(arguments: &[&str], input: Stdio, output: Stdio) -> Result<Child, Box<dyn Error>> {
    let story = std::io::stdout().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args(arguments).stdin(input).stdout(output).stderr(story).spawn()?)
}

/// A: the issuer.
fn issuer(segment: &Path, path: &Path) -> Outcome {
    let pool = Pool::open(segment, Registry::new())?;
    send(&address(&pool).to_le_bytes())?;
    let mut me = pool.attach()?;
    let file = me.open(path, OpenOptions::new().read(true))?;
    let frame = me.frame().ok_or("the pool has no free frame")?;
    let mut scope = me.scope();

    // In a batch an IO is only staged: defined, known to everybody, not started. So B has something
    // to wait for; method `sync` would have finished a read before B could hear of it.
    let frame_id = frame.id();
    let mut batch = scope.batch();
    let handle = batch.acquire()?;
    let first = handle.wait_ref();
    let pending = handle.read(&file, frame, 0).map_err(|refused| refused.error)?;
    say("A", &format!("staged a read into frame {}, its reference is {first}", frame_id.0));
    send(&first.to_bytes())?;
    send(&frame_id.0.to_le_bytes())?;
    await_sleeper(&pool, first)?;
    say("A", "sees in the snapshot that somebody waits, and submits");
    batch.submit()?;
    receive::<1>()?;

    let frame = finish(&mut scope, pending)?;
    let token = frame.hand_over()?;
    let frame = scope.frame().ok_or("the pool has no free frame")?;
    let mut batch = scope.batch();
    let handle = batch.acquire()?;
    let second = handle.wait_ref();
    ensure(second.handle() == first.handle(), "A has one handle, but got another one")?;
    let pending = handle.read(&file, frame, 0).map_err(|refused| refused.error)?;
    say("A", &format!("uses the handle again: {second}, staged, not started"));
    send(&token.to_bytes())?;
    receive::<1>()?;
    batch.submit()?;
    drop(finish(&mut scope, pending)?);
    scope.commit()?;
    me.detach()?;
    Ok(())
}

/// Returns when somebody waits for this IO. A real program has no need to know.
fn await_sleeper(pool: &Pool, reference: WaitRef) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let waited_for = |row: &handfast::HandleView| {
            row.handle == reference.handle()
                && row.generation == reference.generation()
                && row.has_waiters
        };
        if pool.snapshot().iter().any(waited_for) {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err("nobody came to wait for the IO".into())
}

fn finish<'pool>(
    scope: &mut Scope<'_, 'pool>,
    pending: Pending<'pool, Frame<'pool>>,
) -> Result<Frame<'pool>, Box<dyn Error>> {
    let Finished { outcome, memory } = scope.finish(pending).map_err(|not| not.error)?;
    ensure(outcome.bytes()? == BLOCK, "the read was short")?;
    Ok(memory)
}

/// B: the waiter. It never opens the file.
fn waiter(segment: &Path) -> Outcome {
    let theirs = usize::from_le_bytes(receive()?);
    let first = Pool::open(segment, Registry::new())?;
    // The kernel has most likely chosen another address anyway. If not, a second mapping beside the
    // first one gets another for certain.
    let pool =
        if address(&first) == theirs { Pool::open(segment, Registry::new())? } else { first };
    say("B", &format!("sees the shared words at {:#x}, A at {theirs:#x}", address(&pool)));
    ensure(address(&pool) != theirs, "both processes map the pool at the same address")?;
    let mut me = pool.attach()?;

    let reference = WaitRef::from_bytes(receive()?).ok_or("these bytes are no reference")?;
    let frame = FrameId(u32::from_le_bytes(receive()?));
    say("B", &format!("waits for {reference}"));
    ensure(me.wait(reference)? == Waited::Done, "the IO was to be done, not recycled")?;
    let mut bytes = vec![0; content().len()];
    pool.copy_from_frame(frame, 0, &mut bytes)?;
    ensure(bytes == content(), "the frame does not hold what the file holds")?;
    say("B", &format!("is woken and finds the file's {} bytes in frame {}", bytes.len(), frame.0));
    send(b"1")?;

    let token = FrameToken::from_bytes(receive()?);
    let began = Instant::now();
    // The time-out is for a story that goes wrong: an old reference never waits for a newer IO.
    let waited = me.wait_timeout(reference, Duration::from_secs(5))?;
    let took = began.elapsed();
    ensure(waited.is_some(), "the old reference waited for another IO")?;
    ensure(waited == Some(Waited::Recycled), "the old reference was to be recycled")?;
    say("B", &format!("waits for {reference} again: recycled, after {} ns", took.as_nanos()));
    let mine = me.adopt(token)?;
    ensure(mine.id() == frame, "the token is of another frame")?;
    bytes.fill(0);
    mine.copy_to_slice(0, &mut bytes)?;
    ensure(bytes == content(), "the frame changed on its way")?;
    say("B", &format!("adopted frame {} by its token: it is B's now", frame.0));
    ensure(me.adopt(token).is_err(), "a token was good for two adoptions")?;
    send(b"2")?;
    drop(mine);
    me.detach()?;
    Ok(())
}

/// Where this process has the pool: the address of the application's first word.
fn address(pool: &Pool) -> usize {
    pool.user_words().as_ptr().addr()
}

/// Tells a part of the story, in one write, so that lines of two processes do not mix.
fn say(who: &str, what: &str) {
    let line = format!("{who:>4}: {what}\n");
    // A and B speak on standard error: their standard output is the pipe to the other one. Nobody
    // may be listening any more, and the exit code says it all.
    let _told = match who {
        "pool" => std::io::stdout().write_all(line.as_bytes()),
        _ => std::io::stderr().write_all(line.as_bytes()),
    };
}

fn ensure(holds: bool, otherwise: &str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// Sends bytes to the other process.
fn send(bytes: &[u8]) -> Outcome {
    let mut pipe = std::io::stdout().lock();
    pipe.write_all(bytes)?;
    Ok(pipe.flush()?)
}

/// Receives exactly `N` bytes from the other process; an error if it is gone.
fn receive<const N: usize>() -> Result<[u8; N], Box<dyn Error>> {
    let mut bytes = [0; N];
    std::io::stdin().lock().read_exact(&mut bytes)?;
    Ok(bytes)
}
