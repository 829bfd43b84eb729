//! Mistakes that are planted in copies of the source, each of which some scenario must notice.
//!
//! | module | does |
//! |---|---|
//! | [`mistake`] | reads `model/mutants/NAME.patch` |
//! | [`copy`] | plants it in a copy of the checkout and builds that |
//! | [`child`] | runs a scenario of the built program in a process of its own |
//! | [`results`] | keeps what was found, for `COVERAGE.md` |
//! | [`select`] | chooses those that a change concerns |
//! | [`run`] | does all of it for a list of mistakes, and prints a table |
//!
//! A mistake counts as caught if its scenario fails in its tool with the message that its patch
//! names; a scenario that passes, a failure for another reason, a patch that does not apply or does not
//! compile fails the run.

pub mod child;
pub mod copy;
pub mod mistake;
pub mod results;
pub mod run;
pub mod select;
