//! The issuer's private lists: where each of its handles is, and what `acquire` does next.
//!
//! | list | order | bound |
//! |---|---|---|
//! | idle | last in, first out (S20) | all |
//! | handed out | | one (S22) |
//! | defined: its stage callbacks run | | one |
//! | staged | first in, first out | [`MAX_STAGED`] |
//! | in flight | submission order (S21) | all |
//! | retired: idle at the last generation | | all |
//!
//! Every handle is in exactly one of them (S3); [`Book::check`] proves it by counting. All of it is
//! memory of one process, is rebuilt by scanning the words, and no operation depends on the number
//! of handles. Misuse is `None` and changes nothing. (`PgAioBackend`: `idle_ios`, `in_flight_ios`,
//! `staged_ios`, `handed_out_io`.) Checked by: `core/tests/book.rs`.

use crate::ids::Generation;
use alloc::vec::Vec;

/// At most this many staged IOs; staging one more submits first (`PGAIO_SUBMIT_BATCH_SIZE`).
pub const MAX_STAGED: usize = 32;

const NONE: u32 = u32::MAX;

/// Which list a handle is in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// Free.
    Idle,
    /// Given to the user, nothing defined.
    HandedOut,
    /// Its stage callbacks run.
    Defined,
    /// Waits for submission.
    Staged,
    /// Submitted or completed, not yet reclaimed.
    InFlight,
    /// At the last generation; never used again.
    Retired,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Node {
    place: Place,
    scope: u32,
    previous: u32,
    next: u32,
    generation: Generation,
}

/// A staged handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Staged {
    /// Which.
    pub index: u32,
    /// Whether its issuer executes it itself.
    pub in_place: bool,
}

/// What `acquire` does next (`pgaio_io_acquire`, `pgaio_io_wait_for_free`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Acquire {
    /// A handle is handed out already (S22).
    Refuse,
    /// Hand out this idle handle.
    HandOut(u32),
    /// Look at everything in flight and reclaim what is over.
    ReclaimOver,
    /// Submit what is staged, then ask again: all of it may be over at once (MUSEUM B9).
    SubmitStaged,
    /// Wait for the oldest in flight (S21).
    WaitFor(u32),
    /// Every handle is at its last generation.
    Exhausted,
}

/// Where each handle of one issuer is. Indexes are the issuer's own, from 0.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Book {
    nodes: Vec<Node>,
    idle: u32,
    handed_out: u32,
    defined: u32,
    staged: [Staged; MAX_STAGED],
    staged_first: usize,
    staged_len: usize,
    oldest: u32,
    newest: u32,
    in_flight: u32,
}

impl Book {
    /// A book of handles that are all IDLE, at these generations.
    #[must_use]
    pub fn new(generations: impl IntoIterator<Item = Generation>) -> Self {
        let node = |generation| Node {
            place: Place::Retired,
            scope: 0,
            previous: NONE,
            next: NONE,
            generation,
        };
        let mut book = Self {
            nodes: generations.into_iter().map(node).collect(),
            idle: NONE,
            handed_out: NONE,
            defined: NONE,
            staged: [Staged { index: NONE, in_place: false }; MAX_STAGED],
            staged_first: 0,
            staged_len: 0,
            oldest: NONE,
            newest: NONE,
            in_flight: 0,
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most 1024 handles a process")]
        for index in (0..book.nodes.len() as u32).rev() {
            book.push_idle(index);
        }
        book
    }

    #[inline(always)]
    fn node(&mut self, index: u32) -> Option<&mut Node> {
        self.nodes.get_mut(index as usize)
    }

    /// In which list a handle is.
    #[inline(always)]
    #[must_use]
    pub fn place(&self, index: u32) -> Option<Place> {
        Some(self.nodes.get(index as usize)?.place)
    }

    /// The generation of the handle's current use.
    #[inline(always)]
    #[must_use]
    pub fn generation(&self, index: u32) -> Option<Generation> {
        Some(self.nodes.get(index as usize)?.generation)
    }

    /// Both at once.
    #[inline(always)]
    #[must_use]
    pub fn current(&self, index: u32) -> Option<(Place, Generation)> {
        let node = self.nodes.get(index as usize)?;
        Some((node.place, node.generation))
    }

    /// The handle that is handed out, with the scope that acquired it.
    #[inline(always)]
    #[must_use]
    pub fn handed_out(&self) -> Option<(u32, u32)> {
        let node = self.nodes.get(self.handed_out as usize)?;
        Some((self.handed_out, node.scope))
    }

    /// The handle whose staging was interrupted, if any.
    #[must_use]
    pub fn defined(&self) -> Option<u32> {
        if self.defined == NONE { None } else { Some(self.defined) }
    }

    /// How many are staged (`pgaio_have_staged`).
    #[inline(always)]
    #[must_use]
    pub const fn staged(&self) -> usize {
        self.staged_len
    }

    /// How many are in flight.
    #[inline(always)]
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The oldest in flight.
    #[must_use]
    pub const fn oldest(&self) -> Option<u32> {
        if self.oldest == NONE { None } else { Some(self.oldest) }
    }

    /// The next younger one in flight.
    #[must_use]
    pub fn younger(&self, index: u32) -> Option<u32> {
        let node = self.nodes.get(index as usize)?;
        if node.place != Place::InFlight || node.next == NONE { None } else { Some(node.next) }
    }

    /// What `acquire` does next; `looked` says that everything in flight was just looked at.
    #[inline]
    pub const fn acquire(&self, looked: bool) -> Acquire {
        if self.handed_out != NONE {
            Acquire::Refuse
        } else if self.idle != NONE {
            Acquire::HandOut(self.idle)
        } else if self.in_flight > 0 && !looked {
            Acquire::ReclaimOver
        } else if self.staged_len > 0 {
            Acquire::SubmitStaged
        } else if self.oldest != NONE {
            Acquire::WaitFor(self.oldest)
        } else {
            Acquire::Exhausted
        }
    }

    #[inline(always)]
    fn push_idle(&mut self, index: u32) {
        let top = self.idle;
        let Some(node) = self.node(index) else { return };
        if node.generation == Generation::LAST {
            node.place = Place::Retired;
            return;
        }
        node.place = Place::Idle;
        node.next = top;
        self.idle = index;
    }

    /// Idle → handed out, in the name of `scope`. Only the handle that [`Self::acquire`] named.
    #[inline(always)]
    #[must_use]
    pub fn hand_out(&mut self, scope: u32) -> Option<u32> {
        if self.handed_out != NONE || self.idle == NONE {
            return None;
        }
        let index = self.idle;
        let node = self.node(index)?;
        node.place = Place::HandedOut;
        node.scope = scope;
        self.idle = node.next;
        self.handed_out = index;
        Some(index)
    }

    /// Handed out → idle, at the next generation.
    #[must_use]
    pub fn release(&mut self, index: u32, next: Generation) -> Option<()> {
        if self.handed_out != index || index == NONE {
            return None;
        }
        self.handed_out = NONE;
        self.node(index)?.generation = next;
        self.push_idle(index);
        Some(())
    }

    /// Handed out → defined.
    #[inline(always)]
    #[must_use]
    pub fn define(&mut self, index: u32) -> Option<()> {
        if self.handed_out != index || self.defined != NONE {
            return None;
        }
        self.node(index)?.place = Place::Defined;
        self.handed_out = NONE;
        self.defined = index;
        Some(())
    }

    /// Defined → staged. [`MAX_STAGED`] bounds it: the caller submits when the batch is full.
    #[must_use]
    pub fn stage(&mut self, index: u32, in_place: bool) -> Option<()> {
        if self.defined != index || index == NONE || self.staged_len == MAX_STAGED {
            return None;
        }
        self.node(index)?.place = Place::Staged;
        self.defined = NONE;
        let last = (self.staged_first + self.staged_len) % MAX_STAGED;
        self.staged[last] = Staged { index, in_place };
        self.staged_len += 1;
        Some(())
    }

    /// Defined → in flight: abandoned, or started without a stop at staged.
    #[inline(always)]
    #[must_use]
    pub fn start(&mut self, index: u32) -> Option<()> {
        if self.defined != index || index == NONE {
            return None;
        }
        self.defined = NONE;
        self.push_in_flight(index);
        Some(())
    }

    /// The staged one that is submitted next.
    #[must_use]
    pub fn first_staged(&self) -> Option<Staged> {
        if self.staged_len == 0 { None } else { Some(self.staged[self.staged_first]) }
    }

    /// First staged → in flight.
    #[must_use]
    pub fn submit_first(&mut self) -> Option<u32> {
        let Staged { index, .. } = self.first_staged()?;
        self.staged_first = (self.staged_first + 1) % MAX_STAGED;
        self.staged_len -= 1;
        self.push_in_flight(index);
        Some(index)
    }

    #[inline(always)]
    fn push_in_flight(&mut self, index: u32) {
        let newest = self.newest;
        let Some(node) = self.node(index) else { return };
        node.place = Place::InFlight;
        node.previous = newest;
        node.next = NONE;
        match self.node(newest) {
            Some(before) => before.next = index,
            None => self.oldest = index,
        }
        self.newest = index;
        self.in_flight += 1;
    }

    /// In flight → idle, at the next generation.
    #[inline(always)]
    #[must_use]
    pub fn reclaim(&mut self, index: u32, next: Generation) -> Option<()> {
        let node = self.node(index)?;
        if node.place != Place::InFlight {
            return None;
        }
        node.generation = next;
        let (before, after) = (node.previous, node.next);
        match self.node(before) {
            Some(node) => node.next = after,
            None => self.oldest = after,
        }
        match self.node(after) {
            Some(node) => node.previous = before,
            None => self.newest = before,
        }
        self.in_flight -= 1;
        self.push_idle(index);
        Some(())
    }

    /// How many handles the book has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether everything is idle or retired: what a slot is handed over with (S19).
    #[must_use]
    pub fn is_pristine(&self) -> bool {
        self.nodes.iter().all(|node| matches!(node.place, Place::Idle | Place::Retired))
    }

    /// Whether the lists are a partition of the handles and agree with the nodes (S3, S22).
    #[must_use]
    pub fn check(&self) -> bool {
        let mut counted = [0_usize; 6];
        for node in &self.nodes {
            counted[node.place as usize] += 1;
        }
        let idle = self.walk(self.idle, Place::Idle);
        let in_flight = self.walk(self.oldest, Place::InFlight);
        let single = |index: u32, place| match self.place(index) {
            Some(found) => usize::from(found == place),
            None => 0,
        };
        let staged = (0..self.staged_len)
            .map(|i| self.staged[(self.staged_first + i) % MAX_STAGED])
            .filter(|staged| self.place(staged.index) == Some(Place::Staged))
            .count();
        idle == Some(counted[Place::Idle as usize])
            && in_flight == Some(counted[Place::InFlight as usize])
            && in_flight == Some(self.in_flight as usize)
            && single(self.handed_out, Place::HandedOut) == counted[Place::HandedOut as usize]
            && single(self.defined, Place::Defined) == counted[Place::Defined as usize]
            && staged == counted[Place::Staged as usize]
            && staged == self.staged_len
    }

    /// The length of a list whose nodes are all at `place`; `None` if one is not, or it is a ring.
    fn walk(&self, from: u32, place: Place) -> Option<usize> {
        let (mut at, mut length) = (from, 0);
        while at != NONE {
            let node = self.nodes.get(at as usize)?;
            if node.place != place || length == self.nodes.len() {
                return None;
            }
            length += 1;
            at = node.next;
        }
        Some(length)
    }
}
