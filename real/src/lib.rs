//! handfast: a pool of asynchronous IO handles in shared memory, for programs made of several
//! processes that read and write the same buffers.
//!
//! One process acquires a handle, defines an IO and starts it; any process that was given its
//! [`WaitRef`] can wait for it; the issuer takes the result and uses the handle again, with a higher
//! generation, so that old references never wait for a newer IO. It is PostgreSQL's AIO core
//! re-thought: the [`features`] page leads from PostgreSQL's names to ours.
//!
//! ```
//! use handfast::{Pool, Waited};
//! use std::fs::OpenOptions;
//!
//! # fn main() -> Result<(), handfast::Error> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("data");
//! # std::fs::write(&path, b"any bytes")?;
//! let pool = Pool::builder().processes(4).frames(16).create()?; // shared memory
//! let mut me = pool.attach()?;                                  // a slot of it
//! let file = me.open(&path, OpenOptions::new().read(true))?;
//! let frame = me.frame().expect("16 frames are free");        // a buffer in it
//!
//! let mut scope = me.scope();
//! let handle = scope.acquire()?;                 // HANDED_OUT
//! let reference = handle.wait_ref();             // 16 bytes, for any process
//! let pending = handle.read(&file, frame, 0)?;   // the frame belongs to the IO now
//! assert_eq!(scope.wait(reference)?, Waited::Done);
//! let done = scope.finish(pending)?;             // result and frame; the handle is IDLE again
//! let mut bytes = vec![0; done.outcome.bytes()? as usize];
//! done.memory.copy_to_slice(0, &mut bytes)?;     // what was read; the frame is free when it is dropped
//! assert_eq!(bytes, b"any bytes");
//! assert_eq!(scope.wait(reference)?, Waited::Recycled);
//! scope.commit()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Processes
//! [`Pool::builder`] makes a pool in a sealed memfd or a named file; an unrelated program opens it with
//! [`Pool::from_fd`] or [`Pool::open`], at any address. [`Pool::attach`] takes a slot. A program with
//! threads attaches once for each thread that issues IO ([`Process`] is `Send`, not `Sync`).
//!
//! # Who executes the IO
//! The pool's [`Method`], by default the best that the machine offers ([`MethodChoice::here`] says which, and why
//! it is not a better one):
//! - [`Method::IoUring`]: the kernel, in a ring that each attachment makes for itself. A thread of the attachment
//!   completes what others wait for while the issuer is busy; it sleeps while nobody asks.
//! - [`Method::Worker`]: workers. Run workers (`handfast worker`, [`Process::work`]), or IO is executed in place, one
//!   after the other; see [`Pool::workers()`]. `handfast worker` finds a pool by its name
//!   ([`PoolBuilder::create_named`]) or by a descriptor; the application runs workers in threads or processes of its
//!   own, and [`Pool::foreman`] says how many. Each takes a slot of the pool. They open files by their path and
//!   reach frames and common regions; what they cannot reach the issuer executes.
//! - [`Method::Sync`]: the issuer, during the call that starts the IO.
//!
//! Where there are no rings `auto` is workers, and nobody runs them unasked. A process that cannot make a ring in a
//! pool that chose rings by itself goes without ([`Process::method_refusal`]).
//!
//! ```
//! # fn main() -> Result<(), handfast::Error> {
//! use handfast::{Method, Pool, WorkOptions};
//! use std::sync::atomic::{AtomicBool, Ordering};
//! let pool = Pool::builder().processes(2).method(Method::Worker).create()?;
//! let leave = AtomicBool::new(false);
//! std::thread::scope(|threads| {
//!     let worker = threads.spawn(|| {
//!         let mut me = pool.attach().expect("a slot is free");
//!         me.work(WorkOptions::default(), &leave).expect("it is a pool for workers")
//!     });
//!     // Other threads and processes attach, start IO and wait for it; then:
//!     leave.store(true, Ordering::Release);
//!     pool.rouse_workers();
//!     let _left = worker.join();
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting for several, and async
//! [`Process::wait_any`] sleeps until any of up to 128 IOs is over, of whatever processes ([`Scope::wait_any`] is the
//! same):
//!
//! ```
//! # use handfast::{Pending, Pool};
//! # use std::fs::OpenOptions;
//! # fn main() -> Result<(), handfast::Error> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("data");
//! # std::fs::write(&path, [7; 4 * 8192])?;
//! # let pool = Pool::builder().processes(1).frames(4).handles_per_process(4).create()?;
//! # let mut me = pool.attach()?;
//! # let file = me.open(&path, OpenOptions::new().read(true))?;
//! # let mut total = 0;
//! let mut scope = me.scope();
//! let mut reads = Vec::new();
//! for block in 0..4 {
//!     let frame = scope.frame().expect("4 frames are free");
//!     reads.push(scope.acquire()?.read(&file, frame, block * 8192)?);
//! }
//! while !reads.is_empty() {
//!     let references: Vec<_> = reads.iter().map(Pending::wait_ref).collect();
//!     let (first, _waited) = scope.wait_any(&references)?;     // sleeps until one of them is over
//!     let done = scope.finish(reads.swap_remove(first))?;      // which does not block
//!     total += done.outcome.bytes()?;
//! }
//! # assert_eq!(total, 4 * 8192);
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `future`, `Pending::ready` is a future that any executor can run; it wakes its task when the IO
//! is over:
//!
#![cfg_attr(feature = "future", doc = "```")]
#![cfg_attr(not(feature = "future"), doc = "```ignore")]
//! # use handfast::{File, Frame, Pool, Scope};
//! # use std::fs::OpenOptions;
//! async fn read<'pool>(
//!     scope: &mut Scope<'_, 'pool>,
//!     file: &File<'pool>,
//!     frame: Frame<'pool>,
//! ) -> Result<Frame<'pool>, handfast::Error> {
//!     let pending = scope.acquire()?.read(file, frame, 0)?;
//!     pending.ready().await?;                // other tasks run meanwhile
//!     let done = scope.finish(pending)?;     // does not block
//!     done.outcome.bytes()?;
//!     Ok(done.memory)
//! }
//! # struct Unpark(std::thread::Thread);
//! # impl std::task::Wake for Unpark {
//! #     fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
//! # }
//! # fn main() -> Result<(), handfast::Error> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("data");
//! # std::fs::write(&path, b"any bytes")?;
//! # let pool = Pool::builder().processes(1).frames(1).create()?;
//! # let mut me = pool.attach()?;
//! # let file = me.open(&path, OpenOptions::new().read(true))?;
//! # let frame = me.frame().expect("a frame is free");
//! # let mut scope = me.scope();
//! # let frame = {
//! #     let mut reading = std::pin::pin!(read(&mut scope, &file, frame));
//! #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
//! #     loop {
//! #         let mut context = std::task::Context::from_waker(&waker);
//! #         if let std::task::Poll::Ready(read) = reading.as_mut().poll(&mut context) {
//! #             break read?;
//! #         }
//! #         std::thread::park();
//! #     }
//! # };
//! # let mut bytes = [0; 9];
//! # frame.copy_to_slice(0, &mut bytes)?;
//! # assert_eq!(&bytes, b"any bytes");
//! # Ok(())
//! # }
//! ```
//!
//! There is no future for the [`WaitRef`] of another process's IO: wait for it in a thread, with an attachment of
//! that thread's own (a [`Process`] is `Send`).
//!
//! # What another process learns
//! A waiter learns that the IO is over, and everything that its shared callbacks did is visible to it.
//! Whether it went well: a shared completion callback marks that in the application's own words
//! ([`Pool::user_words`], a [`Region`]), as the example `shared_cache` does, or the issuer says so by its own
//! means. [`Process::foreign_outcome`] has the result until the issuer takes it, which may be
//! soon. The bytes: [`Pool::copy_from_frame`], or the frame itself by a token ([`Frame::hand_over`],
//! [`Process::adopt`]) — adopted before its giver detaches.
//!
//! # What never goes wrong silently
//! - Memory given to an IO ([`Frame`], [`RegionSlice`], [`AlignedBuf`]) comes back with its completion and not
//!   earlier, whatever is dropped ([`Pending`], [`Scope`], [`Process`]).
//! - Misuse that types can stop does not compile; what they cannot stop is a typed error before anything
//!   has changed.
//! - A process that dies leaves a slot that is recovered by the next that attaches there, by a waiter
//!   that it kept waiting, or by [`Process::recover_dead`].
//! - The bytes of other processes are never trusted for memory safety: see [`unsafe_code`].
//!
//! # Contracts that the compiler cannot check
//! - All processes of a pool run as one user and register the same [`Registry`].
//! - Shared completion callbacks are idempotent and quick ([`Callback`]).
//! - A process that is attached does not fork without exec: the child is refused, and as long as it
//!   lives, it keeps its parent's slot lock.
//! - A process stopped by SIGSTOP delays those who wait for it: use [`Process::wait_timeout`].
//!
//! Linux only. Blocking behaviour, errors and memory ordering are stated at each item.

mod aligned;
mod config;
mod error;
pub mod features;
mod handle;
mod header;
mod layout;
mod memory;
mod method;
mod observe;
mod pending;
mod place;
mod platform;
mod pool;
mod process;
mod region;
mod registry;
mod scope;
mod segment;
mod sys;
mod target;
mod task;
pub mod unsafe_code;

pub use aligned::{AlignedBuf, AlignedBufError};
pub use config::{ConfigError, PoolConfig};
pub use error::Error;
pub use handle::{DefineError, Handle, Refused, StartError};
pub use header::HeaderError;
pub use layout::LayoutError;
pub use memory::{Frame, FrameId, FrameToken, IoBuffers, Lend, LentBuffers, Memory, MemoryError};
pub use method::foreman::{Foreman, MOST_WORKERS, WorkerLimits, WorkerLimitsError};
pub use method::worker::{Left, WorkError, WorkOptions};
pub use method::{Method, MethodChoice, MethodRefusal};
pub use observe::HandleView;
#[cfg(feature = "future")]
pub use pending::Ready;
pub use pending::{Finished, IoOutcome, NotFinished, Pending};
pub use pool::{AttachError, CreateError, OpenError, Pool, PoolBuilder};
pub use process::{Process, RecoverReport, UseError, Waited};
pub use region::{FIRST_REGION, MAX_REGIONS, Region, RegionError, RegionSlice};
pub use registry::{Callback, IoContext, IoError, Registry, RegistryError};
pub use scope::{Batch, Scope, ScopeWarning};
pub use target::{File, Target};

pub use handfast_core;
pub use handfast_core::ids::{Generation, HandleId, PoolTag, ProcessSlot, WaitRef};
pub use handfast_core::outcome::{Outcome, RawResult, Status};
pub use handfast_core::protocol::{Error as ProtocolError, StageRefused};
pub use handfast_core::request::{CallbackId, Flags, Operation, Request, TargetId};
pub use handfast_core::state::State;
