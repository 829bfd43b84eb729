//! Every scenario under loom, one test each, as far as its plan says for the quick level; with
//! `RUSTFLAGS="--cfg loom"` as far as it says for the larger one.

#![expect(clippy::disallowed_types, reason = "a counter of the test, outside of the model")]

use handfast_core::platform::{Atomic64 as _, EventCount as _, Field as _};
use handfast_core::site::Site;
use handfast_model::explore;
use handfast_model::runtime::SharedWord as _;
use handfast_model::runtime::loom::{Atomic, Count, Payload, Word};
use handfast_model::scenario;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Outside};

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                let entry = scenario::named(stringify!($name)).expect("a scenario of this name");
                let bounds = entry.plan.loom.expect("it runs under loom");
                entry.loom(bounds[usize::from(cfg!(loom))]);
            }
        )+

        const TESTED: &[&str] = &[$(stringify!($name),)+];
    };
}

scenarios! {
    issuer_completer
    issuer_waiter
    issuer_waiter_released
    foreign_reader
    viewer_definition
    viewer_start
    viewer_reuse
    viewer_completion
    worker_claim
    worker_two_claims
    worker_claim_in_place
    callbacks_waiter
    callbacks_completer_waiter
    callbacks_poller
    slot_identity
    slot_reuse
    slot_reuse_waiter
    refused_waiter
    interrupted_waiter
    reentry_waiter
    two_waiters
    waiter_times_out
    batch_waiter
    crosswise
    reap_by_poll
    reap_two_waiters
    acquire_one_handle
    acquire_all_staged
    partial_submission
    detach_in_flight
    lease_reused
    lease_handed_on
    lease_recovered
    lease_left_behind
    dead_issuer
    dead_staged_issuer
    dead_issuer_waiter
    dead_refused_issuer
    dead_open_issuer
    dead_worker
    two_recoverers
    dead_recoverer
    own_staged
    late_release
    mixed_batch
    acquire_in_order
    detach_batch
    early_poll
    late_completion
    dead_issuer_probe
    dead_worker_probe
    dead_issuer_newcomer
    dead_ring
    dead_recoverer_lease
    dead_open_worker
    worker_doorbell
    worker_hint_again
    worker_two_issuers
    worker_leaves
    worker_asked_to_leave
    ring_busy
    ring_busy_late
    ring_waiter_first
    ring_waiter_first_late
    ring_both_wait
    lead_word
    lead_give_up
    lead_unannounced
    waits_for_two
    waits_for_two_at_once
    waits_for_own_and_foreign
    task_busy
    task_elsewhere
    task_beside_a_waiter
    task_at_the_end
    task_in_place
    task_issuer_polls
    task_beside_the_ring
}

#[test]
fn every_scenario_of_the_list_has_a_test_of_its_name() {
    let of_loom = scenario::ALL.iter().filter(|entry| entry.plan.loom.is_some());
    let listed: BTreeSet<_> = of_loom.map(|entry| entry.name).collect();
    assert_eq!(listed, TESTED.iter().copied().collect());
}

/// The model's event count itself: a post between ticket and sleep makes the sleep return, a later
/// one wakes it, and nothing else ends it.
#[test]
fn event_count_wakes_only_by_a_post() {
    explore::every_execution(|| {
        let shared = Arc::new((Count::new(), Payload::new(0)));
        let poster = loom::thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.set(1);
                shared.0.post();
            }
        });
        loop {
            let ticket = shared.0.ticket();
            if shared.1.peek() == 1 {
                break;
            }
            let _look_again = shared.0.sleep(ticket, 1);
        }
        assert!(poster.join().is_ok());
    });
}

/// The same on two counts: a post of either ends the sleep, also one that comes while the thread falls asleep
/// on the other; and nothing is kept that would end a later sleep on one of them.
#[test]
fn a_sleep_on_two_counts_ends_by_a_post_of_either_and_leaves_nothing() {
    static WOKEN: AtomicU64 = AtomicU64::new(0);
    explore::every_execution(|| {
        let shared = Arc::new(([Count::new(), Count::new()], [Payload::new(0), Payload::new(0)]));
        let poster = loom::thread::spawn({
            let shared = shared.clone();
            move || {
                let (counts, said) = &*shared;
                // The second one first, so that the sleeper is in the first one's list by then.
                said[1].set(1);
                counts[1].post();
                said[0].set(1);
                counts[0].post();
            }
        });
        let (counts, said) = &*shared;
        let tickets = [0, 1].map(|which: usize| (&counts[which], counts[which].ticket()));
        if said[1].peek() == 0 {
            let _look_again = Count::sleep_any(&tickets, 1);
            WOKEN.fetch_add(1, Outside::Relaxed);
        }
        while said[0].peek() == 0 {
            let ticket = counts[0].ticket();
            if said[0].peek() == 0 {
                let _look_again = counts[0].sleep(ticket, 1);
                let _sees_what_was_posted_for = counts[0].ticket();
                assert_eq!(said[0].peek(), 1, "ended by what an earlier sleep had left");
            }
        }
        assert!(poster.join().is_ok());
    });
    assert!(WOKEN.load(Outside::Relaxed) > 0, "it never slept");
}

/// The model's words themselves: a thread that reads a word before it writes it does not hide its write
/// from a reader that was there first. loom's own atomics fail this.
#[test]
fn a_write_after_a_read_is_seen_by_an_earlier_reader() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    explore::every_execution(|| {
        let word = Arc::new(Atomic::new(0));
        let writer = loom::thread::spawn({
            let word = word.clone();
            move || {
                let _found = word.load(Site::WaitLook);
                assert_eq!(word.compare_exchange(Site::AddWaiter, 0, 1), Ok(0));
            }
        });
        SEEN.fetch_or(1 << word.load(Site::WaitLook), Outside::Relaxed);
        assert!(writer.join().is_ok());
    });
    assert_eq!(SEEN.load(Outside::Relaxed), 0b11, "only one of the two orders was tried");
}

/// The words of an application: a store that races with an update is not lost to who knows of both. loom's
/// own stores fail this, so that a right callback would be called wrong.
#[test]
fn a_store_beside_an_update_is_not_lost() {
    explore::every_execution(|| {
        let word = Arc::new(Word::new(0));
        let updater = loom::thread::spawn({
            let word = word.clone();
            move || word.fetch_add(0, Outside::AcqRel)
        });
        word.store(1, Outside::Release);
        assert!(updater.join().is_ok());
        assert_eq!(word.load(Outside::Acquire), 1, "nobody has written anything else");
    });
}
