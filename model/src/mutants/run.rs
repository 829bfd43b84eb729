//! Plants mistakes one after the other, runs each against its scenario, and prints a table.

use super::child::{self, Ended, Planted, Run};
use super::copy::{Copy, Failed};
use super::mistake::Mistake;
use super::results::{self, Found, MISTAKES};
use crate::pins::BLESS;
use crate::report::Failure;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// How long one scenario may take to find a mistake.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What became of one mistake.
#[derive(Debug)]
pub enum Verdict {
    /// It was found as expected; and what the process said.
    Caught(Failure, String),
    /// The scenario fails, but with another message.
    Otherwise(Failure, String),
    /// The scenario passes.
    Survived,
    /// The scenario takes too long.
    TooLong,
    /// The process failed outside of an execution.
    Outside(String),
    /// It was not run.
    NotBuilt(Failed),
    /// No process could be run.
    NoProcess(io::Error),
}

/// Plants one mistake and runs it.
#[must_use]
pub fn one(copy: &Copy, mistake: &Mistake) -> Verdict {
    let program = match copy.plant(mistake) {
        Ok(program) => program,
        Err(failed) => return Verdict::NotBuilt(failed),
    };
    let run = Run {
        program: &program,
        planted: Planted::Patch(&mistake.about),
        tool: mistake.tool,
        scenario: &mistake.scenario,
        limit: LIMIT,
    };
    match run.run(&child::trace_of(&mistake.name)) {
        Ok(Ended::Broke(failure, said)) if failure.message.contains(&mistake.message) => {
            Verdict::Caught(failure, said)
        }
        Ok(Ended::Broke(failure, said)) => Verdict::Otherwise(failure, said),
        Ok(Ended::Passed) => Verdict::Survived,
        Ok(Ended::TooLong) => Verdict::TooLong,
        Ok(Ended::Otherwise(said)) => Verdict::Outside(said),
        Err(error) => Verdict::NoProcess(error),
    }
}

impl Verdict {
    /// Whether the mistake was noticed as it should be.
    #[must_use]
    pub const fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(..))
    }

    /// Why it does not count as caught, in one line or more.
    #[must_use]
    pub fn complaint(&self, mistake: &Mistake) -> String {
        let Mistake { scenario, message, .. } = mistake;
        match self {
            Self::Caught(..) => String::new(),
            Self::Otherwise(failure, _) => {
                format!("{scenario} fails, but not with {message:?}: {}", failure.message)
            }
            Self::Survived => format!("SURVIVED: {scenario} passes"),
            Self::TooLong => format!("{scenario} was stopped after {} s", LIMIT.as_secs()),
            Self::Outside(said) => format!("{scenario} fails outside of an execution:\n{said}"),
            Self::NotBuilt(failed) => failed.to_string(),
            Self::NoProcess(error) => format!("no process could be run: {error}"),
        }
    }
}

/// Runs all of these, prints a line for each as it comes and a summary; whether every one was caught.
/// What was found is compared with the committed results, or replaces them if [`BLESS`] is set.
///
/// # Errors
/// If there is no copy, or the results cannot be read or written.
pub fn all(mistakes: &[Mistake]) -> Result<bool, Box<dyn std::error::Error>> {
    let (started, copy) = (Instant::now(), Copy::take()?);
    let known: Vec<Found> = results::read(MISTAKES)?;
    let mut known: BTreeMap<_, _> =
        known.into_iter().map(|found| (found.mistake.clone(), found)).collect();
    let (mut caught, mut differ) = (0, 0);
    println!(
        "{}",
        row(["", "mistake", "museum, rule", "breaks", "tool", "scenario", "executions", "s"])
    );
    // Those of one scenario together: most of what is compiled for one serves the next.
    let mut ordered: Vec<_> = mistakes.iter().collect();
    ordered.sort_by_key(|mistake| (mistake.tool.name(), &mistake.scenario, &mistake.name));
    for (index, mistake) in ordered.into_iter().enumerate() {
        let begun = Instant::now();
        let verdict = one(&copy, mistake);
        let executions = match &verdict {
            Verdict::Caught(failure, _) => failure.execution.to_string(),
            Verdict::Otherwise(..)
            | Verdict::Survived
            | Verdict::TooLong
            | Verdict::Outside(_)
            | Verdict::NotBuilt(_)
            | Verdict::NoProcess(_) => "NOT CAUGHT".to_owned(),
        };
        println!(
            "{}",
            row([
                &format!("{}/{}", index + 1, mistakes.len()),
                &mistake.name,
                &[&mistake.museum[..], &mistake.rules[..]].concat().join(" "),
                &mistake.breaks.join(" "),
                mistake.tool.name(),
                &mistake.scenario,
                &executions,
                &format!("{:.1}", begun.elapsed().as_secs_f64()),
            ])
        );
        if let Verdict::Caught(failure, _) = &verdict {
            caught += 1;
            differ += usize::from(compare(&mut known, found(mistake, failure)));
            keep(&known)?;
        } else {
            println!("     {}", verdict.complaint(mistake));
        }
    }
    println!(
        "{caught} of {} mistakes caught, {:.0} s",
        mistakes.len(),
        started.elapsed().as_secs_f64()
    );
    if differ > 0 && std::env::var_os(BLESS).is_none() {
        println!("{differ} of them differ from model/results/{MISTAKES}: {BLESS}=1 writes them");
    }
    Ok(caught == mistakes.len())
}

/// Whether the line for this mistake is a new one; it is the known one afterwards.
fn compare(known: &mut BTreeMap<String, Found>, found: Found) -> bool {
    let before = known.insert(found.mistake.clone(), found.clone());
    if before.as_ref() == Some(&found) {
        return false;
    }
    let before = before.map_or_else(|| "none".to_owned(), |before| before.executions.to_string());
    println!("     {MISTAKES}: {} {before} -> {}", found.mistake, found.executions);
    true
}

/// Writes what is known if it is to be blessed: after each mistake, so that an interrupted run
/// keeps what it found.
fn keep(known: &BTreeMap<String, Found>) -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os(BLESS).is_some() {
        let names = super::mistake::names()?;
        let present = known.values().filter(|found| names.contains(&found.mistake));
        let present: Vec<_> = present.cloned().collect();
        results::change(MISTAKES, |lines| *lines = present)?;
    }
    Ok(())
}

fn found(mistake: &Mistake, failure: &Failure) -> Found {
    Found {
        mistake: mistake.name.clone(),
        digest: mistake.digest(),
        tool: failure.tool.clone(),
        scenario: failure.scenario.clone(),
        executions: failure.execution,
        message: failure.message.lines().next().unwrap_or_default().to_owned(),
    }
}

fn row(cells: [&str; 8]) -> String {
    let [count, mistake, entry, breaks, tool, scenario, executions, seconds] = cells;
    format!(
        "{count:>7} {mistake:36} {entry:36} {breaks:10} {tool:7} {scenario:28} {executions:>10} {seconds:>6}"
    )
}
