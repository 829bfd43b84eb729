//! Shared by the tests of handfast: how to start another program that attaches to a pool
//! ([`participant`]), the callbacks that both sides register ([`callbacks`]), pools for every method
//! ([`pool`]), and what the processes of a soak do ([`soak`]).

pub mod callbacks;
pub mod participant;
pub mod pool;
pub mod soak;

pub use pool::{Builder, TestPool, builder, method, with_method};

use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; a test that is stuck ends after this.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds: the one place where a test waits for something that it cannot be
/// told of.
///
/// # Panics
/// If that does not happen in [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "this did not happen in time: {what}");
        std::thread::yield_now();
    }
}

/// Lets time pass, for what must not happen in it: the one place where a test sleeps.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
