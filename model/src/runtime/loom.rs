//! [`Platform`] and [`Runtime`] over loom: every access is a branch point, every load sees any value
//! it legally may.
//!
//! | type | what it is |
//! |---|---|
//! | [`Atomic`] | a loom atomic with the site's ordering, or Relaxed if the site is the mutant |
//! | [`Payload`] | a relaxed loom atomic that knows its newest value: a read by right of any other is a race |
//! | [`Word`] | a loom atomic with the ordering that the application asks for |
//! | [`Count`] | a loom atomic and a list of parked threads |
//! | [`Mail`] | a loom atomic that orders, and a list of entries beside it |
//! | [`SlotLock`] | a loom atomic that orders nothing |
//!
//! The event count is faithful to a futex. The comparison is a compare-exchange that always fails,
//! which reads the newest value and orders nothing; between it and the falling asleep there is no
//! branch point, nor is there one between a post's addition and its wake-ups, so compare-and-block
//! is atomic against the waker, for each of several counts as for one. A sleep ends by a post only, or at once if its time is zero: no slice
//! is ever over, nothing wakes spuriously, and a lost wake-up is loom's deadlock.
//!
//! loom forgets a reader when another thread reads the same atomic and then writes it: the schedule in
//! which that write comes first is then never tried. So each reading leaves a mark of its own (`Readers`)
//! that the next write of another thread meets; marks order no memory and are no branch points.
//!
//! Invariant asserted here, for every scenario: S5, a completer's last write is its Publish.
//! Checked by: `event_count_wakes_only_by_a_post` and the mutants.
//! Not checked: memory that a wake-up orders on Linux only by accident (loom's unpark orders too).

#![expect(clippy::disallowed_types, reason = "a platform passes the sites' orderings on")]

use super::word::shared_word;
use super::{Actor, Body, Lock, MAIN, Queue, Runtime, SharedWord};
use crate::mutant::{self, ordering};
use crate::trace::{Place, What, columns};
use crate::witness;
use handfast_core::platform::{Atomic64, Change, EventCount, Field, Platform, Slept};
use handfast_core::site::Site;
use handfast_core::state::Event;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use loom::thread::{self, JoinHandle, Thread};
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64 as OutsideU64, Ordering as OutsideOrdering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

loom::thread_local! {
    static IN_CALLBACK: Cell<bool> = Cell::new(false);
    /// This thread has published; until its next access to a word it has nothing to write (S5).
    static PUBLISHED: Cell<bool> = Cell::new(false);
    static ACTOR: Cell<Actor> = Cell::new(MAIN);
    /// The actors of an execution, numbered: which mark is whose.
    static NUMBER: Cell<usize> = Cell::new(0);
    /// How many more accesses this actor survives, if it is to die.
    static LIVES: Cell<Option<usize>> = Cell::new(None);
}

std::thread_local! {
    /// The variant that is being explored; see [`Runtime::choose`].
    static VARIANT: Cell<usize> = const { Cell::new(0) };
    /// How many actors this execution has started.
    static STARTED: Cell<usize> = const { Cell::new(0) };
}

/// Chooses the variant of the executions that follow on this thread.
pub(crate) fn set_variant(variant: usize) {
    VARIANT.set(variant);
}

/// An execution begins.
pub(crate) fn begin() {
    STARTED.set(0);
}

/// What a dying actor unwinds with.
struct Killed;

/// Before every access that others can see: the place where an actor may die.
#[track_caller]
fn step() {
    PUBLISHED.with(|published| published.set(false));
    mortal_step();
}

fn mortal_step() {
    match LIVES.with(Cell::get) {
        Some(0) => {
            LIVES.with(|lives| lives.set(None));
            tell(What::Died);
            resume_unwind(Box::new(Killed));
        }
        Some(left) => LIVES.with(|lives| lives.set(Some(left - 1))),
        None => {}
    }
}

/// Tells the witness of a step of the calling actor.
fn tell(what: What) {
    witness::step(Loom::actor(), what);
}

/// Marks of those who have read an atomic since it was last written: the reader and the next writer
/// store to the reader's mark, and two stores conflict, whatever was read in between. Readers that share a
/// mark conflict with each other: more executions, none fewer.
#[derive(Debug)]
struct Readers<const MARKS: usize> {
    marks: [AtomicU32; MARKS],
    /// Not part of the model: the marks with a reading since the last write.
    due: OutsideU64,
}

impl<const MARKS: usize> Readers<MARKS> {
    #[track_caller]
    fn new() -> Self {
        Self { marks: std::array::from_fn(|_| AtomicU32::new(0)), due: OutsideU64::new(0) }
    }

    /// Right after a load, in the same step.
    #[track_caller]
    fn read(&self) {
        let mine = NUMBER.with(Cell::get) % MARKS;
        self.due.fetch_or(1 << mine, Ordering::Relaxed);
        in_the_same_step(|| self.marks[mine].store(0, Ordering::Relaxed));
    }

    /// Right after a store or an update, in the same step.
    #[track_caller]
    fn written(&self) {
        let due = self.due.swap(0, Ordering::Relaxed);
        if due == 0 {
            return;
        }
        in_the_same_step(|| {
            for (number, mark) in self.marks.iter().enumerate() {
                if due & 1 << number != 0 {
                    mark.store(0, Ordering::Relaxed);
                }
            }
        });
    }
}

/// Accesses between which no other thread runs.
#[track_caller]
fn in_the_same_step(accesses: impl FnOnce()) {
    loom::stop_exploring();
    accesses();
    loom::explore();
}

/// A state word, slot word or lease word.
#[derive(Debug)]
pub struct Atomic(AtomicU64, Readers<3>);

impl Atomic64 for Atomic {
    #[track_caller]
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value), Readers::new())
    }

    #[track_caller]
    fn load(&self, site: Site) -> u64 {
        step();
        let value = self.0.load(ordering(site));
        self.1.read();
        tell(What::Read(site, witness::place_of(self), value));
        value
    }

    #[track_caller]
    fn store(&self, site: Site, value: u64) {
        step();
        self.0.store(value, ordering(site));
        self.1.written();
        self.wrote(site, value);
    }

    #[track_caller]
    fn swap(&self, site: Site, value: u64) -> u64 {
        step();
        let old = self.0.swap(value, ordering(site));
        self.1.written();
        self.wrote(site, value);
        old
    }

    #[track_caller]
    fn add(&self, site: Site, delta: u64) -> u64 {
        step();
        let old = self.0.fetch_add(delta, ordering(site));
        self.1.written();
        self.wrote(site, old.wrapping_add(delta));
        old
    }

    #[track_caller]
    fn or(&self, site: Site, bits: u64) -> u64 {
        step();
        let old = self.0.fetch_or(bits, ordering(site));
        self.1.written();
        self.wrote(site, old | bits);
        old
    }

    /// A compare-exchange that always fails reads the newest value and writes nothing: loom gives a store that
    /// races with an update histories that no machine has.
    #[track_caller]
    fn newest(&self, site: Site) -> u64 {
        step();
        let (impossible, ordering) = (u64::MAX, ordering(site));
        let found = self.0.compare_exchange(impossible, impossible, ordering, ordering);
        self.1.written();
        let found = found.unwrap_or_else(|found| found);
        tell(What::Read(site, witness::place_of(self), found));
        found
    }

    #[track_caller]
    fn and(&self, site: Site, bits: u64) -> u64 {
        step();
        let old = self.0.fetch_and(bits, ordering(site));
        self.1.written();
        self.wrote(site, old & bits);
        old
    }

    #[track_caller]
    fn compare_exchange(&self, site: Site, current: u64, new: u64) -> Result<u64, u64> {
        step();
        let done = self.0.compare_exchange(current, new, ordering(site), Ordering::Relaxed);
        self.1.written();
        match done {
            Ok(_) => self.wrote(site, new),
            Err(found) => tell(What::Lost(site, witness::place_of(self), found)),
        }
        done
    }
}

impl Atomic {
    /// A handle's word is reported by the protocol, which knows the event.
    fn wrote(&self, site: Site, value: u64) {
        let place = witness::place_of(self);
        if !matches!(place, Place::Handle(_)) {
            tell(What::Wrote(site, place, value));
        }
    }
}

/// A word of the application's own.
#[derive(Debug)]
pub struct Word(AtomicU64, Readers<3>);

impl Word {
    #[track_caller]
    fn of(value: u64) -> Self {
        Self(AtomicU64::new(value), Readers::new())
    }

    #[track_caller]
    fn was_read(&self) {
        self.1.read();
    }

    #[track_caller]
    fn was_written(&self) {
        self.1.written();
    }
}

shared_word!(Word, step, Loom::actor);

/// A word of payload. Relaxed, so that every value that a reader must not see is one that it can
/// see unless the protocol orders it. A read by right that does not see the newest value is a race;
/// what a peek sees is judged by the scenario.
#[derive(Debug)]
pub struct Payload {
    value: AtomicU64,
    /// Not part of the model: written in the same step as `value`.
    newest: OutsideU64,
    /// For people: how many steps of the execution were before the last write.
    written: OutsideU64,
    readers: Readers<2>,
}

impl Field for Payload {
    #[track_caller]
    fn new(value: u64) -> Self {
        Self {
            value: AtomicU64::new(value),
            newest: OutsideU64::new(value),
            written: OutsideU64::new(0),
            readers: Readers::new(),
        }
    }

    #[track_caller]
    fn get(&self) -> u64 {
        let (value, newest) = (self.peek(), self.newest.load(Ordering::Relaxed));
        assert!(
            value == newest,
            "race: a field read by right held {newest}, the reader saw {value}\n\
             The field is {}. Its newest value was written after step {}; nothing has handed it over to \
             this reader.",
            columns::of(witness::place_of(self)),
            self.written.load(Ordering::Relaxed)
        );
        value
    }

    #[track_caller]
    fn set(&self, value: u64) {
        let published = PUBLISHED.with(Cell::get);
        assert!(!published, "S5: a completer wrote to the handle after its Publish");
        mortal_step();
        self.value.store(value, Ordering::Relaxed);
        self.newest.store(value, Ordering::Relaxed);
        self.written.store(witness::steps(), Ordering::Relaxed);
        self.readers.written();
    }

    #[track_caller]
    fn peek(&self) -> u64 {
        let value = self.value.load(Ordering::Relaxed);
        self.readers.read();
        value
    }
}

/// An event count whose sleeps end by a post only.
#[derive(Debug)]
pub struct Count {
    count: AtomicU32,
    /// Not part of the model: it is changed in the same step as `count`, or right after the
    /// comparison with it, so no other thread of the model can see it in between.
    sleepers: Mutex<Vec<Arc<Sleeper>>>,
    readers: Readers<2>,
}

/// Who sleeps on one count, or on several. It parks when it is in all of their lists, and only then it may be
/// unparked: loom would keep that for a later sleep. No part of the model, as the list is.
#[derive(Debug)]
struct Sleeper {
    thread: Thread,
    parked: AtomicBool,
    woken: AtomicBool,
}

impl Sleeper {
    fn me() -> Arc<Self> {
        let [parked, woken] = [(); 2].map(|()| AtomicBool::new(false));
        Arc::new(Self { thread: thread::current(), parked, woken })
    }

    fn wake(&self) {
        let woken_before = self.woken.swap(true, OutsideOrdering::Relaxed);
        if !woken_before && self.parked.load(OutsideOrdering::Relaxed) {
            self.thread.unpark();
        }
    }

    /// Unless it was woken while it came to be in the last list.
    fn park(&self) {
        if !self.woken.load(OutsideOrdering::Relaxed) {
            self.parked.store(true, OutsideOrdering::Relaxed);
            thread::park();
        }
    }
}

impl Count {
    /// Whether the count is the ticket; then `me` sleeps on it.
    #[track_caller]
    fn falls_asleep(&self, ticket: u32, me: &Arc<Sleeper>) -> bool {
        let newest =
            self.count.compare_exchange(NEVER, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        self.readers.written();
        let same = newest == Err(ticket);
        if same {
            locked(&self.sleepers).push(Arc::clone(me));
        }
        same
    }

    fn forget(&self, me: &Arc<Sleeper>) {
        locked(&self.sleepers).retain(|other| !Arc::ptr_eq(other, me));
    }
}

/// No count of a scenario gets here, so the compare-exchange of a sleep always fails.
const NEVER: u32 = u32::MAX;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventCount for Count {
    #[track_caller]
    fn new() -> Self {
        let (count, sleepers) = (AtomicU32::new(0), Mutex::new(Vec::new()));
        Self { count, sleepers, readers: Readers::new() }
    }

    #[track_caller]
    fn ticket(&self) -> u32 {
        step();
        let ticket = self.count.load(ordering(Site::CountTicket));
        self.readers.read();
        tell(What::Ticket(witness::place_of(self)));
        ticket
    }

    #[track_caller]
    fn sleep(&self, ticket: u32, slice_ns: u64) -> Slept {
        Self::sleep_any(&[(self, ticket)], slice_ns)
    }

    const MOST: usize = 3;

    #[track_caller]
    fn sleep_any(counts: &[(&Self, u32)], slice_ns: u64) -> Slept {
        let me = Sleeper::me();
        for (turn, (count, ticket)) in counts.iter().enumerate() {
            step();
            let place = witness::place_of(*count);
            if slice_ns == 0 {
                tell(What::SliceOver(place));
                return Slept::SliceOver;
            }
            if !count.falls_asleep(*ticket, &me) {
                counts[..turn].iter().for_each(|(count, _)| count.forget(&me));
                tell(What::TicketOld(place));
                return Slept::LookAgain;
            }
            tell(What::Slept(place));
        }
        me.park();
        for (count, _) in counts {
            count.forget(&me);
            tell(What::Woke(witness::place_of(*count)));
        }
        Slept::LookAgain
    }

    #[track_caller]
    fn post(&self) {
        step();
        self.count.fetch_add(1, ordering(Site::CountPost));
        self.readers.written();
        let woken = std::mem::take(&mut *locked(&self.sleepers));
        tell(What::Posted(witness::place_of(self), woken.len()));
        woken.iter().for_each(|sleeper| sleeper.wake());
    }

    #[track_caller]
    fn post_some(&self, wake: u32) {
        step();
        self.count.fetch_add(1, ordering(Site::CountPost));
        self.readers.written();
        let mut sleepers = locked(&self.sleepers);
        let woken = sleepers.len().min(wake as usize);
        tell(What::PostedSome(witness::place_of(self), woken));
        sleepers.drain(..woken).for_each(|sleeper| sleeper.wake());
    }
}

/// A queue: an addition that orders is the branch point of each access, and what it stands for is
/// changed in the same step.
#[derive(Debug)]
pub struct Mail {
    turn: AtomicU32,
    entries: Mutex<VecDeque<u64>>,
    sleepers: Mutex<Vec<Thread>>,
    /// Not part of the model: a thread is in [`Queue::until_some`].
    awaited: AtomicBool,
}

impl Mail {
    fn put(&self, entry: u64, room: usize) {
        step();
        self.turn.fetch_add(1, Ordering::AcqRel);
        tell(What::Put);
        let mut entries = locked(&self.entries);
        assert!(entries.len() < room, "S8: a completion finds no free entry");
        entries.push_back(entry);
        let woken = std::mem::take(&mut *locked(&self.sleepers));
        woken.iter().for_each(Thread::unpark);
    }
}

impl Queue for Mail {
    fn new() -> Self {
        let (entries, sleepers) = (Mutex::new(VecDeque::new()), Mutex::new(Vec::new()));
        let awaited = AtomicBool::new(false);
        Self { turn: AtomicU32::new(0), entries, sleepers, awaited }
    }

    fn push(&self, entry: u64) {
        self.put(entry, usize::MAX);
    }

    fn push_within(&self, entry: u64, room: usize) {
        self.put(entry, room);
    }

    fn pop(&self) -> u64 {
        loop {
            if let Some(entry) = self.try_pop() {
                return entry;
            }
            locked(&self.sleepers).push(thread::current());
            tell(What::AwaitsMail);
            thread::park();
        }
    }

    fn try_pop(&self) -> Option<u64> {
        step();
        self.turn.fetch_add(0, Ordering::AcqRel);
        let entry = locked(&self.entries).pop_front();
        tell(What::Took(entry.is_some()));
        entry
    }

    fn first(&self) -> Option<u64> {
        step();
        self.turn.fetch_add(0, Ordering::AcqRel);
        locked(&self.entries).front().copied()
    }

    fn until_some(&self, slice_ns: u64) -> Slept {
        let alone = !self.awaited.swap(true, OutsideOrdering::Relaxed);
        assert!(alone, "two threads sleep in the same ring");
        while self.first().is_none() {
            if slice_ns == 0 {
                self.awaited.store(false, OutsideOrdering::Relaxed);
                return Slept::SliceOver;
            }
            locked(&self.sleepers).push(thread::current());
            witness::saw("slept in a ring");
            thread::park();
        }
        self.awaited.store(false, OutsideOrdering::Relaxed);
        Slept::LookAgain
    }
}

/// A slot lock. Where its accesses only read they are compare-exchanges that always fail, because these
/// read the newest value and write nothing; where they write they are updates, because loom gives a store
/// that races with an update histories that no machine has.
#[derive(Debug)]
pub struct SlotLock {
    /// Zero, or one more than the process.
    holder: AtomicU32,
    sleepers: Mutex<Vec<Thread>>,
}

impl SlotLock {
    fn holder(&self) -> u32 {
        let newest =
            self.holder.compare_exchange(NEVER, NEVER, Ordering::Relaxed, Ordering::Relaxed);
        newest.unwrap_or_else(|newest| newest)
    }

    fn release(&self) {
        self.holder.swap(0, Ordering::Relaxed);
        let woken = std::mem::take(&mut *locked(&self.sleepers));
        woken.iter().for_each(Thread::unpark);
    }
}

impl Lock for SlotLock {
    fn new() -> Self {
        Self { holder: AtomicU32::new(0), sleepers: Mutex::new(Vec::new()) }
    }

    fn try_lock(&self) -> bool {
        step();
        let mine = Loom::actor().process + 1;
        let relaxed = Ordering::Relaxed;
        let got = self.holder.compare_exchange(0, mine, relaxed, relaxed).is_ok();
        tell(What::Locked(witness::place_of(self), got));
        got
    }

    fn unlock(&self) {
        step();
        self.release();
        tell(What::Unlocked(witness::place_of(self)));
    }

    fn is_free(&self) -> bool {
        step();
        let free = self.holder() == 0;
        tell(What::Probed(witness::place_of(self), free));
        free
    }

    fn until_free(&self) {
        while self.holder() != 0 {
            locked(&self.sleepers).push(thread::current());
            thread::park();
        }
    }

    fn release_of(&self, process: u32) {
        if self.holder() == process + 1 {
            self.release();
        }
    }
}

/// loom as a platform.
#[derive(Debug)]
pub struct Loom;

impl Platform for Loom {
    type Atomic64 = Atomic;
    type Field = Payload;
    type EventCount = Count;

    #[track_caller]
    fn fence(site: Site) {
        if mutant::weakened() != Some(site) {
            fence(site.ordering());
        }
    }

    fn now_ns() -> u64 {
        0
    }

    fn pause() {
        thread::yield_now();
    }

    fn set_in_callback(inside: bool) -> bool {
        IN_CALLBACK.with(|mark| mark.replace(inside))
    }

    fn in_callback() -> bool {
        witness::in_callback(IN_CALLBACK.with(Cell::get))
    }

    fn changed(change: Change) {
        if matches!(change.event, Event::Publish) {
            PUBLISHED.with(|published| published.set(true));
        }
        witness::changed(Self::actor(), change);
    }
}

/// loom's own stack is too small for the protocol's frames without optimisation.
const STACK_SIZE: usize = 0x4_0000;

impl Runtime for Loom {
    const NAME: &'static str = "loom";
    type Started = JoinHandle<()>;
    type Queue = Mail;
    type Lock = SlotLock;
    type Word = Word;

    fn spawn(actor: Actor, _seed: u64, body: Body, at_death: Body) -> Self::Started {
        let (variant, number) = (VARIANT.get(), STARTED.get() + 1);
        STARTED.set(number);
        let builder = thread::Builder::new().stack_size(STACK_SIZE).name(actor.name.to_owned());
        let started = builder.spawn(move || {
            ACTOR.with(|current| current.set(actor));
            NUMBER.with(|current| current.set(number));
            let lives = (actor.mortal && variant > 0).then(|| variant - 1);
            LIVES.with(|left| left.set(lives));
            tell(What::Began);
            if let Err(reason) = catch_unwind(AssertUnwindSafe(|| body())) {
                if !reason.is::<Killed>() {
                    resume_unwind(reason);
                }
                at_death();
            }
            LIVES.with(|left| left.set(None));
            tell(What::Ended);
        });
        started.expect("loom has threads left")
    }

    fn join(started: Self::Started) {
        assert!(started.join().is_ok());
    }

    fn choose(options: usize) -> usize {
        VARIANT.get() % options
    }

    fn actor() -> Actor {
        ACTOR.with(Cell::get)
    }
}
