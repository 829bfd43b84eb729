//! Waiting for another process's IO.

use super::{PATIENCE, State, World};
use handfast_tests::eventually;
use std::time::{Duration, Instant};

handfast_tests::every_method! {
    l3_a_wait_for_a_staged_io_ends_when_its_issuer_submits
    rc7_a_sleeper_is_woken_by_the_completion_and_not_by_its_slice
    rc7_a_sleeper_is_woken_by_the_release_and_not_by_its_slice
    s10_an_old_reference_never_blocks_while_its_handle_is_in_use_again
    rc11_a_handle_that_is_released_wakes_its_waiter_as_recycled
    rc11_who_waits_for_a_handle_handed_out_waits_for_the_io_it_becomes
    rc41_a_waiter_that_gives_up_harms_neither_the_io_nor_the_others [sync]
    several_waiters_are_all_woken
    l9_waiting_for_any_ends_when_one_of_the_issuers_dies
    rc27_who_is_about_to_block_submits_first_so_that_crosswise_waits_end [sync worker]
    a_stopped_issuer_delays_its_waiters_and_a_timed_wait_ends
}

fn l3_a_wait_for_a_staged_io_ends_when_its_issuer_submits() {
    let world = World::new();
    let (mut issuer, mut waiter) = (world.attached(), world.attached());
    issuer.ask("batch");
    let reference = issuer.read("count");
    assert_eq!(world.state(&reference), State::Staged);
    assert_eq!(waiter.ask(&format!("check {reference}")), "false");
    assert_eq!(waiter.ask(&format!("outcome {reference}")), "None");
    waiter.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    issuer.ask("submit");
    assert_eq!(waiter.hear_ok(), "done");
    assert_eq!(waiter.ask(&format!("check {reference}")), "true");
    assert_eq!(waiter.ask(&format!("outcome {reference}")), "Some(Ok(4096))");
    assert_eq!(issuer.ask("finish"), "4096 1");
    assert_eq!(world.counted().runs, 1, "S1");
}

/// Asserts that the usual wake-up comes long before the slice ends in which the sleeper has just
/// fallen asleep.
#[track_caller]
fn woken_and_not_by_slices(mut took: [Duration; 21]) {
    took.sort();
    assert!(took[10] < Duration::from_millis(5), "slices have 10 ms: {took:?}");
}

fn rc7_a_sleeper_is_woken_by_the_completion_and_not_by_its_slice() {
    let world = World::new();
    let (mut issuer, mut waiter) = (world.attached(), world.attached());
    woken_and_not_by_slices([(); 21].map(|()| {
        issuer.ask("batch");
        let reference = issuer.read("count");
        waiter.tell(&format!("wait {reference}"));
        world.await_waiter(&reference);
        let began = Instant::now();
        issuer.ask("submit");
        assert_eq!(waiter.hear_ok(), "done");
        let took = began.elapsed();
        issuer.ask("finish");
        issuer.ask("drop");
        took
    }));
}

fn rc7_a_sleeper_is_woken_by_the_release_and_not_by_its_slice() {
    let world = World::new();
    let (mut issuer, mut waiter) = (world.attached(), world.attached());
    woken_and_not_by_slices([(); 21].map(|()| {
        let reference = issuer.ask("hold");
        waiter.tell(&format!("wait {reference}"));
        world.await_waiter(&reference);
        let began = Instant::now();
        issuer.ask("release");
        assert_eq!(waiter.hear_ok(), "recycled");
        began.elapsed()
    }));
}

fn s10_an_old_reference_never_blocks_while_its_handle_is_in_use_again() {
    let world = World::with(handfast_tests::builder().handles_per_process(1));
    let (mut issuer, mut waiter) = (world.attached(), world.attached());
    let old = issuer.read("count");
    assert_eq!(waiter.ask(&format!("wait {old}")), "done");
    issuer.ask("finish");
    assert_eq!(waiter.ask(&format!("wait {old}")), "recycled");
    issuer.ask("batch");
    let new = issuer.read("count");
    assert_eq!(super::parse(&new).handle(), super::parse(&old).handle(), "the same handle");
    assert_eq!(waiter.ask(&format!("wait {old}")), "recycled");
    assert_eq!(waiter.ask(&format!("wait-for {new} 20")), "pending");
    assert_eq!(waiter.ask(&format!("wait {old}")), "recycled", "with WAITERS set by another wait");
    issuer.ask("submit");
    assert_eq!(waiter.ask(&format!("wait {new}")), "done");
}

fn rc11_a_handle_that_is_released_wakes_its_waiter_as_recycled() {
    let world = World::new();
    let (mut issuer, mut waiter) = (world.attached(), world.attached());
    let reference = issuer.ask("hold");
    assert_eq!(world.state(&reference), State::HandedOut);
    waiter.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    issuer.ask("release");
    assert_eq!(waiter.hear_ok(), "recycled");
    assert_eq!(waiter.ask(&format!("check {reference}")), "true");
}

fn rc11_who_waits_for_a_handle_handed_out_waits_for_the_io_it_becomes() {
    let world = World::new();
    let (mut issuer, mut waiter) = (world.attached(), world.attached());
    let reference = issuer.ask("hold");
    waiter.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    issuer.ask("start 0");
    assert_eq!(waiter.hear_ok(), "done");
}

fn rc41_a_waiter_that_gives_up_harms_neither_the_io_nor_the_others() {
    let world = World::new();
    let mut issuer = world.attached();
    let (mut patient, mut hasty) = (world.attached(), world.attached());
    issuer.ask("arm shared");
    issuer.tell("read 0 halt");
    assert_eq!(issuer.hear(), "at shared");
    let rows = world.pool.snapshot();
    let halted = rows.iter().find(|row| row.state == State::CompletedIo).expect("in a callback");
    let reference = handfast::WaitRef::new(world.pool.tag(), halted.handle, halted.generation);
    let reference = format!("{:032x}", u128::from_be_bytes(reference.to_bytes()));
    patient.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    for _ in 0..3 {
        assert_eq!(hasty.ask(&format!("wait-for {reference} 15")), "pending");
    }
    issuer.tell("go on");
    issuer.hear_ok();
    assert_eq!(patient.hear_ok(), "done");
    assert_eq!(hasty.ask(&format!("wait {reference}")), "done");
    assert_eq!(issuer.ask("finish"), "4096 1");
    assert_eq!((world.halted().runs, world.halted().repeats), (1, 0), "S1");
}

fn several_waiters_are_all_woken() {
    let world = World::new();
    let mut issuer = world.attached();
    let mut waiters = [world.attached(), world.attached(), world.attached()];
    issuer.ask("batch");
    let reference = issuer.read("count");
    for waiter in &mut waiters {
        waiter.tell(&format!("wait {reference}"));
    }
    world.await_waiter(&reference);
    issuer.ask("submit");
    for waiter in &mut waiters {
        assert_eq!(waiter.hear_ok(), "done");
    }
}

fn rc27_who_is_about_to_block_submits_first_so_that_crosswise_waits_end() {
    let world = World::new();
    let (mut one, mut two) = (world.attached(), world.attached());
    one.ask("batch");
    two.ask("batch");
    let (of_one, of_two) = (one.read("count"), two.read("count"));
    one.tell(&format!("wait {of_two}"));
    world.await_waiter(&of_two);
    eventually("the first submits before it sleeps", || {
        world.state(&of_one) == State::CompletedShared
    });
    assert_eq!(two.ask(&format!("wait {of_one}")), "done");
    // The wait of the second process was over without blocking, so its batch is still open.
    assert_eq!(world.state(&of_two), State::Staged);
    two.ask("submit");
    assert_eq!(one.hear_ok(), "done");
}

fn a_stopped_issuer_delays_its_waiters_and_a_timed_wait_ends() {
    let world = World::new();
    let (mut issuer, mut waiter) = (world.attached(), world.attached());
    let reference = super::deaths::stopped_while_submitted(&world, &mut issuer);
    // Several slices, in each of which the waiter looks whether the issuer is dead.
    assert_eq!(waiter.ask(&format!("wait-for {reference} 60")), "pending");
    assert_eq!(world.state(&reference), State::Submitted, "nobody took it for dead");
    waiter.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    let began = Instant::now();
    issuer.go_on();
    waiter.hear_ok();
    assert!(began.elapsed() < PATIENCE);
}

fn l9_waiting_for_any_ends_when_one_of_the_issuers_dies() {
    for forbidden in [false, true] {
        waiting_for_any_notices_a_death(forbidden);
    }
}

/// `forbidden`: the waiter may not sleep on several words, as with a kernel before 5.16.
fn waiting_for_any_notices_a_death(forbidden: bool) {
    let world = World::new();
    let (mut one, mut two, mut waiter) = (world.attached(), world.attached(), world.attached());
    if forbidden {
        waiter.ask("forbid futex_waitv");
    }
    one.ask("batch");
    two.ask("batch");
    let (of_one, of_two) = (one.read("count"), two.read("count"));
    waiter.tell(&format!("wait-any {of_one} {of_two}"));
    world.await_waiter(&of_one);
    world.await_waiter(&of_two);
    let began = Instant::now();
    two.kill();
    let told = waiter.hear_ok();
    assert!(told.starts_with("1 "), "{told}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    one.ask("submit");
    let told = waiter.ask(&format!("wait-any {of_one}"));
    assert_eq!(told, "0 Done");
}
