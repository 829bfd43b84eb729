//! Every scenario under loom, one test each, as far as its plan says: at the quick level, or with
//! `RUSTFLAGS="--cfg loom"` at the wide one.

#![expect(clippy::disallowed_types, reason = "a counter of the test, outside of the model")]

use handfast_core::platform::{Atomic64 as _, EventCount as _, Field as _};
use handfast_core::site::Site;
use handfast_model::explore;
use handfast_model::runtime::loom::{Atomic, Count, Payload};
use handfast_model::scenario::{
    self, acquire, aftermath, callbacks_waiter, death, foreign_reader, issuer_completer,
    issuer_waiter, late, leases, own, reaper, recoverers, reentry, refusal, slots, viewer, waiters,
    worker,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Outside};

macro_rules! scenarios {
    ($($name:ident: $module:ident::$scenario:ident;)+) => {
        $(
            #[test]
            fn $name() {
                explore::loom_as_planned::<$module::$scenario>();
            }
        )+

        const TESTED: &[&str] = &[$(stringify!($name),)+];
    };
}

scenarios! {
    issuer_completer: issuer_completer::IssuerCompleter;
    issuer_waiter: issuer_waiter::IssuerWaiter;
    issuer_waiter_released: issuer_waiter::Released;
    foreign_reader: foreign_reader::ForeignReader;
    viewer_definition: viewer::OfDefinition;
    viewer_start: viewer::OfStart;
    viewer_reuse: viewer::OfReuse;
    viewer_completion: viewer::OfCompletion;
    worker_claim: worker::Claim;
    worker_two_claims: worker::TwoClaims;
    worker_claim_in_place: worker::ClaimInPlace;
    callbacks_waiter: callbacks_waiter::Waits;
    callbacks_completer_waiter: callbacks_waiter::WaitsForTwo;
    callbacks_poller: callbacks_waiter::Polls;
    slot_identity: slots::Identity;
    slot_reuse: slots::ReuseAlone;
    slot_reuse_waiter: slots::Reuse;
    refused_waiter: refusal::Refused;
    interrupted_waiter: refusal::Interrupted;
    reentry_waiter: reentry::Reentry;
    two_waiters: waiters::TwoWaiters;
    waiter_times_out: waiters::TimesOut;
    batch_waiter: waiters::Staged;
    crosswise: waiters::Crosswise;
    reap_by_poll: reaper::Poll;
    reap_two_waiters: reaper::TwoIos;
    acquire_one_handle: acquire::OneHandle;
    acquire_all_staged: acquire::AllStaged;
    partial_submission: acquire::Partial;
    detach_in_flight: acquire::Detaches;
    lease_reused: leases::Reused;
    lease_handed_on: leases::HandedOn;
    lease_recovered: leases::Recovered;
    dead_issuer: death::Issuer;
    dead_staged_issuer: death::StagedIssuer;
    dead_issuer_waiter: death::IssuerWaiter;
    dead_refused_issuer: death::RefusedIssuer;
    dead_open_issuer: death::OpenIssuer;
    dead_worker: death::Worker;
    two_recoverers: recoverers::Two;
    dead_recoverer: recoverers::Dead;
    own_staged: own::OwnStaged;
    late_release: own::LateRelease;
    mixed_batch: own::MixedBatch;
    acquire_in_order: own::InOrder;
    detach_batch: own::DetachBatch;
    early_poll: late::EarlyPoll;
    late_completion: late::LateCompletion;
    dead_issuer_probe: aftermath::ProbedIssuer;
    dead_worker_probe: aftermath::ProbedWorker;
    dead_issuer_newcomer: aftermath::Newcomer;
    dead_ring: aftermath::Ring;
    dead_recoverer_lease: aftermath::Leases;
    dead_open_worker: aftermath::OpenWorker;
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
