//! Futex wake-ups between two processes, through a pool: a second, exec'ed process sleeps on a
//! handle of the first one, which releases it when it has seen the other sleep. And whether the kernel lets one
//! sleep on several.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use handfast::{Pool, Process, Registry, WaitRef};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::finding::Finding;
use crate::args::PeerOrders;
use crate::system::SELF;

/// How long the second process sleeps when nobody wakes it.
const SLEEP: Duration = Duration::from_secs(4);
/// How long the first one waits to see it asleep, and then to see it end.
const PATIENCE: Duration = Duration::from_secs(6);
/// Exit code of a second process that nobody woke.
const NOT_WOKEN: u8 = 3;
const ADVICE: &str = "see the lines above for what is missing";

/// Sends another process to sleep, and wakes it.
pub fn across_processes() -> Finding {
    const NAME: &str = "futex across processes";
    match wake_a_peer() {
        Ok(status) if status.success() => {
            Finding::yes(NAME, "a second process slept on a handle, and was woken")
        }
        Ok(status) if status.code() == Some(i32::from(NOT_WOKEN)) => Finding::no(
            NAME,
            "a second process was not woken: the kernel or sandbox does not share futexes \
             between processes",
        ),
        Ok(status) => Finding::no(NAME, format!("the second process failed ({status}): {ADVICE}")),
        Err(error) => Finding::failed(NAME, error.as_ref(), ADVICE),
    }
}

/// Whether a thread can sleep on several handles at once.
pub fn on_several() -> Finding {
    const NAME: &str = "futex on several words";
    if Process::wait_any_sleeps() {
        Finding::yes(NAME, "futex_waitv(2): a wait for any of several IOs sleeps").optional()
    } else {
        Finding::no(
            NAME,
            "no futex_waitv(2): a wait for any of several IOs looks again every millisecond; update the \
             kernel to 5.16, or allow futex_waitv in the seccomp filter",
        )
        .optional()
    }
}

fn wake_a_peer() -> Result<ExitStatus, Box<dyn Error>> {
    let pool = Pool::builder()
        .registry(Registry::new())
        .processes(2)
        .handles_per_process(1)
        .frames(2)
        .frame_size(512)
        .create()?;
    let mut process = pool.attach()?;
    let mut scope = process.scope();
    let handle = scope.acquire()?;
    let mut peer = Peer(
        Command::new(SELF)
            .arg0("handfast")
            .arg("__doctor-peer")
            .arg(format!("--wait-reference={}", to_hex(handle.wait_ref().to_bytes())))
            .stdin(Stdio::from(pool.as_fd().try_clone_to_owned()?))
            .stdout(Stdio::piped())
            .spawn()?,
    );
    peer.wait_until_asleep()?;
    handle.release();
    peer.wait_until_ended()
}

/// The second process; killed if it is still there when the first one is done with it.
struct Peer(Child);

impl Peer {
    /// Waits for the byte that the peer writes before it goes to sleep, and then until the kernel
    /// says that it sleeps.
    fn wait_until_asleep(&mut self) -> Result<(), Box<dyn Error>> {
        let stdout = self.0.stdout.take().ok_or("the second process has no output")?;
        let patience = Timespec::try_from(PATIENCE)?;
        if poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&patience))? == 0 {
            return Err("the second process does not start".into());
        }
        let page = format!("/proc/{}/stat", self.0.id());
        let state = || fs::read_to_string(&page).ok().and_then(|stat| state(&stat));
        // A peer that failed is a zombie, which is no running one either. That it never sleeps is
        // for it to tell.
        let _ = look_until(|| Ok(matches!(state(), None | Some('S' | 'Z'))))?;
        Ok(())
    }

    fn wait_until_ended(&mut self) -> Result<ExitStatus, Box<dyn Error>> {
        let mut status = None;
        look_until(|| {
            status = self.0.try_wait()?;
            Ok(status.is_some())
        })?;
        status.ok_or_else(|| "the second process does not end".into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail if it has been collected, and that is well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks again and again until `seen`, or patience is over.
fn look_until(
    mut seen: impl FnMut() -> Result<bool, Box<dyn Error>>,
) -> Result<bool, Box<dyn Error>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if seen()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The state in a `/proc/PID/stat` page: the letter behind the name, which itself may contain
/// anything.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The second process: sleeps until the handle is released.
pub fn run_peer(orders: &PeerOrders) -> ExitCode {
    match sleep(orders) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_WOKEN),
        Err(error) => {
            let _ = writeln!(io::stderr(), "handfast: the second process of doctor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether somebody woke it. A wait that ran out of time may see the release without a wake-up, so
/// time decides.
fn sleep(orders: &PeerOrders) -> Result<bool, Box<dyn Error>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let bytes = from_hex(&orders.wait_reference).ok_or("the wait reference has another form")?;
    let reference = WaitRef::from_bytes(bytes).ok_or("the wait reference is not valid")?;
    let pool = Pool::open(Path::new("/proc/self/fd/0"), Registry::new())?;
    let mut process = pool.attach()?;
    io::stdout().write_all(b".")?;
    io::stdout().flush()?;
    let start = Instant::now();
    let seen = process.wait_timeout(reference, SLEEP)?;
    Ok(seen.is_some() && start.elapsed() < SLEEP)
}

fn to_hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_reference_survives_the_command_line() {
        let mut bytes = [0; 16];
        bytes[0] = 1;
        bytes[15] = 0xfe;
        assert_eq!(from_hex(&to_hex(bytes)), Some(bytes));
        assert_eq!(from_hex("12"), None);
        assert_eq!(from_hex(&"g".repeat(32)), None);
    }

    #[test]
    fn the_state_is_found_behind_any_name() {
        assert_eq!(state("17 (a) b) S 1 17"), Some('S'));
        assert_eq!(state("17"), None);
    }
}
