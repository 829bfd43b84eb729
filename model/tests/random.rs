//! The scenarios in a random walk, and the runtime of shuttle itself: what ends a sleep, what is a
//! race, how an actor dies, and that a seed repeats what it did.

use handfast_core::platform::{EventCount as _, Field as _, Platform, SLICE_NS, Slept};
use handfast_model::runtime::shuttle::{Count, Payload, Shuttle};
use handfast_model::runtime::{Actor, Runtime as _};
use handfast_model::scenario;
use handfast_model::walk::Walk;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// The seed of the quick level.
const SEED: u64 = 1;

#[test]
fn every_scenario_that_plans_to_survives_its_random_walk() {
    for entry in scenario::ALL {
        if let Some([quick, _]) = entry.plan.shuttle {
            entry.shuttle(quick, SEED);
        }
    }
}

fn walk(schedules: u32, seed: u64, body: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(10_000);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    Runner::new(Walk::new("test", schedules, seed), config).run(body);
}

/// What a walk fails with.
fn failure(body: impl Fn() + Send + Sync + 'static) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| walk(2000, SEED, body)));
    let reason = failed.expect_err("some schedule fails");
    let text = reason.downcast_ref::<String>().cloned();
    text.or_else(|| reason.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

fn spawn(
    actor: Actor,
    body: impl Fn() + Send + Sync + 'static,
) -> <Shuttle as handfast_model::runtime::Runtime>::Started {
    Shuttle::spawn(actor, 0, Arc::new(body), Arc::new(|| {}))
}

const OTHER: Actor = Actor::new("other", 1);

#[test]
fn two_accesses_by_right_that_overlap_are_a_race_if_one_writes() {
    for write in [false, true] {
        let said = failure(move || {
            let field = Arc::new(Payload::new(0));
            let theirs = field.clone();
            let other = spawn(OTHER, move || theirs.set(1));
            if write {
                field.set(2);
            } else {
                let _zero_or_one = field.get();
            }
            Shuttle::join(other);
        });
        assert!(said.starts_with("race: "), "{said}");
    }
}

#[test]
fn a_peek_meets_a_writer_and_readers_meet_each_other() {
    walk(2000, SEED, || {
        let fields = Arc::new((Payload::new(0), Payload::new(7)));
        let theirs = fields.clone();
        let other = spawn(OTHER, move || {
            theirs.0.set(1);
            assert_eq!(theirs.1.get(), 7);
        });
        assert!(fields.0.peek() <= 1);
        assert_eq!(fields.1.get(), 7);
        Shuttle::join(other);
    });
}

#[test]
fn l4_a_wake_up_that_never_comes_is_a_deadlock() {
    let said = failure(|| {
        let count = Count::new();
        while count.sleep(count.ticket(), SLICE_NS) == Slept::LookAgain {}
    });
    assert!(said.starts_with("deadlock!"), "{said}");
}

#[test]
fn l4_a_post_wakes_whoever_sleeps_and_an_old_ticket_does_not_sleep() {
    walk(5000, SEED, || {
        let shared = Arc::new((Count::new(), Payload::new(0)));
        let theirs = shared.clone();
        let poster = spawn(OTHER, move || {
            theirs.1.set(1);
            theirs.0.post();
        });
        loop {
            let ticket = shared.0.ticket();
            if shared.1.peek() == 1 {
                break;
            }
            assert_eq!(shared.0.sleep(ticket, SLICE_NS), Slept::LookAgain, "nobody has died");
        }
        Shuttle::join(poster);
    });
}

#[test]
fn l4_a_post_of_either_count_ends_a_sleep_on_both() {
    walk(5000, SEED, || {
        let shared = Arc::new(([Count::new(), Count::new()], Payload::new(0)));
        let theirs = shared.clone();
        let poster = spawn(OTHER, move || {
            theirs.0[0].post();
            theirs.1.set(1);
            theirs.0[1].post();
        });
        loop {
            let tickets = shared.0.each_ref().map(|count| (count, count.ticket()));
            if shared.1.peek() == 1 {
                break;
            }
            let slept = Count::sleep_any(&tickets, SLICE_NS);
            assert_eq!(slept, Slept::LookAgain, "nobody has died");
        }
        Shuttle::join(poster);
    });
}

#[test]
fn a_sleep_with_a_deadline_ends_and_the_clock_has_gone_on() {
    walk(500, SEED, || {
        let (count, before) = (Count::new(), Shuttle::now_ns());
        assert_eq!(count.sleep(count.ticket(), SLICE_NS / 2), Slept::SliceOver);
        assert!(Shuttle::now_ns() >= before + SLICE_NS / 2);
    });
}

#[test]
fn l9_a_slice_ends_for_whoever_sleeps_when_somebody_dies() {
    let slices = Arc::new(AtomicU64::new(0));
    let counted = slices.clone();
    walk(2000, SEED, move || {
        let shared = Arc::new((Count::new(), AtomicU64::new(0)));
        let (theirs, kernels) = (shared.clone(), shared.clone());
        let body = move || {
            (0..20).for_each(|_| theirs.0.post());
            theirs.1.store(1, Relaxed);
            theirs.0.post();
        };
        // The kernel posts nothing: without the end of a slice nobody would look again.
        let at_death = Arc::new(move || kernels.1.store(1, Relaxed));
        let mortal = Shuttle::spawn(OTHER.mortal(), 0, Arc::new(body), at_death);
        loop {
            let ticket = shared.0.ticket();
            if shared.1.load(Relaxed) == 1 {
                break;
            }
            if shared.0.sleep(ticket, SLICE_NS) == Slept::SliceOver {
                counted.fetch_add(1, Relaxed);
            }
        }
        Shuttle::join(mortal);
    });
    assert!(slices.load(Relaxed) > 0, "somebody slept when the other one died");
}

#[test]
fn a_seed_repeats_what_it_did() {
    let run = |seed| {
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let shared = drawn.clone();
        walk(50, seed, move || {
            let field = Arc::new(Payload::new(0));
            let theirs = field.clone();
            let other = spawn(OTHER, move || theirs.set(1));
            let seen = (field.peek(), Shuttle::choose(1000));
            shared.lock().unwrap().push(seen);
            Shuttle::join(other);
        });
        let drawn = drawn.lock().unwrap();
        drawn.clone()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
    let last = handfast_model::walk::at();
    assert_eq!(last.schedule, 49);
    assert_eq!(run(last.seed)[0], run(6)[49], "the seed of a schedule begins a walk with it");
}
