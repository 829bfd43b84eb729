//! One planted mistake: a file `model/mutants/NAME.patch`, a head of a few lines and a unified diff.
//!
//! | line of the head | says |
//! |---|---|
//! | `Museum:` | the entries of the museum that it plants, if any |
//! | `Rule:` | the rules of the protocol that it drops, if any (see [`crate::rules`]) |
//! | `Mistake:` | in one sentence what is wrong, and why that is bad |
//! | `Breaks:` | the invariants that it is expected to break |
//! | `Caught:` | the tool and the scenario that must fail |
//! | `Message:` | part of the message of that failure |
//!
//! A head that lacks a line, or has one that is not known, is an error, and so is a diff that does
//! not apply to the sources as they are. Checked by: the unit tests below and `model/tests/lists.rs`.

use crate::scenario::Entry;
use std::path::{Path, PathBuf};

/// What a scenario runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    /// Every interleaving up to a bound, with weak memory.
    Loom,
    /// Random interleavings.
    Shuttle,
    /// Every state, breadth first.
    Search,
}

impl Tool {
    /// Its name: also the subcommand of the program that runs it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loom => "loom",
            Self::Shuttle => "shuttle",
            Self::Search => "search",
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::Loom, Self::Search, Self::Shuttle];

    /// Whether a scenario is planned to run in it.
    #[must_use]
    pub const fn runs(self, entry: &Entry) -> bool {
        match self {
            Self::Loom => entry.plan.loom.is_some(),
            Self::Shuttle => entry.plan.shuttle.is_some(),
            Self::Search => entry.plan.search.is_some(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

/// Why a mistake cannot be planted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The list or a file of it cannot be read.
    #[error("{} cannot be read ({source}): run from a complete checkout", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The head is not as the table says.
    #[error("{name}.patch: {what}: see the table in model/src/mutants/mistake.rs")]
    Head {
        /// The mistake.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The diff is not one, or its context is not in the sources any more.
    #[error("{name}.patch does not apply to {file} ({what}): make it again on the present source")]
    Diff {
        /// The mistake.
        name: String,
        /// Which file of the checkout.
        file: String,
        /// What is wrong.
        what: String,
    },
}

/// A planted mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The file's name without its ending.
    pub name: String,
    /// The entries of the museum that it plants.
    pub museum: Vec<String>,
    /// The rules that it drops.
    pub rules: Vec<String>,
    /// What is wrong, in one sentence.
    pub about: String,
    /// The invariants that it is expected to break.
    pub breaks: Vec<String>,
    /// What must catch it.
    pub tool: Tool,
    /// The scenario that must fail.
    pub scenario: String,
    /// Part of the message with which it must fail.
    pub message: String,
    /// The whole file: what a result belongs to.
    text: String,
}

impl Mistake {
    /// Reads the file of this name from the list.
    ///
    /// # Errors
    /// If there is no such file, or its head is not complete.
    pub fn read(name: &str) -> Result<Self, Error> {
        let path = folder().join(name).with_extension("patch");
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
        Self::parse(name, text)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn all() -> Result<Vec<Self>, Error> {
        names()?.iter().map(|name| Self::read(name)).collect()
    }

    fn parse(name: &str, text: String) -> Result<Self, Error> {
        let wrong = |what: String| Error::Head { name: name.to_owned(), what };
        let head: Vec<_> = text.lines().take_while(|line| !line.starts_with("---")).collect();
        for line in head.iter().filter(|line| !line.is_empty()) {
            let key = line.split(':').next().unwrap_or_default();
            if !["Museum", "Rule", "Mistake", "Breaks", "Caught", "Message"].contains(&key) {
                return Err(wrong(format!("the head has a line {line:?}")));
            }
        }
        let find = |key: &str| {
            head.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim)
        };
        let need = |key: &str| find(key).ok_or_else(|| wrong(format!("the head has no {key}:")));
        let list = |key: &str| -> Vec<String> {
            find(key).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let (museum, rules) = (list("Museum"), list("Rule"));
        if museum.is_empty() && rules.is_empty() {
            return Err(wrong("the head has neither Museum: nor Rule:".to_owned()));
        }
        let (about, message) = (need("Mistake")?.to_owned(), need("Message")?.to_owned());
        need("Breaks")?;
        let caught = need("Caught")?.split_once(' ');
        let (tool, scenario) = caught
            .and_then(|(tool, scenario)| Some((Tool::named(tool)?, scenario.to_owned())))
            .ok_or_else(|| wrong("Caught: names no tool and scenario".to_owned()))?;
        let (name, breaks) = (name.to_owned(), list("Breaks"));
        Ok(Self { name, museum, rules, about, breaks, tool, scenario, message, text })
    }

    /// The files that it changes, from the top of the checkout.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        self.diffs().iter().filter_map(|diff| file_of(diff)).collect()
    }

    /// What each of its files becomes, from what `read` says that it is.
    ///
    /// # Errors
    /// [`Error::Diff`], if the context of a hunk is not there.
    pub fn apply(
        &self,
        read: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<Vec<(String, String)>, Error> {
        let diffs = self.diffs();
        let changed = diffs.iter().map(|diff| {
            let file = file_of(diff).unwrap_or("no file");
            let wrong =
                |what: String| Error::Diff { name: self.name.clone(), file: file.to_owned(), what };
            let patch = diffy::Patch::from_str(diff).map_err(|error| wrong(error.to_string()))?;
            let source = read(file).map_err(|error| wrong(error.to_string()))?;
            let planted =
                diffy::apply(&source, &patch).map_err(|error| wrong(error.to_string()))?;
            Ok((file.to_owned(), planted))
        });
        let changed: Vec<_> = changed.collect::<Result<_, _>>()?;
        if changed.is_empty() {
            let (name, what) = (self.name.clone(), "it has no diff".to_owned());
            return Err(Error::Diff { name, file: "any file".to_owned(), what });
        }
        Ok(changed)
    }

    /// The diff of each file.
    fn diffs(&self) -> Vec<&str> {
        let starts = self.text.match_indices("--- a/").map(|(at, _)| at);
        let starts: Vec<_> =
            starts.filter(|&at| at == 0 || self.text.as_bytes()[at - 1] == b'\n').collect();
        let ends = starts.iter().skip(1).copied().chain([self.text.len()]);
        starts.iter().zip(ends).map(|(&start, end)| &self.text[start..end]).collect()
    }

    /// A number that changes with the file, so that a result of another version is noticed.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("{:016x}", fnv(self.text.as_bytes()))
    }
}

/// Fowler, Noll and Vo's hash, for noticing changes.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The path after `--- a/`.
fn file_of(diff: &str) -> Option<&str> {
    diff.strip_prefix("--- a/")?.lines().next()?.split_whitespace().next()
}

/// Where the patches are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants")
}

/// The names of all mistakes, sorted.
///
/// # Errors
/// If the folder cannot be read.
pub fn names() -> Result<Vec<String>, Error> {
    let failed = |source| Error::Read { path: folder(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder()).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "patch")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
Museum: B1
Mistake: two becomes three, so that nothing adds up.
Breaks: S7 L4
Caught: loom counting
Message: S7: over

--- a/core/numbers
+++ b/core/numbers
@@ -1,3 +1,3 @@
 one
-two
+three
 four
--- a/core/others
+++ b/core/others
@@ -1,1 +1,1 @@
-five
+six
";

    fn read(file: &str) -> std::io::Result<String> {
        let numbers = file == "core/numbers";
        Ok(if numbers { "zero\none\ntwo\nfour\n" } else { "five\n" }.to_owned())
    }

    #[test]
    fn a_patch_is_read_and_applies_to_each_of_its_files() {
        let mistake = Mistake::parse("example", FILE.to_owned()).unwrap();
        assert_eq!(mistake.museum, ["B1"]);
        assert_eq!(mistake.breaks, ["S7", "L4"]);
        assert_eq!((mistake.tool, mistake.scenario.as_str()), (Tool::Loom, "counting"));
        assert_eq!(mistake.files(), ["core/numbers", "core/others"]);
        let planted = mistake.apply(read).unwrap();
        assert_eq!(planted[0].1, "zero\none\nthree\nfour\n");
        assert_eq!(planted[1].1, "six\n");
    }

    #[test]
    fn a_patch_whose_context_is_gone_does_not_apply() {
        let mistake = Mistake::parse("example", FILE.to_owned()).unwrap();
        let other = mistake.apply(|_| Ok("one\nfive\nfour\n".to_owned()));
        assert!(matches!(other, Err(Error::Diff { .. })), "{other:?}");
    }

    #[test]
    fn a_head_must_be_complete_and_known() {
        for (line, by) in [("Mistake:", "Mistakes:"), ("Breaks: S7 L4\n", ""), ("loom", "gloom")] {
            let text = FILE.replace(line, by);
            assert!(Mistake::parse("example", text).is_err(), "{line} -> {by}");
        }
        let neither = FILE.replace("Museum: B1\n", "");
        assert!(Mistake::parse("example", neither).is_err());
    }
}
