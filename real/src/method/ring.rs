//! A process's ring: what its attachment submits to, and any of its threads reaps.
//!
//! | part | guarded by | used by |
//! |---|---|---|
//! | `submitting` | a lock | the issuer; whoever rouses the sleeper |
//! | `reaping` | the reap lock (PROTOCOL: one drainer at a time) | issuer, attendant |
//! | `fd` | a lock, held for a copy | whoever sleeps in the ring |
//! | [`Flights`] | each word by itself | all of them |
//!
//! The completion queue lies in the segment, so that a survivor finds the results of a dead process there.
//! So its bytes are anybody's. An entry counts only if it names a flight of this process by its user data:
//! index, generation, and a random number that was never used before. Memory that could go is given back only
//! when such an entry was seen ([`Flights::has_landed`]), whatever the handle's word says; while one is missing,
//! the segment stays mapped (S24, S26). Whoever guesses is stopped after [`STRAYS`] entries: from then on
//! nothing that the queue says frees memory.
//!
//! If the kernel refuses the ring in mid-flight (a filter that was set up later, no memory for requests),
//! the issuer executes what it did not take, and its results are put where the kernel's would be found.
//!
//! Checked by: `tests/tests/rings.rs`, `tests/tests/soak.rs`, the tests below. Not checked: EINTR, which is made again
//! as EAGAIN is and which files hardly ever report; kernels before 6.6, on which the queue is private and the results
//! of a dead process are lost.

#![expect(clippy::disallowed_types, reason = "private memory of one process, not protocol words")]

use crate::layout::queue_entries;
use crate::platform::Production;
use crate::segment::Segment;
use crate::sys::uring::{
    self, Completions, Op, RingFd, Submission, SubmissionEntry, Submitted, Target, UringError,
};
use handfast_core::ids::{Generation, HandleId, ProcessSlot};
use handfast_core::outcome::RawResult;
use handfast_core::platform::Slept;
use handfast_core::protocol::lead::{Entry, Queue, drain};
use handfast_core::protocol::{Deliver, LedRing, Ring, Shared as _};
use rustix::process::{Resource, getrlimit};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Submission entries: a batch, and one to rouse.
const SUBMISSIONS: u32 = 64;
/// Places in the table of registered files, if so many files may be open; the first is the slot lock's.
const FILES: u32 = 64;

fn files() -> u32 {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    FILES.min(u32::try_from(most / 4).unwrap_or(FILES)).max(1)
}
/// A place costs as much as some dozens of uses without one.
const USES_BEFORE_REGISTERED: u32 = 4;
/// How often a request that the kernel could not do now is submitted again.
const AGAIN: u8 = 8;
/// How many entries that name no flight are put up with.
const STRAYS: u64 = 64;
/// How many sleeps in a row may end without an entry.
const EMPTY_SLEEPS: u32 = 16;
/// User data of what is no IO.
const ROUSE: u64 = 0;

/// The ring with its lead, as [`crate::place::Place`] keeps it.
pub(crate) type PlaceRing = LedRing<Production, ProcessRing>;

/// The ring of whatever attachment is at a place of this process; closed while there is none.
#[derive(Default)]
pub(crate) struct ProcessRing {
    open: AtomicBool,
    broken: AtomicBool,
    submitting: Mutex<Option<Submitting>>,
    reaping: Mutex<Option<Reaping>>,
    fd: Mutex<Option<Arc<RingFd>>>,
    /// What rouses the sleeper is under way: there is room for one in the queue.
    roused: AtomicBool,
    dropped: AtomicU64,
    /// How many requests were submitted again.
    again: AtomicU64,
    /// Sleeps in a row that ended without an entry.
    empty_sleeps: AtomicU32,
}

struct Submitting {
    submission: Submission,
    files: Arc<RingFiles>,
    flights: Arc<Flights>,
    // Dropped after the submission, which writes to the queue.
    segment: Arc<Segment>,
}

struct Reaping {
    completions: Completions,
    flights: Arc<Flights>,
    /// Results of what the issuer executed for want of a kernel.
    own: VecDeque<(InFlight, i32)>,
    /// What was submitted again, and how often.
    again: Vec<(InFlight, u8)>,
    // Dropped after the completions, which are in it.
    _segment: Arc<Segment>,
}

/// Index and generation of an IO that was given to the kernel.
pub(crate) type InFlight = (u32, u64);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProcessRing {
    /// Makes the ring of an attachment, whose slot lock's description it keeps.
    pub fn open(
        &self,
        segment: &Arc<Segment>,
        slot: ProcessSlot,
        lock: BorrowedFd<'_>,
    ) -> Result<(), UringError> {
        let handles = segment.owned_by(slot);
        // An earlier ring at this slot may not be gone yet, and write to its pages once more when it is.
        let queue = if segment.renew_queue(slot, lock) { segment.queue(slot) } else { None };
        let completions = queue_entries(segment.facts().config.handles_per_process());
        let wanted = uring::Wanted {
            submissions: SUBMISSIONS.min(completions),
            completions,
            queue,
            files: files(),
            keep: Some(lock),
        };
        let made = uring::make(wanted)?;
        let flights = Arc::new(Flights::new(handles));
        let files = Arc::new(RingFiles::new(Arc::clone(&made.ring), wanted.files, segment));
        *locked(&self.submitting) = Some(Submitting {
            submission: made.submission,
            files,
            flights: Arc::clone(&flights),
            segment: Arc::clone(segment),
        });
        *locked(&self.reaping) = Some(Reaping {
            completions: made.completions,
            flights,
            own: VecDeque::new(),
            again: Vec::new(),
            _segment: Arc::clone(segment),
        });
        *locked(&self.fd) = Some(made.ring);
        self.broken.store(false, Ordering::Relaxed);
        self.roused.store(false, Ordering::Relaxed);
        self.open.store(true, Ordering::Release);
        Ok(())
    }

    /// Closes it; whether the kernel is done with all that was given to it. If not, the segment stays mapped for
    /// ever, and the slot lock must be left to the kernel.
    pub fn close(&self) -> bool {
        self.open.store(false, Ordering::Release);
        let submitting = locked(&self.submitting).take();
        let done = submitting.is_none_or(|open| {
            let done = open.flights.have_all_landed();
            if !done {
                std::mem::forget(Arc::clone(&open.segment));
            }
            done
        });
        *locked(&self.reaping) = None;
        *locked(&self.fd) = None;
        done
    }

    /// Whether there is one.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Whether the kernel takes no more.
    #[inline(always)]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// The table of the ring's files, and the flights of its handles.
    pub fn parts(&self) -> Option<(Arc<RingFiles>, Arc<Flights>)> {
        let submitting = locked(&self.submitting);
        let open = submitting.as_ref()?;
        Some((Arc::clone(&open.files), Arc::clone(&open.flights)))
    }

    /// Submits the prepared requests of these IOs, each perhaps for a kernel thread; what the kernel does not
    /// take, and never will: the caller executes that, and tells by [`Self::executed`].
    ///
    /// # Safety
    /// The memory of each request is valid for it, and its descriptor open, until its IO is over.
    #[must_use]
    pub unsafe fn submit(
        &self,
        ios: impl Iterator<Item = (HandleId, Generation, bool)>,
    ) -> Vec<InFlight> {
        let mut guard = locked(&self.submitting);
        let Some(submitting) = guard.as_mut() else { return Vec::new() };
        let mut refused = Vec::new();
        for (id, generation, offload) in ios {
            let Some(flight) = submitting.flights.take_off(id, generation) else { continue };
            // SAFETY: the caller's promise.
            let pushed = unsafe { submitting.submission.push_words(flight.words(), offload) };
            // A batch is smaller than the queue, so that there is room, unless the kernel takes nothing any more.
            if !pushed {
                refused.push((submitting.flights.index(id), generation.get()));
            }
        }
        let mut left = submitting.flush();
        left.append(&mut refused);
        left
    }

    /// The result of what the kernel did not take: the next drain delivers it.
    #[cold]
    pub fn executed(&self, io: InFlight, raw: RawResult) {
        self.broken.store(true, Ordering::Relaxed);
        if let Some(reaping) = locked(&self.reaping).as_mut() {
            reaping.own.push_back((io, raw.0));
        }
    }

    /// How many entries named no flight of this process.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A sleep ended, and perhaps not for an entry: what the queue had no room for is put there, and whoever
    /// plays with its words does not make this process spin.
    fn look_into_sleep(&self, fd: &RingFd, slice_ns: u64) -> Slept {
        let any = || locked(&self.reaping).as_ref().is_none_or(|queue| queue.completions.any());
        if any() {
            self.empty_sleeps.store(0, Ordering::Relaxed);
            return Slept::LookAgain;
        }
        fd.make_room();
        if any() || self.empty_sleeps.fetch_add(1, Ordering::Relaxed) < EMPTY_SLEEPS {
            return Slept::LookAgain;
        }
        std::thread::sleep(Duration::from_nanos(slice_ns).min(Duration::from_millis(1)));
        Slept::SliceOver
    }

    /// A request is submitted again, perhaps for a kernel thread. False if the kernel does not take it.
    #[cold]
    fn submit_again(&self, io: InFlight, offload: bool) -> bool {
        let mut guard = locked(&self.submitting);
        let Some(submitting) = guard.as_mut() else { return false };
        let Some(flight) = submitting.flights.get(io.0) else { return false };
        // SAFETY: as it was pushed the first time; its IO is not over.
        let pushed = unsafe { submitting.submission.push_words(flight.words(), offload) };
        if pushed && submitting.flush().is_empty() {
            self.again.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.broken.store(true, Ordering::Relaxed);
        false
    }
}

impl Drop for ProcessRing {
    /// Of a pool whose attachment was forgotten.
    fn drop(&mut self) {
        let _done_or_leaked = self.close();
    }
}

impl Submitting {
    /// Hands everything to the kernel; what it refused for good.
    #[inline(always)]
    fn flush(&mut self) -> Vec<InFlight> {
        let mut patience = 1000_u32;
        loop {
            match self.submission.submit() {
                Submitted::All => return Vec::new(),
                Submitted::Again { .. } if patience > 0 => {
                    patience -= 1;
                    std::thread::yield_now();
                }
                Submitted::Again { .. } | Submitted::Refused { .. } => return self.take_back(),
            }
        }
    }

    #[cold]
    fn take_back(&mut self) -> Vec<InFlight> {
        let flights = &self.flights;
        self.submission.take_back().filter_map(|user_data| flights.find(user_data)).collect()
    }
}

impl Ring for ProcessRing {
    fn reap(&self, deliver: Deliver<'_>) -> bool {
        let mut guard = locked(&self.reaping);
        guard.as_mut().is_some_and(|queue| drain(&mut Held { queue, ring: self }, deliver))
    }

    fn sleep(&self, slice_ns: u64) -> Slept {
        let Some(fd) = locked(&self.fd).clone() else { return Slept::LookAgain };
        if locked(&self.reaping).as_ref().is_some_and(|reaping| !reaping.own.is_empty()) {
            return Slept::LookAgain;
        }
        match fd.sleep(Duration::from_nanos(slice_ns)) {
            uring::Slept::TimedOut => Slept::SliceOver,
            uring::Slept::LookAgain => self.look_into_sleep(&fd, slice_ns),
        }
    }

    fn rouse(&self) {
        if self.roused.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(submitting) = locked(&self.submitting).as_mut() {
            let (op, target, user_data) = (Op::Nop, Target::Fd(-1), ROUSE);
            let (addr, len, offset, offload) = (0, 0, 0, false);
            let entry = SubmissionEntry { op, target, addr, len, offset, user_data, offload };
            // SAFETY: it names no memory and no file.
            let _pushed_unless_full = unsafe { submitting.submission.push(&entry) };
            if submitting.submission.submit() != Submitted::All {
                // Nobody is roused, who sleeps no longer than a slice; and the queue keeps its room.
                drop(submitting.submission.take_back());
                self.roused.store(false, Ordering::Release);
            }
        }
    }
}

/// The completion queue, with the reap lock held.
struct Held<'r> {
    queue: &'r mut Reaping,
    ring: &'r ProcessRing,
}

impl Held<'_> {
    #[cold]
    fn count_stray(&self) {
        if self.ring.dropped.fetch_add(1, Ordering::Relaxed) >= STRAYS {
            self.queue.flights.distrusted.store(true, Ordering::Relaxed);
            self.ring.broken.store(true, Ordering::Relaxed);
        }
    }

    /// What could not be done now is done again, [`AGAIN`] times.
    #[cold]
    fn is_tried_again(&mut self, io: InFlight, offload: bool) -> bool {
        let again = &mut self.queue.again;
        let place = again.iter().position(|(of, _)| *of == io).unwrap_or_else(|| {
            again.push((io, 0));
            again.len() - 1
        });
        if again[place].1 < AGAIN {
            again[place].1 += 1;
            // If the kernel refuses, its first answer is what the issuer is told.
            if self.ring.submit_again(io, offload) {
                return true;
            }
        }
        self.queue.again.swap_remove(place);
        false
    }
}

impl Queue for Held<'_> {
    #[inline(always)]
    fn head(&mut self) -> Option<Entry> {
        loop {
            if let Some(&(io, raw)) = self.queue.own.front() {
                return Some(self.queue.flights.land(io, raw));
            }
            let completion = self.queue.completions.peek()?;
            let found = self.queue.flights.find(completion.user_data);
            let Some(io) = found else {
                if completion.user_data == ROUSE {
                    self.ring.roused.store(false, Ordering::Release);
                } else {
                    self.count_stray();
                }
                return Some(Entry { io: None, raw: RawResult(completion.result) });
            };
            // The kernel cancels what a thread has submitted that ends.
            let transient =
                matches!(-completion.result, libc::EAGAIN | libc::EINTR | libc::ECANCELED);
            if transient && self.is_tried_again(io, completion.result != -libc::ECANCELED) {
                self.queue.completions.advance();
                continue;
            }
            if !self.queue.again.is_empty() {
                self.queue.again.retain(|(of, _)| *of != io);
            }
            return Some(self.queue.flights.land(io, completion.result));
        }
    }

    #[inline(always)]
    fn advance(&mut self, shown: Entry) {
        // What is of `own` comes first, and more of it only with the reap lock, which is held.
        if self.queue.own.pop_front().is_none() {
            self.queue.completions.advance();
        }
        if let Some((id, generation)) = shown.io {
            self.queue.flights.arrive(id, generation);
        }
    }

    fn dropped(&mut self, _entry: Entry) {
        self.count_stray();
    }
}

/// What this process knows of its IOs in the kernel, in memory that nobody else can write.
pub(crate) struct Flights {
    first: u32,
    flights: Box<[Flight]>,
    /// An IO was called over before the kernel was done with it.
    lost: AtomicBool,
    /// Somebody guesses: what the queue says does not count for memory any more.
    distrusted: AtomicBool,
}

/// What one handle was given to the kernel for: a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Flight {
    /// The generation that was given to the kernel.
    taken_off: AtomicU64,
    /// The one of which the kernel has said that it has ended.
    landed: AtomicU64,
    /// The one whose completion was delivered.
    arrived: AtomicU64,
    /// The request, as the ring has it.
    words: [AtomicU64; uring::WRITTEN],
}

impl Flight {
    #[inline(always)]
    fn words(&self) -> [u64; uring::WRITTEN] {
        self.words.each_ref().map(|word| word.load(Ordering::Relaxed))
    }
}

impl Flights {
    fn new(handles: std::ops::Range<u32>) -> Self {
        let first = handles.start;
        let flights = handles.map(|_| Flight::default()).collect();
        Self { first, flights, lost: AtomicBool::default(), distrusted: AtomicBool::default() }
    }

    #[inline(always)]
    fn index(&self, id: HandleId) -> u32 {
        id.0.wrapping_sub(self.first)
    }

    #[inline(always)]
    fn get(&self, index: u32) -> Option<&Flight> {
        self.flights.get(index as usize)
    }

    /// Prepares the request of an IO that is about to start; only the issuer does. Its user data: index in ten
    /// bits, generation in 22, and a random number.
    #[inline(always)]
    pub fn prepare(&self, (index, generation): InFlight, random: u32, entry: SubmissionEntry) {
        let Some(flight) = self.get(index) else { return };
        let named = generation << 10 | u64::from(index & 0x3ff);
        let user_data = u64::from(random) << 32 | named & 0xffff_ffff;
        let words = SubmissionEntry { user_data, ..entry }.words();
        for (place, word) in flight.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn take_off(&self, id: HandleId, generation: Generation) -> Option<&Flight> {
        let flight = self.get(self.index(id))?;
        flight.taken_off.store(generation.get(), Ordering::Relaxed);
        Some(flight)
    }

    /// The flight that has this user data, and that has not arrived.
    #[inline(always)]
    fn find(&self, user_data: u64) -> Option<InFlight> {
        let index = (user_data & 0x3ff) as u32;
        let flight = self.get(index)?;
        let generation = flight.taken_off.load(Ordering::Relaxed);
        let flies = generation != 0 && flight.arrived.load(Ordering::Relaxed) != generation;
        let known = flight.words[uring::USER_DATA].load(Ordering::Relaxed) == user_data;
        (flies && known).then_some((index, generation))
    }

    /// Whether an IO was given to the kernel.
    #[inline(always)]
    pub fn has_taken_off(&self, index: u32, generation: Generation) -> bool {
        let flight = self.get(index);
        flight.is_some_and(|flight| flight.taken_off.load(Ordering::Relaxed) == generation.get())
    }

    /// The kernel has written what it will write.
    #[inline(always)]
    fn land(&self, (index, generation): InFlight, raw: i32) -> Entry {
        if let Some(flight) = self.get(index) {
            flight.landed.store(generation, Ordering::Relaxed);
        }
        let id = HandleId(self.first.wrapping_add(index));
        let io = Generation::new(generation).map(|generation| (id, generation));
        Entry { io, raw: RawResult(raw) }
    }

    /// Its completion was delivered. By now its issuer may have submitted the handle's next IO.
    #[inline(always)]
    fn arrive(&self, id: HandleId, generation: Generation) {
        if let Some(flight) = self.get(self.index(id)) {
            flight.arrived.store(generation.get(), Ordering::Release);
        }
    }

    /// Whether the kernel is done with an IO that was given to it.
    #[inline(always)]
    pub fn has_landed(&self, index: u32, generation: Generation) -> bool {
        let landed = |flight: &Flight| flight.landed.load(Ordering::Relaxed) == generation.get();
        self.get(index).is_some_and(landed) && !self.distrusted.load(Ordering::Relaxed)
    }

    /// An IO is over as far as its word says, and the kernel may still be at it.
    #[cold]
    pub fn lose(&self, index: u32, generation: Generation) {
        self.lost.store(true, Ordering::Relaxed);
        if let Some(flight) = self.get(index) {
            flight.arrived.store(generation.get(), Ordering::Release);
        }
    }

    fn have_all_landed(&self) -> bool {
        let landed = |flight: &Flight| {
            flight.landed.load(Ordering::Relaxed) == flight.taken_off.load(Ordering::Relaxed)
        };
        let lost = self.lost.load(Ordering::Relaxed) || self.distrusted.load(Ordering::Relaxed);
        !lost && self.flights.iter().all(landed)
    }

    /// Whether an IO was given to the kernel and its completion is still to be delivered.
    pub fn is_outstanding(&self, index: u32) -> bool {
        self.get(index).is_some_and(|flight| {
            flight.arrived.load(Ordering::Acquire) != flight.taken_off.load(Ordering::Relaxed)
        })
    }
}

/// The ring's table of files: the kernel finds a file by its place there faster than by its descriptor.
pub(crate) struct RingFiles {
    ring: Arc<RingFd>,
    segment: Arc<Segment>,
    free: Mutex<Vec<u32>>,
}

impl RingFiles {
    fn new(ring: Arc<RingFd>, files: u32, segment: &Arc<Segment>) -> Self {
        let segment = Arc::clone(segment);
        Self { ring, segment, free: Mutex::new((1..files).rev().collect()) }
    }

    /// Registers a file, if there is room.
    pub fn register(self: &Arc<Self>, fd: BorrowedFd<'_>) -> Option<RegisteredFile> {
        let index = locked(&self.free).pop()?;
        if self.ring.register_file(index, fd).is_ok() {
            return Some(RegisteredFile { table: Arc::downgrade(self), index });
        }
        locked(&self.free).push(index);
        None
    }
}

/// How often a file was used without a place: one that is used again and again gets one.
#[derive(Default)]
pub(crate) struct Uses(AtomicU32);

impl Uses {
    /// One more; whether it is the one at which the file gets its place.
    pub fn is_due(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == USES_BEFORE_REGISTERED
    }
}

/// A file's place in the table of one ring; given up when dropped.
pub(crate) struct RegisteredFile {
    table: Weak<RingFiles>,
    index: u32,
}

impl RegisteredFile {
    /// Its place, in this ring.
    #[inline(always)]
    pub fn in_ring(&self, table: &Arc<RingFiles>) -> Option<u32> {
        std::ptr::eq(self.table.as_ptr(), Arc::as_ptr(table)).then_some(self.index)
    }
}

impl Drop for RegisteredFile {
    fn drop(&mut self) {
        // In a forked child it is the parent's place.
        if let Some(table) = self.table.upgrade()
            && !table.segment.is_forked()
            && table.ring.unregister_file(self.index).is_ok()
        {
            locked(&table.free).push(self.index);
        }
    }
}

/// Delivers what a dead process's completion queue holds; its slot lock is held, so that the kernel is done
/// with it.
pub(crate) fn drain_dead(segment: &Segment, dead: ProcessSlot, deliver: Deliver<'_>) {
    let Some(queue) = segment.queue(dead) else { return };
    let handles = segment.owned_by(dead);
    let entries = queue_entries(segment.facts().config.handles_per_process());
    let Some(mut completions) = Completions::of_dead(queue, entries) else { return };
    while let Some(completion) = completions.peek() {
        let id = HandleId(handles.start.wrapping_add((completion.user_data & 0x3ff) as u32));
        let generation = segment.generation_of(id).filter(|_| handles.contains(&id.0));
        let named = completion.user_data >> 10 & 0x3f_ffff;
        if let Some(generation) = generation.filter(|now| now.get() & 0x3f_ffff == named) {
            let _kept_or_known_already = deliver(id, generation, RawResult(completion.result));
        }
        completions.advance();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::eventually;
    use crate::{AlignedBuf, IoError, Method, MethodChoice, Pool};
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::fd::{FromRawFd as _, OwnedFd};

    /// An event counter with room for 1, but not for 2. A write that has to wait for more room gets EAGAIN from
    /// the kernel's ring as well: it looks writable, so that the kernel does not wait by itself.
    fn full_counter() -> File {
        // SAFETY: eventfd(2) takes any number and a flag that it knows.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        assert!(fd >= 0, "there are event counters");
        // SAFETY: the descriptor is new, and nobody else's.
        let mut counter = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        counter.write_all(&(u64::MAX - 2).to_ne_bytes()).unwrap();
        counter
    }

    /// Adds 2 to such a counter, by a pool with rings; acts when the kernel has reported that it cannot, and
    /// before anybody looks at that.
    /// The number of bytes written, and how often the request was made again. `None` if there are no rings.
    fn add_after(act: impl FnOnce(&File)) -> Option<(Result<u32, IoError>, u64)> {
        let choice = MethodChoice::here();
        if choice.method != Method::IoUring {
            println!("SKIPPED: {}", choice.refusals[0]);
            return None;
        }
        let builder = Pool::builder().method(Method::IoUring).processes(1).handles_per_process(1);
        let pool = builder.create().unwrap();
        let mut me = pool.attach().unwrap();
        let counter = full_counter();
        let file = me.file(counter.try_clone().unwrap(), "a counter").unwrap();
        let mut buffer = AlignedBuf::new(8, 8).unwrap();
        buffer.copy_from_slice(&2_u64.to_ne_bytes());
        let mut scope = me.scope();
        let pending = std::thread::scope(|threads| {
            // The submission looks, too, and has to wait for that.
            let held = locked(&ring_of(&pool).reaping);
            let start = || scope.acquire().unwrap().write(&file, buffer, 0).unwrap();
            let start = threads.spawn(start);
            let reported = || held.as_ref().unwrap().completions.any();
            assert!(eventually(reported), "the kernel says that it cannot be done now");
            act(&counter);
            drop(held);
            start.join().unwrap()
        });
        let waited = scope.wait_timeout(pending.wait_ref(), Duration::from_secs(10)).unwrap();
        let times = times(&pool);
        assert!(waited.is_some(), "it is not over, and was made again {times} times");
        Some((scope.finish(pending).unwrap().outcome.bytes(), times))
    }

    fn ring_of(pool: &Pool) -> &ProcessRing {
        pool.place(ProcessSlot::new(0).unwrap()).unwrap().ring()
    }

    /// How often requests were made again.
    fn times(pool: &Pool) -> u64 {
        ring_of(pool).again.load(Ordering::Relaxed)
    }

    #[test]
    fn what_could_not_be_done_at_first_is_made_again_and_succeeds() {
        let made = add_after(|mut counter| {
            assert_eq!(counter.read(&mut [0; 8]).unwrap(), 8, "it is emptied");
        });
        if let Some((bytes, times)) = made {
            assert!(bytes == Ok(8) && (1..=AGAIN.into()).contains(&times), "{bytes:?}, {times}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_made_again_so_often_and_then_fails_as_it_did() {
        if let Some((bytes, times)) = add_after(|_| ()) {
            let error = bytes.unwrap_err();
            assert_eq!((error.errno(), times), (Some(libc::EAGAIN), AGAIN.into()), "{error}");
        }
    }

    #[test]
    fn s26_after_many_strays_nothing_that_the_queue_says_frees_memory() {
        if MethodChoice::here().method != Method::IoUring {
            return println!("SKIPPED: no rings here");
        }
        let builder = Pool::builder().method(Method::IoUring).processes(1).handles_per_process(2);
        let pool = builder.create().unwrap();
        let mut me = pool.attach().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let file = me.file(reader, "a pipe").unwrap();
        let buffer = || AlignedBuf::new(8, 8).unwrap();
        let mut scope = me.scope();
        let pending = scope.acquire().unwrap().read(&file, buffer(), 0).unwrap();
        let ring = ring_of(&pool);
        for _ in 0..=STRAYS {
            let mut guard = locked(&ring.reaping);
            Held { queue: guard.as_mut().unwrap(), ring }.count_stray();
        }
        writer.write_all(b"12345678").unwrap();
        let refused = scope.finish(pending).unwrap_err();
        assert_eq!(refused.error, crate::UseError::NotMine, "its memory is given up");
        assert!(ring.is_broken());
        let zero = scope.process().file(File::open("/dev/zero").unwrap(), "zeroes").unwrap();
        let in_place = scope.acquire().unwrap().read(&zero, buffer(), 0).unwrap();
        assert_eq!(scope.finish(in_place).unwrap().outcome.bytes(), Ok(8));
        drop((scope, zero));
        assert_eq!(me.detach(), Err(crate::UseError::StillInFlight));
    }
}
