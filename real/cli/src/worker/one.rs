//! One worker. It finds the pool as its standard input, works until it is told to leave or has been idle
//! for long enough, and dies with its supervisor.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use handfast::{AttachError, Left, Pool, Registry, WorkOptions};

use crate::args::WorkerOrders;
use crate::signals::leave_at_stop;
use crate::system::{die_with_parent, plain_if_remedied, say, with_remedy};

/// Where a worker finds its pool.
const POOL: &str = "/proc/self/fd/0";

/// Exit code of a worker that has found no free slot.
pub const NO_ROOM: u8 = 3;

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
#[error("a worker could not {what}: {source}")]
struct OneError {
    what: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

/// Works. The exit code is 0 if it left by itself or was told to, and [`NO_ROOM`], without a word, if all slots
/// are in use.
pub fn run(orders: &WorkerOrders) -> ExitCode {
    match work(orders) {
        Ok(Some(Left::Asked | Left::Idle)) => ExitCode::SUCCESS,
        Ok(None) => ExitCode::from(NO_ROOM),
        Err(error) => {
            say(&with_remedy(&error));
            ExitCode::FAILURE
        }
    }
}

fn work(orders: &WorkerOrders) -> Result<Option<Left>, OneError> {
    die_with_parent(orders.supervisor).map_err(failed_to("bind its life to its supervisor's"))?;
    let leave = Arc::new(AtomicBool::new(false));
    leave_at_stop(&leave).map_err(failed_to("install its signal handlers"))?;
    let pool = Pool::open(Path::new(POOL), Registry::new()).map_err(failed_to("open the pool"))?;
    let mut process = match pool.attach() {
        Err(AttachError::Full(_)) => return Ok(None),
        attached => attached.map_err(failed_to("attach to the pool"))?,
    };
    let idle = Some(Duration::from_secs(u64::from(orders.idle)));
    let options = WorkOptions { idle, least: orders.least };
    let left = process.work(options, &leave).map_err(failed_to("work"))?;
    process.detach().map_err(failed_to("give its slot back"))?;
    Ok(Some(left))
}

fn failed_to<E: Error + Send + Sync + 'static>(what: &'static str) -> impl Fn(E) -> OneError {
    move |error| OneError { what, source: plain_if_remedied(Box::new(error)) }
}

/// What a new worker gets as its standard input.
pub fn pool_as_stdin(pool: &Pool) -> io::Result<std::process::Stdio> {
    use std::os::fd::AsFd;
    Ok(pool.as_fd().try_clone_to_owned()?.into())
}
