//! Tests of the real binary: what `handfast copy` makes, what it refuses, what it leaves behind,
//! and what `handfast doctor` says.
//!
//! Every run is checked for two things besides what its test is about: no process of it is left,
//! and no temporary file.

mod contents;
mod direct;
mod doctor;
mod help;
mod interruptions;
mod methods;
mod names;
mod refusals;
mod resources;
mod rights;
mod support;
mod terminal;
mod workers;
