//! The shared words of a pool in a model, and how large it is.
//!
//! Only the protocol writes them; every index is checked here, as an embedding has to. Checked by: every
//! scenario. Not checked: the layout in a segment, which is `real`'s.

use super::TAG;
use crate::runtime::Runtime;
use crate::trace::Place;
use crate::witness;
use handfast_core::handle::{Handle, Iovec, Slot};
use handfast_core::ids::{HandleId, PoolTag, ProcessSlot};
use handfast_core::platform::Field;
use handfast_core::protocol::Shared;
use handfast_core::protocol::doorbell::Doorbell;
use handfast_core::protocol::hint::words_for;
use std::ops::Range;

/// How large a pool is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// How many slots.
    pub slots: u32,
    /// How many handles each slot has that has any.
    pub handles: u32,
    /// How many slots have handles, from the first on.
    pub owners: u32,
    /// How many lease words there are.
    pub leases: u32,
    /// Whether whoever waits reaps completions ([`super::How::Ring`]).
    pub reaps: bool,
    /// Whether workers may execute its IOs.
    pub workers: bool,
    /// Whether a recoverer finds completions of the dead in such a ring.
    pub drains: bool,
    /// The slots of the workers; while none of them is held, others stand in.
    pub worker_slots: &'static [u32],
    /// How many completion entries the ring of each slot with handles has; 0: it has none.
    pub ring: u32,
    /// Whether the process in the first slot has tasks.
    pub tasks: bool,
}

impl Size {
    /// One handle for each slot, no leases.
    #[must_use]
    pub const fn slots(slots: u32) -> Self {
        Self {
            slots,
            handles: 1,
            owners: slots,
            leases: 0,
            reaps: false,
            workers: false,
            drains: false,
            worker_slots: &[],
            ring: 0,
            tasks: false,
        }
    }

    /// The same, but only so many slots have handles: the processes of the others issue nothing.
    #[must_use]
    pub const fn owners(self, owners: u32) -> Self {
        Self { owners, ..self }
    }

    pub(super) const fn all_handles(self) -> u32 {
        self.owners * self.handles
    }

    /// The same with this many handles for each slot.
    #[must_use]
    pub const fn handles(self, handles: u32) -> Self {
        Self { handles, ..self }
    }

    /// The same with completions that whoever waits reaps.
    #[must_use]
    pub const fn reaping(self) -> Self {
        Self { reaps: true, ..self }
    }

    /// The same with a doorbell, and hints for every slot that has no device.
    #[must_use]
    pub const fn workers(self) -> Self {
        Self { workers: true, ..self }
    }

    /// The same with completions that only a recoverer takes out.
    #[must_use]
    pub const fn draining(self) -> Self {
        Self { drains: true, ..self }
    }

    /// The same with workers in these slots.
    #[must_use]
    pub const fn worker_slots(self, worker_slots: &'static [u32]) -> Self {
        Self { workers: true, worker_slots, ..self }
    }

    /// The same with rings of this many completion entries.
    #[must_use]
    pub const fn ring(self, ring: u32) -> Self {
        Self { ring, ..self }
    }

    /// The same with tasks in the process of the first slot.
    #[must_use]
    pub const fn tasks(self) -> Self {
        Self { tasks: true, ..self }
    }

    /// The same with this many leases.
    #[must_use]
    pub const fn leases(self, leases: u32) -> Self {
        Self { leases, ..self }
    }
}

/// The shared words.
pub struct Words<R: Runtime> {
    pub(super) size: Size,
    handles: Vec<Handle<R>>,
    slots: Vec<Slot<R>>,
    data: Vec<[R::Field; 1]>,
    leases: Vec<R::Atomic64>,
    pub(super) hints: Vec<Vec<R::Atomic64>>,
    /// One, or none. Not moved, as what has a name in traces must not be.
    doorbell: Vec<Doorbell<R>>,
}

impl<R: Runtime> Words<R> {
    pub(super) fn new(size: Size) -> Self {
        use handfast_core::platform::Atomic64 as _;
        let handles = 0..size.all_handles();
        let words = Self {
            size,
            handles: handles.clone().map(|_| Handle::new()).collect(),
            slots: (0..size.slots).map(|_| Slot::new()).collect(),
            data: handles.map(|_| [R::Field::new(0)]).collect(),
            leases: (0..size.leases).map(|_| R::Atomic64::new(0)).collect(),
            hints: (0..size.slots)
                .map(|_| {
                    let words = if size.workers { words_for(size.handles) } else { 0 };
                    (0..words).map(|_| R::Atomic64::new(0)).collect()
                })
                .collect(),
            doorbell: size.workers.then(Doorbell::new).into_iter().collect(),
        };
        witness::lay_out(&words.handles, Place::Handle);
        witness::lay_out(&words.slots, Place::Slot);
        witness::lay_out(&words.leases, Place::Lease);
        witness::lay_out(&words.data, Place::Handle);
        witness::lay_out(&words.doorbell, |_| Place::Doorbell);
        for (slot, hints) in (0..).zip(&words.hints) {
            witness::lay_out(hints, |_| Place::Hints(slot));
        }
        words
    }
}

impl<R: Runtime> Shared<R> for Words<R> {
    fn tag(&self) -> PoolTag {
        TAG
    }

    fn handle_count(&self) -> u32 {
        self.size.all_handles()
    }

    fn handle(&self, id: HandleId) -> Option<&Handle<R>> {
        self.handles.get(id.index())
    }

    fn owner(&self, id: HandleId) -> Option<ProcessSlot> {
        self.handle(id)?;
        ProcessSlot::new(id.0 / self.size.handles)
    }

    fn owned_by(&self, slot: ProcessSlot) -> Range<u32> {
        let first = slot.get().min(self.size.owners) * self.size.handles;
        first..(first + self.size.handles).min(self.handle_count())
    }

    fn iovecs(&self, _id: HandleId) -> &[Iovec<R>] {
        &[]
    }

    fn data(&self, id: HandleId) -> &[R::Field] {
        self.data.get(id.index()).map_or(&[], |data| data)
    }

    fn slot(&self, slot: ProcessSlot) -> Option<&Slot<R>> {
        self.slots.get(slot.index())
    }

    fn lease_count(&self) -> u32 {
        self.size.leases
    }

    fn lease(&self, index: u32) -> Option<&R::Atomic64> {
        self.leases.get(index as usize)
    }

    fn hints(&self, slot: ProcessSlot) -> &[R::Atomic64] {
        self.hints.get(slot.index()).map_or(&[], |hints| hints)
    }

    fn doorbell(&self) -> Option<&Doorbell<R>> {
        self.doorbell.first()
    }

    fn has_ring(&self, slot: ProcessSlot) -> bool {
        self.size.ring > 0 && slot.get() < self.size.owners
    }
}
