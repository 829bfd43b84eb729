//! Shared by the tests of handfast: how to start another program that attaches to a pool
//! ([`participant`]), and the callbacks that both sides register ([`callbacks`]).

pub mod callbacks;
pub mod participant;

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

use handfast::{Method, Pool, PoolBuilder};
use std::cell::Cell;

thread_local! {
    static METHOD: Cell<Method> = const { Cell::new(Method::Sync) };
}

/// Settings of a pool whose IO is executed as the running test wants it: [`with_method`], else in place.
pub fn builder() -> PoolBuilder {
    Pool::builder().method(METHOD.get())
}

/// Runs a test with this method.
pub fn with_method<R>(method: Method, test: impl FnOnce() -> R) -> R {
    let before = METHOD.replace(method);
    let result = test();
    METHOD.set(before);
    result
}
