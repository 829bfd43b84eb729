//! Regions: shared memory of the application's own, so that IO lands in its own pages.
//!
//! A region is a memfd or a file in tmpfs or hugetlbfs that each process maps through its pool under
//! the same number. The pool answers for one rule, that nothing is reported over while the kernel
//! may still write; who uses which bytes when is the application's to exclude, as with any shared
//! memory. Checked by: `tests/tests/memory.rs`.

use crate::memory::MemoryError;
use crate::sys::mapping::Mapping;
use handfast_core::ids::PoolTag;
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The least region number an application may use: 0 and 1 are local memory and the pool's frames.
pub const FIRST_REGION: u32 = 2;
/// How many regions one pool can have.
pub const MAX_REGIONS: u32 = 62;

/// Why a region cannot be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The number is out of range.
    #[error("region number {0} is out of range: use {FIRST_REGION} to {last}", last = FIRST_REGION + MAX_REGIONS - 1)]
    OutOfRange(u32),
    /// The number is taken in this process.
    #[error("region number {0} is taken: give each region a number of its own")]
    Taken(u32),
    /// It is the segment of the pool itself.
    #[error(
        "the memory is the segment of a pool, whose words IO would overwrite: map memory of the application's own"
    )]
    OwnSegment,
    /// The system refused to map it.
    #[error("cannot map the region: {0}")]
    Map(#[from] io::Error),
}

struct Mapped {
    mapping: Mapping,
    number: u32,
    pool: PoolTag,
}

/// A mapped region. Cheap to clone; unmapped when the last clone, the last slice and the pool are gone.
#[derive(Clone)]
pub struct Region(Arc<Mapped>);

impl Region {
    /// The address of `len` bytes from `at` on; `None` if they are not all inside.
    pub(crate) fn at(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        self.0.mapping.at(at, len)
    }

    pub(crate) fn new(mapping: Mapping, number: u32, pool: PoolTag) -> Self {
        Self(Arc::new(Mapped { mapping, number, pool }))
    }

    /// Its number, the same in every process.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.0.number
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.mapping.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A part of it to give to an IO.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn slice(&self, offset: usize, len: usize) -> Result<RegionSlice, MemoryError> {
        self.0.mapping.at(offset, len).ok_or_else(|| self.out_of_bounds(offset, len))?;
        Ok(RegionSlice { region: self.clone(), offset, len })
    }

    /// Its 64-bit words, for the application's own atomics.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.0.mapping.words()
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn copy_to_slice(&self, at: usize, out: &mut [u8]) -> Result<(), MemoryError> {
        let len = out.len();
        self.0.mapping.copy_out(at, out).ok_or_else(|| self.out_of_bounds(at, len))
    }

    /// Copies bytes in. Others may see them while they are copied.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn copy_from_slice(&self, at: usize, bytes: &[u8]) -> Result<(), MemoryError> {
        self.0.mapping.copy_in(at, bytes).ok_or_else(|| self.out_of_bounds(at, bytes.len()))
    }

    fn out_of_bounds(&self, at: usize, len: usize) -> MemoryError {
        MemoryError::OutOfBounds { at, len, size: self.len() }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("number", &self.number()).field("len", &self.len()).finish()
    }
}

/// A part of a region, to be given to an IO.
#[derive(Debug)]
pub struct RegionSlice {
    region: Region,
    offset: usize,
    len: usize,
}

impl RegionSlice {
    /// The region.
    #[must_use]
    pub fn whole(&self) -> &Region {
        &self.region
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Byte offset in the region.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }

    pub(crate) fn region(&self) -> u32 {
        self.region.number()
    }

    pub(crate) fn pool(&self) -> PoolTag {
        self.region.0.pool
    }

    /// Its first byte; there is one, since the slice was checked and a mapping keeps its length.
    #[inline(always)]
    pub(crate) fn base(&self) -> Option<NonNull<u8>> {
        self.region.0.mapping.at(self.offset, self.len)
    }
}
