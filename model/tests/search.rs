//! Every scenario that is searched, through every state, deaths and liveness included.
//!
//! `cargo test` searches those of the quick level, with `RUSTFLAGS="--cfg loom"` those of CI as well; the
//! program `handfast-model` searches any of them.

use handfast_model::scenario::{ALL, Level, named};

const LEVEL: Level = if cfg!(loom) { Level::Ci } else { Level::Quick };

macro_rules! searches {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            let entry = named(stringify!($name)).expect("a scenario of this name");
            let reach = entry.plan.search.expect("it is searched");
            if reach.level <= LEVEL {
                entry.search(reach);
            } else {
                println!("{} is searched at the level {:?}", entry.name, reach.level);
            }
        })+

        /// The names that have a test of their own.
        const LARGE: &[&str] = &[$(stringify!($name)),+];
    };
}

/// All others are small.
#[test]
fn every_other_scenario_in_every_state() {
    for entry in ALL.iter().filter(|entry| !LARGE.contains(&entry.name)) {
        if let Some(reach) = entry.plan.search
            && reach.level <= LEVEL
        {
            entry.search(reach);
        }
    }
}

searches! {
    issuer_completer
    issuer_waiter
    issuer_waiter_released
    foreign_reader
    trio
    batches
    deaths
    reattach
    worker_doorbell
    worker_hint_again
    worker_two_issuers
    worker_batch_for_two
    worker_leaves
    worker_asked_to_leave
    ring_busy
    ring_busy_late
    ring_waiter_first
    ring_waiter_first_late
    ring_both_wait
    ring_polled
    ring_own_poll
    lead_word
    lead_hand_over
    lead_give_up
    lead_want_again
    lead_tight
    lead_free
    waits_for_own_and_foreign
    task_issuer_polls
    task_worker_dies
    worker_dies
    worker_last_dies
    worker_issuer_dies
    worker_both_die
    ring_owner_dies
    ring_recoverer_dies
}
