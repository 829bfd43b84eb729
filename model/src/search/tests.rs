//! The search on scenarios so small that one can see what it has to find.

use super::explorer::Search;
use super::memory::{self, Program};
use super::*;
use crate::runtime::{Actor, Lock, Queue, Runtime};
use crate::scenario::issuer_completer::IssuerCompleter;
use crate::scenario::issuer_waiter::IssuerWaiter;
use crate::scenario::{Plan, Scenario};
use handfast_core::platform::{Atomic64, EventCount, Field};
use handfast_core::site::Site;
use std::collections::BTreeSet;

/// A few words for toys.
struct Toys<R: Runtime> {
    word: R::Atomic64,
    count: R::EventCount,
    field: R::Field,
    queue: R::Queue,
    lock: R::Lock,
}

fn toys<R: Runtime>() -> Toys<R> {
    Toys {
        word: R::Atomic64::new(0),
        count: R::EventCount::new(),
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
    let steps = |name| violation.story.iter().filter(|line| line.actor == name).count();
    assert_eq!((steps("first"), steps("second")), (2, 2), "{}", violation.tell());
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
    let violation = wrong::<MissedWakeUp>(Reach::ALIVE).expect("it is there");
    assert!(violation.what.contains("deadlock"), "{}", violation.what);
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

/// All memories that a scenario can come to.
fn memories<S: Scenario>(remembers_all: bool) -> BTreeSet<Vec<u64>> {
    let _quiet = hook::quiet();
    let Made { main, memory, counts, .. } = memory::set_up(world::<S>);
    let program = Program::new(main);
    let mut search = Search {
        program: if remembers_all { program.remembering_all() } else { program },
        memory,
        counts,
        always: Arc::new(|| {}),
        reach: Reach { spurious: 1, ..Reach::ALIVE },
        progress: |_, _| {},
        happened: HashSet::new(),
    };
    let graph = search.search();
    assert!(graph.wrong.is_none());
    let states = u32::try_from(graph.states.len()).expect("a small scenario");
    let last = |index| search.story(&graph, index).pop().map(|(state, _, _)| state.memory.to_vec());
    (0..states).filter_map(last).collect()
}

#[test]
fn settling_merges_only_equal_states() {
    assert_eq!(memories::<IssuerWaiter>(false), memories::<IssuerWaiter>(true));
    assert_eq!(memories::<IssuerCompleter>(false), memories::<IssuerCompleter>(true));
}
