//! What this process keeps for each slot: its lock's open file description, and word of dropped
//! [`crate::Pending`]s. It lives in the [`crate::Pool`], so that everything may borrow the pool
//! alone.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `taken` | whoever attaches in this process | whoever attaches |
//! | `lock` | the first attach | the attachment; it outlives it, unlocked |
//! | `dropped` | a `Pending` when it is dropped unfinished | the attachment, at reclaim and reuse |
//!
//! The slot lock is the right to be the slot's process, and to recover it (S25). Every place has a
//! description of its own: locks of one description do not exclude each other.

#![expect(clippy::disallowed_types, reason = "private memory of one process, not protocol words")]

use crate::sys::lock::LockFile;
use handfast_core::ids::ProcessSlot;
use handfast_core::platform::SlotLocks;
use handfast_core::protocol::Drive;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// One slot, as this process sees it.
#[derive(Default)]
pub(crate) struct Place {
    taken: AtomicBool,
    lock: OnceLock<LockFile>,
    pub dropped: Dropped,
}

impl Place {
    /// Claims the slot within this process.
    pub fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::Acquire)
    }

    pub fn give_back(&self) {
        self.taken.store(false, Ordering::Release);
    }

    /// Tries the slot's lock, making the description if there is none yet.
    pub fn lock_own(
        &self,
        segment: BorrowedFd<'_>,
        slot: ProcessSlot,
        handles: u32,
    ) -> std::io::Result<bool> {
        let lock = match self.lock.get() {
            Some(lock) => lock,
            None => {
                let lock = LockFile::reopen(segment)?;
                self.lock.get_or_init(|| lock)
            }
        };
        self.dropped.marks.get_or_init(|| (0..handles).map(|_| AtomicU64::new(0)).collect());
        lock.try_lock(u64::from(slot.get()))
    }
}

impl SlotLocks for Place {
    fn try_lock(&self, slot: ProcessSlot) -> bool {
        let byte = u64::from(slot.get());
        self.lock.get().is_some_and(|lock| lock.try_lock(byte).unwrap_or(false))
    }

    fn unlock(&self, slot: ProcessSlot) {
        if let Some(lock) = self.lock.get() {
            // Unlocking a byte range cannot fail on a valid descriptor; if it did, the lock would
            // be given back when the process ends.
            let _ = lock.unlock(u64::from(slot.get()));
        }
    }

    fn is_free(&self, slot: ProcessSlot) -> bool {
        let byte = u64::from(slot.get());
        self.lock.get().is_some_and(|lock| lock.is_free(byte).unwrap_or(false))
    }
}

/// Method `sync` has nothing to drive: its IO is over when the issuer's call returns.
impl Drive for Place {}

/// Which IOs' [`crate::Pending`]s were dropped without `finish`.
///
/// The usual case is one store. A second drop for the same handle before the first was noticed (its
/// result was set aside) goes to a list.
#[derive(Default)]
pub(crate) struct Dropped {
    marks: OnceLock<Box<[AtomicU64]>>,
    late: Mutex<Vec<(u32, u64)>>,
}

impl Dropped {
    pub fn mark(&self, index: u32, generation: u64) {
        let Some(mark) = self.marks.get().and_then(|marks| marks.get(index as usize)) else {
            return;
        };
        if mark.compare_exchange(0, generation, Ordering::Release, Ordering::Relaxed).is_err() {
            self.late.lock().unwrap_or_else(PoisonError::into_inner).push((index, generation));
        }
    }

    /// The generation marked for a handle, 0 for none; the mark is taken.
    #[inline(always)]
    pub fn take(&self, index: u32) -> u64 {
        let Some(mark) = self.marks.get().and_then(|marks| marks.get(index as usize)) else {
            return 0;
        };
        if mark.load(Ordering::Relaxed) == 0 { 0 } else { mark.swap(0, Ordering::Acquire) }
    }

    pub fn take_late(&self) -> Vec<(u32, u64)> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
