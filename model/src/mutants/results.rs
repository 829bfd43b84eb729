//! What runs found, in files of the repository, so that `COVERAGE.md` is made from runs and not
//! typed: `model/results/*.ndjson`, sorted.
//!
//! | file | a line for each |
//! |---|---|
//! | [`MISTAKES`] | planted mistake |
//! | [`ORDERINGS`] | weakened site |
//! | [`EDGES`] | run of a scenario: the edges of the protocol's table that it took |
//!
//! A line has nothing that differs between two runs of the same source: no time. Not checked here:
//! that a line is of the present source; the wide level runs all of them again and compares.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// How a mistake was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The mistake's name.
    pub mistake: String,
    /// The digest of its patch.
    pub digest: String,
    /// The tool that found it.
    pub tool: String,
    /// The scenario that failed.
    pub scenario: String,
    /// In which execution (or after how many states) it failed.
    pub executions: u64,
    /// The first line of the failure's message.
    pub message: String,
}

/// How a weakened site was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Weakened {
    /// The mutant's name: the site's, and which half is left out if it has two.
    pub mutant: String,
    /// The tool that found it.
    pub tool: String,
    /// The scenario that failed.
    pub scenario: String,
    /// In which execution it failed.
    pub executions: u64,
    /// The first line of the failure's message.
    pub message: String,
}

/// The file of weakened sites.
pub const ORDERINGS: &str = "orderings.ndjson";

/// The file of planted mistakes.
pub const MISTAKES: &str = "mistakes.ndjson";

/// Which edges one run of a scenario took.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Edges {
    /// The tool and the scenario, with its bound.
    pub run: String,
    /// Their names, see [`crate::trace::conformance`].
    pub edges: Vec<String>,
}

/// The file of edges.
pub const EDGES: &str = "edges.ndjson";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results").join(file)
}

fn parsed<T: DeserializeOwned>(text: &str) -> io::Result<Vec<T>> {
    text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::from)).collect()
}

fn written<T: Serialize + Ord>(mut lines: Vec<T>) -> io::Result<String> {
    lines.sort();
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}

/// The lines of a file; none if there is no file yet.
///
/// # Errors
/// If it cannot be read, or a line is not one of its kind.
pub fn read<T: DeserializeOwned>(file: &str) -> io::Result<Vec<T>> {
    match fs::read_to_string(path(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => parsed(&text?),
    }
}

/// Changes the lines of a file, holding its lock: scenarios run as threads, and as processes.
///
/// # Errors
/// If it cannot be read or written.
pub fn change<T: Serialize + DeserializeOwned + Ord>(
    file: &str,
    change: impl FnOnce(&mut Vec<T>),
) -> io::Result<()> {
    let path = path(file);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file =
        fs::File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut lines = parsed(&text)?;
    change(&mut lines);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(written(lines)?.as_bytes())
}
