//! One copy, from the first check to the rename.
//!
//! Order matters: everything that can be refused is refused before a file is made; the temporary
//! file outlives the copiers (locals are dropped in reverse), and DST changes in one step at the
//! end, when every byte is counted.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use handfast::{Flags, Method, MethodRefusal, Pool, Registry};

use super::children::{ChildError, Copiers, Orders};
use super::destination::{Destination, DestinationError};
use super::direct::{self, DirectError};
use super::plan::Plan;
use super::progress::Progress;
use super::shared::{Done, Shared, words_needed};
use super::source::{Source, SourceError};
use super::temporary::{Temporary, TemporaryError};
use super::workers::Workers;
use crate::args::{CopyOptions, MethodOption};
use crate::signals::{Signals, StopSignal};
use crate::system::{counted, plain_if_remedied, say};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A stop signal came.
    #[error("stopped by {}", .0.name())]
    Stopped(StopSignal),
    /// Signals could not be taken over.
    #[error("cannot install signal handlers: {0}")]
    Signals(#[source] io::Error),
    /// SRC is at fault.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// DST is at fault.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Direct IO is not possible.
    #[error(transparent)]
    Direct(#[from] DirectError),
    /// The temporary file is at fault.
    #[error(transparent)]
    Temporary(#[from] TemporaryError),
    /// The pool could not be made or used.
    #[error("cannot {what}: {source}")]
    Pool {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A copier is at fault, and left no reason.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A copier left a reason.
    #[error("{0}")]
    Copier(String),
    /// The copiers ended well, but bytes are missing.
    #[error("only {copied} of {size} bytes were copied: this is a defect of handfast")]
    Incomplete {
        /// Bytes written.
        copied: u64,
        /// Bytes of SRC.
        size: u64,
    },
    /// Some processes cannot be ended.
    #[error(
        "{0}; {hang} in the kernel and could not be ended",
        hang = counted(*.1, "copier hangs", "copiers hang")
    )]
    Hanging(Box<CopyError>, u32),
}

/// What was done; its text is the summary line.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    bytes: u64,
    time: Duration,
    ios: Vec<u64>,
    method: Method,
    /// How many processes did without it.
    in_place: usize,
}

/// For programs, too: "bytes" and "IOs" whatever their number.
impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        let rate = self.bytes as f64 / f64::from(1 << 20) / seconds.max(1e-9);
        let ios = self.ios.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        write!(
            formatter,
            "copied {} bytes in {seconds:.3} s ({rate:.0} MiB/s), {} IOs by {} [{ios}], method {}",
            self.bytes,
            self.ios.iter().sum::<u64>(),
            counted(self.ios.len() as u64, "process", "processes"),
            self.method,
        )?;
        match self.in_place {
            0 => Ok(()),
            some => write!(formatter, " ({some} did without)"),
        }
    }
}

/// A copy under way.
struct Job<'run> {
    options: &'run CopyOptions,
    plan: Plan,
    source: &'run Source,
    temporary: &'run Temporary<'run>,
}

/// Copies SRC to DST.
pub fn copy(options: &CopyOptions, signals: &mut Signals) -> Result<Summary, CopyError> {
    let start = Instant::now();
    let source = Source::open(&options.source)?;
    let destination = Destination::judge(&options.destination, source.id)?;
    let temporary = Temporary::create(&destination)?;
    let plan = make_plan(options, &source, &temporary)?;
    temporary.reserve(plan.geometry.size.unwrap_or(0), || heed_stop(signals))?;
    let mut job = Job { options, plan, source: &source, temporary: &temporary };
    let (pool, refusals) = job.make_pool()?;
    job.describe_method(&pool, &refusals);
    let done = job.transfer(&pool, signals)?;
    let bytes = job.complete(&pool, &done)?;
    // From the rename on the copy counts as done, so this is the last look.
    heed_stop(signals)?;
    temporary.rename()?;
    if options.fsync {
        destination.sync_directory()?;
    }
    let ios = done.iter().map(|done| done.ios).collect();
    let in_place = done.iter().filter(|done| done.in_place).count();
    Ok(Summary { bytes, time: start.elapsed(), ios, method: pool.method(), in_place })
}

/// Decides about direct IO, and makes the plan.
fn make_plan(
    options: &CopyOptions,
    source: &Source,
    temporary: &Temporary<'_>,
) -> Result<Plan, CopyError> {
    if !options.direct {
        return Ok(Plan::new(options, source.size, None));
    }
    let from = direct::enable(&source.file, &options.source)?;
    let to = direct::enable(&temporary.file, &temporary.path())?;
    let direct = direct::combine(from, to, options.block_size)?;
    // A file system that can do direct IO knows its sizes: a file of size 0 is empty, and has no
    // tail to look for.
    Ok(Plan::new(options, Some(source.size.unwrap_or(0)), Some(direct)))
}

impl Job<'_> {
    /// Makes the pool; and why its method is not a better one, if it was to be the best. One that turns
    /// out to need workers is made again, with room for them.
    fn make_pool(&mut self) -> Result<(Pool, Vec<MethodRefusal>), CopyError> {
        let pool = self.make_pool_of(self.options.method.into())?;
        let refusals = pool.method_choice().refusals.clone();
        if pool.method() != Method::Worker || self.plan.workers.is_some() {
            return Ok((pool, refusals));
        }
        drop(pool);
        self.plan.add_workers(self.options.worker_limits());
        Ok((self.make_pool_of(Method::Worker)?, refusals))
    }

    fn make_pool_of(&self, method: Method) -> Result<Pool, CopyError> {
        Pool::builder()
            .registry(Registry::new())
            .processes(self.plan.slots)
            .handles_per_process(self.plan.queue_depth)
            .frames(self.plan.frames())
            .frame_size(self.plan.frame_size)
            .max_iovecs(1)
            .max_files(2 * self.plan.slots)
            .user_words(words_needed(self.plan.copiers))
            .method(method)
            .create()
            .map_err(failed_to("make the pool in shared memory"))
    }

    /// Starts the copiers and waits for their end. None is left when this returns, or the error
    /// says so.
    fn transfer(&self, pool: &Pool, signals: &mut Signals) -> Result<Vec<Done>, CopyError> {
        let shared = Shared::new(pool.user_words(), self.plan.copiers)
            .ok_or("too few words")
            .map_err(failed_to("share words with the copiers"))?;
        let mut workers = self.start_workers(pool)?;
        let mut copiers = Copiers::new(shared);
        let outcome = self.start(pool, &mut copiers).and_then(|()| {
            let progress = Progress::new(self.plan.geometry.size, self.options.quiet);
            watch(&mut copiers, &mut workers, (shared, &progress), signals)
        });
        let hanging = if outcome.is_err() { copiers.stop(Some(signals)) } else { 0 };
        let tally = workers.stop(signals);
        match (outcome, hanging) {
            (Ok(()), _) => {}
            (Err(error), 0) => return Err(error),
            (Err(error), _) => return Err(CopyError::Hanging(Box::new(error), hanging)),
        }
        if let Some(tally) = tally.filter(|_| self.options.verbose) {
            say(&tally.to_string());
        }
        Ok((0..self.plan.copiers).map(|copier| shared.done(copier)).collect())
    }

    fn start_workers(&self, pool: &Pool) -> Result<Workers, CopyError> {
        let Some(limits) = self.plan.workers else { return Ok(Workers::none()) };
        let started = Workers::start(pool, limits, self.options.verbose);
        Ok(started.map_err(|source| ChildError::Workers { source })?)
    }

    fn start(&self, pool: &Pool, copiers: &mut Copiers<'_>) -> Result<(), CopyError> {
        let orders = Orders {
            plan: &self.plan,
            source: &self.source.file,
            source_path: &self.options.source,
            destination: &self.temporary.file,
            destination_path: &self.temporary.path(),
            verbose: self.options.verbose,
        };
        copiers.start(pool, &orders)?;
        if self.options.verbose {
            self.describe(&copiers.pids());
        }
        Ok(())
    }

    fn describe_method(&self, pool: &Pool, refusals: &[MethodRefusal]) {
        if !self.options.verbose {
            return;
        }
        refusals.iter().for_each(|refusal| say(&refusal.to_string()));
        let method = pool.method();
        let why = if self.options.method == MethodOption::Auto {
            "chosen by auto"
        } else {
            "as asked for"
        };
        match self.plan.workers {
            Some(limits) => {
                let most = counted(limits.most(), "worker", "workers");
                say(&format!("method {method}, {why}: {} to {most}", limits.least()));
            }
            None => say(&format!("method {method}, {why}")),
        }
        if self.options.workers.is_some() && self.plan.workers.is_none() {
            say(&format!("--workers is not used: the method {method} has none"));
        }
    }

    fn describe(&self, pids: &[u32]) {
        let Plan { copiers, queue_depth, geometry, frame_size, .. } = &self.plan;
        let bytes = |size| counted(size, "byte", "bytes");
        let size = geometry.size.map_or("unknown size".to_owned(), bytes);
        let mode = if self.options.direct {
            format!("direct, in units of {}", geometry.unit)
        } else {
            "through the page cache".to_owned()
        };
        let blocks = counted(geometry.blocks(), "block", "blocks");
        say(&format!("{size} in {blocks} of {}, {mode}", geometry.block_size));
        let (copiers, frames) =
            (counted(*copiers, "copier", "copiers"), counted(*queue_depth, "frame", "frames"));
        say(&format!("{copiers} {pids:?} with {frames} of {frame_size} bytes each"));
        say(&format!("writing to {}", self.temporary.path().display()));
    }

    /// Checks that every byte was written, and gives the file its size, its permissions and, if
    /// asked for, stable storage.
    fn complete(&self, pool: &Pool, done: &[Done]) -> Result<u64, CopyError> {
        let copied = done.iter().map(|done| done.bytes).sum();
        if let Some(size) = self.plan.geometry.size.filter(|size| *size != copied) {
            return Err(CopyError::Incomplete { copied, size });
        }
        if self.options.direct {
            // The padding of the tail goes.
            self.temporary.resize(copied)?;
        }
        if self.options.fsync {
            sync(pool, self.temporary)?;
        }
        // Only now, because a file that is no longer as it was made is not cleaned up after a
        // SIGKILL, and the sync of the content may take long. The second one has little to do.
        self.temporary.set_permissions(self.source.permissions)?;
        if self.options.fsync {
            sync(pool, self.temporary)?;
        }
        Ok(copied)
    }
}

/// Waits for the end of all copiers, a stop signal, or a failure; whichever comes first.
fn watch(
    copiers: &mut Copiers<'_>,
    workers: &mut Workers,
    (shared, progress): (Shared<'_>, &Progress),
    signals: &mut Signals,
) -> Result<(), CopyError> {
    loop {
        // Collected first: a Ctrl-C that also hit a copier so young that it still dies of it has
        // arrived here by then.
        let ended = copiers.collect();
        heed_stop(signals)?;
        // What a copier says is clearer than how it ended.
        if let Some(message) = shared.failure() {
            return Err(CopyError::Copier(message));
        }
        if ended? {
            return Ok(());
        }
        if let Some(status) = workers.lost() {
            say(&format!(
                "the supervisor of the workers has ended ({status}): the copiers go on without them"
            ));
        }
        progress.show(shared.bytes());
        signals.wait(progress.interval()).map_err(CopyError::Signals)?;
    }
}

/// Fails if a stop signal has come.
fn heed_stop(signals: &mut Signals) -> Result<(), CopyError> {
    signals.take_stop().map_or(Ok(()), |signal| Err(CopyError::Stopped(signal)))
}

/// Puts the file on stable storage, through the pool as every other IO of the copy.
fn sync(pool: &Pool, temporary: &Temporary<'_>) -> Result<(), CopyError> {
    let file = temporary.file.try_clone().map_err(failed_to("sync the copy"))?;
    let mut process = pool.attach().map_err(failed_to("attach to the pool"))?;
    let file = process.file(file, temporary.path()).map_err(failed_to("sync the copy"))?;
    let mut scope = process.scope();
    let mut handle = scope.acquire().map_err(failed_to("get a handle"))?;
    // There is nothing to do meanwhile. And a worker might not open the file again: its permissions are
    // those of SRC by now.
    handle.set_flag(Flags::SYNCHRONOUS);
    let pending = handle
        .fsync(&file)
        .map_err(|refused| refused.to_string())
        .map_err(failed_to("sync the copy"))?;
    let finished = scope
        .finish(pending)
        .map_err(|error| error.to_string())
        .map_err(failed_to("wait for the copy to be synced"))?;
    finished.outcome.bytes().map_err(failed_to("sync the copy"))?;
    Ok(())
}

fn failed_to<E: Into<Box<dyn Error + Send + Sync>>>(what: &'static str) -> impl Fn(E) -> CopyError {
    move |error| CopyError::Pool { what, source: plain_if_remedied(error.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_bytes_time_ios_and_processes() {
        let summary = Summary {
            bytes: 1 << 30,
            time: Duration::from_millis(812),
            ios: vec![65536; 4],
            method: Method::IoUring,
            in_place: 0,
        };
        assert_eq!(
            summary.to_string(),
            "copied 1073741824 bytes in 0.812 s (1261 MiB/s), 262144 IOs by 4 processes \
             [65536 65536 65536 65536], method io_uring"
        );
        let fallen_back = Summary { in_place: 2, ..summary };
        assert!(fallen_back.to_string().ends_with(", method io_uring (2 did without)"));
    }

    #[test]
    fn the_summary_of_an_empty_copy_is_no_division_by_zero() {
        let (time, method) = (Duration::ZERO, Method::Sync);
        let summary = Summary { bytes: 0, time, ios: vec![0], method, in_place: 0 };
        assert_eq!(
            summary.to_string(),
            "copied 0 bytes in 0.000 s (0 MiB/s), 0 IOs by 1 process [0], method sync"
        );
    }
}
