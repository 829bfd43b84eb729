//! A simulated io_uring: submissions go to a kernel, completions come back through a queue of few
//! entries, both outlive the process.
//!
//! | part | from | to |
//! |---|---|---|
//! | `submitted` | the issuer; the kernel itself, when the process has died | the kernel's actor |
//! | `completed` | the kernel; [`Ring::rouse`] | whoever holds the reap lock; after a death, the slot lock |
//! | `lock` | a token: who has it holds the reap lock | private to the process |
//!
//! The kernel completes late and in any order ([`World::be_kernel`]). After a death it goes on writing until
//! nothing is in flight, and only then the slot lock of the dead process is free. An entry that was given
//! back is gone: whoever reads it afterwards reads another one (MUSEUM B12).
//!
//! Fails by assertions: S8 (a completion finds no free entry), S24 (an IO is over while the kernel still has
//! to write it), two sleepers in one ring (loom), a completion that is dropped although nobody died.
//! Checked by: the ring scenarios and their mistakes. Not checked: what orders the entries (a queue of the
//! runtime does, as the ring's own barriers do).

use crate::mailbox::{IoId, entry, io_of};
use crate::runtime::{Queue, Runtime};
use crate::world::{World, reference};
use handfast_core::ids::{Generation, HandleId, ProcessSlot};
use handfast_core::outcome::RawResult;
use handfast_core::platform::Slept;
use handfast_core::protocol::lead::{self, Entry};
use handfast_core::protocol::{Callbacks, Deliver, Ring};

/// What is in the submission queue and is no IO.
const CLOSE: u64 = 0;
const DEATH: u64 = u64::MAX;
/// What is in the completion queue and is no IO.
const ROUSED: u64 = 0;

/// The ring of one slot.
pub struct SimRing<R: Runtime> {
    of: ProcessSlot,
    entries: u32,
    lock: R::Queue,
    submitted: R::Queue,
    completed: R::Queue,
}

impl<R: Runtime> SimRing<R> {
    /// An empty one with this many completion entries.
    #[must_use]
    pub fn new(of: ProcessSlot, entries: u32) -> Self {
        let lock = R::Queue::new();
        lock.push(1);
        Self { of, entries, lock, submitted: R::Queue::new(), completed: R::Queue::new() }
    }

    /// How many completion entries there are.
    #[must_use]
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// The issuer's system call.
    pub fn submit(&self, io: IoId) {
        self.submitted.push(entry(io));
    }

    /// The process has died.
    pub(crate) fn owner_died(&self) {
        self.submitted.push(DEATH);
    }

    /// Lets [`World::be_kernel`] return when nothing is in flight.
    pub fn close(&self) {
        self.submitted.push(CLOSE);
    }

    /// The kernel writes a completion.
    ///
    /// # Panics
    /// If its entry is not free (S8).
    fn complete(&self, io: IoId, raw: RawResult) {
        self.completed.push_within(packed(io, raw), self.entries as usize);
    }
}

impl<R: Runtime> Ring for SimRing<R> {
    /// Whoever is unwound in it has died, or is stopped where a search wants it; its lock goes with it.
    fn reap(&self, deliver: Deliver<'_>) -> bool {
        self.lock.pop();
        let any = lead::drain(&mut Completions { ring: self, left: false }, deliver);
        self.lock.push(1);
        any
    }

    fn sleep(&self, slice_ns: u64) -> Slept {
        R::saw("sleeps in the ring");
        self.completed.until_some(slice_ns)
    }

    fn rouse(&self) {
        self.completed.push(ROUSED);
    }
}

/// The completion queue, while its lock is held.
struct Completions<'r, R: Runtime> {
    ring: &'r SimRing<R>,
    /// Its process is dead, perhaps while it was at an entry.
    left: bool,
}

impl<R: Runtime> lead::Queue for Completions<'_, R> {
    fn head(&mut self) -> Option<Entry> {
        self.ring.completed.first().map(unpacked)
    }

    fn advance(&mut self, _shown: Entry) {
        let given_back = self.ring.completed.try_pop();
        assert!(given_back.is_some(), "S8: an entry was given back twice");
    }

    fn dropped(&mut self, entry: Entry) {
        assert!(self.left, "S1: {:?} was completed twice: {entry:?}", self.ring.of);
        R::saw("dropped what a dead one had completed");
    }
}

/// Delivers what a dead process's ring holds: its slot lock stands for the reap lock, which has died with it.
pub(crate) fn drain_dead<R: Runtime>(ring: &SimRing<R>, deliver: Deliver<'_>) {
    if lead::drain(&mut Completions { ring, left: true }, deliver) {
        R::saw("drained a dead one's ring");
    }
}

/// An IO and its result in one entry: handle and generation in 16 bits each, as a scenario has few.
fn packed((id, generation): IoId, raw: RawResult) -> u64 {
    u64::from(id.0) << 48 | generation.get() << 32 | u64::from(raw.0.cast_unsigned())
}

fn unpacked(entry: u64) -> Entry {
    #[expect(clippy::cast_possible_truncation, reason = "taken apart as it was put together")]
    let (raw, id) = (RawResult((entry as u32).cast_signed()), HandleId((entry >> 48) as u32));
    let io = Generation::new(entry >> 32 & 0xffff).map(|generation| (id, generation));
    Entry { io, raw }
}

/// What the kernel has before it.
#[derive(Hash)]
struct Work {
    held: Vec<IoId>,
    open: bool,
    owner_lives: bool,
}

impl Work {
    fn take(&mut self, entry: u64) {
        match entry {
            DEATH => (self.open, self.owner_lives) = (false, false),
            CLOSE => self.open = false,
            io => self.held.extend(io_of(io)),
        }
    }
}

impl<R: Runtime, C: Callbacks<R> + Send + 'static> World<R, C> {
    /// The body of the actor that is the kernel of a ring. Returns when the ring is closed, or its
    /// process has died, and nothing is in flight.
    ///
    /// # Panics
    /// If an IO is over before the kernel has finished with it (S24); if there is no such ring.
    pub fn be_kernel(&self, of: ProcessSlot) {
        let ring = self.kernel.ring(of).expect("the world was made with this ring");
        let mut work = Work { held: Vec::new(), open: true, owner_lives: true };
        loop {
            R::settled(0, &("kernel", &work));
            if work.held.is_empty() {
                if !work.open {
                    break;
                }
                work.take(ring.submitted.pop());
                continue;
            }
            while work.open && R::choose(2) == 1 {
                let Some(entry) = ring.submitted.try_pop() else { break };
                work.take(entry);
            }
            let io = work.held.remove(R::choose(work.held.len()));
            R::settled(0, &("kernel completes", io, &work));
            self.end(of, io);
            if !work.owner_lives {
                R::saw("the kernel wrote for the dead");
            }
        }
        if !work.owner_lives {
            self.kernel.free_locks_of(of.get());
        }
    }

    /// The kernel takes so many submissions and completes each before the next.
    ///
    /// # Panics
    /// As [`Self::be_kernel`].
    pub fn complete_in_order(&self, of: ProcessSlot, count: usize) {
        for turn in 0..count {
            R::settled(0, &("kernel", turn));
            self.complete_next(of);
        }
    }

    /// The kernel takes one submission and completes it. For an actor that does other things, too: nothing
    /// that it has seen is forgotten here.
    ///
    /// # Panics
    /// As [`Self::be_kernel`].
    pub fn complete_next(&self, of: ProcessSlot) {
        let ring = self.kernel.ring(of).expect("the world was made with this ring");
        if let Some(io) = io_of(ring.submitted.pop()) {
            self.end(of, io);
        }
    }

    /// The kernel writes an IO's bytes, then its completion.
    pub(crate) fn end(&self, of: ProcessSlot, io: IoId) {
        let over = self.context(of).glance(reference(io)).expect("the reference is good");
        assert!(over.is_none(), "S24: {io:?} is over while the kernel still has to write it");
        let raw = self.kernel.execute(io);
        if let Some(ring) = self.kernel.ring(of) {
            ring.complete(io, raw);
        }
    }
}
