//! The copiers as child processes: started, seen to end, stopped.
//!
//! A copier is this very program, started again through `/proc/self/exe`, with SRC as its standard
//! input, the temporary file as its standard output, and the descriptor of the segment inherited.
//! Descriptors of copiers are not kept, so their number costs the coordinator none.
//!
//! Whatever way the coordinator leaves, dropping [`Copiers`] stops and collects every process it
//! has started.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};

use super::plan::Plan;
use super::shared::Shared;
use crate::signals::Signals;
use crate::system::SELF;

/// How long copiers may take to finish the IO in flight after they are told to stop; then they are
/// killed.
const GRACE: Duration = Duration::from_secs(3);
/// How long a killed copier may take to go; the kernel lets it finish an IO that cannot be
/// interrupted.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// Longest sleep while waiting for copiers to end.
const NAP: Duration = Duration::from_millis(200);

/// What became of a copier that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot start copier {copier} of {copiers}: {source}{}", advice(source))]
    Start {
        /// Which one, from 1.
        copier: u32,
        /// Of how many.
        copiers: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The supervisor of the workers could not be started.
    #[error("cannot start the supervisor of the workers: {source}")]
    Workers {
        /// What the kernel said.
        source: io::Error,
    },
    /// It cannot be waited for.
    #[error("cannot wait for copier {copier}: {source}")]
    Wait {
        /// Which one, from 1.
        copier: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// A signal ended it.
    #[error(
        "copier {copier} (process {pid}) was killed by signal {signal}; the copy is given \
         up, start it again"
    )]
    Killed {
        /// Which one, from 1.
        copier: u32,
        /// Its process id.
        pid: u32,
        /// The signal's number.
        signal: i32,
    },
    /// It ended by itself, without having said why in the shared words.
    #[error(
        "copier {copier} (process {pid}) could not do its work ({status}); its own message is above"
    )]
    GaveUp {
        /// Which one, from 1.
        copier: u32,
        /// Its process id.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
}

/// What to do about a copier that could not be started, where the error does not say it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() == io::ErrorKind::WouldBlock {
        true => "; the limit of processes (ulimit -u) may be too low, lower --processes",
        false => "",
    }
}

/// What every copier of one copy gets.
pub struct Orders<'run> {
    /// The plan.
    pub plan: &'run Plan,
    /// SRC, open.
    pub source: &'run std::fs::File,
    /// Its path.
    pub source_path: &'run Path,
    /// The temporary file, open.
    pub destination: &'run std::fs::File,
    /// Its path.
    pub destination_path: &'run Path,
    /// Whether copiers are to tell why they do without the method.
    pub verbose: bool,
}

struct Copier {
    number: u32,
    child: Child,
}

/// The copiers that have been started and not yet collected.
pub struct Copiers<'pool> {
    running: Vec<Copier>,
    shared: Shared<'pool>,
}

impl<'pool> Copiers<'pool> {
    /// No copier yet.
    pub fn new(shared: Shared<'pool>) -> Self {
        Self { running: Vec::new(), shared }
    }

    /// Starts all copiers.
    pub fn start(&mut self, segment: impl AsFd, orders: &Orders<'_>) -> Result<(), ChildError> {
        for number in 1..=orders.plan.copiers {
            let child = start_one(segment.as_fd(), orders, number - 1).map_err(|source| {
                ChildError::Start { copier: number, copiers: orders.plan.copiers, source }
            })?;
            self.running.push(Copier { number, child });
        }
        Ok(())
    }

    /// Process ids of those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|copier| copier.child.id()).collect()
    }

    /// Collects copiers that have ended, and returns whether none is left; the first one that ended
    /// badly is the error.
    pub fn collect(&mut self) -> Result<bool, ChildError> {
        let mut first_error = Ok(());
        self.running.retain_mut(|copier| match copier.child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                first_error =
                    std::mem::replace(&mut first_error, Ok(())).and(judge(copier, status));
                false
            }
            Err(source) => {
                first_error = Err(ChildError::Wait { copier: copier.number, source });
                false
            }
        });
        first_error.map(|()| self.running.is_empty())
    }

    /// Asks all copiers to stop, and waits until they have; kills those that take too long, or all
    /// of them at once when another stop signal comes. Returns the number of those that not even
    /// SIGKILL has ended; they are given up.
    pub fn stop(&mut self, signals: Option<&mut Signals>) -> u32 {
        self.shared.stop();
        self.wait_for_all(GRACE, signals);
        for copier in &mut self.running {
            // A child that is not collected keeps its process id, so this can hit no other.
            let _ = copier.child.kill();
        }
        self.wait_for_all(KILL_GRACE, None);
        u32::try_from(std::mem::take(&mut self.running).len()).unwrap_or(u32::MAX)
    }

    fn wait_for_all(&mut self, at_most: Duration, mut signals: Option<&mut Signals>) {
        let deadline = Instant::now() + at_most;
        loop {
            // How they end no longer matters: the copy has failed already.
            while !self.running.is_empty() && self.collect().is_err() {}
            let left = deadline.saturating_duration_since(Instant::now());
            if self.running.is_empty() || left.is_zero() {
                return;
            }
            match signals.as_deref_mut() {
                Some(signals) => {
                    if signals.take_stop().is_some() || signals.wait(left.min(NAP)).is_err() {
                        return;
                    }
                }
                None => std::thread::sleep(left.min(Duration::from_millis(5))),
            }
        }
    }
}

impl Drop for Copiers<'_> {
    fn drop(&mut self) {
        if !self.running.is_empty() {
            self.stop(None);
        }
    }
}

fn judge(copier: &Copier, status: ExitStatus) -> Result<(), ChildError> {
    let pid = copier.child.id();
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (false, Some(signal)) => Err(ChildError::Killed { copier: copier.number, pid, signal }),
        (false, None) => Err(ChildError::GaveUp { copier: copier.number, pid, status }),
    }
}

fn start_one(segment: impl AsFd, orders: &Orders<'_>, copier: u32) -> io::Result<Child> {
    let plan = orders.plan;
    let mut command = Command::new(SELF);
    command
        .arg0("handfast")
        .arg("__copier")
        .args(option("coordinator", std::process::id()))
        .args(option("segment", segment.as_fd().as_raw_fd()))
        .args(option("copier", copier))
        .args(option("copiers", plan.copiers))
        .args(option("queue-depth", plan.queue_depth))
        .args(option("block-size", plan.geometry.block_size))
        .args(option("unit", plan.geometry.unit))
        .args(plan.geometry.size.map(|size| option("size", size)).into_iter().flatten())
        .args(option("descriptors", orders.source.as_raw_fd()))
        .arg(orders.destination.as_raw_fd().to_string())
        .args(orders.verbose.then_some("--verbose"))
        .arg("--")
        .arg(orders.source_path)
        .arg(orders.destination_path)
        .stdin(Stdio::from(orders.source.try_clone()?))
        .stdout(Stdio::from(orders.destination.try_clone()?));
    // The segment is inherited by this child and no other: nothing else is started here, and this
    // program has one thread.
    fcntl_setfd(&segment, FdFlags::empty())?;
    let child = command.spawn();
    fcntl_setfd(&segment, FdFlags::CLOEXEC)?;
    child
}

fn option(name: &str, value: impl ToString) -> [String; 2] {
    [format!("--{name}"), value.to_string()]
}
