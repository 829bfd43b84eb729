//! The workers of a copy: `handfast worker` as one more child of the coordinator.
//!
//! It and its workers die with the coordinator. If it ends before the copy does, the copy goes on without
//! workers: copiers carry out their IO themselves then.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use handfast::{Pool, WorkerLimits};
use rustix::process::{Pid, Signal, kill_process};

use crate::signals::Signals;
use crate::system::SELF;
use crate::worker::Tally;

/// After how many seconds without an IO a worker leaves.
const IDLE_SECONDS: &str = "1";
/// How long the supervisor may take to end, which kills its workers after some seconds itself.
const GRACE: Duration = Duration::from_secs(6);
/// Longest sleep while waiting for its end, of which a signal tells.
const NAP: Duration = Duration::from_millis(200);

/// The supervisor, as long as it runs.
pub struct Workers(Option<Child>);

impl Workers {
    /// No workers, for other methods.
    pub fn none() -> Self {
        Self(None)
    }

    /// Starts the supervisor, which starts workers.
    pub fn start(pool: &Pool, limits: WorkerLimits, verbose: bool) -> io::Result<Self> {
        let mut command = Command::new(SELF);
        command
            .arg0("handfast")
            .args(["worker", "--pool-fd", "0", "--idle", IDLE_SECONDS])
            .args(["--least", &limits.least().to_string()])
            .args(["--most", &limits.most().to_string()])
            .args(["--parent", &std::process::id().to_string()])
            .args(verbose.then_some("--verbose"))
            .stdin(Stdio::from(pool.as_fd().try_clone_to_owned()?))
            .stdout(Stdio::piped());
        Ok(Self(Some(command.spawn()?)))
    }

    /// How it ended, if it has ended without being told to; once.
    pub fn lost(&mut self) -> Option<ExitStatus> {
        let status = self.0.as_mut()?.try_wait().ok().flatten()?;
        self.0 = None;
        Some(status)
    }

    /// Lets the workers leave, and waits until they have; a stop signal makes it quicker and is left for
    /// who comes next. How many there were, if the supervisor told.
    pub fn stop(&mut self, signals: &mut Signals) -> Option<Tally> {
        let child = self.0.as_mut()?;
        terminate(child);
        let deadline = Instant::now() + GRACE;
        let mut hurried = false;
        while child.try_wait().ok()?.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Its drop kills it.
                return None;
            }
            if signals.see_stop().is_some() && !std::mem::replace(&mut hurried, true) {
                terminate(child);
            }
            signals.wait(left.min(NAP)).ok()?;
        }
        let mut told = String::new();
        child.stdout.take()?.read_to_string(&mut told).ok()?;
        self.0 = None;
        Tally::from_line(&told)
    }
}

fn terminate(child: &Child) {
    // A child that is not collected keeps its process id, so this can hit no other.
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // The kernel kills its workers with it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
