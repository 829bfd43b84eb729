//! The mutant that this process runs, if it runs one: a site weakened to Relaxed, chosen by the
//! environment, so that a failing mutant fails in a process of its own.
//!
//! Checked by: `model/tests/`. Mistakes that need other code are patches, see `model/mutants/`.

use handfast_core::site::Site;
use std::sync::OnceLock;

/// The environment variable that names the one site to weaken, in the process of a mutant.
pub const WEAKEN: &str = "HANDFAST_WEAKEN";

/// The site that this process weakens to Relaxed, if it is a mutant's. Read once; a fence is
/// weakened by leaving it out.
///
/// # Panics
/// If [`WEAKEN`] names no site: a mutant that is misspelt must not pass for one that survives.
#[must_use]
pub fn weakened() -> Option<Site> {
    static CHOSEN: OnceLock<Option<Site>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var(WEAKEN).ok()?;
        let site = Site::ALL.iter().copied().find(|site| site.name() == name);
        assert!(site.is_some(), "{WEAKEN}={name} names no site: use a name from core's site list");
        site
    })
}
