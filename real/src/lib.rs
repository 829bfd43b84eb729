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
//! assert_eq!(done.outcome.bytes()?, 9);
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
//! - [`Method::Worker`]: workers, which `handfast worker` runs, or the application in threads or processes of its
//!   own ([`Process::work`], [`Pool::foreman`]). They open files by their path and reach frames and
//!   common regions. What they cannot reach, and everything while there are none, its issuer executes.
//! - [`Method::Sync`]: the issuer, during the call that starts the IO.
//!
//! A process that cannot make a ring in a pool that chose rings by itself goes without ([`Process::method_refusal`]).
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
