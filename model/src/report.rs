//! What is said about an execution that fails: an explanation in words, the steps that led there,
//! and where the story breaks.
//!
//! A panic hook says it at the first panic of the execution, before the tool that explores it adds
//! noise of its own. In the program the process ends there; in a test it goes on as it would.
//! If [`REPORT`] names a file, the same is written there for programs: the [`Failure`] in the first
//! line, a step in each line after it (see [`crate::trace::ndjson`]).
//!
//! Not covered: an abort without a panic, and a run that fails between executions.

use crate::runtime::Actor;
use crate::trace::{Line, columns, ndjson};
use crate::{mutant, races, witness};
use handfast_core::site::Site;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::OnceLock;

/// The environment variable that names the file for programs.
pub const REPORT: &str = "HANDFAST_REPORT";

/// An execution that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The tool.
    pub tool: String,
    /// The scenario.
    pub scenario: String,
    /// The how-manieth execution it was.
    pub execution: u64,
    /// What went wrong.
    pub message: String,
    /// Who noticed, if it was one of the actors.
    pub actor: Option<String>,
    /// Where in the source.
    pub place: Option<String>,
}

/// What the hook does afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Ends the process with status 1.
    Exit,
    /// Lets the panic go on.
    Unwind,
}

#[derive(Clone, Copy)]
struct Running {
    tool: &'static str,
    scenario: &'static str,
    execution: u64,
    /// Between two executions there is none.
    actor: Option<fn() -> Actor>,
}

thread_local! {
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// An execution begins on this thread; `actor` says who runs when an assertion fails.
pub fn execution(names: (&'static str, &'static str), execution: u64, actor: fn() -> Actor) {
    let (tool, scenario) = names;
    RUNNING.set(Some(Running { tool, scenario, execution, actor: Some(actor) }));
}

/// The last execution is over: what fails from here on fails in the name of the scenario, without steps.
pub fn executed() {
    witness::start();
    RUNNING.set(RUNNING.get().map(|running| Running { actor: None, ..running }));
}

/// The scenario is over.
pub fn over() {
    RUNNING.set(None);
}

/// What follows a failure, from [`install`] on.
static THEN: OnceLock<Then> = OnceLock::new();

/// Installs the hook, once for the process; later calls change nothing. A report of an earlier process
/// is removed.
pub fn install(then: Then) {
    if THEN.set(then).is_err() {
        return;
    }
    if let Some(path) = std::env::var_os(REPORT) {
        let _there_may_be_none = fs::remove_file(path);
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Panics without words are no failures: a tool ends threads that it abandons by them.
        let running = panic.payload_as_str().and_then(|_| RUNNING.take());
        let Some(running) = running else { return before(panic) };
        tell(running, panic);
    }));
}

fn tell(running: Running, panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or_default();
    // A deadlock is noticed in no actor's name.
    let by = running.actor.filter(|_| !is_deadlock(text)).map(|actor| actor());
    // A place in the standard library tells nothing.
    let place = panic.location().filter(|at| by.is_some() && !at.file().contains("/library/"));
    let failure = Failure {
        tool: running.tool.to_owned(),
        scenario: running.scenario.to_owned(),
        execution: running.execution,
        message: said(text),
        actor: by.map(|actor| actor.name.to_owned()),
        place: place.map(|place| format!("{}:{}", shortened(place.file()), place.line())),
    };
    let trace = witness::lines();
    publish(&failure, &story(&failure, &trace), &ndjson::lines(&trace));
}

/// Says what failed, for people and, where [`REPORT`] asks for it, for programs. `story` is what led
/// there, `steps` the same as an object each. Ends the process if that was asked for at [`install`].
pub fn publish(failure: &Failure, story: &str, steps: &[Value]) {
    eprintln!("{}{story}", told(failure));
    if let Some(path) = std::env::var_os(REPORT)
        && let Err(error) = write(Path::new(&path), failure, steps)
    {
        eprintln!("the report cannot be written to {}: {error}", Path::new(&path).display());
    }
    if THEN.get() == Some(&Then::Exit) {
        std::process::exit(1);
    }
}

/// What a panic says: the scenario's own words first, then what the assertion compared; of a deadlock
/// nothing but that it is one.
#[must_use]
pub fn said(message: &str) -> String {
    if is_deadlock(message) {
        return DEADLOCK.to_owned();
    }
    let own = ["left == right", "left != right"]
        .iter()
        .find_map(|what| message.strip_prefix(&format!("assertion `{what}` failed: ")));
    own.unwrap_or(message).to_owned()
}

/// What a deadlock is called.
pub const DEADLOCK: &str = "deadlock: everybody who is left sleeps, and nobody will wake them";

fn is_deadlock(message: &str) -> bool {
    message.starts_with("deadlock")
}

/// The name of the search in a failure.
const SEARCH: &str = "search";

/// The path from the top of the checkout.
fn shortened(file: &str) -> &str {
    let from = ["model/src/", "model/tests/", "core/src/"].iter().find_map(|part| file.find(part));
    from.map_or(file, |from| &file[from..])
}

/// What failed, in words.
fn told(failure: &Failure) -> String {
    let Failure { tool, scenario, execution, message, .. } = failure;
    let head = message.lines().next().unwrap_or_default();
    let mut text = format!(
        "\nscenario {scenario} FAILS under {tool}, {}\n\n\
         expected   {}\nhappened   {head}\n",
        if tool == SEARCH {
            format!("after {execution} states")
        } else {
            format!("in execution {execution}")
        },
        expected(head)
    );
    if let Some(actor) = &failure.actor {
        let place = failure.place.as_ref().map_or_else(String::new, |place| format!(", {place}"));
        let _ = writeln!(text, "           noticed by {actor}{place}");
    }
    if let Some(planted) = mutant::what_is_planted() {
        let _ = writeln!(text, "planted    {}", wrapped(&planted));
    }
    text
}

/// What led there, step by step.
#[must_use]
pub fn story(failure: &Failure, trace: &[Line]) -> String {
    if trace.is_empty() {
        return String::new();
    }
    let (head, details) = failure.message.split_once('\n').unwrap_or((&failure.message, ""));
    let mut text = format!(
        "\nThe tool runs the threads of the scenario in one possible order of their steps after the \
         other.\n{}\n\n{}\n\n{}\nHERE IT BREAKS: {head}\n",
        if failure.tool == SEARCH {
            "No order of fewer steps fails. All threads see the same memory at any time."
        } else {
            "This is the first order that fails."
        },
        columns::LEGEND,
        columns::table(trace),
    );
    if is_deadlock(head) {
        text.push_str(&columns::ends(trace));
    }
    text.push_str(details);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&glossary(trace));
    text
}

/// The accesses that occur, each in short.
fn glossary(trace: &[Line]) -> String {
    let mut sites: Vec<Site> = trace.iter().filter_map(|line| line.what.site()).collect();
    sites.sort_unstable();
    sites.dedup();
    let mut text = String::from("\nThe steps by name (core/src/site.rs):\n");
    for site in sites {
        let _ = writeln!(text, "  {:16} {}", site.name(), in_short(site));
    }
    text
}

/// What an access is, in half a sentence.
#[must_use]
pub fn in_short(site: Site) -> &'static str {
    let meaning = site.meaning().trim();
    let first = meaning.split_once(". ").map_or(meaning, |(first, _)| first);
    first.trim_end_matches('.')
}

/// Broken into lines that fit beside the first column.
fn wrapped(text: &str) -> String {
    let (mut lines, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        if column > 0 && column + word.len() > 88 {
            lines.push_str("\n           ");
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.chars().count();
    }
    lines
}

/// What should have been, from the id that the message begins with.
fn expected(message: &str) -> String {
    let id =
        if is_deadlock(message) { "L4" } else { message.split(':').next().unwrap_or_default() };
    match races::named(id) {
        Some(item) => format!("{id}: {}", item.words),
        None if id == "race" => {
            "who reads a field by right has been handed it over with its newest value".to_owned()
        }
        None => "that the call which the scenario makes there succeeds".to_owned(),
    }
}

fn write(path: &Path, failure: &Failure, steps: &[Value]) -> io::Result<()> {
    let mut text = serde_json::to_string(failure)?;
    for line in steps {
        let _ = write!(text, "\n{line}");
    }
    text.push('\n');
    fs::write(path, text)
}

/// The failure in a report's first line.
///
/// # Errors
/// If there is no report, or it is not one.
pub fn read(path: &Path) -> io::Result<Failure> {
    let text = fs::read_to_string(path)?;
    Ok(serde_json::from_str(text.lines().next().unwrap_or_default())?)
}
