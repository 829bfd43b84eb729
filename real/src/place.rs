//! What this process keeps for each slot: while it is attached there, its lock's open file
//! description; and word of dropped [`crate::Pending`]s. It lives in the [`crate::Pool`], so that everything may borrow the pool
//! alone.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `taken` | whoever attaches in this process | whoever attaches |
//! | `lock` | whoever attaches; closed when the slot is given back | the attachment |
//! | `attachments` | whoever attaches | a `Pending`'s attachment |
//! | `dropped` | a `Pending` when it is dropped unfinished | the attachment, at reclaim and reuse |
//!
//! The slot lock is the right to be the slot's process, and to recover it (S25). Every attachment has a
//! description of its own: locks of one description do not exclude each other, and it does not see
//! them. Whether a slot is worth one is asked through the segment's own descriptor, which never takes a
//! lock, so that slots of others cost this process no descriptors.

#![expect(clippy::disallowed_types, reason = "private memory of one process, not protocol words")]

use crate::sys::lock::{self, LockFile};
use handfast_core::ids::{PoolTag, ProcessSlot};
use handfast_core::platform::SlotLocks;
use handfast_core::protocol::Drive;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// One slot, as this process sees it.
#[derive(Default)]
pub(crate) struct Place {
    taken: AtomicBool,
    lock: Mutex<Option<LockFile>>,
    dropped: OnceLock<Dropped>,
    attachments: AtomicU32,
}

impl Place {
    /// Claims the slot within this process.
    pub fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::Acquire)
    }

    /// The opposite. Closes the description; its lock was given back before, since a copy of it in a
    /// forked child would keep the lock.
    pub fn give_back(&self) {
        *self.own() = None;
        self.taken.store(false, Ordering::Release);
    }

    /// Tries the slot's lock, on a new description if it looks free. The description is kept only with
    /// the lock. The slot must have been taken.
    pub fn lock_own(&self, segment: BorrowedFd<'_>, slot: ProcessSlot) -> std::io::Result<bool> {
        let byte = u64::from(slot.get());
        if !lock::is_free(segment, byte)? {
            return Ok(false);
        }
        let lock = LockFile::reopen(segment)?;
        let locked = lock.try_lock(byte)?;
        if locked {
            *self.own() = Some(lock);
        }
        Ok(locked)
    }

    fn own(&self) -> MutexGuard<'_, Option<LockFile>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for the next attachment by this process that no peer can change, unlike the slot's epoch.
    pub fn next_attachment(&self) -> u32 {
        self.attachments.fetch_add(1, Ordering::Relaxed)
    }

    /// Where its `Pending`s leave marks; made by the first attachment.
    pub fn dropped(&self, pool: PoolTag, handles: Range<u32>) -> &Dropped {
        self.dropped.get_or_init(|| Dropped::new(pool, handles))
    }
}

impl SlotLocks for Place {
    fn try_lock(&self, slot: ProcessSlot) -> bool {
        let byte = u64::from(slot.get());
        self.own().as_ref().is_some_and(|lock| lock.try_lock(byte).unwrap_or(false))
    }

    fn unlock(&self, slot: ProcessSlot) {
        if let Some(lock) = self.own().as_ref() {
            // Unlocking a byte range cannot fail on a valid descriptor; if it did, the lock would
            // be given back when the process ends.
            let _ = lock.unlock(u64::from(slot.get()));
        }
    }

    fn is_free(&self, slot: ProcessSlot) -> bool {
        let byte = u64::from(slot.get());
        self.own().as_ref().is_some_and(|lock| lock.is_free(byte).unwrap_or(false))
    }
}

/// Method `sync` has nothing to drive: its IO is over when the issuer's call returns.
impl Drive for Place {}

/// Which IOs' [`crate::Pending`]s were dropped without `finish`.
///
/// The usual case is one store. A second drop for the same handle before the first was noticed (its
/// result was set aside) goes to a list.
pub(crate) struct Dropped {
    /// The pool.
    pub pool: PoolTag,
    /// The number of the slot's first handle.
    pub first: u32,
    marks: Box<[AtomicU64]>,
    late: Mutex<Vec<(u32, u64)>>,
}

impl Dropped {
    fn new(pool: PoolTag, handles: Range<u32>) -> Self {
        let first = handles.start;
        let marks = handles.map(|_| AtomicU64::new(0)).collect();
        Self { pool, first, marks, late: Mutex::default() }
    }

    pub fn mark(&self, index: u32, generation: u64) {
        let Some(mark) = self.mark_of(index) else { return };
        if mark.compare_exchange(0, generation, Ordering::Release, Ordering::Relaxed).is_err() {
            self.late.lock().unwrap_or_else(PoisonError::into_inner).push((index, generation));
        }
    }

    #[inline(always)]
    fn mark_of(&self, index: u32) -> Option<&AtomicU64> {
        self.marks.get(index as usize)
    }

    /// Whether there is a mark for a handle.
    #[inline(always)]
    pub fn is_marked(&self, index: u32) -> bool {
        self.mark_of(index).is_some_and(|mark| mark.load(Ordering::Relaxed) != 0)
    }

    /// The generation marked for a handle, 0 for none; the mark is taken.
    pub fn take(&self, index: u32) -> u64 {
        self.mark_of(index).map_or(0, |mark| mark.swap(0, Ordering::Acquire))
    }

    pub fn take_late(&self) -> Vec<(u32, u64)> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
