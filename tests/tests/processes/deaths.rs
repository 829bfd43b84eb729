//! RC40: a process is killed in each state that one of its handles can be in. Whoever waits is told
//! within a second (L9), and the slot with everything in it is usable again (L10, S19).

use super::{Attached, FRAME, State, World};
use std::time::{Duration, Instant};

handfast_tests::every_method! {
    rc40_killed_with_nothing_in_use
    rc40_killed_while_handed_out
    rc40_killed_in_a_stage_callback
    rc40_killed_with_staged_io
    rc40_killed_while_submitted [sync worker]
    rc39_killed_in_a_shared_completion_callback [sync io_uring]
    rc40_killed_before_it_took_a_completed_io_back
    rc40_killed_in_a_local_callback
    rc40_killed_while_completed_local
    rc40_killed_with_every_handle_in_another_state
    s24_frames_and_file_entries_of_the_dead_come_back_once
    a_frame_offered_by_the_dead_is_lost_with_its_recovery_and_not_before
}

/// A sleeper notices a death at the end of a slice of 10 ms; the rest is for busy machines.
const NOTICED: Duration = Duration::from_secs(1);

/// Kills `victim` while `survivor` waits for `reference`; what the waiter is told.
#[track_caller]
fn killed_while_waited_for(
    world: &World,
    victim: Attached,
    survivor: &mut Attached,
    reference: &str,
) -> String {
    survivor.tell(&format!("wait {reference}"));
    world.await_waiter(reference);
    let began = Instant::now();
    victim.kill();
    let told = survivor.hear_ok();
    assert!(began.elapsed() < NOTICED, "L9: noticed after {:?}", began.elapsed());
    told
}

/// Lets `victim` read for ever and stops it at a moment at which it is inside of the system call:
/// the reference of that read. A stopped process stays there until it is continued or killed.
pub(super) fn stopped_while_submitted(world: &World, victim: &mut Attached) -> String {
    let big = std::fs::File::create(world.path("big")).expect("a file");
    big.set_len(64 << 20).expect("a sparse file");
    victim.ask(&format!("file {}", world.path("big")));
    victim.tell(&format!("churn 0 {}", 64 << 20));
    let submitted = || {
        let rows = world.pool.snapshot();
        rows.into_iter().find(|row| row.state == State::Submitted)
    };
    let mut found = None;
    handfast_tests::eventually("the process is stopped in a system call", || {
        if submitted().is_some() {
            victim.stop();
            found = submitted();
            if found.is_none() {
                victim.go_on();
            }
        }
        found.is_some()
    });
    let row = found.expect("it was found");
    let reference = handfast::WaitRef::new(world.pool.tag(), row.handle, row.generation);
    format!("{:032x}", u128::from_be_bytes(reference.to_bytes()))
}

/// Sends a command that ends in a callback standing still, and finds its handle.
#[track_caller]
fn halted_at(world: &World, victim: &mut Attached, turn: &str, command: &str) -> String {
    victim.ask(&format!("arm {turn}"));
    victim.tell(command);
    assert_eq!(victim.hear(), format!("at {turn}"));
    let rows = world.pool.snapshot();
    let row = rows.iter().find(|row| row.owner.get() == victim.slot && row.state != State::Idle);
    let row = row.expect("one handle is in use");
    let reference = handfast::WaitRef::new(world.pool.tag(), row.handle, row.generation);
    format!("{:032x}", u128::from_be_bytes(reference.to_bytes()))
}

/// Halts a process in the shared completion callback of a read of its own, which it runs before the start of
/// the read returns: it executes the read in place, or takes its completion out of its ring.
#[track_caller]
fn halted_in_completion(world: &World, victim: &mut Attached) -> String {
    halted_at(world, victim, "shared", "read 0 halt")
}

fn rc40_killed_with_nothing_in_use() {
    let world = World::new();
    let (victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    world.kill(victim);
    assert_eq!(survivor.ask("recover"), "1 0");
    assert_eq!(survivor.ask("recover"), "0 0");
    world.check_recovered(place, &[], &mut survivor);
}

fn rc40_killed_while_handed_out() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let reference = victim.ask("hold");
    assert_eq!(world.state(&reference), State::HandedOut);
    let told = killed_while_waited_for(&world, victim, &mut survivor, &reference);
    assert_eq!(told, "recycled");
    world.check_recovered(place, &[&reference], &mut survivor);
}

fn rc40_killed_in_a_stage_callback() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let reference = halted_at(&world, &mut victim, "stage", "read 0 halt");
    assert_eq!(world.state(&reference), State::Defined);
    let told = killed_while_waited_for(&world, victim, &mut survivor, &reference);
    assert_eq!(told, "recycled");
    let seen = world.halted();
    assert_eq!((seen.runs, seen.repeats), (1, 0), "abandoned, so its completion is the first");
    assert_eq!(seen.last_raw, handfast::RawResult::INTERRUPTED.0);
    world.check_recovered(place, &[&reference], &mut survivor);
}

fn rc40_killed_with_staged_io() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    victim.ask("batch");
    let references = [victim.read("count"), victim.read("count"), victim.read("count")];
    for reference in &references {
        assert_eq!(world.state(reference), State::Staged);
    }
    let told = killed_while_waited_for(&world, victim, &mut survivor, &references[1]);
    assert_eq!(told, "recycled");
    let seen = world.counted();
    assert_eq!((seen.runs, seen.repeats), (3, 0), "S1");
    assert_eq!(seen.last_raw, handfast::RawResult::INTERRUPTED.0);
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    world.check_recovered(place, &references, &mut survivor);
}

fn rc40_killed_while_submitted() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let reference = stopped_while_submitted(&world, &mut victim);
    let before = world.counted();
    let told = killed_while_waited_for(&world, victim, &mut survivor, &reference);
    assert_eq!(told, "recycled");
    let seen = world.counted();
    assert_eq!((seen.runs, seen.repeats), (before.runs + 1, 0), "S1");
    assert_eq!(seen.last_raw, handfast::RawResult::OWNER_DIED.0);
    world.check_recovered(place, &[&reference], &mut survivor);
}

fn rc39_killed_in_a_shared_completion_callback() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let reference = halted_in_completion(&world, &mut victim);
    assert_eq!(world.state(&reference), State::CompletedIo);
    let told = killed_while_waited_for(&world, victim, &mut survivor, &reference);
    assert_eq!(told, "recycled");
    let seen = world.halted();
    assert_eq!((seen.runs, seen.repeats), (2, 1), "S1: run again, and told so");
    assert_eq!(u32::try_from(seen.last_raw), Ok(FRAME), "with the true result");
    world.check_recovered(place, &[&reference], &mut survivor);
}

fn rc40_killed_before_it_took_a_completed_io_back() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let reference = victim.read("count");
    assert_eq!(survivor.ask(&format!("wait {reference}")), "done");
    assert_eq!(world.state(&reference), State::CompletedShared);
    world.kill(victim);
    assert_eq!(survivor.ask(&format!("wait {reference}")), "done");
    assert_eq!(survivor.ask(&format!("outcome {reference}")), "Some(Ok(4096))", "not lost yet");
    world.check_recovered(place, &[&reference], &mut survivor);
    // The newcomer of `check_recovered` did one read of its own.
    assert_eq!((world.counted().runs, world.counted().repeats), (2, 0), "S1");
}

fn rc40_killed_in_a_local_callback() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let reference = victim.read("halt");
    assert_eq!(halted_at(&world, &mut victim, "local", "finish"), reference);
    assert_eq!(world.state(&reference), State::CompletedShared);
    world.kill(victim);
    assert_eq!(survivor.ask(&format!("wait {reference}")), "done");
    world.check_recovered(place, &[&reference], &mut survivor);
    assert_eq!(world.halted().runs, 1, "local callbacks of a dead issuer are skipped");
}

fn rc40_killed_while_completed_local() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let reference = victim.read("halt-error");
    assert_eq!(halted_at(&world, &mut victim, "report", "finish"), reference);
    assert_eq!(world.state(&reference), State::CompletedLocal);
    assert_eq!(survivor.ask(&format!("wait {reference}")), "done");
    world.kill(victim);
    world.check_recovered(place, &[&reference], &mut survivor);
}

fn rc40_killed_with_every_handle_in_another_state() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    let completed = victim.read("count");
    victim.ask("batch");
    let staged = [victim.read("count"), victim.read("count")];
    let held = victim.ask("hold");
    let told = killed_while_waited_for(&world, victim, &mut survivor, &held);
    assert_eq!(told, "recycled");
    world.check_recovered(place, &[&completed, &staged[0], &staged[1], &held], &mut survivor);
}

fn s24_frames_and_file_entries_of_the_dead_come_back_once() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    assert_eq!(survivor.ask("frames 4"), "4");
    assert_eq!(victim.ask("frames 1000"), "20", "all the others");
    assert_eq!(victim.ask(&format!("entries 1000 {}", world.path("data"))), "6");
    world.kill(victim);
    assert_eq!(survivor.ask("frames 1"), "0", "nothing is free before the recovery");
    assert_eq!(survivor.ask("recover"), "1 0");
    assert_eq!(survivor.ask("frames 1000"), "20");
    survivor.ask("drop");
    world.check_recovered(place, &[], &mut survivor);
}

fn a_frame_offered_by_the_dead_is_lost_with_its_recovery_and_not_before() {
    let world = World::new();
    let (mut victim, mut survivor) = (world.attached(), world.attached());
    let place = victim.place();
    assert_eq!(victim.ask("frames 2"), "2");
    victim.ask("fill 7");
    let early = victim.ask("offer");
    victim.ask("fill 8");
    let late = victim.ask("offer");
    world.kill(victim);
    survivor.ask(&format!("adopt {early}"));
    assert_eq!(survivor.ask("recover"), "1 0");
    assert_eq!(survivor.ask("peek"), "7", "an adopted frame is not the dead one's any more");
    assert_eq!(survivor.ask("frames 1000"), "23", "every frame but the adopted one is free");
    assert!(survivor.refuses(&format!("adopt {late}")).contains("not this owner's any more"));
    survivor.ask("drop");
    world.check_recovered(place, &[], &mut survivor);
}
