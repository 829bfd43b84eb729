//! Ways into a pool, and who is kept out.

use super::{PROGRAM, World};
use handfast_tests::callbacks;
use handfast_tests::participant::Participant;
use rustix::io::FdFlags;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};

handfast_tests::every_method! {
    a_pool_works_at_different_addresses_at_the_same_time
    a_pool_is_opened_through_proc_by_inheritance_and_by_name
    a_process_with_other_callbacks_is_refused
    another_user_is_refused_with_and_without_the_descriptor
    a_full_pool_says_so_and_a_detached_slot_is_used_again [sync io_uring]
    a_program_that_execs_away_leaves_its_slot_to_others
}

/// Attaches, reads, waits for its own read.
fn works(mut process: Participant, world: &World) {
    process.ask("attach");
    process.ask(&format!("file {}", world.path("data")));
    process.ask("read 8192 count");
    assert_eq!(process.ask("finish"), "4096 3");
    process.ask("detach");
}

fn a_pool_works_at_different_addresses_at_the_same_time() {
    let world = World::new();
    let (mut one, mut two) = (world.opened(), world.opened());
    // Random addresses differ anyway; without randomisation a second mapping has to lie elsewhere.
    if one.ask("address") == two.ask("address") {
        two.ask(&format!("pool {}", world.segment()));
    }
    assert_ne!(one.ask("address"), two.ask("address"));
    one.ask("attach");
    one.ask(&format!("file {}", world.path("data")));
    one.ask("batch");
    let reference = super::first(&one.ask("read 0 count")).to_owned();
    two.ask("attach");
    two.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    one.ask("submit");
    assert_eq!(two.hear_ok(), "done");
}

fn a_pool_is_opened_through_proc_by_inheritance_and_by_name() {
    let world = World::new();
    works(world.opened(), &world);

    let inherited = world.pool.as_fd().try_clone_to_owned().expect("a descriptor");
    rustix::io::fcntl_setfd(&inherited, FdFlags::empty()).expect("a flag");
    let mut heir = Participant::start(PROGRAM);
    heir.ask(&format!("fd /proc/self/fd/{}", inherited.as_raw_fd()));
    heir.ask("from-fd");
    works(heir, &world);

    let path = world.path("named pool").replace(' ', "-");
    let builder = handfast_tests::builder().registry(callbacks::registry(|_| ()));
    let named = builder.frame_size(4096).user_words(callbacks::WORDS);
    let named = named.create_named(&path).expect("a named pool");
    let mut process = Participant::start(PROGRAM);
    process.ask(&format!("pool {path}"));
    works(process, &world);
    assert_eq!(callbacks::seen(named.user_words(), callbacks::COUNT).runs, 1);
}

fn a_process_with_other_callbacks_is_refused() {
    let world = World::new();
    let mut process = Participant::start(PROGRAM);
    let message = process.refuses(&format!("plain {}", world.segment()));
    assert!(message.contains("callback"), "{message}");
    assert!(process.refuses("attach").contains("no such command"), "nothing was opened");
}

fn another_user_is_refused_with_and_without_the_descriptor() {
    if !rustix::process::geteuid().is_root() {
        // Written past the test harness, which shows what is printed only after failures.
        let note = "skipped: only root can become another user and be refused\n";
        let _seen_or_not = std::io::stderr().write_all(note.as_bytes());
        return;
    }
    let world = World::new();
    let mut process = Participant::start(PROGRAM);
    process.ask(&format!("fd {}", world.segment()));
    process.ask("become 65534");
    let message = process.refuses("from-fd");
    assert!(message.contains("user 0") && message.contains("65534"), "{message}");
    let message = process.refuses(&format!("pool {}", world.segment()));
    assert!(message.contains("ermission denied"), "{message}");
}

fn a_full_pool_says_so_and_a_detached_slot_is_used_again() {
    let world = World::new();
    let mut four = [world.attached(), world.attached(), world.attached(), world.attached()];
    let mut fifth = world.opened();
    let message = fifth.refuses("attach");
    assert!(message.contains("all 4 slots"), "{message}");
    four[2].ask("detach");
    assert_eq!(fifth.ask("attach"), "2 2", "slot and epoch");
}

fn a_program_that_execs_away_leaves_its_slot_to_others() {
    let world = World::new();
    let (mut away, mut survivor) = (world.attached(), world.attached());
    away.ask("batch");
    let reference = away.read("count");
    survivor.tell(&format!("wait {reference}"));
    world.await_waiter(&reference);
    away.tell("exec");
    assert_eq!(survivor.hear_ok(), "recycled", "the lock is closed on exec");
    world.check_recovered(away.place(), &[&reference], &mut survivor);
    // The same process, with another program in it, is welcome again.
    away.ask(&format!("pool {}", world.segment()));
    away.ask("attach");
}
