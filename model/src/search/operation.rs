//! What an actor of a search can do, as data: performed on the numbers of a state.
//!
//! An *access* can be seen by others: it is what the search interleaves. Everything else belongs to
//! the step of the access before it: payload is read and written by those who alone have the right to
//! (loom checks that), choices and starts concern nobody else.
//!
//! An event count is kept as what its tickets are good for: one bit for each actor whose ticket is
//! still the count, one for each that sleeps.

use crate::runtime::{Actor, Body};
use handfast_core::platform::{Change, SLICE_NS};
use handfast_core::site::Site;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Two numbers that an operation brings.
pub(crate) type Seen = [u64; 2];

/// An actor that is started.
#[derive(Clone)]
pub(crate) struct Newcomer {
    pub actor: Actor,
    /// Tells its body from others of the same actor.
    pub seed: u64,
    pub body: Body,
    pub at_death: Body,
}

impl PartialEq for Newcomer {
    fn eq(&self, other: &Self) -> bool {
        self.actor == other.actor && self.seed == other.seed
    }
}

impl Eq for Newcomer {}

impl Hash for Newcomer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.actor, self.seed).hash(state);
    }
}

impl std::fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.actor.name)
    }
}

/// Something for the story.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// A state word changed.
    Changed(Change),
    /// Something that a scenario noticed.
    Saw(&'static str),
}

impl Note {
    fn id(&self) -> (u64, u64, u32, u8, &'static str) {
        match self {
            Self::Changed(change) => {
                let words = (change.old.raw(), change.new.raw());
                (words.0, words.1, change.handle.0, change.site as u8, "")
            }
            Self::Saw(what) => (0, 0, 0, 0, what),
        }
    }
}

impl PartialEq for Note {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Note {}

impl Hash for Note {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// How an update makes a new value from the old one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Update {
    /// It does not.
    Keep,
    /// This one; the actor does not learn what was there.
    Store(u64),
    /// This one.
    Swap(u64),
    /// The sum.
    Add(u64),
    /// The bits of both.
    Or(u64),
    /// The bits in both.
    And(u64),
    /// The second one, if it was the first one.
    Exchange(u64, u64),
}

/// How long a sleep lasts, if nobody ends it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Limit {
    /// Less than a slice: it may end at any time.
    Short,
    /// A slice: it may end after a death.
    Slice,
    /// Longer: it does not end.
    Long,
}

impl Limit {
    /// Of a sleep of so many nanoseconds.
    pub const fn of(slice_ns: u64) -> Self {
        match slice_ns {
            ..SLICE_NS => Self::Short,
            SLICE_NS => Self::Slice,
            _ => Self::Long,
        }
    }
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Operation {
    /// An access to a word, at a site of the protocol if it is one: brings the old value.
    Word(usize, Update, Option<Site>),
    /// Take a ticket of a count.
    Ticket(usize),
    /// Fall asleep, if the ticket is still the count: brings whether.
    FallAsleep(usize),
    /// Sleep. Brings [`SLICE_OVER`] or what else ended it.
    Sleep(usize, Limit),
    /// The same on several counts, on all of which it has fallen asleep.
    SleepOnAny(Arc<[usize]>, Limit),
    /// Do not sleep on this count after all: another's ticket was old.
    Withdraw(usize),
    /// Wake so many, or all.
    Post(usize, u32),
    /// Put an entry in a queue.
    Push(usize, u64),
    /// The same; brings whether so many were there already.
    PushWithin(usize, u64, usize),
    /// Take one; blocks while there is none, if it may. Brings the entry, and whether there was one.
    Pop(usize, bool),
    /// Copy the first entry: brings it, and whether there was one.
    First(usize),
    /// Block while there is none, as [`Operation::Sleep`] does.
    Await(usize, Limit),
    /// Take a lock for this process: brings whether.
    TryLock(usize),
    /// Wait until a lock is free.
    UntilFree(usize),
    /// Wait until an actor has ended.
    Join(usize),
    /// Take one of so many ways: brings which.
    Choose(usize),
    /// Read payload.
    Get(usize),
    /// Write payload.
    Set(usize, u64),
    /// Tell something.
    Note(Note),
    /// Do nothing: others may come in between.
    Pause,
    /// Start an actor: brings its number.
    Spawn(Newcomer),
    /// Nothing is done any more.
    End,
}

/// How many entries a queue has room for.
pub(crate) const ROOM: usize = 8;

/// The ways in which a sleep ends.
pub(crate) const WOKEN: usize = 0;
/// See [`WOKEN`].
pub(crate) const SLICE_OVER: usize = 1;
/// See [`WOKEN`].
pub(crate) const SPURIOUS: usize = 2;

/// This actor's ticket is still the count.
pub(crate) const fn fresh(actor: usize) -> u64 {
    1 << actor
}

/// This actor sleeps.
pub(crate) const fn asleep(actor: usize) -> u64 {
    1 << (32 + actor)
}

impl Operation {
    /// Whether others can see it.
    pub const fn is_access(&self) -> bool {
        !matches!(
            self,
            Self::Choose(_)
                | Self::Get(_)
                | Self::Set(..)
                | Self::Note(_)
                | Self::Withdraw(_)
                | Self::Spawn(_)
        )
    }

    /// Whether the actor learns something by it.
    pub const fn brings_something(&self) -> bool {
        match self {
            Self::Word(_, update, _) => !matches!(update, Update::Store(_)),
            Self::FallAsleep(_)
            | Self::Sleep(..)
            | Self::SleepOnAny(..)
            | Self::PushWithin(..)
            | Self::Pop(..)
            | Self::First(_)
            | Self::Await(..)
            | Self::TryLock(_)
            | Self::Choose(_)
            | Self::Get(_)
            | Self::Spawn(_) => true,
            Self::Ticket(_)
            | Self::Withdraw(_)
            | Self::Post(..)
            | Self::Push(..)
            | Self::UntilFree(_)
            | Self::Join(_)
            | Self::Set(..)
            | Self::Note(_)
            | Self::Pause
            | Self::End => false,
        }
    }

    /// Performs it on a state's memory, as actor `me` of `process`, in one of its ways.
    pub fn perform(&self, memory: &mut [u64], me: usize, process: u32, way: usize) -> Seen {
        match *self {
            Self::Word(at, update, _) => [update.perform(&mut memory[at]), 0],
            Self::Ticket(at) => {
                memory[at] |= fresh(me);
                [0, 0]
            }
            Self::FallAsleep(at) => {
                let good = memory[at] & fresh(me) != 0;
                if good {
                    memory[at] |= asleep(me);
                }
                [u64::from(good), 0]
            }
            Self::Sleep(at, _) => {
                memory[at] &= !asleep(me);
                [u64::from(way == SLICE_OVER), 0]
            }
            Self::SleepOnAny(ref on, _) => {
                on.iter().for_each(|&at| memory[at] &= !asleep(me));
                [u64::from(way == SLICE_OVER), 0]
            }
            Self::Withdraw(at) => {
                memory[at] &= !asleep(me);
                [0, 0]
            }
            Self::Post(at, count) => {
                memory[at] = still_asleep(memory[at], count, way);
                [0, 0]
            }
            Self::Push(at, entry) => {
                put(&mut memory[at..=at + ROOM], entry);
                [0, 0]
            }
            Self::PushWithin(at, entry, room) => {
                let len = put(&mut memory[at..=at + ROOM], entry);
                [u64::from(len >= room), 0]
            }
            Self::Pop(at, _) => take_first(&mut memory[at..=at + ROOM]),
            Self::First(at) => [memory[at + 1], u64::from(memory[at] > 0)],
            Self::Await(..) => [u64::from(way == SLICE_OVER), 0],
            Self::TryLock(at) => {
                let free = memory[at] == 0;
                if free {
                    memory[at] = u64::from(process) + 1;
                }
                [u64::from(free), 0]
            }
            Self::Choose(_) => [way as u64, 0],
            Self::Get(at) => [memory[at], 0],
            Self::Set(at, value) => {
                memory[at] = value;
                [0, 0]
            }
            Self::UntilFree(_)
            | Self::Join(_)
            | Self::Note(_)
            | Self::Pause
            | Self::Spawn(_)
            | Self::End => [0, 0],
        }
    }

    /// Performs it for nobody: at the making of a world, at a death, at a look.
    pub fn outside(&self, memory: &mut [u64], process: u32) -> Seen {
        self.perform(memory, 31, process, 0)
    }
}

impl Update {
    /// What it makes of this value.
    pub fn after(self, value: u64) -> u64 {
        let mut word = value;
        self.perform(&mut word);
        word
    }

    fn perform(self, word: &mut u64) -> u64 {
        let old = *word;
        match self {
            Self::Keep => {}
            Self::Store(value) => {
                *word = value;
                return 0;
            }
            Self::Swap(value) => *word = value,
            Self::Add(delta) => *word = old.wrapping_add(delta),
            Self::Or(bits) => *word = old | bits,
            Self::And(bits) => *word = old & bits,
            Self::Exchange(current, new) if old == current => *word = new,
            Self::Exchange(..) => {}
        }
        old
    }
}

/// A count after a post: no ticket is good any more, and of the sleepers all but `count` stay. If
/// one of several is woken, `way` says which.
fn still_asleep(word: u64, count: u32, way: usize) -> u64 {
    let sleepers = word >> 32;
    if sleepers.count_ones() <= count {
        return 0;
    }
    let (mut left, mut nth) = (sleepers, way);
    for _ in 0..count {
        let index = nth_bit(left, nth);
        left &= !(1 << index);
        nth = 0;
    }
    left << 32
}

fn nth_bit(bits: u64, nth: usize) -> u32 {
    let mut rest = bits;
    for _ in 0..nth {
        rest &= rest.wrapping_sub(1);
    }
    rest.trailing_zeros()
}

/// How many entries there were.
fn put(queue: &mut [u64], entry: u64) -> usize {
    let len = usize::try_from(queue[0]).expect("a few entries");
    assert!(len < ROOM, "a scenario's queue holds {ROOM} entries");
    queue[1 + len] = entry;
    queue[0] += 1;
    len
}

fn take_first(queue: &mut [u64]) -> Seen {
    let Some((len, entries)) = queue.split_first_mut() else { return [0, 0] };
    if *len == 0 {
        return [0, 0];
    }
    *len -= 1;
    let first = entries[0];
    entries.rotate_left(1);
    entries[ROOM - 1] = 0;
    [first, 1]
}
