//! Weakens the sites one by one and looks which scenario notices.
//!
//! | a mutant is | if |
//! |---|---|
//! | caught | its process says which invariant an execution broke |
//! | surviving | every scenario passes: the ordering is not needed, or a scenario is missing |
//! | broken | its process fails in another way; that counts as nothing |
//!
//! Each mutant runs in processes of their own, because loom may abort on a failure: the program
//! `handfast-model` itself, with the environment naming the mutant. [`EXPECTED`] says which scenario is tried first.
//! Checked by: `model/tests/orderings.rs`. Not checked: several orderings weakened at once.

use crate::mutant::Mutant;
use crate::mutants::child::{self, Ended, Planted, Run};
use crate::mutants::mistake::Tool;
use crate::mutants::run::LIMIT;
use crate::scenario::{self, Entry};
use handfast_core::site::Site;
use std::path::Path;
use std::time::Instant;

/// The scenario that is expected to catch a mutant: the mutant's name, the scenario's.
pub const EXPECTED: &[(&str, &str)] = &[
    ("HandOut", "issuer_waiter"),
    ("FieldsFence", "viewer_reuse"),
    ("ReleaseHandle-acquire", "task_in_place"),
    ("ReleaseHandle-release", "issuer_waiter_released"),
    ("Define", "viewer_definition"),
    ("Stage", "issuer_completer"),
    ("Abandon", "dead_refused_issuer"),
    ("Start", "worker_claim"),
    ("OutcomeFence", "foreign_reader"),
    ("CompleteLook", "issuer_completer"),
    ("CompleteIo", "dead_worker"),
    ("Publish-acquire", "task_elsewhere"),
    ("Publish-release", "issuer_completer"),
    ("Finish-acquire", "task_beside_a_waiter"),
    ("Finish-release", "worker_doorbell"),
    ("FinishInPlace-acquire", "task_in_place"),
    ("FinishInPlace-release", "issuer_waiter"),
    ("Localise", "callbacks_completer_waiter"),
    ("Reclaim", "callbacks_completer_waiter"),
    ("Retire", "issuer_waiter"),
    ("AddWaiter", "task_elsewhere"),
    ("WaitLook", "issuer_waiter"),
    ("CheckLook", "callbacks_poller"),
    ("ScanLook", "issuer_completer"),
    ("RecoverLook", "dead_staged_issuer"),
    ("ViewLook", "viewer_definition"),
    ("ViewFence", "viewer_reuse"),
    ("CountTicket", "issuer_waiter"),
    ("CountPost", "issuer_waiter"),
    ("DoorbellRing", "worker_doorbell"),
    ("DoorbellAnnounce", "worker_doorbell"),
    ("LeadWant", "lead_word"),
    ("LeadClear", "lead_word"),
    ("SlotUnderLock", "slot_identity"),
    ("SlotLook", "slot_identity"),
    ("SlotActivate", "slot_identity"),
    ("SlotFree", "slot_identity"),
    ("LeaseTake", "lease_reused"),
    ("LeaseOffer", "lease_handed_on"),
    ("LeaseAdopt", "lease_handed_on"),
    ("LeaseFree", "lease_reused"),
    ("LeaseRecover", "lease_recovered"),
];

/// What became of one mutant, or why a site has none.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// The site is Relaxed already.
    Relaxed {
        /// Why that is enough.
        reason: &'static str,
    },
    /// A scenario noticed.
    Caught {
        /// Which.
        scenario: &'static str,
        /// What it said, its first line.
        message: String,
        /// In which execution.
        executions: u64,
    },
    /// Every scenario passed.
    Survived,
    /// A scenario failed, but not with the breach of an invariant.
    Broken {
        /// Which.
        scenario: &'static str,
        /// What it said.
        said: String,
    },
}

/// One line of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The mutant's name, or the site's.
    pub mutant: String,
    /// What became of it.
    pub verdict: Verdict,
    /// How long that took.
    pub seconds: f64,
}

/// The rows of all sites, or of these, in the order of core's list; each is told to `each` when it is known.
/// `program` is `handfast-model`.
pub fn orderings(program: &Path, sites: &[Site], mut each: impl FnMut(&Row)) -> Vec<Row> {
    let wanted = |site: &&Site| sites.is_empty() || sites.contains(site);
    let mut rows = Vec::new();
    for &site in Site::ALL.iter().filter(wanted) {
        let mutants: Vec<_> = Mutant::all().filter(|mutant| mutant.site == site).collect();
        if mutants.is_empty() {
            let verdict = Verdict::Relaxed { reason: reason(site) };
            rows.push(Row { mutant: site.name().to_owned(), verdict, seconds: 0.0 });
            each(&rows[rows.len() - 1]);
        }
        for mutant in mutants {
            rows.push(hunt(program, mutant));
            each(&rows[rows.len() - 1]);
        }
    }
    rows
}

/// What the list of sites says behind `Relaxed:`.
#[must_use]
pub fn reason(site: Site) -> &'static str {
    let meaning = site.meaning();
    meaning.split_once("Relaxed: ").map_or(meaning, |(_, reason)| reason)
}

/// The scenario that is expected to catch a mutant.
#[must_use]
pub fn expected(mutant: Mutant) -> Option<Entry> {
    let name = mutant.to_string();
    let (_, scenario) = EXPECTED.iter().find(|(expected, _)| *expected == name)?;
    scenario::named(scenario)
}

/// Runs scenarios, the expected one first, until one does not pass.
#[must_use]
pub fn hunt(program: &Path, mutant: Mutant) -> Row {
    let started = Instant::now();
    let first = expected(mutant);
    let others = scenario::ALL.iter().copied();
    let others = others.filter(|entry| first.is_none_or(|first| first.name != entry.name));
    let verdict = first.into_iter().chain(others).find_map(|entry| run(program, mutant, entry));
    let verdict = verdict.unwrap_or(Verdict::Survived);
    Row { mutant: mutant.to_string(), verdict, seconds: started.elapsed().as_secs_f64() }
}

/// One scenario at the quick level against a mutant; `None` if it passes, or does not run under loom.
#[must_use]
pub fn run(program: &Path, mutant: Mutant, entry: Entry) -> Option<Verdict> {
    entry.plan.loom?;
    let (name, broken) =
        (mutant.to_string(), |said| Some(Verdict::Broken { scenario: entry.name, said }));
    let run = Run {
        program,
        planted: Planted::Site(&name),
        tool: Tool::Loom,
        scenario: entry.name,
        limit: LIMIT,
    };
    match run.run(&child::trace_of(&name)) {
        Err(error) => broken(format!("{}: {error}", program.display())),
        Ok(Ended::Passed) => None,
        Ok(Ended::Broke(failure, _)) if names_an_invariant(&failure.message) => {
            Some(Verdict::Caught {
                scenario: entry.name,
                message: failure.message.lines().next().unwrap_or_default().to_owned(),
                executions: failure.execution,
            })
        }
        Ok(Ended::Broke(failure, _)) => broken(failure.message),
        Ok(Ended::Otherwise(said)) => broken(said),
        Ok(Ended::TooLong) => broken(format!("stopped after {} s", LIMIT.as_secs())),
    }
}

/// Whether a failure is the breach of an invariant of RACES, a race, or a lost wake-up.
fn names_an_invariant(message: &str) -> bool {
    let numbered = |letter| {
        let rest = message.strip_prefix(letter);
        let digits = rest.map(|rest| rest.trim_start_matches(|at: char| at.is_ascii_digit()));
        rest != digits && digits.is_some_and(|digits| digits.starts_with(": "))
    };
    numbered('S')
        || numbered('L')
        || message.starts_with("race: ")
        || message.starts_with("deadlock: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_breach_of_an_invariant_counts() {
        for good in [
            "S7: over, but its bytes are not seen: 0",
            "L10: the recovery did not finish",
            "S14: local after shared",
            "race: a field read by right held 1, the reader saw 0",
            "deadlock: everybody who is left sleeps, and nobody will wake them",
        ] {
            assert!(names_an_invariant(good), "{good}");
        }
        for bad in
            ["a handle is free: Exhausted", "S: no number", "Slot 7: gone", "", "S7 no colon"]
        {
            assert!(!names_an_invariant(bad), "{bad}");
        }
    }

    #[test]
    fn every_mutant_has_a_scenario_that_exists_and_runs_under_loom() {
        for mutant in Mutant::all() {
            let entry = expected(mutant);
            assert!(entry.is_some_and(|entry| entry.plan.loom.is_some()), "{mutant} has none");
        }
        assert_eq!(EXPECTED.len(), Mutant::all().count(), "an entry names no mutant");
    }
}
