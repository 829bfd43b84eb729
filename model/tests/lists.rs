//! The lists are complete, what runs found is of what there is now, and `COVERAGE.md` says so.

use handfast_model::mutant::Mutant;
use handfast_model::mutants::mistake::Mistake;
use handfast_model::mutants::results::{self, Edges, Found, Weakened};
use handfast_model::trace::conformance;
use handfast_model::{coverage, museum, pins, races, rules, scenario};
use std::collections::BTreeSet;

fn mistakes() -> Vec<Mistake> {
    Mistake::all().expect("the patches are readable")
}

/// `prefix1 … prefixN`.
fn numbered(prefix: &str, last: u32) -> Vec<String> {
    (1..=last).map(|number| format!("{prefix}{number}")).collect()
}

#[test]
fn the_races_are_those_of_the_design_each_once() {
    let ids: Vec<_> = races::all().map(|item| item.id.to_owned()).collect();
    assert_eq!(ids, [numbered("S", 26), numbered("L", 10), numbered("RC", 44)].concat());
}

#[test]
fn every_race_has_a_scenario_or_a_sentence() {
    for item in races::all() {
        let covered = races::covered_by(item.id);
        assert!(
            !covered.is_empty() || item.closed.is_some_and(is_a_sentence),
            "{} ({}) has neither",
            item.id,
            item.words
        );
    }
}

#[test]
fn every_id_that_a_scenario_names_exists() {
    for entry in scenario::ALL {
        for id in entry.covers {
            assert!(races::named(id).is_some(), "{} covers {id}, which is nothing", entry.name);
        }
    }
}

fn is_a_sentence(text: &str) -> bool {
    text.len() > 30
}

#[test]
fn the_museum_is_that_of_the_design_each_entry_once_and_planted_or_closed() {
    let ids: Vec<_> = museum::ALL.iter().map(|entry| entry.id.to_owned()).collect();
    assert_eq!(ids, [numbered("B", 29), numbered("U", 6), numbered("R", 28)].concat());
    let mistakes = mistakes();
    for entry in museum::ALL {
        let patched = mistakes.iter().any(|mistake| mistake.museum.iter().any(|id| id == entry.id));
        match entry.shown {
            museum::Shown::Planted(sites) => {
                assert!(
                    patched || !sites.is_empty(),
                    "{} ({}) is not planted",
                    entry.id,
                    entry.bug
                );
                for name in sites {
                    assert!(Mutant::named(name).is_some(), "{}: {name}", entry.id);
                }
            }
            museum::Shown::Closed(sentence) => {
                assert!(is_a_sentence(sentence), "{}: say why", entry.id);
                assert!(!patched, "{} is closed, but a patch names it", entry.id);
            }
        }
    }
}

#[test]
fn every_rule_is_dropped_by_a_mistake() {
    let mistakes = mistakes();
    for rule in rules::ALL {
        let dropped = mistakes.iter().any(|mistake| mistake.rules.iter().any(|it| it == rule.name));
        assert!(dropped, "no mistake drops {}: {}", rule.name, rule.words);
    }
}

#[test]
fn what_a_patch_names_exists_and_it_applies() {
    let top = handfast_model::mutants::copy::checkout();
    for mistake in mistakes() {
        let name = &mistake.name;
        for id in &mistake.museum {
            assert!(museum::named(id).is_some(), "{name}: there is no museum entry {id}");
        }
        for rule in &mistake.rules {
            assert!(rules::named(rule).is_some(), "{name}: there is no rule {rule}");
        }
        for id in &mistake.breaks {
            assert!(races::named(id).is_some(), "{name}: there is no invariant {id}");
        }
        assert!(mistake.message.len() > 2, "{name}: {:?} says too little", mistake.message);
        let scenario = scenario::named(&mistake.scenario);
        let runs = scenario.is_some_and(|scenario| mistake.tool.runs(&scenario));
        assert!(runs, "{name}: {} does not run in that tool", mistake.scenario);
        let applied = mistake.apply(|file| std::fs::read_to_string(top.join(file)));
        assert!(applied.is_ok(), "{}", applied.expect_err("it is not ok"));
    }
}

#[test]
fn every_mistake_has_the_result_of_its_present_patch_and_every_site_has_one() {
    let found: Vec<Found> = results::read(results::MISTAKES).expect("readable results");
    let found: BTreeSet<_> = found.into_iter().map(|found| (found.mistake, found.digest)).collect();
    let present: BTreeSet<_> =
        mistakes().into_iter().map(|it| (it.name.clone(), it.digest())).collect();
    let differ: Vec<_> = present.symmetric_difference(&found).collect();
    assert!(
        differ.is_empty(),
        "run HANDFAST_BLESS=1 cargo run -p handfast-model -- mutants for {differ:?}"
    );
    let weakened: Vec<Weakened> = results::read(results::ORDERINGS).expect("readable results");
    let weakened: BTreeSet<_> = weakened.into_iter().map(|found| found.mutant).collect();
    let mutants: BTreeSet<_> = Mutant::all().map(|mutant| mutant.to_string()).collect();
    assert_eq!(weakened, mutants, "each ordering that can be weakened, and no other");
}

/// Caught by something else is not caught: it may be noticed by accident.
#[test]
fn what_a_mistake_was_noticed_by_is_what_it_breaks() {
    let found: Vec<Found> = results::read(results::MISTAKES).expect("readable results");
    for mistake in mistakes() {
        let name = &mistake.name;
        let Some(found) = found.iter().find(|found| found.mistake == *name) else { continue };
        let (id, _) = found.message.split_once(':').unwrap_or_default();
        if races::named(id).is_some() {
            assert!(mistake.breaks.iter().any(|it| it == id), "{name} breaks {id}: add it");
        } else if id == "deadlock" || id == "liveness" {
            assert!(mistake.breaks.iter().any(|it| it.starts_with('L')), "{name} breaks no L");
        }
    }
}

/// The names under which the runs of the plans are pinned.
fn planned() -> BTreeSet<String> {
    let of = |entry: &scenario::Entry| {
        let bounds = entry.plan.loom.into_iter().flatten();
        let loom = bounds.map(|bound| match bound {
            Some(bound) => format!("{}/{bound}", entry.name),
            None => entry.name.to_owned(),
        });
        let search = entry.plan.search.into_iter().flat_map(|reach| {
            let name = format!("{}/search/{}/{}", entry.name, reach.deaths, reach.spurious);
            ["states", "moves"].map(|what| format!("{name}/{what}"))
        });
        loom.chain(search).collect::<Vec<_>>()
    };
    scenario::ALL.iter().flat_map(of).collect()
}

#[test]
fn every_planned_run_is_pinned_and_nothing_else() {
    let pinned: BTreeSet<_> = pins::all().into_keys().collect();
    let differ: Vec<_> = planned().symmetric_difference(&pinned).cloned().collect();
    assert!(differ.is_empty(), "bless, or take out of pins.txt: {differ:?}");
    let runs: Vec<Edges> = results::read(results::EDGES).expect("readable results");
    let run: BTreeSet<_> = runs.into_iter().map(|run| run.run).collect();
    let planned: BTreeSet<_> = planned()
        .into_iter()
        .filter_map(|name| match name.strip_suffix("/states") {
            Some(search) => Some(format!("search {}", search.replace("/search/", "/"))),
            None => (!name.ends_with("/moves")).then(|| format!("loom {name}")),
        })
        .collect();
    let differ: Vec<_> = planned.symmetric_difference(&run).collect();
    assert!(differ.is_empty(), "bless, or take out of results/edges.ndjson: {differ:?}");
}

#[test]
fn every_edge_of_the_table_was_taken_by_a_run_or_says_why_not() {
    let runs: Vec<Edges> = results::read(results::EDGES).expect("readable results");
    let taken: BTreeSet<_> = runs.into_iter().flat_map(|run| run.edges).collect();
    let table: BTreeSet<_> = conformance::all().iter().map(|edge| edge.name()).collect();
    for (edge, why) in conformance::NEVER {
        assert!(table.contains(*edge), "{edge} is no edge");
        assert!(!taken.contains(*edge), "{edge} was taken after all");
        assert!(is_a_sentence(why), "{edge}: say why");
    }
    let never: BTreeSet<_> =
        conformance::NEVER.iter().map(|(edge, _)| (*edge).to_owned()).collect();
    let missing: Vec<_> = table.difference(&taken).filter(|edge| !never.contains(*edge)).collect();
    assert!(missing.is_empty(), "no run takes {missing:?}");
    assert!(taken.is_subset(&table), "a run takes what is no edge");
}

#[test]
fn coverage_md_says_what_the_lists_and_the_results_say() {
    let there = std::fs::read_to_string(coverage::path()).unwrap_or_default();
    let made = coverage::text().expect("the lists are readable");
    assert!(there == made, "run cargo run -p handfast-model -- coverage");
}
