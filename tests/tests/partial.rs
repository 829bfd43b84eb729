//! R14, R16: a method that takes fewer IOs than it is offered. Method `sync` always takes all, so that
//! the shipped protocol runs here over a method and a platform of the test's own.

#![expect(clippy::disallowed_types, reason = "a platform turns sites into orderings")]

use handfast::handfast_core::handle::{Handle, Iovec, Slot};
use handfast::handfast_core::platform::{Atomic64, EventCount, Field, Platform, Slept, SlotLocks};
use handfast::handfast_core::protocol::{
    Callbacks, Context, Deliver, Drive, Embed, HandedOut, Io, Issuer,
};
use handfast::handfast_core::protocol::{Shared, StageRefused, Submit};
use handfast::handfast_core::request::CallbackList;
use handfast::handfast_core::site::Site;
use handfast::{
    CallbackId, Flags, Generation, HandleId, Operation, Outcome, PoolTag, ProcessSlot, RawResult,
    Request, TargetId,
};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Atomics of this process; nobody ever sleeps.
struct Plain;

struct Word(AtomicU64);

impl Atomic64 for Word {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    fn load(&self, site: Site) -> u64 {
        self.0.load(site.ordering())
    }
    fn store(&self, site: Site, value: u64) {
        self.0.store(value, site.ordering());
    }
    fn swap(&self, site: Site, value: u64) -> u64 {
        self.0.swap(value, site.ordering())
    }
    fn add(&self, site: Site, delta: u64) -> u64 {
        self.0.fetch_add(delta, site.ordering())
    }
    fn or(&self, site: Site, bits: u64) -> u64 {
        self.0.fetch_or(bits, site.ordering())
    }
    fn and(&self, site: Site, bits: u64) -> u64 {
        self.0.fetch_and(bits, site.ordering())
    }
    fn compare_exchange(&self, site: Site, current: u64, new: u64) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, site.ordering(), Ordering::Relaxed)
    }
}

impl Field for Word {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
    fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Count(AtomicU32);

impl EventCount for Count {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }
    fn ticket(&self) -> u32 {
        self.0.load(Site::CountTicket.ordering())
    }
    fn sleep(&self, _ticket: u32, _slice_ns: u64) -> Slept {
        panic!("there is nobody who could wake the only thread");
    }
    const MOST: usize = 1;
    fn sleep_any(_counts: &[(&Self, u32)], _slice_ns: u64) -> Slept {
        panic!("there is nobody who could wake the only thread");
    }
    fn post(&self) {
        self.0.fetch_add(1, Site::CountPost.ordering());
    }
}

impl Platform for Plain {
    type Atomic64 = Word;
    type Field = Word;
    type EventCount = Count;

    fn fence(site: Site) {
        fence(site.ordering());
    }
    fn now_ns() -> u64 {
        0
    }
    fn pause() {}
    fn set_in_callback(_inside: bool) -> bool {
        false
    }
    fn in_callback() -> bool {
        false
    }
}

const ME: u32 = 0;

fn me() -> ProcessSlot {
    ProcessSlot::new(ME).unwrap()
}

struct Words {
    handles: Vec<Handle<Plain>>,
    slot: Slot<Plain>,
}

impl Shared<Plain> for Words {
    fn tag(&self) -> PoolTag {
        PoolTag(1)
    }
    fn handle_count(&self) -> u32 {
        u32::try_from(self.handles.len()).unwrap()
    }
    fn handle(&self, id: HandleId) -> Option<&Handle<Plain>> {
        self.handles.get(id.index())
    }
    fn owner(&self, _id: HandleId) -> Option<ProcessSlot> {
        Some(me())
    }
    fn owned_by(&self, _slot: ProcessSlot) -> Range<u32> {
        0..self.handle_count()
    }
    fn iovecs(&self, _id: HandleId) -> &[Iovec<Plain>] {
        &[]
    }
    fn data(&self, _id: HandleId) -> &[Word] {
        &[]
    }
    fn slot(&self, _slot: ProcessSlot) -> Option<&Slot<Plain>> {
        Some(&self.slot)
    }
    fn lease_count(&self) -> u32 {
        0
    }
    fn lease(&self, _index: u32) -> Option<&Word> {
        None
    }
}

struct Silent;

impl Callbacks<Plain> for Silent {
    fn stage(&self, _: CallbackId, _: &Io<'_, Plain>) -> Result<(), StageRefused> {
        Ok(())
    }
    fn complete_shared(&self, _: CallbackId, _: &Io<'_, Plain>, prior: Outcome) -> Outcome {
        prior
    }
    fn complete_local(&self, _: CallbackId, _: &Io<'_, Plain>, prior: Outcome) -> Outcome {
        prior
    }
}

type Started = (HandleId, Generation);

/// The queue of a device that completes one IO whenever somebody asks it to.
#[derive(Default)]
struct Queue(Mutex<VecDeque<Started>>);

impl SlotLocks for Queue {
    fn try_lock(&self, _slot: ProcessSlot) -> bool {
        false
    }
    fn unlock(&self, _slot: ProcessSlot) {}
    fn is_free(&self, _slot: ProcessSlot) -> bool {
        false
    }
}

impl Drive for Queue {
    fn drive(
        &self,
        _: HandleId,
        _: handfast::handfast_core::state::Word,
        deliver: Deliver<'_>,
    ) -> bool {
        let first = self.0.lock().unwrap().pop_front();
        if let Some((handle, generation)) = first {
            deliver(handle, generation, RawResult(7));
        }
        first.is_some()
    }
}

struct Test;

impl Embed for Test {
    type P = Plain;
    type S = Words;
    type C = Silent;
    type D = Queue;
}

/// A method whose queue holds `depth`, and takes nothing that is marked as synchronous. It notes what happens.
struct Narrow<'q> {
    queue: &'q Queue,
    depth: usize,
    log: Vec<(&'static str, u32)>,
    over: Vec<(u32, Outcome)>,
}

impl Submit for Narrow<'_> {
    fn in_place(&self, flags: Flags) -> bool {
        flags.contains(Flags::SYNCHRONOUS)
    }
    fn accept(&mut self, wanted: usize) -> usize {
        wanted.min(self.depth.saturating_sub(self.queue.0.lock().unwrap().len()))
    }
    fn submit(&mut self, ios: &[Started]) {
        let mut queue = self.queue.0.lock().unwrap();
        assert!(queue.len() + ios.len() <= self.depth, "more than it has accepted");
        self.log.extend(ios.iter().map(|io| ("queued", io.0.0)));
        queue.extend(ios);
    }
    fn execute(&mut self, io: HandleId, _request: &Request) -> RawResult {
        self.log.push(("in place", io.0));
        RawResult(9)
    }
    fn is_outstanding(&self, _io: HandleId) -> bool {
        true
    }

    fn retired(&mut self, io: HandleId, _generation: Generation, outcome: Outcome) {
        self.over.push((io.0, outcome));
    }
}

fn request(flags: Flags) -> Request {
    Request {
        operation: Operation::Readv,
        flags,
        target: TargetId::FILE,
        target_data: [0; 3],
        offset: 0,
        length: 0,
        iovecs: 0,
        data_len: 0,
        callbacks: CallbackList::EMPTY,
    }
}

/// What a method saw, in order, and the results by handle.
type Seen = (Vec<(&'static str, u32)>, Vec<(u32, i32)>);

/// Stages an IO for each of these flags in one batch, ends it, finishes all.
fn run_batch(depth: usize, all: &[Flags]) -> Seen {
    let count = all.len();
    let words = Words { handles: (0..count).map(|_| Handle::new()).collect(), slot: Slot::new() };
    let queue = Queue::default();
    let context: Context<'_, Test> =
        Context { shared: &words, callbacks: &Silent, drive: &queue, me: me() };
    let method = Narrow { queue: &queue, depth, log: Vec::new(), over: Vec::new() };
    let mut issuer = Issuer::new(context, &vec![Generation::FIRST; count], method);
    issuer.enter_batch();
    let start = |issuer: &mut Issuer<'_, Test, Narrow<'_>>, flags: Flags| -> HandedOut {
        let handle = issuer.acquire(1).unwrap();
        issuer.start(handle, &request(flags), &[]).unwrap();
        handle
    };
    let all: Vec<_> = all.iter().map(|&flags| start(&mut issuer, flags)).collect();
    assert_eq!(issuer.book().staged(), count, "a batch waits for its end");
    issuer.leave_batch(0).unwrap();
    assert_eq!(issuer.book().staged(), 0, "nothing is forgotten");
    for io in all {
        issuer.finish(io).unwrap();
    }
    assert!(issuer.book().is_pristine() && issuer.book().check());
    let method = issuer.method_mut();
    let mut over: Vec<_> =
        method.over.iter().map(|(id, outcome)| (*id, outcome.result())).collect();
    over.sort_unstable();
    (std::mem::take(&mut method.log), over)
}

#[test]
fn r14_what_a_method_does_not_take_stays_staged_and_is_offered_again() {
    for depth in [1, 2, 3, 9, 10, 100] {
        let (log, over) = run_batch(depth, &[Flags::empty(); 10]);
        assert_eq!(log, (0..10).map(|id| ("queued", id)).collect::<Vec<_>>(), "depth {depth}");
        assert_eq!(over, (0..10).map(|id| (id, 7)).collect::<Vec<_>>());
    }
}

#[test]
fn r14_what_a_method_never_takes_is_executed_in_place() {
    let (log, over) = run_batch(0, &[Flags::empty(); 4]);
    assert_eq!(log, (0..4).map(|id| ("in place", id)).collect::<Vec<_>>());
    assert_eq!(over, (0..4).map(|id| (id, 9)).collect::<Vec<_>>());
}

#[test]
fn r16_an_io_in_place_does_not_overtake_those_staged_before_it() {
    let (log, _) = {
        let (other, own) = (Flags::empty(), Flags::SYNCHRONOUS);
        run_batch(10, &[other, other, own, other, own, own, other])
    };
    let names = ["queued", "queued", "in place", "queued", "in place", "in place", "queued"];
    assert_eq!(log, names.into_iter().zip(0..).collect::<Vec<_>>());
}
