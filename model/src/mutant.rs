//! The mutant that this process runs, if it runs one: a site weakened, chosen by the environment, so that a
//! failing mutant fails in a process of its own.
//!
//! A site that both acquires and publishes has two mutants, one without each half: a scenario that notices
//! when both are missing may need only one of them.
//! Or a mistake was planted in its source, see [`crate::mutants`]. Checked by: `model/tests/`.

#![expect(clippy::disallowed_types, reason = "a mutant is a site with another ordering")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the list of orderings is open")]

use handfast_core::site::Site;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// The environment variable that names the mutant, in its process.
pub const WEAKEN: &str = "HANDFAST_WEAKEN";

/// A site with a weaker ordering. Its name is the site's, or `Site-acquire`, `Site-release` for one
/// without that half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mutant {
    /// The site.
    pub site: Site,
    /// What is left of its ordering; a fence of which nothing is left is left out.
    pub left: Ordering,
}

impl Mutant {
    /// All mutants of all sites that are not Relaxed already.
    pub fn all() -> impl Iterator<Item = Self> {
        Site::ALL.iter().flat_map(|&site| Self::of(site))
    }

    /// The mutants of a site.
    fn of(site: Site) -> impl Iterator<Item = Self> {
        let left = match site.ordering() {
            Ordering::Acquire | Ordering::Release => [Some(Ordering::Relaxed), None],
            Ordering::AcqRel => [Some(Ordering::Acquire), Some(Ordering::Release)],
            // There is no SeqCst site; core's own test says so.
            _ => [None, None],
        };
        left.into_iter().flatten().map(move |left| Self { site, left })
    }

    /// The mutant of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|mutant| mutant.to_string() == name)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.site.name())?;
        match self.left {
            Ordering::Acquire => f.write_str("-release"),
            Ordering::Release => f.write_str("-acquire"),
            _ => Ok(()),
        }
    }
}

/// The environment variable that says what is wrong with this program's source, where a mistake was
/// planted in it.
pub const PLANTED: &str = "HANDFAST_PLANTED";

/// What is wrong with this process, for people, if it is a mutant of either kind: what it counts is not
/// compared with the pins.
#[must_use]
pub fn what_is_planted() -> Option<String> {
    let Some(Mutant { site, left }) = chosen() else { return std::env::var(PLANTED).ok() };
    Some(format!(
        "the ordering of site {} is {left:?} instead of {:?}; its partner: {}. {}",
        site.name(),
        site.ordering(),
        site.partner(),
        site.meaning().trim()
    ))
}

/// Whether [`WEAKEN`], if it is set, names a mutant: to be asked before anything runs, because a panic
/// inside of loom may never come out.
///
/// # Errors
/// What to say if it does not.
pub fn checked() -> Result<(), String> {
    match std::env::var(WEAKEN) {
        Ok(name) if Mutant::named(&name).is_none() => {
            Err(format!("{WEAKEN}={name} names no mutant: use a name from `orderings`"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The mutant that this process is to run. Read once.
///
/// # Panics
/// If [`WEAKEN`] names none: a mutant that is misspelt must not pass for one that survives.
#[must_use]
pub fn chosen() -> Option<Mutant> {
    static CHOSEN: OnceLock<Option<Mutant>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var(WEAKEN).ok()?;
        let mutant = Mutant::named(&name);
        assert!(mutant.is_some(), "{WEAKEN}={name} names no mutant: use a name from `orderings`");
        mutant
    })
}

/// The site that this process weakens, if it is a mutant's.
#[must_use]
pub fn weakened() -> Option<Site> {
    chosen().map(|mutant| mutant.site)
}

/// The ordering of a site in this process.
#[must_use]
pub fn ordering(site: Site) -> Ordering {
    match chosen() {
        Some(mutant) if mutant.site == site => mutant.left,
        Some(_) | None => site.ordering(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ordered_site_has_a_mutant_for_each_half_and_finds_it_by_name() {
        let names: Vec<_> = Mutant::all().map(|mutant| mutant.to_string()).collect();
        assert!(names.contains(&"Start".to_owned()) && !names.contains(&"Claim".to_owned()));
        assert!(names.contains(&"Finish-acquire".to_owned()), "{names:?}");
        assert!(names.contains(&"Finish-release".to_owned()), "{names:?}");
        for mutant in Mutant::all() {
            assert_eq!(Mutant::named(&mutant.to_string()), Some(mutant));
        }
    }
}
