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
        self.at(offset, len)?;
        Ok(RegionSlice { region: self.clone(), offset, len })
    }

    /// Its 64-bit words, for the application's own atomics.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        let len = self.len() / size_of::<AtomicU64>();
        // SAFETY: a mapping is page-aligned and at least `len * 8` bytes long, lives as long as
        // `self`, and atomics are valid for any bytes and any concurrent writes.
        unsafe { std::slice::from_raw_parts(self.0.mapping.base().cast().as_ptr(), len) }
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn copy_to_slice(&self, at: usize, out: &mut [u8]) -> Result<(), MemoryError> {
        let from = self.at(at, out.len())?;
        // SAFETY: `at()` checked the bounds; the destination is an exclusive slice elsewhere. A
        // peer that writes at the same time gives us some bytes.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies bytes in. Others may see them while they are copied.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn copy_from_slice(&self, at: usize, bytes: &[u8]) -> Result<(), MemoryError> {
        let to = self.at(at, bytes.len())?;
        // SAFETY: `at()` checked the bounds; the source is a slice elsewhere, and no reference to
        // the region's bytes exists but through atomics.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn at(&self, at: usize, len: usize) -> Result<NonNull<u8>, MemoryError> {
        let size = self.len();
        if at.checked_add(len).is_none_or(|end| end > size) {
            return Err(MemoryError::OutOfBounds { at, len, size });
        }
        // SAFETY: `at + len <= size`, the length of the mapping.
        Ok(unsafe { self.0.mapping.base().add(at) })
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

    #[inline(always)]
    pub(crate) fn base(&self) -> NonNull<u8> {
        // SAFETY: `Region::slice` checked that offset and length lie inside of the mapping, whose
        // length never changes.
        unsafe { self.region.0.mapping.base().add(self.offset) }
    }
}
