//! Who recovers the dead, and what if the recoverer dies (S25).

use super::{Attached, State, World};

handfast_tests::every_method! {
    s25_two_survivors_at_once_recover_each_io_once
    a_newcomer_recovers_the_slot_that_it_takes
    s25_a_recoverer_that_dies_is_followed_by_another_one
    s25_a_newcomer_takes_over_from_the_dead_and_from_its_dead_recoverer
    a_recoverer_that_stands_still_and_goes_on_finishes
}

/// Four counted reads, staged and not submitted.
fn stage_four(victim: &mut Attached) -> [String; 4] {
    victim.ask("batch");
    [(); 4].map(|()| victim.read("count"))
}

fn s25_two_survivors_at_once_recover_each_io_once() {
    let world = World::new();
    let (mut one, mut two) = (world.attached(), world.attached());
    for round in 1..=10 {
        let mut victim = world.attached();
        let references = stage_four(&mut victim);
        one.tell(&format!("wait {}", references[0]));
        two.tell(&format!("wait {}", references[3]));
        world.await_waiter(&references[0]);
        world.await_waiter(&references[3]);
        world.kill(victim);
        for survivor in [&mut one, &mut two] {
            // Whoever is not the recoverer may see the IO between Publish and Bury.
            let told = survivor.hear_ok();
            assert!(told == "recycled" || told == "done", "{told}");
        }
        for reference in &references {
            handfast_tests::eventually("the slot is recovered", || {
                world.state(reference) == State::Idle
            });
        }
        let seen = world.counted();
        assert_eq!((seen.runs, seen.repeats), (4 * round, 0), "exactly once each");
    }
}

fn a_newcomer_recovers_the_slot_that_it_takes() {
    let world = World::new();
    let mut victim = world.attached();
    let place = victim.place();
    let references = stage_four(&mut victim);
    world.kill(victim);
    let newcomer = world.attached();
    assert_eq!(newcomer.place(), (place.0, place.1 + 1));
    assert_eq!(world.counted().runs, 4);
    world.kill(newcomer);
    let mut survivor = world.attached();
    assert_eq!(survivor.place(), (place.0, place.1 + 2));
    for reference in &references {
        assert_eq!(survivor.ask(&format!("wait {reference}")), "recycled");
    }
}

fn s25_a_recoverer_that_dies_is_followed_by_another_one() {
    let world = World::new();
    let (mut victim, mut recoverer) = (world.attached(), world.attached());
    let mut survivor = world.attached();
    let (first, second) = (victim.place(), recoverer.place());
    victim.ask("batch");
    let references = [victim.read("halt"), victim.read("halt")];
    world.kill(victim);
    // The recoverer stands still in the completion of the dead one's first IO, and dies there.
    recoverer.ask("arm shared");
    recoverer.tell("recover");
    assert_eq!(recoverer.hear(), "at shared");
    let halted = references.iter().filter(|io| world.state(io) == State::CompletedIo);
    assert_eq!(halted.count(), 1);
    let waited_for = references.iter().find(|io| world.state(io) == State::CompletedIo);
    let waited_for = waited_for.expect("one is being completed").clone();

    // While it stands still it is alive: nobody takes its work away.
    assert_eq!(survivor.ask(&format!("wait-for {waited_for} 30")), "pending");
    let mut fourth = world.attached();
    assert_eq!(fourth.slot, 3, "the dead one's slot is in recovery: another one is taken");
    fourth.ask("detach");

    survivor.tell(&format!("wait {waited_for}"));
    world.await_waiter(&waited_for);
    world.kill(recoverer);
    let told = survivor.hear_ok();
    assert!(told == "recycled" || told == "done", "{told}");
    survivor.ask("recover");
    let seen = world.halted();
    assert_eq!((seen.runs, seen.repeats), (3, 1), "one of two callbacks was run again");
    world.check_recovered(first, &[&references[0], &references[1]], &mut survivor);
    // With the first slot taken, the next newcomer gets the recoverer's.
    let mut in_first = world.opened();
    assert_eq!(super::place(&in_first.ask("attach")).0, first.0);
    world.check_recovered(second, &[], &mut survivor);
}

fn s25_a_newcomer_takes_over_from_the_dead_and_from_its_dead_recoverer() {
    let world = World::new();
    let (mut victim, mut recoverer) = (world.attached(), world.attached());
    let place = victim.place();
    victim.ask("batch");
    let reference = victim.read("halt");
    world.kill(victim);
    recoverer.ask("arm shared");
    recoverer.tell("recover");
    assert_eq!(recoverer.hear(), "at shared");
    world.kill(recoverer);
    let mut newcomer = world.attached();
    assert_eq!(newcomer.place(), (place.0, place.1 + 1), "the first slot, finished at once");
    assert_eq!(newcomer.ask(&format!("wait {reference}")), "recycled");
    assert_eq!((world.halted().runs, world.halted().repeats), (2, 1), "S1");
}

fn a_recoverer_that_stands_still_and_goes_on_finishes() {
    let world = World::new();
    let (mut victim, mut recoverer) = (world.attached(), world.attached());
    let mut survivor = world.attached();
    let place = victim.place();
    victim.ask("batch");
    let reference = victim.read("halt");
    world.kill(victim);
    recoverer.ask("arm shared");
    recoverer.tell("recover");
    assert_eq!(recoverer.hear(), "at shared");
    survivor.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    recoverer.tell("go on");
    assert_eq!(recoverer.hear_ok(), "1 0");
    let told = survivor.hear_ok();
    assert!(told == "recycled" || told == "done", "{told}");
    assert_eq!((world.halted().runs, world.halted().repeats), (1, 0));
    recoverer.ask("detach");
    world.check_recovered(place, &[&reference], &mut survivor);
}
