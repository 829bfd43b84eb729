//! The workers as child processes: started, seen to end, told to leave.
//!
//! A child that is not collected keeps its process id, so no signal of the crew hits another process.
//! Whatever way the supervisor leaves, dropping [`Crew`] ends and collects every worker; the kernel does
//! if it is killed. A worker that ends badly as soon as it has begun is not replaced at once: the pause
//! doubles with each one, up to a bound, and a worker that lasts ends that. One that finds all slots of the pool in
//! use is none of those: the slot that the foreman saw free was faster taken by somebody else.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use handfast::{AttachError, Pool, WorkerLimits};
use rustix::process::{Pid, Signal, kill_process};

use super::one::{NO_ROOM, pool_as_stdin};
use super::supervisor::Tally;
use crate::system::{SELF, say};

/// A worker that lasts so long has begun well.
const LASTING: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The pause after one that found no free slot.
const PAUSE_FOR_ROOM: Duration = Duration::from_secs(1);

struct Worker {
    child: Child,
    since: Instant,
}

/// The workers that have been started and not yet collected.
pub struct Crew<'pool> {
    pool: &'pool Pool,
    limits: WorkerLimits,
    idle: u32,
    verbose: bool,
    running: Vec<Worker>,
    /// How many that ended badly have not been replaced.
    missing: u32,
    bad_in_a_row: u32,
    not_before: Option<Instant>,
    /// What was done so far.
    pub tally: Tally,
}

impl<'pool> Crew<'pool> {
    /// No worker yet.
    pub fn new(pool: &'pool Pool, limits: WorkerLimits, idle: u32, verbose: bool) -> Self {
        Self {
            pool,
            limits,
            idle,
            verbose,
            running: Vec::new(),
            missing: 0,
            bad_in_a_row: 0,
            not_before: None,
            tally: Tally::default(),
        }
    }

    /// How many run, as far as they have been collected.
    pub fn running(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    /// How long to wait before the next start.
    pub fn pause(&self) -> Duration {
        self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Starts one worker. It takes a moment until it works.
    pub fn start_one(&mut self) -> io::Result<()> {
        let mut command = Command::new(SELF);
        command
            .arg0("handfast")
            .arg("__worker")
            .args(["--supervisor", &std::process::id().to_string()])
            .args(["--least", &self.limits.least().to_string()])
            .args(["--idle", &self.idle.to_string()])
            .stdin(pool_as_stdin(self.pool)?)
            .stdout(Stdio::null());
        let child = command.spawn()?;
        self.say(&format!("worker {} starts", child.id()));
        self.running.push(Worker { child, since: Instant::now() });
        self.tally.started += 1;
        if self.missing > 0 {
            self.missing -= 1;
            self.tally.replaced += 1;
        }
        Ok(())
    }

    /// Says that there is no room for the least. It is worth a line even where nothing else is said.
    pub fn tell_of_no_room(&self) {
        let full = AttachError::Full(self.pool.config().processes());
        say(&format!("{full}; workers start when slots are free"));
    }

    /// Collects the workers that have ended.
    pub fn collect(&mut self) -> io::Result<()> {
        for worker in std::mem::take(&mut self.running) {
            let Worker { mut child, since } = worker;
            match child.try_wait()? {
                None => self.running.push(Worker { child, since }),
                Some(status) => self.note_end(child.id(), status, since),
            }
        }
        Ok(())
    }

    fn note_end(&mut self, pid: u32, status: ExitStatus, since: Instant) {
        self.say(&format!("worker {pid} has ended ({status})"));
        if status.success() {
            return;
        }
        if status.code() == Some(i32::from(NO_ROOM)) {
            self.not_before = Some(Instant::now() + PAUSE_FOR_ROOM);
            return;
        }
        self.missing += 1;
        if since.elapsed() >= LASTING {
            self.bad_in_a_row = 0;
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.bad_in_a_row.min(10)).min(LONGEST_PAUSE);
        self.bad_in_a_row += 1;
        self.not_before = Some(Instant::now() + pause);
    }

    /// Tells all workers to finish what they are about and to leave.
    pub fn dismiss(&self) {
        self.signal(Signal::TERM);
        self.pool.rouse_workers();
    }

    /// Ends all workers at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        for worker in &self.running {
            if let Some(pid) = i32::try_from(worker.child.id()).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile, and that is well.
                let _ = kill_process(pid, signal);
            }
        }
    }

    fn say(&self, message: &str) {
        if self.verbose {
            say(message);
        }
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.kill();
        for worker in &mut self.running {
            let _ = worker.child.wait();
        }
    }
}
