//! The random walk: which thread of an execution goes on, and which seed each execution has.
//!
//! Every schedule has a seed of its own, a function of the one before. So the schedule that fails is
//! the first one of a walk that begins with its seed: one line repeats it.
//!
//! | decision | how |
//! |---|---|
//! | which thread goes on | in half of the schedules uniformly at random, in the others by weights: some threads are slow, and seldom one changes its pace |
//! | whether a sleep ends for no reason | seldom, and at most [`DISTURBANCES`] times an execution |
//! | random numbers for the scenario | from the same seed |
//!
//! Not checked: that two versions of shuttle draw the same numbers; a seed is good for one lock file.

use crate::runtime::shuttle as runtime;
use shuttle::scheduler::{DataSource as _, RandomDataSource, Schedule, Scheduler, Task, TaskId};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// At most this many sleeps end for no reason in one execution.
pub const DISTURBANCES: u64 = 3;

/// A thread that sleeps is disturbed at one in this many decisions.
const SELDOM: u64 = 64;

/// A thread changes its pace at one in this many decisions.
const NOW_AND_THEN: u64 = 32;

/// The weights are 1, 4, 16, ...: this many of them.
const PACES: usize = 5;

/// How often a long run says where it is.
const SAY: Duration = Duration::from_secs(20);

thread_local! {
    static AT: Cell<At> = const { Cell::new(At { schedule: 0, seed: 0 }) };
}

/// Where a walk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// How many schedules came before.
    pub schedule: u32,
    /// The seed of this one.
    pub seed: u64,
}

/// Where the walk of this thread is, or stopped.
#[must_use]
pub fn at() -> At {
    AT.get()
}

/// A random walk of a number of schedules.
#[derive(Debug)]
pub struct Walk {
    name: &'static str,
    schedules: u32,
    next: At,
    /// Draws the threads.
    state: u64,
    /// Draws for the scenario.
    data: RandomDataSource,
    disturbances: u64,
    /// The weight of each thread, or none if they are alike.
    weights: Option<Vec<u64>>,
    started: Instant,
    said: Instant,
}

/// A good mixture of the bits of a number; adding the constant first makes a sequence of such numbers
/// that visits all of them.
const fn mixed(number: u64) -> u64 {
    let a = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Walk {
    /// A walk that begins with this seed.
    #[must_use]
    pub fn new(name: &'static str, schedules: u32, seed: u64) -> Self {
        let (state, data, now) = (seed, RandomDataSource::initialize(seed), Instant::now());
        let next = At { schedule: 0, seed };
        Self {
            name,
            schedules,
            next,
            state,
            data,
            disturbances: 0,
            weights: None,
            started: now,
            said: now,
        }
    }

    const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mixed(self.state)
    }

    fn below(&mut self, below: usize) -> usize {
        let drawn = self.draw() % below.max(1) as u64;
        usize::try_from(drawn).expect("below a usize")
    }

    fn pace(&mut self) -> u64 {
        1 << (2 * self.below(PACES))
    }

    /// One of the tasks that are awake.
    fn choose(&mut self, tasks: &[&Task], awake: usize) -> Option<TaskId> {
        let mut awake_tasks = tasks.iter().filter(|task| task.runnable());
        let Some(mut weights) = self.weights.take() else {
            let at = self.below(awake);
            return awake_tasks.nth(at).map(|task| task.id());
        };
        let number = |task: &Task| usize::from(task.id());
        let most = tasks.iter().map(|task| number(task)).max().unwrap_or(0);
        while weights.len() <= most {
            weights.push(self.pace());
        }
        let sum: u64 = awake_tasks.clone().map(|task| weights[number(task)]).sum();
        let mut drawn = self.draw() % sum.max(1);
        let chosen = awake_tasks.find(|task| {
            let weight = weights[number(task)];
            let here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            here
        })?;
        if self.draw().is_multiple_of(NOW_AND_THEN) {
            weights[number(chosen)] = self.pace();
        }
        self.weights = Some(weights);
        Some(chosen.id())
    }

    fn say(&mut self) {
        let done = self.next.schedule;
        if done.is_multiple_of(1024) && self.said.elapsed() >= SAY {
            self.said = Instant::now();
            let seconds = self.started.elapsed().as_secs_f64();
            let rate = f64::from(done) / seconds;
            let (name, all) = (self.name, self.schedules);
            eprintln!("{name}: {done} of {all} schedules, {seconds:.0} s, {rate:.0} a second");
        }
    }
}

impl Scheduler for Walk {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.next.schedule == self.schedules {
            return None;
        }
        self.say();
        let at = self.next;
        AT.set(at);
        runtime::start();
        self.next = At { schedule: at.schedule + 1, seed: mixed(at.seed.wrapping_add(STEP)) };
        self.state = at.seed;
        self.data = RandomDataSource::initialize(at.seed);
        self.disturbances = self.draw() % (DISTURBANCES + 1);
        self.weights = self.draw().is_multiple_of(2).then(Vec::new);
        let seed = self.data.reinitialize();
        Some(Schedule::new(seed))
    }

    fn next_task(
        &mut self,
        tasks: &[&Task],
        _current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let awake = tasks.iter().filter(|task| task.runnable()).count();
        if awake < tasks.len() && self.disturbances > 0 && self.draw().is_multiple_of(SELDOM) {
            let at = self.below(tasks.len() - awake);
            let asleep = tasks.iter().filter(|task| !task.runnable()).nth(at)?;
            self.disturbances -= 1;
            runtime::disturb(asleep.id().into());
            return Some(asleep.id());
        }
        self.choose(tasks, awake)
    }

    fn next_u64(&mut self) -> u64 {
        self.data.next_u64()
    }
}
