//! Every ordering that is not Relaxed is needed: weakened, it is noticed by the scenario that
//! [`sweep::EXPECTED`] names, with the breach of an invariant.

use handfast_core::site::Site;
use handfast_model::mutant::Mutant;
use handfast_model::sweep::{self, Verdict};
use std::path::Path;

#[test]
fn every_ordering_weakened_is_noticed_by_its_scenario() {
    let program = Path::new(env!("CARGO_BIN_EXE_handfast-model"));
    let mut unnoticed = Vec::new();
    for mutant in Mutant::all() {
        let entry = sweep::expected(mutant).expect("every mutant has a scenario");
        match sweep::run(program, mutant, entry) {
            Some(Verdict::Caught { scenario, message, executions }) => {
                println!("{mutant}: {scenario}, execution {executions}: {message}");
            }
            other => unnoticed.push(format!("{mutant} by {}: {other:?}", entry.name)),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed:\n{}", unnoticed.join("\n"));
}

#[test]
fn the_sweep_lists_relaxed_sites_with_their_reason() {
    let rows = sweep::orderings(Path::new("never started"), &[Site::Unclaim], |_| {});
    let [row] = rows.as_slice() else { panic!("one row for one site: {rows:?}") };
    let Verdict::Relaxed { reason } = row.verdict else { panic!("{row:?}") };
    assert!(reason.starts_with("the hint bit"), "{reason}");
}

#[test]
fn a_program_that_does_not_start_is_broken_and_not_caught() {
    let publish = Mutant::all().find(|mutant| mutant.site == Site::Publish).expect("it is ordered");
    let entry = sweep::expected(publish).expect("it has a scenario");
    let verdict = sweep::run(Path::new("/nowhere"), publish, entry);
    assert!(matches!(verdict, Some(Verdict::Broken { .. })), "{verdict:?}");
}
