//! The search on scenarios so small that one can see what it has to find.

use super::explorer::Search;
use super::memory::{self, Program};
use super::*;
use crate::runtime::{Actor, Lock, Queue, Runtime};
use crate::scenario::{Plan, Scenario};
use handfast_core::platform::{Atomic64, EventCount, Field, SLICE_NS, Slept};
use handfast_core::site::Site;

/// A few words for toys.
struct Toys<R: Runtime> {
    word: R::Atomic64,
    count: R::EventCount,
    other: R::EventCount,
    field: R::Field,
    queue: R::Queue,
    lock: R::Lock,
}

fn toys<R: Runtime>() -> Toys<R> {
    Toys {
        word: R::Atomic64::new(0),
        count: R::EventCount::new(),
        other: R::EventCount::new(),
        field: R::Field::new(0),
        queue: R::Queue::new(),
        lock: R::Lock::new(),
    }
}

macro_rules! toy {
    ($name:ident, $world:ident => $run:block) => {
        struct $name;
        impl Scenario for $name {
            const NAME: &'static str = stringify!($name);
            const COVERS: &'static [&'static str] = &[];
            const REACHED: &'static [&'static str] = &[];
            const PLAN: Plan = Plan::NONE;
            type World<R: Runtime> = Toys<R>;
            fn world<R: Runtime>() -> Toys<R> {
                toys()
            }
            fn run<R: Runtime>($world: &Arc<Toys<R>>) $run
        }
    };
}

fn start<R: Runtime>(
    world: &Arc<Toys<R>>,
    actor: Actor,
    body: impl Fn(&Toys<R>) + Send + Sync + 'static,
) -> R::Started {
    let (toys, lock) = (Arc::clone(world), Arc::clone(world));
    let at_death = move || lock.lock.release_of(actor.process);
    R::spawn(actor, 0, Arc::new(move || body(&toys)), Arc::new(at_death))
}

fn wrong<S: Scenario>(reach: Reach) -> Option<Violation> {
    run(&Entry::of::<S>(), reach).violation
}

toy!(LostUpdate, world => {
    let add = |world: &Toys<R>| {
        let seen = world.word.load(Site::CompleteLook);
        world.word.store(Site::CompleteLook, seen + 1);
    };
    let first = start(world, Actor::new("first", 1), add);
    let second = start(world, Actor::new("second", 2), add);
    R::join(first);
    R::join(second);
    assert_eq!(world.word.load(Site::CompleteLook), 2, "an addition was lost");
});

#[test]
fn a_lost_update_is_found_and_told_in_the_fewest_steps() {
    let violation = wrong::<LostUpdate>(Reach::ALIVE).expect("it is there");
    assert!(violation.what.contains("an addition was lost"), "{}", violation.what);
    let steps = |name| violation.story.iter().filter(|line| line.actor.name == name).count();
    // Its load, its store, and that it ends.
    assert_eq!((steps("first"), steps("second")), (3, 3), "{}", violation.tell());
}

toy!(MissedWakeUp, world => {
    let poster = start(world, Actor::new("poster", 1), |world| {
        world.word.store(Site::CompleteLook, 1);
        world.count.post();
    });
    if world.word.load(Site::CompleteLook) == 0 {
        // The mistake: the ticket is taken after the look.
        let ticket = world.count.ticket();
        let _look_again = world.count.sleep(ticket, u64::MAX);
    }
    R::join(poster);
});

#[test]
fn l4_a_missed_wake_up_is_a_deadlock() {
    // A sleep that may end for no reason is no excuse.
    for spurious in 0..2 {
        let violation = wrong::<MissedWakeUp>(Reach { spurious, ..Reach::ALIVE });
        let what = violation.expect("it is there").what;
        assert!(what.contains("deadlock"), "{what}");
    }
}

/// Sleeps on both counts until the word says so.
fn until_said<R: Runtime>(world: &Toys<R>) {
    loop {
        let tickets = [&world.count, &world.other].map(|count| (count, count.ticket()));
        if world.word.load(Site::CompleteLook) == 1 {
            return;
        }
        if R::EventCount::sleep_any(&tickets, SLICE_NS) == Slept::LookAgain {
            R::saw("looks again");
        }
    }
}

toy!(SleepsOnTwo, world => {
    let sleeper = start(world, Actor::new("sleeper", 1), until_said);
    world.count.post();
    world.word.store(Site::CompleteLook, 1);
    world.other.post();
    R::join(sleeper);
});

toy!(PostedOnNeither, world => {
    let sleeper = start(world, Actor::new("sleeper", 1), until_said);
    world.count.post();
    world.word.store(Site::CompleteLook, 1);
    R::join(sleeper);
});

#[test]
fn l4_a_post_of_either_count_ends_a_sleep_on_both() {
    let report = run(&Entry::of::<SleepsOnTwo>(), Reach::SPURIOUS);
    assert!(report.violation.is_none(), "{:?}", report.violation);
    assert!(report.seen.contains("looks again") && report.seen.contains("ticket was old"));
    let what = wrong::<PostedOnNeither>(Reach::SPURIOUS).expect("it is there").what;
    assert!(what.contains("deadlock"), "{what}");
}

toy!(SpinsForEver, world => {
    let spinner = start(world, Actor::new("spinner", 1), |world| loop {
        R::settled(0, &0_u64);
        if world.word.load(Site::CompleteLook) == 1 {
            break;
        }
    });
    R::join(spinner);
});

toy!(SpinsUntilStored, world => {
    let spinner = start(world, Actor::new("spinner", 1), |world| loop {
        R::settled(0, &0_u64);
        if world.word.load(Site::CompleteLook) == 1 {
            break;
        }
    });
    world.word.store(Site::CompleteLook, 1);
    R::join(spinner);
});

#[test]
fn a_fair_cycle_is_found_and_an_unfair_one_is_not() {
    let violation = wrong::<SpinsForEver>(Reach::ALIVE).expect("it is there");
    assert!(violation.what.contains("liveness"), "{}", violation.what);
    assert!(wrong::<SpinsUntilStored>(Reach::ALIVE).is_none());
}

toy!(DiesHoldingALock, world => {
    let holder = start(world, Actor::new("holder", 1).mortal(), |world| {
        assert!(world.lock.try_lock());
        world.queue.push(1);
        world.field.set(1);
        world.field.set(2);
        world.lock.unlock();
    });
    R::join(holder);
    assert!(world.lock.is_free(), "the kernel frees the locks of the dead");
    if world.queue.try_pop().is_some() {
        R::saw("died late, or lived");
    }
    assert_ne!(world.field.peek(), 1, "torn");
});

#[test]
fn a_death_frees_locks_and_can_come_between_two_writes() {
    assert!(wrong::<DiesHoldingALock>(Reach::ALIVE).is_none());
    let violation = wrong::<DiesHoldingALock>(Reach { deaths: 1, ..Reach::ALIVE });
    assert!(violation.expect("it is there").what.contains("torn"));
}

/// A search of a scenario of the list, that forgets what is settled or nothing.
fn search_of(name: &str, remembers_all: bool) -> Search {
    let entry = crate::scenario::named(name).expect("it is in the list");
    let Made { main, always, memory, counts } = memory::set_up(entry.bodies.search);
    let program = Program::new(main);
    Search {
        program: if remembers_all { program.remembering_all() } else { program },
        memory,
        counts,
        always,
        reach: entry.plan.search.expect("it is searched"),
        progress: |_, _| {},
        happened: HashSet::new(),
    }
}

/// How many steps two searches of a scenario make together, the second of which forgets nothing: the
/// same moves, the same memory, the same next operations after each.
///
/// # Panics
/// If they differ: the first has taken two different local states for one.
fn in_step(name: &str, walks: u64) -> u64 {
    let _quiet = hook::quiet();
    let mut merged = search_of(name, false);
    assert!(merged.search().wrong.is_none(), "{name}: all of it is learned and right");
    let (mut random, mut steps) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    for _ in 0..walks {
        let mut whole = search_of(name, true);
        let mut states =
            [&mut merged, &mut whole].map(|it| it.first().expect("it has a first state"));
        loop {
            let expanded = (merged.expand(&states[0], 0), whole.expand(&states[1], 0));
            let (Ok(left), Ok(right)) = expanded else { panic!("{name}: one of them fails") };
            let moves =
                |found: &[(Move, State)]| found.iter().map(|(by, _)| *by).collect::<Vec<_>>();
            assert_eq!(moves(&left), moves(&right), "{name}: other moves are possible");
            for ((_, left), (_, right)) in left.iter().zip(&right) {
                assert_eq!(left.memory, right.memory, "{name}: another memory");
                for who in 0..left.players.len() {
                    let doing = (merged.doing(left, who), whole.doing(right, who));
                    assert_eq!(doing.0, doing.1, "{name}: another operation");
                }
            }
            if left.is_empty() {
                break;
            }
            // Numbers by xorshift (Marsaglia, 2003); the walk is the same in every run.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let chosen = usize::try_from(random % left.len() as u64).expect("a few moves");
            states = [left, right].map(|mut found| found.swap_remove(chosen).1);
            steps += 1;
        }
    }
    steps
}

/// A `settled` that leaves out something on which the future depends would make the search miss states.
#[test]
fn what_is_settled_is_all_that_the_future_depends_on() {
    let scenarios = [
        "issuer_waiter",
        "worker_doorbell",
        "worker_hint_again",
        "worker_last_dies",
        "ring_busy_late",
        "lead_give_up",
        "dead_issuer_waiter",
        "dead_open_issuer",
        "reap_two_waiters",
        "waits_for_two_in_time",
        "waits_for_own_and_foreign",
        "task_issuer_polls",
        "task_worker_dies",
    ];
    for name in scenarios {
        let steps = in_step(name, 40);
        assert!(steps > 400, "{name}: {steps} steps");
    }
}
