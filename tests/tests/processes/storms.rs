//! Many processes that come and go.

use super::{State, World};
use handfast_tests::participant::Participant;

handfast_tests::every_method! {
    s19_sixteen_processes_share_four_slots
    l10_a_crowd_goes_on_while_some_of_it_are_killed
}

fn s19_sixteen_processes_share_four_slots() {
    const ROUNDS: u64 = 25;
    let world = World::new();
    let mut crowd: Vec<Participant> = (0..16).map(|_| world.opened()).collect();
    for process in &mut crowd {
        process.tell(&format!("storm {ROUNDS} {}", world.path("data")));
    }
    for process in &mut crowd {
        assert_eq!(process.hear_ok(), ROUNDS.to_string());
    }
    let seen = world.counted();
    assert_eq!((seen.runs, seen.repeats), (16 * ROUNDS, 0), "S1");
    assert!(world.pool.snapshot().iter().all(|row| row.state == State::Idle), "S19");
    let mut last = world.attached();
    assert_eq!(last.ask("recover"), "0 0", "every slot was left pristine");
    assert_eq!(last.ask("frames 1000"), super::FRAMES.to_string());
}

fn l10_a_crowd_goes_on_while_some_of_it_are_killed() {
    const ROUNDS: u64 = 100;
    let world = World::new();
    let mut crowd: Vec<Participant> = (0..8).map(|_| world.opened()).collect();
    let mut doomed: Vec<Participant> = (0..8).map(|_| world.opened()).collect();
    for process in &mut crowd {
        process.tell(&format!("storm {ROUNDS} {}", world.path("data")));
    }
    for process in &mut doomed {
        process.tell(&format!("storm 1000000 {}", world.path("data")));
    }
    for (killed, process) in (1..).zip(doomed) {
        let enough = killed * ROUNDS / 2;
        handfast_tests::eventually("the crowd gets on", || world.counted().runs >= enough);
        process.kill();
    }
    for process in &mut crowd {
        assert_eq!(process.hear_ok(), ROUNDS.to_string());
    }
    assert!(world.counted().runs >= 8 * ROUNDS);
    let mut last = world.attached();
    last.ask("recover");
    assert!(world.pool.snapshot().iter().all(|row| row.state == State::Idle), "S19");
    assert_eq!(last.ask("frames 1000"), super::FRAMES.to_string());
    let entries = last.ask(&format!("entries 1000 {}", world.path("data")));
    assert_eq!(entries, (super::FILES - 1).to_string());
}
