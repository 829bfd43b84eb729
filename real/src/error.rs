//! One error type for callers who do not need to tell refusals apart.
//!
//! Every error of the crate converts to [`Error`] by `?`. A refused start or finish gives its memory
//! or its `Pending` up in the conversion; match on [`Refused`] or [`NotFinished`] to keep it.

use crate::{
    AlignedBufError, AttachError, CreateError, DefineError, IoError, MemoryError, NotFinished,
    OpenError, Refused, RegionError, RegistryError, ScopeWarning, StartError, UseError, WorkError,
    WorkerLimitsError,
};
use std::io;

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Making a pool.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// Opening a pool.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Attaching.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Registering callbacks or targets.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Mapping a region.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Allocating local memory.
    #[error(transparent)]
    Local(#[from] AlignedBufError),
    /// Using memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Acquiring, waiting, finishing, detaching.
    #[error(transparent)]
    Use(#[from] UseError),
    /// Defining an IO.
    #[error(transparent)]
    Define(#[from] DefineError),
    /// Starting an IO.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The IO itself.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Working for others.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// How many workers there are.
    #[error(transparent)]
    WorkerLimits(#[from] WorkerLimitsError),
    /// The end of a scope.
    #[error(transparent)]
    Scope(#[from] ScopeWarning),
    /// A system call outside of any IO.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl<M> From<Refused<M>> for Error {
    fn from(refused: Refused<M>) -> Self {
        Self::Start(refused.error)
    }
}

impl<M> From<NotFinished<'_, M>> for Error {
    fn from(refused: NotFinished<'_, M>) -> Self {
        Self::Use(refused.error)
    }
}
