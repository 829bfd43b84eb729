//! How many executions each scenario has, written down, so that one that silently shrank is
//! noticed.
//!
//! The file is `model/pins.txt`: a line `name count` for each scenario. Run with `HANDFAST_BLESS=1`
//! to write the counts that a run finds; each change is printed as old -> new.
//! Checked by: every scenario test. Not checked: that a count is the right one; its mutant is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

/// The environment variable that makes the found counts the pinned ones.
pub const BLESS: &str = "HANDFAST_BLESS";

const HEAD: &str =
    "# Executions of each scenario. Written by: HANDFAST_BLESS=1 cargo test -p handfast-model\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("pins.txt")
}

fn parsed(text: &str) -> BTreeMap<String, u64> {
    let pin = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(pin).collect()
}

/// Compares a count with the pinned one, or pins it.
///
/// # Panics
/// If they differ and the run is not to bless, with a message that says how to; if the file cannot
/// be written.
pub fn check(scenario: &str, executions: u64) {
    if std::env::var_os(BLESS).is_some() {
        if let Err(error) = bless(scenario, executions) {
            panic!("model/pins.txt cannot be written ({error}): bless in a writable checkout");
        }
        return;
    }
    let pins = parsed(&std::fs::read_to_string(path()).unwrap_or_default());
    let pinned = pins.get(scenario).copied();
    assert!(
        pinned == Some(executions),
        "scenario {scenario} has {executions} executions, pinned are {}: if the protocol or the \
         scenario was meant to change, bless with {BLESS}=1 cargo test -p handfast-model, with RUSTFLAGS='--cfg loom' and --release if this run had them",
        shown(pinned)
    );
}

/// All pinned counts.
#[must_use]
pub fn all() -> BTreeMap<String, u64> {
    parsed(&std::fs::read_to_string(path()).unwrap_or_default())
}

/// The pinned counts of a scenario under loom, by its bounds.
#[must_use]
pub fn of(scenario: &str) -> Vec<(Option<usize>, u64)> {
    let pins = all();
    let counts = pins.iter().filter_map(|(name, count)| match name.split_once('/') {
        None => (name == scenario).then_some((None, *count)),
        Some((name, bound)) => {
            Some((Some(bound.parse().ok()?), *count)).filter(|_| name == scenario)
        }
    });
    counts.collect()
}

fn shown(pinned: Option<u64>) -> String {
    pinned.map_or_else(|| "none".to_owned(), |count| count.to_string())
}

/// Replaces one line, holding the file's lock: the scenarios run as threads, and as processes.
fn bless(scenario: &str, executions: u64) -> std::io::Result<()> {
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(path())?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut pins = parsed(&text);
    let old = pins.insert(scenario.to_owned(), executions);
    if old == Some(executions) {
        return Ok(());
    }
    println!("pins.txt: {scenario} {} -> {executions}", shown(old));
    HEAD.clone_into(&mut text);
    for (name, count) in &pins {
        let _ = writeln!(text, "{name} {count}");
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}
