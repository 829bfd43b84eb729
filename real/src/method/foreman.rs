//! The foreman: how many workers a pool should have (`maybe_adjust_io_workers` of PostgreSQL).
//!
//! It decides; whoever has it starts workers, as processes or as threads. Workers that have been idle leave by
//! themselves ([`crate::WorkOptions`]); the foreman sees to it that there are never fewer than the least, and one
//! more, up to the most, when a worker had to leave work behind while all were busy.
//!
//! Each worker takes a slot of the pool. None is started where no slot is free; one slot is never a worker's,
//! whatever the limits; and for more than the least some slots have to stay free ([`Foreman::leave_free`]), so that
//! other processes can still attach. As long as a worker is wanted and there is no room for it, the foreman looks
//! again every second: nobody tells of a slot that was given back.

use crate::method::staff::Staff;
use crate::pool::{Inner, Pool};
use crate::sys::lock;
use handfast_core::ids::ProcessSlot;
use handfast_core::platform::{EventCount as _, Slept};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// Why limits cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{least} to {most} workers: the least must be 1 to {MOST_WORKERS}, the most no less and at most {MOST_WORKERS}"
)]
pub struct WorkerLimitsError {
    /// The least that was given.
    pub least: u32,
    /// The most that was given.
    pub most: u32,
}

/// As many workers as a pool can have (`MAX_IO_WORKERS`).
pub const MOST_WORKERS: u32 = 32;

/// How many workers a pool has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerLimits {
    least: u32,
    most: u32,
}

impl Default for WorkerLimits {
    /// 2 to 8 (`io_min_workers`, `io_max_workers`).
    fn default() -> Self {
        Self { least: 2, most: 8 }
    }
}

impl WorkerLimits {
    /// From `least` to `most`, both 1 to [`MOST_WORKERS`].
    ///
    /// # Errors
    /// [`WorkerLimitsError`].
    pub fn new(least: u32, most: u32) -> Result<Self, WorkerLimitsError> {
        if (1..=MOST_WORKERS).contains(&least) && (least..=MOST_WORKERS).contains(&most) {
            Ok(Self { least, most })
        } else {
            Err(WorkerLimitsError { least, most })
        }
    }

    /// The least.
    #[must_use]
    pub fn least(self) -> u32 {
        self.least
    }

    /// The most.
    #[must_use]
    pub fn most(self) -> u32 {
        self.most
    }

    /// The same for a pool with so many slots, of which one is not for workers.
    fn within(self, slots: u32) -> Self {
        let places = slots.saturating_sub(1);
        Self { least: self.least.min(places), most: self.most.min(places) }
    }
}

/// Says when to start workers of a pool; made by [`crate::Pool::foreman`].
pub struct Foreman<'pool> {
    pool: &'pool Inner,
    limits: WorkerLimits,
    leave_free: u32,
    /// Whether one more would be started if workers asked for it.
    heeds: bool,
    room: Room,
}

/// What the last look at the slots has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// Enough, or nobody is wanted.
    Enough,
    /// None for one more that is wanted.
    NoneForMore,
    /// None for the least.
    NoneForLeast,
}

/// How long a foreman sleeps at most while there is no room for a worker that is wanted.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

impl Foreman<'_> {
    /// More workers than the least are started only if so many slots stay free: by default a quarter of the
    /// pool's, at least one. 0 where every process of the application has its slot, or none is to come.
    #[must_use]
    pub fn leave_free(self, slots: u32) -> Self {
        Self { leave_free: slots, ..self }
    }

    /// The limits that it keeps to: those that were given, with at most all slots of the pool but one. Both are 0
    /// for a pool with one slot, which has no use for workers.
    #[must_use]
    pub fn limits(&self) -> WorkerLimits {
        self.limits
    }

    /// Whether, at the last [`Self::to_start`], there were fewer than the least because all slots are in use.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.room == Room::NoneForLeast
    }

    /// How many workers to start now, when `running` of those that were started have not ended. Workers that
    /// died are counted off. As long as one that was started does not work yet, none is started because
    /// workers ask for more: it may be enough. A slot may be gone by the time that the worker attaches: who is
    /// told [`crate::AttachError::Full`] then did not die, and need not be replaced at once.
    pub fn to_start(&mut self, running: u32) -> u32 {
        let Some(staff) = self.pool.staff() else { return 0 };
        self.pool.count_off_the_dead();
        let on_their_way = running.saturating_sub(u32::try_from(staff.alive()).unwrap_or(u32::MAX));
        let lacking = self.limits.least.saturating_sub(running);
        // What is not heeded is not taken, so that busy workers do not ask, and wake the foreman, for each IO.
        self.heeds = lacking == 0 && running < self.limits.most && on_their_way == 0;
        self.room = Room::Enough;
        if lacking > 0 {
            let free = self.pool.free_slots(on_their_way + lacking).saturating_sub(on_their_way);
            if free < lacking {
                self.room = Room::NoneForLeast;
            }
            if free > 0 {
                // They may be enough, so that no other foreman need start one as well.
                let _wanted_before = staff.take_wanted();
            }
            return free;
        }
        if !self.heeds || !staff.is_wanted() {
            return 0;
        }
        if self.pool.free_slots(self.leave_free.saturating_add(1)) <= self.leave_free {
            (self.heeds, self.room) = (false, Room::NoneForMore);
            return 0;
        }
        u32::from(staff.take_wanted())
    }

    /// Sleeps until a worker is wanted, one has ended, somebody has called [`Pool::rouse_foreman`], or the
    /// time is over; not at all if `anything` is there to do. May return for no reason.
    pub fn sleep(&self, at_most: Duration, anything: impl FnOnce() -> bool) {
        let Some(staff) = self.pool.staff() else { return };
        let at_most = match self.room {
            Room::Enough => at_most,
            Room::NoneForMore | Room::NoneForLeast => at_most.min(LOOK_FOR_ROOM),
        };
        let ticket = staff.bell().ticket();
        // A worker that asked after `to_start` and before the ticket was taken does not ask again.
        let wanted = self.heeds && staff.is_wanted();
        if !wanted && !anything() {
            let ns = u64::try_from(at_most.as_nanos()).unwrap_or(u64::MAX);
            let (Slept::LookAgain | Slept::SliceOver) = staff.bell().sleep(ticket, ns);
        }
    }
}

impl Pool {
    /// Who says how many workers the pool should have. A program that runs them as threads:
    /// see `tests/tests/workers.rs`; as processes: `handfast worker`.
    #[must_use]
    pub fn foreman(&self, limits: WorkerLimits) -> Foreman<'_> {
        let slots = self.config().processes();
        Foreman {
            pool: self.inner(),
            limits: limits.within(slots),
            leave_free: (slots / 4).max(1),
            heeds: false,
            room: Room::Enough,
        }
    }

    /// Ends a foreman's sleep.
    pub fn rouse_foreman(&self) {
        if let Some(staff) = self.inner().staff() {
            staff.bell().post();
        }
    }

    /// Ends the sleep of all workers, so that they look whether they are to leave.
    pub fn rouse_workers(&self) {
        if let Some(staff) = self.inner().staff() {
            staff.doorbell.ring_all();
        }
    }

    /// How many workers the pool has at this moment, as far as is known.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.inner().staff().map_or(0, |staff| u32::try_from(staff.alive()).unwrap_or(u32::MAX))
    }
}

impl Inner {
    /// Whether any worker's lock is held. Asks no further than the first that is: each question is a system call
    /// that looks through all locks of the pool.
    pub(crate) fn workers_alive(&self) -> bool {
        self.staff().is_some_and(|staff| staff.working().any(|slot| self.is_alive(staff, slot)))
    }

    /// Workers that were killed did not end. For the foreman, who has to know how many are left.
    pub(crate) fn count_off_the_dead(&self) {
        let Some(staff) = self.staff() else { return };
        for slot in staff.working() {
            let _alive_or_counted_off = self.is_alive(staff, slot);
        }
    }

    /// How many slots have no living process, up to as many as are of interest: each is a system call.
    fn free_slots(&self, at_most: u32) -> u32 {
        let slots = 0..u64::from(self.segment().facts().config.processes());
        let free = slots.filter(|&slot| lock::is_free(self.as_fd(), slot).unwrap_or(false));
        (0..at_most).zip(free).map(|(before, _)| before + 1).last().unwrap_or(0)
    }

    /// Whether a worker's lock is held; counts it off if it is not.
    fn is_alive(&self, staff: &Staff, slot: ProcessSlot) -> bool {
        let dead = lock::is_free(self.as_fd(), u64::from(slot.get())).unwrap_or(false);
        if dead {
            staff.end(slot);
        }
        !dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    /// How long a foreman sleeps at most so long, who was told of one running worker and then of a wish.
    fn slept(most: u32, at_most: Duration) -> Duration {
        let pool = Pool::builder().method(Method::Worker).create().unwrap();
        let process = pool.attach().unwrap();
        let staff = pool.inner().staff().unwrap();
        staff.begin(process.slot());
        let mut foreman = pool.foreman(WorkerLimits::new(1, most).unwrap());
        assert_eq!(foreman.to_start(1), 0);
        staff.ask_for_more();
        let began = Instant::now();
        foreman.sleep(at_most, || false);
        assert_eq!(foreman.to_start(1), most - 1);
        began.elapsed()
    }

    #[test]
    fn a_wish_between_the_look_and_the_sleep_is_heard() {
        assert!(slept(2, LONG) < LONG);
    }

    #[test]
    fn a_wish_that_cannot_be_granted_keeps_no_foreman_awake() {
        assert!(slept(1, SHORT) >= SHORT);
    }

    #[test]
    fn none_is_started_for_a_wish_while_one_is_on_its_way() {
        let pool = Pool::builder().method(Method::Worker).create().unwrap();
        let process = pool.attach().unwrap();
        let staff = pool.inner().staff().unwrap();
        let mut foreman = pool.foreman(WorkerLimits::new(1, 3).unwrap());
        staff.ask_for_more();
        assert_eq!(foreman.to_start(1), 0);
        staff.begin(process.slot());
        assert_eq!(foreman.to_start(1), 0, "the one that has begun may be enough");
        staff.ask_for_more();
        assert_eq!([foreman.to_start(1), foreman.to_start(1)], [1, 0]);
    }

    #[test]
    fn who_looks_for_any_worker_asks_no_further_than_the_first_that_lives() {
        let pool = Pool::builder().method(Method::Worker).create().unwrap();
        let (dead, alive) = (pool.attach().unwrap(), pool.attach().unwrap());
        let staff = pool.inner().staff().unwrap();
        let behind = ProcessSlot::new(alive.slot().get() + 1).unwrap();
        for slot in [dead.slot(), alive.slot(), behind] {
            staff.begin(slot);
        }
        drop(dead);
        assert!(pool.inner().workers_alive());
        assert_eq!(
            staff.alive(),
            2,
            "the dead one before it is counted off, the one behind it not"
        );
        pool.inner().count_off_the_dead();
        assert_eq!(staff.alive(), 1, "but the foreman's look is at all");
        drop(alive);
        assert!(!pool.inner().workers_alive());
        assert_eq!(staff.alive(), 0);
    }

    #[test]
    fn behaviour_81_82_limits_out_of_range_are_refused() {
        for (least, most) in [(0, 2), (3, 2), (1, 33), (33, 33)] {
            assert_eq!(WorkerLimits::new(least, most), Err(WorkerLimitsError { least, most }));
        }
        assert_eq!(WorkerLimits::new(1, 32).map(|limits| limits.most()), Ok(32));
    }

    fn with_slots(slots: u32) -> Pool {
        Pool::builder().method(Method::Worker).processes(slots).create().unwrap()
    }

    #[test]
    fn there_are_never_fewer_than_the_least_nor_more_than_the_most() {
        let pool = with_slots(8);
        let workers: Vec<_> = (0..3).map(|_| pool.attach().unwrap()).collect();
        let staff = pool.inner().staff().unwrap();
        let started = [(0, false), (1, true), (2, false), (2, true), (3, true)];
        let to_start = started.map(|(running, wanted)| {
            let working = &workers[..running];
            working.iter().for_each(|worker| staff.begin(worker.slot()));
            if wanted {
                staff.ask_for_more();
            }
            let running = u32::try_from(running).unwrap();
            pool.foreman(WorkerLimits::new(2, 3).unwrap()).to_start(running)
        });
        assert_eq!(to_start, [2, 1, 0, 1, 0]);
    }

    #[test]
    fn more_than_the_least_leave_a_quarter_of_the_slots_free() {
        let pool = with_slots(8);
        let mut all: Vec<_> = (0..6).map(|_| pool.attach().unwrap()).collect();
        let staff = pool.inner().staff().unwrap();
        staff.begin(all[0].slot());
        let mut foreman = pool.foreman(WorkerLimits::new(1, 8).unwrap());
        assert_eq!(foreman.to_start(1), 0, "nobody has asked");
        staff.ask_for_more();
        assert_eq!((foreman.to_start(1), foreman.lacks_room()), (0, false));
        let began = Instant::now();
        foreman.sleep(LONG, || false);
        let slept = began.elapsed();
        assert!(slept >= SHORT && slept < LONG, "it looks again, and not at once: {slept:?}");
        assert_eq!(pool.foreman(foreman.limits()).leave_free(2).to_start(1), 0);
        assert!(staff.is_wanted(), "what cannot be granted is not taken");
        drop(all.pop());
        assert_eq!([foreman.to_start(1), foreman.to_start(1)], [1, 0]);
        staff.ask_for_more();
        all.push(pool.attach().unwrap());
        assert_eq!(pool.foreman(foreman.limits()).leave_free(1).to_start(1), 1);
    }

    #[test]
    fn the_least_are_started_where_slots_are_free() {
        let pool = with_slots(3);
        let mut foreman = pool.foreman(WorkerLimits::default());
        assert_eq!(foreman.limits(), WorkerLimits { least: 2, most: 2 });
        assert_eq!((foreman.to_start(0), foreman.lacks_room()), (2, false));
        assert_eq!((foreman.to_start(2), foreman.lacks_room()), (0, false));
        let mut all: Vec<_> = (0..2).map(|_| pool.attach().unwrap()).collect();
        assert_eq!((foreman.to_start(0), foreman.lacks_room()), (1, true));
        assert_eq!((foreman.to_start(1), foreman.lacks_room()), (0, true), "it is on its way");
        all.push(pool.attach().unwrap());
        assert_eq!((foreman.to_start(0), foreman.lacks_room()), (0, true));
        let began = Instant::now();
        foreman.sleep(LONG, || false);
        assert!(began.elapsed() < LONG);
        drop(all);
        assert_eq!((foreman.to_start(0), foreman.lacks_room()), (2, false));
    }

    #[test]
    fn a_pool_with_one_slot_has_no_use_for_workers() {
        let pool = with_slots(1);
        let mut foreman = pool.foreman(WorkerLimits::default());
        assert_eq!(foreman.limits(), WorkerLimits { least: 0, most: 0 });
        pool.inner().staff().unwrap().ask_for_more();
        assert_eq!((foreman.to_start(0), foreman.lacks_room()), (0, false));
    }
}
