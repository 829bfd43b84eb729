//! How many workers there are, and until when.
//!
//! The main thread asks the library's foreman how many to start, and sleeps where workers wake the foreman.
//! A second thread sleeps on signals: the end of a child or a stop signal is news for the first one.
//! Nothing is looked at again and again.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use handfast::{Foreman, HeaderError, Method, OpenError, Pool, Registry, WorkerLimits};

use super::crew::Crew;
use crate::args::WorkerOptions;
use crate::signals::{Signals, StopSignal};
use crate::system::{counted, die_with_parent, plain_if_remedied};

/// Longest sleep of either thread. Nothing depends on it.
const SLEEP: Duration = Duration::from_secs(3600);
/// How long workers may take to finish what they are about; then they are killed.
const GRACE: Duration = Duration::from_secs(3);

/// Why there are no workers.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Something of its own could not be set up.
    #[error("cannot {what}: {source}")]
    Setup {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The pool cannot be opened.
    #[error("cannot open the pool {}: {source}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The pool has callbacks.
    #[error(
        "the pool {} has callbacks or targets of its application, which this program cannot run: run \
         its workers in the application (Process::work)", path.display()
    )]
    Callbacks {
        /// Its path.
        path: PathBuf,
    },
    /// The pool has common regions.
    #[error(
        "the pool {} has {}, which only its application can map: run its workers in the application \
         (Process::work)", path.display(), counted(*regions, "common region", "common regions")
    )]
    Regions {
        /// Its path.
        path: PathBuf,
        /// How many.
        regions: u32,
    },
    /// The pool has no use for workers.
    #[error(
        "the pool {} has the method {method}, which needs no workers: make it with the method worker",
        path.display()
    )]
    Method {
        /// Its path.
        path: PathBuf,
        /// Its method.
        method: Method,
    },
    /// The pool has one slot.
    #[error(
        "the pool {} has one slot, which a worker would take from its application: make it for more processes \
         (PoolBuilder::processes)", path.display()
    )]
    NoRoom {
        /// Its path.
        path: PathBuf,
    },
}

/// How many workers there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// All that were started.
    pub started: u32,
    /// Those of them that were started for one that had ended badly.
    pub replaced: u32,
}

impl Tally {
    /// For the process that started the supervisor.
    pub fn to_line(self) -> String {
        format!("{} {}", self.started, self.replaced)
    }

    /// Reads what [`Self::to_line`] made.
    pub fn from_line(line: &str) -> Option<Self> {
        let (started, replaced) = line.trim_end().split_once(' ')?;
        Some(Self { started: started.parse().ok()?, replaced: replaced.parse().ok()? })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { started, replaced } = self;
        let started = counted(*started, "worker was", "workers were");
        write!(formatter, "{started} started, {replaced} of them in place of dead ones")
    }
}

/// What the listening thread has to tell.
#[derive(Default)]
struct News {
    stop: Option<StopSignal>,
    /// Whether anything has happened that the main thread has not heard of.
    fresh: bool,
}

type SharedNews = Arc<Mutex<News>>;

fn locked(news: &SharedNews) -> MutexGuard<'_, News> {
    news.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs workers until a stop signal comes. None is left when this returns.
pub fn supervise(
    options: &WorkerOptions,
    limits: WorkerLimits,
) -> Result<(StopSignal, Tally), SupervisorError> {
    if let Some(parent) = options.parent {
        die_with_parent(parent).map_err(setup("bind the workers' life to the copy's"))?;
    }
    let signals = Signals::install().map_err(setup("install signal handlers"))?;
    let pool = Arc::new(open(options)?);
    let news = SharedNews::default();
    listen(signals, &pool, &news).map_err(setup("start a thread"))?;
    let mut crew = Crew::new(&pool, limits, options.idle, options.verbose);
    let foreman = pool.foreman(limits);
    // A copy has made its pool for as many workers as there may be.
    let foreman = if options.parent.is_some() { foreman.leave_free(0) } else { foreman };
    let signal = keep_up(foreman, &mut crew, &news)?;
    wind_up(&pool.foreman(limits), &mut crew, &news)?;
    Ok((signal, crew.tally))
}

fn open(options: &WorkerOptions) -> Result<Pool, SupervisorError> {
    let path = match (&options.pool, options.pool_fd) {
        (Some(path), _) => path.clone(),
        (None, fd) => PathBuf::from(format!("/proc/self/fd/{}", fd.unwrap_or(0))),
    };
    let pool = match Pool::open(&path, Registry::new()) {
        Ok(pool) => pool,
        Err(OpenError::Header(HeaderError::CallbacksDiffer { .. })) => {
            return Err(SupervisorError::Callbacks { path });
        }
        Err(error) => {
            let source = plain_if_remedied(Box::new(error));
            return Err(SupervisorError::Open { path, source });
        }
    };
    let (method, regions) = (pool.method(), pool.config().common_regions());
    if method != Method::Worker {
        return Err(SupervisorError::Method { path, method });
    }
    if regions > 0 {
        return Err(SupervisorError::Regions { path, regions });
    }
    if pool.config().processes() == 1 {
        return Err(SupervisorError::NoRoom { path });
    }
    Ok(pool)
}

/// Starts the thread that sleeps on signals; it ends with the process.
fn listen(mut signals: Signals, pool: &Arc<Pool>, news: &SharedNews) -> io::Result<()> {
    let (pool, news) = (Arc::clone(pool), Arc::clone(news));
    let body = move || {
        while signals.wait(SLEEP).is_ok() {
            let stop = signals.take_stop();
            let mut news = locked(&news);
            news.fresh = true;
            news.stop = stop.or(news.stop);
            drop(news);
            pool.rouse_foreman();
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(body)?;
    Ok(())
}

/// Sees to it that there are as many workers as there should be, until a stop signal comes.
fn keep_up(
    mut foreman: Foreman<'_>,
    crew: &mut Crew<'_>,
    news: &SharedNews,
) -> Result<StopSignal, SupervisorError> {
    let mut told = false;
    loop {
        // Before the children are looked at: what happens afterwards is fresh again.
        locked(news).fresh = false;
        crew.collect().map_err(setup("wait for a worker"))?;
        if let Some(signal) = locked(news).stop.take() {
            return Ok(signal);
        }
        let (pause, wanted) = (crew.pause(), foreman.to_start(crew.running()));
        if foreman.lacks_room() && !std::mem::replace(&mut told, true) {
            crew.tell_of_no_room();
        }
        if pause.is_zero() {
            for _ in 0..wanted {
                crew.start_one().map_err(setup("start a worker"))?;
            }
        }
        let at_most = if pause.is_zero() { SLEEP } else { pause };
        foreman.sleep(at_most, || locked(news).fresh);
    }
}

/// Lets all workers leave, and waits until they have; kills those that take too long, or all at the next
/// stop signal.
fn wind_up(
    foreman: &Foreman<'_>,
    crew: &mut Crew<'_>,
    news: &SharedNews,
) -> Result<(), SupervisorError> {
    let deadline = Instant::now() + GRACE;
    crew.dismiss();
    loop {
        locked(news).fresh = false;
        crew.collect().map_err(setup("wait for a worker"))?;
        let left = deadline.saturating_duration_since(Instant::now());
        if crew.running() == 0 || left.is_zero() || locked(news).stop.is_some() {
            // What is left is killed, and collected, by the drop of the crew.
            return Ok(());
        }
        foreman.sleep(left, || locked(news).fresh);
    }
}

fn setup(what: &'static str) -> impl Fn(io::Error) -> SupervisorError {
    move |source| SupervisorError::Setup { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_survives_its_line() {
        let tally = Tally { started: 12, replaced: 3 };
        assert_eq!(Tally::from_line(&format!("{}\n", tally.to_line())), Some(tally));
        assert_eq!(Tally::from_line("12"), None);
        assert_eq!(tally.to_string(), "12 workers were started, 3 of them in place of dead ones");
    }
}
