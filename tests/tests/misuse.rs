//! Misuse that does not compile, and uses that must.
//!
//! The expected messages in `compile_fail/*.stderr` are those of the compiler in `rust-version`; after a
//! change of it `TRYBUILD=overwrite cargo test -p handfast-tests --test misuse` writes them anew, and
//! the diff is to be read: each must still fail for the reason its first line gives.

use handfast::{File, Frame, Pending, Pool, Process, Region, WaitRef};

#[test]
fn misuse_does_not_compile_and_use_does() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
    cases.pass("tests/compile_pass/*.rs");
}

/// Two implementations apply to a type that is `Sync`, so that naming the function is ambiguous then.
trait NotSync<Which> {
    fn holds() {}
}

impl<T> NotSync<()> for T {}
impl<T: Sync> NotSync<u8> for T {}

#[test]
fn a_process_is_sent_to_a_thread_but_not_shared_between_threads() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<Process<'static>>();
    // Does not compile if a `&Process` could be used by two threads (S22).
    <Process<'static> as NotSync<_>>::holds();
    sent::<Pending<'static, Frame<'static>>>();
    sent::<Frame<'static>>();
    shared::<Pool>();
    shared::<File<'static>>();
    shared::<Region>();
    shared::<WaitRef>();
}
