//! `model/COVERAGE.md`: what is covered by what, made from the lists and from what runs found.
//!
//! Nothing in it is typed: sites and edges come from `core`, rules, races and museum from their
//! lists here, numbers from `pins.txt` and `model/results`. Checked by: `model/tests/lists.rs`, which
//! makes it again. Not checked: that the results are of the present source; the wide level does.

use crate::mutant::Mutant;
use crate::mutants::mistake::Mistake;
use crate::mutants::results::{self, Edges, Found, Weakened};
use crate::trace::conformance;
use crate::{museum, pins, races, rules, scenario, sweep};
use handfast_core::site::Site;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where it is.
#[must_use]
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("COVERAGE.md")
}

/// What is missing where something should stand.
const NOTHING: &str = "**nothing**";

/// The whole file.
///
/// # Errors
/// If the patches or the results cannot be read.
pub fn text() -> Result<String, Box<dyn Error>> {
    let mistakes = Mistake::all()?;
    let mut text = String::from(
        "# Coverage\n\nWhat the model covers, and what shows that it would notice. Made by \
         `cargo run -p handfast-model -- coverage` from the lists in `model/src` and from what runs \
         found (`model/pins.txt`, `model/results`). Executions are those until the failure.\n",
    );
    orderings(&mut text)?;
    mistakes_table(&mut text, &mistakes)?;
    museum_table(&mut text, &mistakes);
    rules_table(&mut text, &mistakes);
    races_table(&mut text);
    scenarios(&mut text);
    searches(&mut text);
    edges(&mut text)?;
    Ok(text)
}

fn table(text: &mut String, title: &str, words: &str, columns: &[&str]) {
    let _ = write!(text, "\n## {title}\n\n{words}\n\n");
    row(text, columns.iter().map(|&column| column.to_owned()));
    row(text, columns.iter().map(|_| "---".to_owned()));
}

fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    text.push('|');
    for cell in cells {
        let _ = write!(text, " {} |", cell.replace('|', "\\|").replace('\n', " "));
    }
    text.push('\n');
}

fn orderings(text: &mut String) -> Result<(), Box<dyn Error>> {
    let words = "Every atomic access by its site. One that is not Relaxed is weakened (one that both acquires and \
                 releases by either half), and a scenario must fail; one that is, says why that is enough.";
    table(
        text,
        "Orderings",
        words,
        &["site or mutant", "ordering", "partner", "noticed by", "executions", "failure"],
    );
    let found: Vec<Weakened> = results::read(results::ORDERINGS)?;
    for &site in Site::ALL {
        let head = [format!("{:?}", site.ordering()), site.partner().to_owned()];
        let mutants: Vec<_> = Mutant::all().filter(|mutant| mutant.site == site).collect();
        if mutants.is_empty() {
            let cells = [format!("Relaxed: {}", sweep::reason(site)), String::new(), String::new()];
            row(text, [site.name().to_owned()].into_iter().chain(head.clone()).chain(cells));
        }
        for mutant in mutants {
            let name = mutant.to_string();
            let cells = match found.iter().find(|found| found.mutant == name) {
                Some(found) => [
                    format!("{} {}", found.tool, found.scenario),
                    found.executions.to_string(),
                    found.message.clone(),
                ],
                None => [NOTHING.to_owned(), String::new(), String::new()],
            };
            row(text, [name].into_iter().chain(head.clone()).chain(cells));
        }
    }
    Ok(())
}

fn mistakes_table(text: &mut String, mistakes: &[Mistake]) -> Result<(), Box<dyn Error>> {
    let words = "Each is a patch in `model/mutants`, planted in a copy of the source by \
                 `handfast-model mutants`.";
    let columns = ["mistake", "museum", "rules", "breaks", "noticed by", "executions", "failure"];
    table(text, "Planted mistakes", words, &columns);
    let found: Vec<Found> = results::read(results::MISTAKES)?;
    for mistake in mistakes {
        let found = found.iter().find(|found| found.mistake == mistake.name);
        let [by, executions, message] = match found {
            Some(found) => [
                format!("{} {}", found.tool, found.scenario),
                found.executions.to_string(),
                found.message.clone(),
            ],
            None => [NOTHING.to_owned(), String::new(), String::new()],
        };
        let lists = [&mistake.museum, &mistake.rules, &mistake.breaks].map(|list| list.join(" "));
        let head = [format!("`{}`: {}", mistake.name, mistake.about)];
        row(text, head.into_iter().chain(lists).chain([by, executions, message]));
    }
    Ok(())
}

fn named_by<'m>(
    mistakes: &'m [Mistake],
    id: &'m str,
    list: fn(&Mistake) -> &[String],
) -> impl Iterator<Item = &'m str> {
    let naming = mistakes.iter().filter(move |mistake| list(mistake).iter().any(|it| it == id));
    naming.map(|mistake| mistake.name.as_str())
}

/// The sentence, or the names, or that there is nothing.
fn or_nothing(closed: Option<&str>, names: Vec<String>) -> String {
    match (closed, names.is_empty()) {
        (Some(sentence), _) => sentence.to_owned(),
        (None, true) => NOTHING.to_owned(),
        (None, false) => names.join(", "),
    }
}

fn museum_table(text: &mut String, mistakes: &[Mistake]) {
    let words = "The known bugs of PostgreSQL's asynchronous IO.";
    table(text, "Museum", words, &["entry", "bug", "planted by, or why not"]);
    for entry in museum::ALL {
        let shown = match entry.shown {
            museum::Shown::Closed(sentence) => sentence.to_owned(),
            museum::Shown::Planted(sites) => {
                let sites = sites.iter().map(|site| format!("{site} weakened"));
                let patches = named_by(mistakes, entry.id, |it| &it.museum).map(str::to_owned);
                or_nothing(None, sites.chain(patches).collect())
            }
        };
        row(text, [entry.id.to_owned(), entry.bug.to_owned(), shown]);
    }
}

fn rules_table(text: &mut String, mistakes: &[Mistake]) {
    let words = "Each rule of the protocol, and the mistakes that drop it.";
    table(text, "Rules", words, &["rule", "says", "dropped by"]);
    for rule in rules::ALL {
        let patches = named_by(mistakes, rule.name, |it| &it.rules).map(str::to_owned).collect();
        row(text, [rule.name.to_owned(), rule.words.to_owned(), or_nothing(None, patches)]);
    }
}

fn races_table(text: &mut String) {
    let words = "What must hold (S), what must come about (L), and the windows in which either could \
                 fail (RC).";
    table(text, "Invariants and races", words, &["id", "is", "scenarios, or why none"]);
    for item in races::all() {
        let scenarios = races::covered_by(item.id).into_iter().map(str::to_owned).collect();
        row(text, [item.id.to_owned(), item.words.to_owned(), or_nothing(item.closed, scenarios)]);
    }
}

fn scenarios(text: &mut String) {
    let words = "With the executions that loom has for each bound (none: exhaustive).";
    table(text, "Scenarios", words, &["scenario", "executions under loom"]);
    for entry in scenario::ALL {
        let counts: Vec<_> = pins::of(entry.name)
            .into_iter()
            .map(|(bound, count)| match bound {
                Some(bound) => format!("{count} (at most {bound} preemptions)"),
                None => format!("{count} (exhaustive)"),
            })
            .collect();
        row(text, [entry.name.to_owned(), counts.join(", ")]);
    }
}

fn searches(text: &mut String) {
    let words = "Every state of a scenario, breadth first, with at most so many deaths and sleeps that end \
                 for no reason.";
    let columns = ["scenario", "deaths", "spurious", "states", "steps"];
    table(text, "Searches", words, &columns);
    let mut sizes = BTreeMap::new();
    for (name, count) in pins::all() {
        if let [scenario, "search", deaths, spurious, what] = *name.split('/').collect::<Vec<_>>() {
            let key = [scenario, deaths, spurious].map(str::to_owned);
            sizes.entry(key).or_insert_with(BTreeMap::new).insert(what.to_owned(), count);
        }
    }
    for (key, counts) in sizes {
        let counts = ["states", "moves"].map(|what| counts.get(what).copied().unwrap_or_default());
        row(text, key.into_iter().chain(counts.map(|count| count.to_string())));
    }
}

fn edges(text: &mut String) -> Result<(), Box<dyn Error>> {
    let words =
        "Every edge of the protocol's table (event, state, role), and how many runs took it.";
    table(text, "Edges", words, &["edge", "taken by"]);
    let runs: Vec<Edges> = results::read(results::EDGES)?;
    for edge in conformance::all() {
        let name = edge.name();
        let takes: Vec<_> = runs.iter().filter(|run| run.edges.contains(&name)).collect();
        let never = conformance::NEVER.iter().find(|(edge, _)| *edge == name);
        let taken = match (takes.first(), never) {
            (Some(first), _) => format!("{} runs, {} first", takes.len(), first.run),
            (None, Some((_, why))) => format!("never: {why}"),
            (None, None) => NOTHING.to_owned(),
        };
        row(text, [name, taken]);
    }
    Ok(())
}
