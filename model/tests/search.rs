//! Every scenario that is searched, through every state, deaths and liveness included.
//!
//! `cargo test` searches those of the quick level, `--cfg loom` those of CI as well; the program
//! `handfast-model` searches any of them.

use handfast_model::scenario::{ALL, Level, named};

const LEVEL: Level = if cfg!(loom) { Level::Ci } else { Level::Quick };

macro_rules! searches {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            let entry = named(stringify!($name)).expect("a scenario of this name");
            let reach = entry.plan.search.expect("it is searched");
            if reach.level <= LEVEL {
                (entry.search)(reach);
            } else {
                println!("{} is searched at the level {:?}", entry.name, reach.level);
            }
        })+

        #[test]
        fn every_scenario_that_is_searched_has_a_test() {
            let here = [$(stringify!($name)),+];
            for entry in ALL.iter().filter(|entry| entry.plan.search.is_some()) {
                assert!(here.contains(&entry.name), "{} has no test here", entry.name);
            }
        }
    };
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
}
