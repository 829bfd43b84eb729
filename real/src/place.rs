//! What this process keeps for each slot: while it is attached there, its lock's open file
//! description, its ring and the thread that attends to it; and word of dropped [`crate::Pending`]s. It lives in
//! the [`crate::Pool`], so that everything may borrow the pool alone.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `taken` | whoever attaches in this process | whoever attaches |
//! | `lock` | whoever attaches; closed when the slot is given back | the attachment |
//! | `attachments` | whoever attaches | a `Pending`'s attachment |
//! | `ring` | the attachment opens and closes it | the attachment, its attendant |
//! | `tasks` | a `Pending` that is polled | the attendant |
//! | `attendant` | the attachment, or the first task that waits | the attachment, at its end |
//! | `workers_ns` | a waiter, and the attendant, who has seen that a worker lives | the same |
//! | `dropped` | a `Pending` when it is dropped unfinished | the attachment, at reclaim and reuse |
//!
//! The slot lock is the right to be the slot's process, and to recover it (S25). Every attachment has a
//! description of its own: locks of one description do not exclude each other, and it does not see
//! them. Whether a slot is worth one is asked through the segment's own descriptor, which never takes a
//! lock, so that slots of others cost this process no descriptors.

#![expect(clippy::disallowed_types, reason = "private memory of one process, not protocol words")]

use crate::method::attendant::Attendant;
use crate::method::ring::{self, PlaceRing, ProcessRing};
use crate::method::worker::Executor;
use crate::platform::Production;
use crate::pool::Inner;
use crate::segment::Segment;
use crate::sys::lock::{self, LockFile};
use crate::sys::uring::UringError;
use crate::task::TaskList;
use handfast_core::ids::{PoolTag, ProcessSlot};
use handfast_core::platform::{Platform as _, SLICE_NS, SlotLocks};
use handfast_core::protocol::{Deliver, Drive, Execute, Lead};
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// One slot, as this process sees it.
pub(crate) struct Place {
    /// The pool that it is a part of.
    pool: Weak<Inner>,
    taken: AtomicBool,
    lock: Mutex<Option<LockFile>>,
    dropped: OnceLock<Dropped>,
    attachments: AtomicU32,
    ring: PlaceRing,
    /// Until when nobody asks again whether a worker lives.
    workers_ns: AtomicU64,
    pub tasks: TaskList,
    pub attendant: Attendant,
}

impl Place {
    pub fn new(pool: Weak<Inner>) -> Self {
        Self {
            pool,
            taken: AtomicBool::default(),
            lock: Mutex::default(),
            dropped: OnceLock::default(),
            attachments: AtomicU32::default(),
            ring: PlaceRing::new(ProcessRing::default()),
            workers_ns: AtomicU64::default(),
            tasks: TaskList::default(),
            attendant: Attendant::default(),
        }
    }

    /// The ring of the attachment here.
    pub fn ring(&self) -> &ProcessRing {
        self.ring.get()
    }

    /// Makes the attachment's ring; the slot's lock is held.
    pub fn open_ring(&self, segment: &Arc<Segment>, slot: ProcessSlot) -> Result<(), UringError> {
        match self.own().as_ref() {
            Some(lock) => self.ring().open(segment, slot, lock.as_fd()),
            None => Err(UringError::Lacks { what: "a slot lock to keep" }),
        }
    }

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

    /// The last of an attachment; whether the kernel is done with all that was given to it. If it is not, or the
    /// slot is not pristine, the lock is the kernel's to give back: it keeps the lock's description with the ring.
    pub fn end(&self, slot: ProcessSlot, pristine: bool) -> bool {
        let done = self.ring().close();
        if pristine && done {
            self.unlock(slot);
        }
        self.give_back();
        done
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

    /// Whether a worker lives, or did less than a slice ago: who waits for many IOs at once asks at the end of each
    /// slice, for each of them. A death is noticed at the end of the next slice at the latest (L9).
    fn workers_alive(&self, pool: &Inner, now_ns: u64) -> bool {
        if now_ns < self.workers_ns.load(Ordering::Relaxed) {
            return true;
        }
        let alive = pool.workers_alive();
        if alive {
            self.workers_ns.store(now_ns.saturating_add(SLICE_NS), Ordering::Relaxed);
        }
        alive
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

impl Drive for Place {
    fn lead(&self) -> Option<&dyn Lead> {
        self.ring().is_open().then_some(&self.ring)
    }

    fn stand_in(&self, with: &mut dyn FnMut(Execute<'_>)) {
        let Some(pool) = self.pool.upgrade() else { return };
        if self.workers_alive(&pool, Production::now_ns()) {
            return;
        }
        let mut executor = Executor::new(&pool);
        with(&mut |id, request| executor.execute(id, request));
    }

    fn drain_dead(&self, dead: ProcessSlot, deliver: Deliver<'_>) {
        if let Some(pool) = self.pool.upgrade()
            && pool.has_rings()
        {
            ring::drain_dead(pool.segment(), dead, deliver);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use crate::pool::Pool;

    #[test]
    fn l9_who_stands_in_asks_once_in_a_slice_whether_a_worker_lives() {
        let pool = Pool::builder().method(Method::Worker).create().unwrap();
        let (waiter, worker) = (pool.attach().unwrap(), pool.attach().unwrap());
        pool.inner().staff().unwrap().begin(worker.slot());
        let place = pool.place(waiter.slot()).unwrap();
        assert!(place.workers_alive(pool.inner(), 1));
        drop(worker);
        assert!(place.workers_alive(pool.inner(), SLICE_NS), "it was seen in this slice");
        assert!(!place.workers_alive(pool.inner(), SLICE_NS + 1));
        assert!(!place.workers_alive(pool.inner(), SLICE_NS + 1), "a death is not forgotten");
    }
}
