//! One copier: takes blocks, keeps a bounded number of them in flight, and ends when none is left.
//!
//! The ring is a queue, roughly in the order of starting. In each turn every entry that is over is
//! finished, wherever it stands, and what follows from it (a write, the rest of a block, the next block)
//! is started; all of a turn are submitted together. If a turn found nothing to do the copier sleeps
//! until the oldest IO is over or, after a moment, any: so a slow one holds up others for that moment only. A frame goes along
//! with its block: it is either idle or lent to exactly one IO.
//!
//! Bounds: the ring holds at most one entry for each frame; each turn of the loop moves a block
//! forward, or sleeps, or ends. Fails: with the first error of its own, which it leaves in the shared
//! words; then all stop.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use handfast::{Frame, Pending, Pool, Process, Registry, Scope, UseError, WaitRef};

use super::block::{AfterRead, AfterWrite, Chunk, Geometry};
use super::shared::Shared;
use crate::args::CopierOrders;
use crate::signals::leave_to_coordinator;
use crate::system::{die_with_parent, plain_if_remedied, say, with_remedy};

/// As many IOs as one sleep can be for; with more in flight it is for the oldest ones.
const MOST_AWAITED: usize = 128;

/// How long the oldest IO may hold up what follows from others.
const OLDEST_ONLY: Duration = Duration::from_millis(2);

/// Why a copier gives up.
#[derive(Debug, thiserror::Error)]
pub enum CopierError {
    /// It could not get ready.
    #[error("a copier could not {what}: {source}")]
    Setup {
        /// What it was about to do.
        what: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The pool has fewer frames than were planned.
    #[error("the pool has no frame left for a copier: this is a defect of handfast")]
    NoFrame,
    /// The pool refused an IO.
    #[error("the pool refused an IO at offset {at} of {}: {message}", path.display())]
    Refused {
        /// SRC or the temporary file.
        path: PathBuf,
        /// Offset of the IO.
        at: u64,
        /// What it said.
        message: String,
    },
    /// The pool cannot say how its IO goes.
    #[error("the pool refused to tell about an IO: {0}")]
    Pool(#[from] UseError),
    /// A read failed.
    #[error("cannot read {} at offset {at}: {source}", path.display())]
    Read {
        /// SRC.
        path: PathBuf,
        /// Offset of the read.
        at: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// A write failed.
    #[error("cannot write {} at offset {at}: {source}", path.display())]
    Write {
        /// The temporary file.
        path: PathBuf,
        /// Offset of the write.
        at: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// A write transferred nothing.
    #[error("cannot write {} at offset {at}: the file system takes no more bytes", path.display())]
    Stuck {
        /// The temporary file.
        path: PathBuf,
        /// Offset of the write.
        at: u64,
    },
    /// SRC got shorter.
    #[error(
        "{} was truncated during the copy: it had {size} bytes at the start and \
         ends at {found} now; copy it again",
        path.display()
    )]
    Shrunk {
        /// SRC.
        path: PathBuf,
        /// Its size at the start.
        size: u64,
        /// Its size now.
        found: u64,
    },
}

/// Runs a copier until no block is left, somebody asks to stop, or something fails.
pub fn run(orders: &CopierOrders) -> ExitCode {
    match follow(orders) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody can read the shared words for this one, so it speaks for itself.
            say(&with_remedy(&error));
            ExitCode::FAILURE
        }
    }
}

fn follow(orders: &CopierOrders) -> Result<(), CopierError> {
    die_with_parent(orders.coordinator).map_err(setup("bind its life to its coordinator's"))?;
    leave_to_coordinator().map_err(setup("install its signal handlers"))?;
    let files = Files::take().map_err(setup("take over SRC and DST"))?;
    let segment = PathBuf::from(format!("/proc/self/fd/{}", orders.segment));
    let pool = Pool::open(&segment, Registry::new()).map_err(setup("open the pool"))?;
    let shared = Shared::new(pool.user_words(), orders.copiers).ok_or(CopierError::Setup {
        what: "find its shared words",
        source: "too few words".into(),
    })?;
    if let Err(error) = copy(orders, &pool, shared, files) {
        shared.fail(&with_remedy(&error));
    }
    Ok(())
}

/// SRC and DST, which the coordinator has opened and passed as standard input and output: so all
/// copiers work on the very files that were checked, whatever happens to their names.
struct Files {
    source: fs::File,
    destination: fs::File,
}

impl Files {
    fn take() -> io::Result<Self> {
        let source = io::stdin().as_fd().try_clone_to_owned()?;
        let destination = io::stdout().as_fd().try_clone_to_owned()?;
        // From here on nothing that prints can reach DST.
        rustix::stdio::dup2_stdout(io::stderr())?;
        Ok(Self { source: source.into(), destination: destination.into() })
    }
}

fn copy(
    orders: &CopierOrders,
    pool: &Pool,
    shared: Shared<'_>,
    files: Files,
) -> Result<(), CopierError> {
    let mut process = pool.attach().map_err(setup("attach to the pool"))?;
    tell_refusal(orders, &process, shared);
    let source = register(&mut process, files.source, (orders, 0))?;
    let destination = register(&mut process, files.destination, (orders, 1))?;
    let idle = (0..orders.queue_depth)
        .map(|_| process.frame().ok_or(CopierError::NoFrame))
        .collect::<Result<Vec<_>, _>>()?;
    let geometry = Geometry { block_size: orders.block_size, unit: orders.unit, size: orders.size };
    let (source, destination) = (&source, &destination);
    let in_flight = VecDeque::new();
    let mut ring = Ring { orders, geometry, shared, source, destination, idle, in_flight };
    ring.run(&mut process.scope())
}

/// Notes that this process carries its IO out by itself though others do not, and says why.
fn tell_refusal(orders: &CopierOrders, process: &Process<'_>, shared: Shared<'_>) {
    let Some(refusal) = process.method_refusal() else { return };
    shared.note_in_place(orders.copier);
    if orders.verbose {
        let number = orders.copier + 1;
        say(&format!("copier {number} carries out its IO by itself: {refusal}"));
    }
}

/// Registers a file. Workers find it by the coordinator's descriptor of it, so that they, too, work on the
/// very file that was checked.
fn register<'pool>(
    process: &mut Process<'pool>,
    file: fs::File,
    (orders, which): (&CopierOrders, usize),
) -> Result<handfast::File<'pool>, CopierError> {
    let descriptor = orders.descriptors.get(which).copied().unwrap_or(0);
    let path = format!("/proc/{}/fd/{descriptor}", orders.coordinator);
    process.file(file, path).map_err(setup("register a file with the pool"))
}

/// An IO of a block.
enum InFlight<'pool> {
    Read(Chunk, Pending<'pool, Frame<'pool>>),
    Write { chunk: Chunk, payload: u32, pending: Pending<'pool, Frame<'pool>> },
}

impl InFlight<'_> {
    fn reference(&self) -> WaitRef {
        match self {
            Self::Read(_, pending) | Self::Write { pending, .. } => pending.wait_ref(),
        }
    }
}

struct Ring<'run, 'pool> {
    orders: &'run CopierOrders,
    geometry: Geometry,
    shared: Shared<'pool>,
    source: &'run handfast::File<'pool>,
    destination: &'run handfast::File<'pool>,
    idle: Vec<Frame<'pool>>,
    in_flight: VecDeque<InFlight<'pool>>,
}

impl<'pool> Ring<'_, 'pool> {
    fn run(&mut self, scope: &mut Scope<'_, 'pool>) -> Result<(), CopierError> {
        let mut awaited = Vec::new();
        while !self.shared.is_stopped() {
            let mut batch = scope.batch();
            let went_on = self.go_on(&mut batch)? | self.fill(&mut batch)?;
            batch.submit()?;
            if self.in_flight.is_empty() {
                return Ok(());
            }
            if !went_on {
                self.sleep(scope, &mut awaited)?;
            }
        }
        Ok(())
    }

    /// Sleeps until an IO of the ring is over: for a moment the oldest one, which is the likeliest and, in a
    /// ring of the kernel's, needs no second thread; then whichever comes first.
    fn sleep(
        &self,
        scope: &mut Scope<'_, 'pool>,
        awaited: &mut Vec<WaitRef>,
    ) -> Result<(), CopierError> {
        awaited.clear();
        awaited.extend(self.in_flight.iter().take(MOST_AWAITED).map(InFlight::reference));
        let Some(oldest) = awaited.first() else { return Ok(()) };
        if scope.wait_timeout(*oldest, OLDEST_ONLY)?.is_none() {
            let (_which, _how) = scope.process().wait_any(awaited)?;
        }
        Ok(())
    }

    /// Finishes what is over and starts what follows; whether anything was over.
    fn go_on(&mut self, scope: &mut Scope<'_, 'pool>) -> Result<bool, CopierError> {
        let mut went_on = false;
        for _ in 0..self.in_flight.len() {
            let Some(io) = self.in_flight.pop_front() else { break };
            if !scope.check_done(io.reference())? {
                self.in_flight.push_back(io);
                continue;
            }
            went_on = true;
            match io {
                InFlight::Read(chunk, pending) => self.after_read(scope, chunk, pending)?,
                InFlight::Write { chunk, payload, pending } => {
                    self.after_write(scope, (chunk, payload), pending)?;
                }
            }
        }
        Ok(went_on)
    }

    /// Starts reads until no frame is idle or no block is left; whether there was one to start.
    fn fill(&mut self, scope: &mut Scope<'_, 'pool>) -> Result<bool, CopierError> {
        let mut started = false;
        while !self.idle.is_empty() {
            let Some(chunk) = self.geometry.block(self.shared.take_block()) else { break };
            let Some(frame) = self.idle.pop() else { break };
            self.start_read(scope, chunk, frame)?;
            started = true;
        }
        Ok(started)
    }

    fn start_read(
        &mut self,
        scope: &mut Scope<'_, 'pool>,
        chunk: Chunk,
        mut frame: Frame<'pool>,
    ) -> Result<(), CopierError> {
        let refused = |message| refused(&self.orders.source, chunk.at, message);
        let len = self.geometry.read_len(chunk) as usize;
        frame.set_len(len).map_err(|error| refused(error.to_string()))?;
        let handle = scope.acquire().map_err(|error| refused(error.to_string()))?;
        let pending = handle
            .read(self.source, frame, chunk.at)
            .map_err(|error| refused(error.to_string()))?;
        self.in_flight.push_back(InFlight::Read(chunk, pending));
        Ok(())
    }

    fn after_read(
        &mut self,
        scope: &mut Scope<'_, 'pool>,
        chunk: Chunk,
        pending: Pending<'pool, Frame<'pool>>,
    ) -> Result<(), CopierError> {
        let path = &self.orders.source;
        let finished =
            scope.finish(pending).map_err(|error| refused(path, chunk.at, error.to_string()))?;
        let got = finished.outcome.bytes().map_err(|error| CopierError::Read {
            path: path.clone(),
            at: chunk.at,
            source: reason(&error),
        })?;
        self.shared.count(self.orders.copier, 0);
        match self.geometry.after_read(chunk, got) {
            AfterRead::Write { payload, len } => {
                let mut frame = finished.memory;
                self.set_content(chunk, (payload, len), &mut frame)?;
                self.start_write(scope, (chunk, payload), frame)
            }
            AfterRead::End => {
                self.idle.push(finished.memory);
                Ok(())
            }
            AfterRead::Shrunk { found } => Err(CopierError::Shrunk {
                path: path.clone(),
                size: self.geometry.size.unwrap_or(0),
                found,
            }),
        }
    }

    /// Gives the frame the length of the write, with zeros behind the content: they are cut off at
    /// the end of the copy, but until then they must not be what another block has left in the
    /// frame.
    fn set_content(
        &self,
        chunk: Chunk,
        (payload, len): (u32, u32),
        frame: &mut Frame<'pool>,
    ) -> Result<(), CopierError> {
        frame
            .set_len(len as usize)
            .and_then(|()| match len - payload {
                0 => Ok(()),
                padding => frame.copy_from_slice(payload as usize, &vec![0; padding as usize]),
            })
            .map_err(|error| refused(&self.orders.destination, chunk.at, error.to_string()))
    }

    fn start_write(
        &mut self,
        scope: &mut Scope<'_, 'pool>,
        (chunk, payload): (Chunk, u32),
        frame: Frame<'pool>,
    ) -> Result<(), CopierError> {
        let refused = |message| refused(&self.orders.destination, chunk.at, message);
        let handle = scope.acquire().map_err(|error| refused(error.to_string()))?;
        let pending = handle
            .write(self.destination, frame, chunk.at)
            .map_err(|error| refused(error.to_string()))?;
        self.in_flight.push_back(InFlight::Write { chunk, payload, pending });
        Ok(())
    }

    fn after_write(
        &mut self,
        scope: &mut Scope<'_, 'pool>,
        (chunk, payload): (Chunk, u32),
        pending: Pending<'pool, Frame<'pool>>,
    ) -> Result<(), CopierError> {
        let path = &self.orders.destination;
        let finished =
            scope.finish(pending).map_err(|error| refused(path, chunk.at, error.to_string()))?;
        let wrote = finished.outcome.bytes().map_err(|error| CopierError::Write {
            path: path.clone(),
            at: chunk.at,
            source: reason(&error),
        })?;
        match self.geometry.after_write(chunk, payload, wrote) {
            AfterWrite::Continue(rest) => {
                let moved = u32::try_from(rest.at - chunk.at).unwrap_or(payload);
                self.shared.count(self.orders.copier, moved);
                self.start_read(scope, rest, finished.memory)
            }
            AfterWrite::Done => {
                self.shared.count(self.orders.copier, payload);
                self.idle.push(finished.memory);
                Ok(())
            }
            AfterWrite::Stuck => Err(CopierError::Stuck { path: path.clone(), at: chunk.at }),
        }
    }
}

fn setup<E: Error + Send + Sync + 'static>(what: &'static str) -> impl Fn(E) -> CopierError {
    move |error| CopierError::Setup { what, source: plain_if_remedied(Box::new(error)) }
}

/// What the kernel said, without the target and the offset that the pool's error names: the
/// copier's own error names them as the user does.
fn reason(error: &handfast::IoError) -> io::Error {
    error.errno().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

fn refused(path: &Path, at: u64, message: String) -> CopierError {
    let message = plain_if_remedied(message.into()).to_string();
    CopierError::Refused { path: path.to_owned(), at, message }
}
