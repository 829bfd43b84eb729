//! A process of a pool that does what its standard input says, for the tests in
//! `tests/tests/processes`. One command a line, one answer a line: `ok` and what there is to say, or
//! `error` and why.
//!
//! | without attachment | |
//! |---|---|
//! | `pool PATH`, `plain PATH` | opens a pool; `plain` with an empty registry |
//! | `fd PATH`, `from-fd` | opens a descriptor; opens the pool behind it |
//! | `address` | where it is mapped |
//! | `attach` | slot and epoch; from here on the commands below |
//! | `map NUMBER PATH` | maps a region |
//! | `soak NUMBER OF SEED MS PATH` | plays a part of a soak |
//! | `forbid CALL` | from here on the kernel refuses `io_uring_setup`, `io_uring_enter` or `futex_waitv`; also attached |
//! | `work [IDLE_MS LEAST]` | attaches, says `ok working`, executes for others until a SIGINT or idleness: `ok` and why it left |
//! | `storm N FILE` | N times attach, read, check, detach |
//! | `become UID`, `exec` | another user from now on; the same program, anew |
//!
//! | attached | |
//! |---|---|
//! | `file PATH` | the file for all reads |
//! | `read OFFSET [count] [halt] [halt-error]` | starts a read into a frame: reference, frame |
//! | `churn OFFSET LEN` | reads again and again into local memory, for ever |
//! | `finish` | the oldest read: bytes, first byte; its frame is kept |
//! | `hold`, then `release` or `start OFFSET` | a handle that is handed out |
//! | `batch` … `submit` | a batch around the commands between |
//! | `wait REF`, `wait-any REF…`, `wait-for REF MS`, `check REF`, `outcome REF` | as in the library |
//! | `frames N`, `fill BYTE`, `offer`, `adopt TOKEN`, `peek`, `drop` | frames; the last one taken counts |
//! | `entries N PATH` | opens a file N times: how many got an entry of the file table |
//! | `arm TURN` | the next callback that gets there says `at TURN` and waits for a line |
//! | `recover` | slots recovered, unfinished |
//! | `method` | how its IO is executed, and why not as the pool says |
//! | `detach`, `exec` | ends the attachment; the same program, anew, without ending it |

#![expect(clippy::disallowed_types, reason = "a flag that a signal sets")]

use handfast::{
    AlignedBuf, CallbackId, File, Frame, FrameToken, Pending, Pool, Process, Registry, Scope,
    WaitRef, Waited, WorkOptions,
};
use handfast_tests::callbacks::{AS_ERROR, COUNT, HALT, Turn, registry};
use handfast_tests::soak::Part;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::VecDeque;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Answer = Result<String, Box<dyn Error>>;

/// The turn at which the next callback is to stand still.
static ARMED: Mutex<Option<Turn>> = Mutex::new(None);

/// What a process has opened. Pools stay mapped, so that a second one lies elsewhere.
#[derive(Default)]
struct Opened {
    pools: Vec<Pool>,
    fd: Option<OwnedFd>,
}

fn main() {
    let mut opened = Opened::default();
    while let Some(line) = next_line() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (&words[..], opened.pools.last()) {
            (["attach"], Some(pool)) => match pool.attach() {
                Ok(me) => attached(me),
                Err(error) => answer(Err(error.into())),
            },
            (["work", options @ ..], Some(pool)) => answer(work(pool, options)),
            (["map", number, path], Some(pool)) => answer(map(pool, number, path)),
            (["soak", number, of, seed, ms, path], Some(pool)) => {
                answer(soak(pool, [number, of, seed, ms], path));
            }
            (["forbid", call], _) => answer(forbid(call)),
            (words, _) => answer(opened.command(words)),
        }
    }
}

/// Set by SIGINT.
static LEAVE: AtomicBool = AtomicBool::new(false);

extern "C" fn on_interrupt(_signal: libc::c_int) {
    LEAVE.store(true, Ordering::Release);
}

fn work(pool: &Pool, options: &[&str]) -> Answer {
    let handler: extern "C" fn(libc::c_int) = on_interrupt;
    // SAFETY: the handler does nothing but store to an atomic.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    let options = match options {
        [idle, least] => {
            WorkOptions { idle: Some(Duration::from_millis(idle.parse()?)), least: least.parse()? }
        }
        _ => WorkOptions::default(),
    };
    let mut me = pool.attach()?;
    say("ok working");
    let left = me.work(options, &LEAVE)?;
    me.detach()?;
    Ok(format!("{left:?}"))
}

fn soak(pool: &Pool, [number, of, seed, ms]: [&str; 4], path: &str) -> Answer {
    let (number, of, seed) = (number.parse()?, of.parse()?, seed.parse()?);
    let time = Duration::from_millis(ms.parse()?);
    handfast_tests::soak::play(pool, Part { number, of, seed, time }, Path::new(path))
}

/// As of now and for all threads.
fn forbid(call: &str) -> Answer {
    let call = match call {
        "io_uring_setup" => libc::SYS_io_uring_setup,
        "io_uring_enter" => libc::SYS_io_uring_enter,
        "futex_waitv" => libc::SYS_futex_waitv,
        other => return Err(format!("cannot forbid {other}").into()),
    };
    let (others, this) = (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.cast_unsigned()));
    let machine = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new([(call, Vec::new())].into(), others, this, machine)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(String::new())
}

fn map(pool: &Pool, number: &str, path: &str) -> Answer {
    let memory = OpenOptions::new().read(true).write(true).open(path)?;
    let region = pool.map_region(number.parse()?, memory.as_fd())?;
    Ok(region.len().to_string())
}

fn next_line() -> Option<String> {
    let mut line = String::new();
    // At the end of the input, or if the test is gone, this process is not needed any more.
    match std::io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

fn answer(answer: Answer) {
    say(&match answer {
        Ok(text) => format!("ok {text}"),
        Err(error) => format!("error {error}"),
    });
}

fn say(line: &str) {
    // Without a listener there is nobody to tell that nobody listens.
    let _told = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

fn halting() -> Registry {
    registry(|turn| {
        let armed = ARMED.lock().ok().and_then(|mut armed| armed.take_if(|armed| *armed == turn));
        if armed.is_some() {
            say(&format!("at {}", turn.name()));
            let _told_to_go_on = next_line();
        }
    })
}

impl Opened {
    fn command(&mut self, words: &[&str]) -> Answer {
        match (words, self.pools.last()) {
            (["pool", path], _) => self.pools.push(Pool::open(Path::new(path), halting())?),
            (["plain", path], _) => {
                self.pools.push(Pool::open(Path::new(path), Registry::new())?);
            }
            (["fd", path], _) => {
                let file = OpenOptions::new().read(true).write(true).open(path)?;
                self.fd = Some(file.into());
            }
            (["from-fd"], _) => {
                let fd = self.fd.take().ok_or("no descriptor was opened")?;
                self.pools.push(Pool::from_fd(fd, halting())?);
            }
            (["address"], Some(pool)) => {
                return Ok(format!("{:#x}", pool.user_words().as_ptr().addr()));
            }
            (["storm", rounds, file], Some(pool)) => return storm(pool, rounds.parse()?, file),
            (["become", uid], _) => {
                rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid.parse()?))?;
            }
            (["exec"], _) => return Err(exec().into()),
            _ => return Err(format!("no such command: {words:?}").into()),
        }
        Ok(String::new())
    }
}

fn exec() -> std::io::Error {
    match std::env::current_exe() {
        Ok(program) => std::process::Command::new(program).exec(),
        Err(error) => error,
    }
}

/// Attaches again and again, as soon as a slot is free, and does one counted read each time.
fn storm(pool: &Pool, rounds: u32, path: &str) -> Answer {
    for round in 0..rounds {
        let mut me = loop {
            match pool.attach() {
                Ok(me) => break me,
                Err(handfast::AttachError::Full(_)) => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        };
        let file = me.open(Path::new(path), OpenOptions::new().read(true))?;
        let frame = me.frame().ok_or("no frame is free")?;
        let block = u64::from(round % 4);
        let mut scope = me.scope();
        let mut handle = scope.acquire()?;
        handle.register_callback(COUNT, 0)?;
        let pending = handle.read(&file, frame, block * 4096).map_err(|refused| refused.error)?;
        let done = scope.finish(pending).map_err(|not| not.error)?;
        scope.commit()?;
        let mut bytes = [0; 4096];
        done.memory.copy_to_slice(0, &mut bytes)?;
        if done.outcome.bytes()? != 4096 || bytes.iter().any(|&byte| u64::from(byte) != block + 1) {
            return Err(format!("round {round}: wrong bytes").into());
        }
        drop((done, file));
        me.detach()?;
    }
    Ok(rounds.to_string())
}

/// What an attached process keeps between commands.
#[derive(Default)]
struct Kept<'pool> {
    file: Option<File<'pool>>,
    entries: Vec<File<'pool>>,
    pending: VecDeque<Pending<'pool, Frame<'pool>>>,
    frames: Vec<Frame<'pool>>,
}

fn attached(mut me: Process<'_>) {
    // The epoch is not part of the interface; these tests want to see that it goes up.
    let shown = format!("{me:?}");
    let epoch = shown.split("epoch: ").nth(1).and_then(|rest| rest.split(',').next());
    answer(Ok(format!("{} {}", me.slot().get(), epoch.unwrap_or("?"))));
    let mut kept = Kept::default();
    let mut scope = me.scope();
    let ended = commands(&mut scope, &mut kept, "detach");
    drop(scope);
    if ended {
        drop(kept);
        answer(me.detach().map(|()| String::new()).map_err(Into::into));
    }
}

/// Executes commands up to `end`; false if the input ended before.
fn commands<'pool>(scope: &mut Scope<'_, 'pool>, kept: &mut Kept<'pool>, end: &str) -> bool {
    while let Some(line) = next_line() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [word] if word == end => return true,
            ["batch"] => {
                let mut batch = scope.batch();
                answer(Ok(String::new()));
                if !commands(&mut batch, kept, "submit") {
                    return false;
                }
                answer(batch.submit().map(|()| String::new()).map_err(Into::into));
            }
            ["hold"] => answer(hold(scope, kept)),
            ["read" | "start" | "finish" | "churn", ..] => answer(kept.io(scope, &words)),
            ["wait" | "wait-any" | "wait-for" | "check" | "outcome", ..] => {
                answer(waiting(scope, &words))
            }
            _ => answer(kept.things(scope.process(), &words)),
        }
    }
    false
}

/// A handle that stays handed out until the next command.
fn hold<'pool>(scope: &mut Scope<'_, 'pool>, kept: &mut Kept<'pool>) -> Answer {
    let frame = scope.frame().ok_or("no frame is free")?;
    let handle = scope.acquire()?;
    let reference = hex(handle.wait_ref().to_bytes());
    answer(Ok(reference.clone()));
    let line = next_line().unwrap_or_default();
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["start", offset] => {
            let file = kept.file.as_ref().ok_or("no file")?;
            let started = handle.read(file, frame, offset.parse()?);
            kept.pending.push_back(started.map_err(|refused| refused.error)?);
        }
        _ => handle.release(),
    }
    Ok(reference)
}

impl<'pool> Kept<'pool> {
    fn io(&mut self, scope: &mut Scope<'_, 'pool>, words: &[&str]) -> Answer {
        match words {
            ["read", offset, callbacks @ ..] => self.read(scope, offset.parse()?, callbacks),
            ["finish"] => {
                let pending = self.pending.pop_front().ok_or("nothing was started")?;
                let done = scope.finish(pending).map_err(|not| not.error)?;
                let bytes = done.outcome.bytes()?;
                let mut first = [0];
                done.memory.copy_to_slice(0, &mut first)?;
                self.frames.push(done.memory);
                Ok(format!("{bytes} {}", first[0]))
            }
            ["churn", offset, len] => self.churn(scope, (offset.parse()?, len.parse()?)),
            _ => Err(format!("no such command: {words:?}").into()),
        }
    }

    fn read(&mut self, scope: &mut Scope<'_, 'pool>, offset: u64, callbacks: &[&str]) -> Answer {
        let file = self.file.as_ref().ok_or("no file")?;
        let frame = scope.frame().ok_or("no frame is free")?;
        let id = frame.id();
        let mut handle = scope.acquire()?;
        let reference = handle.wait_ref();
        for (callback, data) in callbacks.iter().map(|name| named(name)) {
            handle.register_callback(callback, data)?;
        }
        let pending = handle.read(file, frame, offset).map_err(|refused| refused.error)?;
        self.pending.push_back(pending);
        Ok(format!("{} {}", hex(reference.to_bytes()), id.0))
    }

    /// Never answers: the process is inside of a long system call nearly all the time.
    fn churn(&self, scope: &mut Scope<'_, 'pool>, (offset, len): (u64, usize)) -> Answer {
        let file = self.file.as_ref().ok_or("no file")?;
        let mut memory = AlignedBuf::new(len, 4096)?;
        loop {
            let mut handle = scope.acquire()?;
            handle.register_callback(COUNT, 0)?;
            let pending = handle.read(file, memory, offset).map_err(|refused| refused.error)?;
            memory = scope.finish(pending).map_err(|not| not.error)?.memory;
        }
    }

    /// Commands that start nothing.
    fn things(&mut self, me: &mut Process<'pool>, words: &[&str]) -> Answer {
        let last = || "there is no such frame".to_owned();
        match words {
            ["file", path] => {
                self.file = Some(me.open(Path::new(path), OpenOptions::new().read(true))?);
            }
            ["entries", most, path] => {
                let open = || me.open(Path::new(path), OpenOptions::new().read(true));
                let opened: Vec<File<'pool>> =
                    std::iter::repeat_with(open).take(most.parse()?).collect::<Result<_, _>>()?;
                let entries = opened.iter().filter(|file| file.is_reopenable()).count();
                self.entries = opened;
                return Ok(entries.to_string());
            }
            ["frames", most] => {
                let taken = std::iter::from_fn(|| me.frame()).take(most.parse()?);
                let before = self.frames.len();
                self.frames.extend(taken);
                return Ok((self.frames.len() - before).to_string());
            }
            ["fill", byte] => {
                let (bytes, frame) = ([byte.parse()?; 4096], self.frames.last_mut());
                frame.ok_or_else(last)?.copy_from_slice(0, &bytes)?;
            }
            ["peek"] => {
                let mut first = [0];
                self.frames.last().ok_or_else(last)?.copy_to_slice(0, &mut first)?;
                return Ok(first[0].to_string());
            }
            ["offer"] => {
                let token = self.frames.pop().ok_or_else(last)?.hand_over()?;
                return Ok(hex(token.to_bytes()));
            }
            ["adopt", token] => self.frames.push(me.adopt(FrameToken::from_bytes(bytes(token)?))?),
            ["drop"] => self.frames.clear(),
            ["arm", turn] => {
                *ARMED.lock().map_err(|_| "a callback panicked")? = Turn::named(turn);
            }
            ["recover"] => {
                let report = me.recover_dead()?;
                return Ok(format!("{} {}", report.recovered, report.unfinished));
            }
            ["exec"] => return Err(exec().into()),
            ["forbid", call] => return forbid(call),
            ["method"] => {
                let why = me.method_refusal().map(ToString::to_string);
                return Ok(format!("{} {}", me.method(), why.unwrap_or_default()));
            }
            _ => return Err(format!("no such command: {words:?}").into()),
        }
        Ok(String::new())
    }
}

fn waiting(scope: &mut Scope<'_, '_>, words: &[&str]) -> Answer {
    let reference = |text: &str| -> Result<WaitRef, Box<dyn Error>> {
        Ok(WaitRef::from_bytes(bytes(text)?).ok_or("these bytes are no reference")?)
    };
    let waited = match words {
        ["wait", text] => Some(scope.wait(reference(text)?)?),
        ["wait-for", text, ms] => {
            scope.wait_timeout(reference(text)?, Duration::from_millis(ms.parse()?))?
        }
        ["wait-any", references @ ..] => {
            let all =
                references.iter().map(|text| reference(text)).collect::<Result<Vec<_>, _>>()?;
            let (which, how) = scope.process().wait_any(&all)?;
            return Ok(format!("{which} {how:?}"));
        }
        ["check", text] => return Ok(scope.check_done(reference(text)?)?.to_string()),
        ["outcome", text] => {
            return Ok(format!("{:?}", scope.process().foreign_outcome(reference(text)?)?));
        }
        _ => return Err(format!("no such command: {words:?}").into()),
    };
    Ok(match waited {
        Some(Waited::Done) => "done",
        Some(Waited::Recycled) => "recycled",
        None => "pending",
    }
    .to_owned())
}

fn named(callback: &str) -> (CallbackId, u8) {
    match callback {
        "count" => (COUNT, 0),
        "halt-error" => (HALT, AS_ERROR),
        _ => (HALT, 0),
    }
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn bytes(hex: &str) -> Result<[u8; 16], std::num::ParseIntError> {
    u128::from_str_radix(hex, 16).map(u128::to_be_bytes)
}
