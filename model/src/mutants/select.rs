//! Chooses the mistakes that a change of the source concerns.
//!
//! A mistake is run if one of the files that it patches has changed since a revision, or its own patch
//! has. If that is too many for CI, those are taken that lie evenly over the list; a change that concerns
//! every mistake (anything of the model) takes such a sample, too. The wide level runs all.

use super::copy::checkout;
use super::mistake::{Error, Mistake};
use std::collections::BTreeSet;
use std::process::Command;

/// How many fit into CI's time: a mistake takes five to ten seconds.
pub const MOST: usize = 40;

/// What every mistake depends on.
const SHARED: [&str; 3] = ["model/src/", "core/src/platform.rs", "core/src/site.rs"];

/// Why nothing could be chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// git says no.
    #[error("git cannot tell what has changed since {revision}: {said}")]
    Git {
        /// Since when.
        revision: String,
        /// What git said.
        said: String,
    },
    /// A patch cannot be read.
    #[error(transparent)]
    Patch(#[from] Error),
}

/// The mistakes that CI runs for the changes since this revision.
///
/// # Errors
/// If git does not know the revision, or a patch cannot be read.
pub fn changed_since(revision: &str) -> Result<Vec<Mistake>, Failed> {
    let failed = |said: String| Failed::Git { revision: revision.to_owned(), said };
    let changed = Command::new("git")
        .args(["diff", "--name-only", "--relative", revision, "--"])
        .current_dir(checkout())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !changed.status.success() {
        return Err(failed(String::from_utf8_lossy(&changed.stderr).into_owned()));
    }
    let changed = String::from_utf8_lossy(&changed.stdout).into_owned();
    let changed: BTreeSet<_> = changed.lines().collect();
    let all = Mistake::all()?;
    Ok(chosen(all, &changed))
}

fn chosen(all: Vec<Mistake>, changed: &BTreeSet<&str>) -> Vec<Mistake> {
    let own = |mistake: &Mistake| {
        let patch = format!("model/mutants/{}.patch", mistake.name);
        changed.contains(patch.as_str()) || mistake.files().iter().any(|it| changed.contains(it))
    };
    let everybody = changed.iter().any(|file| SHARED.iter().any(|part| file.starts_with(part)));
    let concerned: Vec<_> = all.into_iter().filter(|it| everybody || own(it)).collect();
    let (many, most) = (concerned.len(), concerned.len().min(MOST));
    // Every index that is the first of its share of the list.
    let is_chosen = |index: usize| index * most / many.max(1) != (index + 1) * most / many.max(1);
    let chosen = concerned.into_iter().enumerate().filter(|(index, _)| is_chosen(*index));
    chosen.map(|(_, mistake)| mistake).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_chooses_the_mistakes_in_its_file_and_no_more_than_fit() {
        let all = Mistake::all().unwrap();
        let none = chosen(all.clone(), &BTreeSet::from(["README.md"]));
        assert!(none.is_empty());
        let waiter = chosen(all.clone(), &BTreeSet::from(["core/src/decide/waiter.rs"]));
        assert!(!waiter.is_empty() && waiter.len() <= MOST);
        assert!(waiter.iter().all(|it| it.files().contains(&"core/src/decide/waiter.rs")));
        let every = chosen(all.clone(), &BTreeSet::from(["model/src/runtime/loom.rs"]));
        assert_eq!(every.len(), all.len().min(MOST));
    }
}
