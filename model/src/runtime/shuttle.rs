//! [`Platform`] and [`Runtime`] over shuttle: random interleavings of scenarios that are too large
//! for loom. Memory is sequentially consistent here; what shuttle adds is depth, deaths and time.
//!
//! | type | what it is |
//! |---|---|
//! | [`Atomic`] | a shuttle atomic; the site's ordering is passed on and has no effect |
//! | [`Payload`] | a word and who is at it: an access lasts, and two of which one writes are a race |
//! | [`Word`] | a shuttle atomic |
//! | [`Count`] | a shuttle atomic and a list of parked threads |
//! | [`Mail`] | a list of entries, a shuttle atomic as its branch point |
//! | [`SlotLock`] | a shuttle atomic and a list of parked threads |
//!
//! **Sleeping.** Comparison and falling asleep are one step: shuttle switches before an atomic
//! access, not after it. A sleep ends by a post, for no reason within the budget of
//! [`crate::walk::Walk`], or because its time is over: a slice only after somebody has died in this
//! execution, a shorter time (a deadline) always, a longer one never. So without a death a lost wake-up is a deadlock.
//!
//! **Time.** [`Platform::now_ns`] goes forward at random, and by the time of every sleep that is over.
//!
//! **Death.** A mortal actor dies before an access that is drawn when it starts, or not at all. A post
//! is two of them: the addition, and the wake-up. Every random number is shuttle's, so that a
//! failing execution can be repeated from its seed.
//!
//! Invariant asserted here, for every scenario: S5, a completer's last write is its Publish.
//! Checked by: the tests below and `model/tests/random.rs`.
//! Not checked: orderings (loom does).

#![expect(clippy::disallowed_types, reason = "a platform passes the sites' orderings on")]

mod sleep;

pub use sleep::Count;

use super::word::shared_word;
use super::{Actor, Body, Lock, MAIN, Queue, Runtime, SharedWord};
use crate::trace::What;
use crate::witness;
use handfast_core::platform::{Atomic64, Change, Field, Platform, SLICE_NS, Slept};
use handfast_core::site::Site;
use handfast_core::state::Event;
use shuttle::current;
use shuttle::rand::{RngCore as _, thread_rng};
use shuttle::sync::atomic::{AtomicU32, AtomicU64};
use shuttle::thread::{self, JoinHandle, Thread};
use sleep::Sleepers;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicI32 as OutsideI32, AtomicU64 as OutsideU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is known of one thread of the model.
struct Task {
    actor: Actor,
    in_callback: bool,
    /// This thread has published; until its next access to a word it has nothing to write (S5).
    published: bool,
    /// How many more accesses this actor survives, if it is to die.
    lives: Option<u64>,
    /// Where to wake it, while it sleeps on a count.
    asleep: Option<Thread>,
    /// Its sleep ends for no reason.
    disturbed: bool,
}

impl Task {
    const NEW: Self = Self {
        actor: MAIN,
        in_callback: false,
        published: false,
        lives: None,
        asleep: None,
        disturbed: false,
    };
}

/// What is known of one execution, beside the words.
struct Execution {
    tasks: Vec<Task>,
    died: bool,
    now_ns: u64,
}

std::thread_local! {
    /// shuttle runs the threads of an execution one at a time on the thread that called it. This is
    /// never borrowed across a switch.
    static EXECUTION: RefCell<Execution> =
        const { RefCell::new(Execution { tasks: Vec::new(), died: false, now_ns: 0 }) };
}

/// Forgets the execution before.
pub(crate) fn start() {
    EXECUTION.with_borrow_mut(|execution| {
        execution.tasks.clear();
        (execution.died, execution.now_ns) = (false, 0);
    });
}

/// Lets the sleep of this thread end for no reason.
pub(crate) fn disturb(task: usize) {
    with_task(task, |task| task.disturbed = true);
}

fn with_task<T>(number: usize, change: impl FnOnce(&mut Task) -> T) -> T {
    EXECUTION.with_borrow_mut(|execution| {
        while execution.tasks.len() <= number {
            execution.tasks.push(Task::NEW);
        }
        change(&mut execution.tasks[number])
    })
}

fn with_me<T>(change: impl FnOnce(&mut Task) -> T) -> T {
    with_task(me(), change)
}

fn me() -> usize {
    current::me().into()
}

fn died() -> bool {
    EXECUTION.with_borrow(|execution| execution.died)
}

/// A random number below `below`.
fn random(below: u64) -> u64 {
    thread_rng().next_u64() % below.max(1)
}

/// A branch point without an access.
fn switch() {
    thread::sleep(Duration::ZERO);
}

/// What a dying actor unwinds with.
struct Killed;

/// Before every access that others can see: the place where an actor may die.
fn step() {
    let dies = with_me(|task| {
        task.published = false;
        task.is_last_step()
    });
    if dies {
        die();
    }
}

fn mortal_step() {
    if with_me(Task::is_last_step) {
        die();
    }
}

impl Task {
    fn is_last_step(&mut self) -> bool {
        match self.lives {
            Some(0) => true,
            Some(left) => {
                self.lives = Some(left - 1);
                false
            }
            None => false,
        }
    }
}

fn die() -> ! {
    with_me(|task| task.lives = None);
    witness::step(Shuttle::actor(), What::Died);
    resume_unwind(Box::new(Killed))
}

/// From now on slices end: who sleeps sees to it.
fn end_slices() {
    let asleep: Vec<Thread> = EXECUTION.with_borrow_mut(|execution| {
        execution.died = true;
        execution.tasks.iter().filter_map(|task| task.asleep.clone()).collect()
    });
    asleep.iter().for_each(Thread::unpark);
}

/// A state word, slot word or lease word.
#[derive(Debug)]
pub struct Atomic(AtomicU64);

impl Atomic64 for Atomic {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    fn load(&self, site: Site) -> u64 {
        step();
        self.0.load(site.ordering())
    }

    fn store(&self, site: Site, value: u64) {
        step();
        self.0.store(value, site.ordering());
    }

    fn swap(&self, site: Site, value: u64) -> u64 {
        step();
        self.0.swap(value, site.ordering())
    }

    fn add(&self, site: Site, delta: u64) -> u64 {
        step();
        self.0.fetch_add(delta, site.ordering())
    }

    fn or(&self, site: Site, bits: u64) -> u64 {
        step();
        self.0.fetch_or(bits, site.ordering())
    }

    fn and(&self, site: Site, bits: u64) -> u64 {
        step();
        self.0.fetch_and(bits, site.ordering())
    }

    fn compare_exchange(&self, site: Site, current: u64, new: u64) -> Result<u64, u64> {
        step();
        self.0.compare_exchange(current, new, site.ordering(), Ordering::Relaxed)
    }
}

/// A word of the application's own.
#[derive(Debug)]
pub struct Word(AtomicU64);

impl Word {
    const fn of(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    const fn was_read(&self) {}

    const fn was_written(&self) {}
}

shared_word!(Word, step, Shuttle::actor);

/// A word of payload, and who is at it. An access by right begins, lets others run, and ends; one
/// that begins while another is under way, of which one writes, is a race. A peek may meet anybody.
#[derive(Debug)]
pub struct Payload {
    value: OutsideU64,
    /// How many read by right; -1 while one writes.
    at_it: OutsideI32,
}

/// [`Payload::at_it`] while one writes.
const WRITER: i32 = -1;

impl Payload {
    fn at_it(&self) -> i32 {
        self.at_it.load(Ordering::Relaxed)
    }
}

impl Field for Payload {
    fn new(value: u64) -> Self {
        Self { value: OutsideU64::new(value), at_it: OutsideI32::new(0) }
    }

    #[track_caller]
    fn get(&self) -> u64 {
        assert!(self.at_it() >= 0, "race: a field is read by right while another thread writes it");
        self.at_it.fetch_add(1, Ordering::Relaxed);
        switch();
        self.at_it.fetch_sub(1, Ordering::Relaxed);
        self.value.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn set(&self, value: u64) {
        let published = with_me(|task| task.published);
        assert!(!published, "S5: a completer wrote to the handle after its Publish");
        mortal_step();
        let others = self.at_it.swap(WRITER, Ordering::Relaxed);
        assert!(others >= 0, "race: two threads write a field at the same time");
        assert!(others == 0, "race: a field is written while another thread reads it by right");
        switch();
        self.value.store(value, Ordering::Relaxed);
        self.at_it.store(0, Ordering::Relaxed);
    }

    fn peek(&self) -> u64 {
        switch();
        self.value.load(Ordering::Relaxed)
    }
}

/// A queue.
#[derive(Debug)]
pub struct Mail {
    entries: Mutex<VecDeque<u64>>,
    sleepers: Sleepers,
}

impl Mail {
    fn entries(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for Mail {
    fn new() -> Self {
        Self { entries: Mutex::new(VecDeque::new()), sleepers: Sleepers::default() }
    }

    fn push(&self, entry: u64) {
        step();
        switch();
        self.entries().push_back(entry);
        self.sleepers.wake_all();
    }

    fn push_within(&self, entry: u64, room: usize) {
        step();
        switch();
        let mut entries = self.entries();
        assert!(entries.len() < room, "S8: a completion finds no free entry");
        entries.push_back(entry);
        drop(entries);
        self.sleepers.wake_all();
    }

    fn pop(&self) -> u64 {
        loop {
            if let Some(entry) = self.try_pop() {
                return entry;
            }
            self.sleepers.add_me();
            self.sleepers.park();
        }
    }

    fn try_pop(&self) -> Option<u64> {
        step();
        switch();
        self.entries().pop_front()
    }

    fn first(&self) -> Option<u64> {
        step();
        switch();
        self.entries().front().copied()
    }

    fn until_some(&self, slice_ns: u64) -> Slept {
        while self.first().is_none() {
            if slice_ns == 0 {
                return Slept::SliceOver;
            }
            self.sleepers.add_me();
            self.sleepers.park();
        }
        Slept::LookAgain
    }
}

/// A slot lock.
#[derive(Debug)]
pub struct SlotLock {
    /// Zero, or one more than the process.
    holder: AtomicU32,
    sleepers: Sleepers,
}

impl SlotLock {
    fn release(&self) {
        self.holder.store(0, Ordering::Relaxed);
        self.sleepers.wake_all();
    }
}

impl Lock for SlotLock {
    fn new() -> Self {
        Self { holder: AtomicU32::new(0), sleepers: Sleepers::default() }
    }

    fn try_lock(&self) -> bool {
        step();
        let mine = Shuttle::actor().process + 1;
        self.holder.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn unlock(&self) {
        step();
        self.release();
    }

    fn is_free(&self) -> bool {
        step();
        self.holder.load(Ordering::Relaxed) == 0
    }

    fn until_free(&self) {
        while self.holder.load(Ordering::Relaxed) != 0 {
            self.sleepers.add_me();
            self.sleepers.park();
        }
    }

    fn release_of(&self, process: u32) {
        if self.holder.load(Ordering::Relaxed) == process + 1 {
            self.release();
        }
    }
}

/// shuttle as a platform.
#[derive(Debug)]
pub struct Shuttle;

/// The clock goes forward by less than this at each look.
const TICK_NS: u64 = SLICE_NS / 8;

impl Platform for Shuttle {
    type Atomic64 = Atomic;
    type Field = Payload;
    type EventCount = Count;

    fn fence(_site: Site) {}

    fn now_ns() -> u64 {
        let tick = random(TICK_NS);
        EXECUTION.with_borrow_mut(|execution| {
            execution.now_ns += tick;
            execution.now_ns
        })
    }

    fn pause() {
        switch();
    }

    fn set_in_callback(inside: bool) -> bool {
        with_me(|task| std::mem::replace(&mut task.in_callback, inside))
    }

    fn in_callback() -> bool {
        witness::in_callback(with_me(|task| task.in_callback))
    }

    fn changed(change: Change) {
        if matches!(change.event, Event::Publish) {
            with_me(|task| task.published = true);
        }
        witness::changed(Self::actor(), change);
    }
}

/// shuttle's own stack is too small for the protocol's frames without optimisation.
pub(crate) const STACK_SIZE: usize = 0x4_0000;

/// How many accesses a mortal actor survives: in a quarter of the executions all of them; else a
/// number below a bound that is itself drawn, so that early deaths and late ones are both likely.
fn draw_lives() -> Option<u64> {
    (random(4) != 0).then(|| random(8 << random(7)))
}

impl Runtime for Shuttle {
    const NAME: &'static str = "shuttle";
    type Started = JoinHandle<()>;
    type Queue = Mail;
    type Lock = SlotLock;
    type Word = Word;

    fn spawn(actor: Actor, _seed: u64, body: Body, at_death: Body) -> Self::Started {
        let lives = if actor.mortal { draw_lives() } else { None };
        let builder = thread::Builder::new().stack_size(STACK_SIZE).name(actor.name.to_owned());
        let started = builder.spawn(move || {
            with_me(|task| (task.actor, task.lives) = (actor, lives));
            if let Err(reason) = catch_unwind(AssertUnwindSafe(|| body())) {
                if !reason.is::<Killed>() {
                    resume_unwind(reason);
                }
                at_death();
                end_slices();
            }
            with_me(|task| task.lives = None);
        });
        started.expect("shuttle starts threads")
    }

    fn join(started: Self::Started) {
        assert!(started.join().is_ok());
    }

    fn choose(options: usize) -> usize {
        usize::try_from(random(options as u64)).expect("below a usize")
    }

    fn actor() -> Actor {
        with_me(|task| task.actor)
    }
}
