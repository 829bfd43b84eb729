//! The scenarios, exhaustively, and a mutant of each that must be caught.
//!
//! A failing execution may end in an abort (loom's deadlock panics while threads are suspended), so
//! a mutant runs in a process of its own: this binary again, with one test selected and the
//! environment naming the site to weaken. The same child without a mutant has to pass, so that
//! what fails is the mutant.

use handfast_core::platform::{EventCount as _, Field as _};
use handfast_core::site::Site;
use handfast_model::explore;
use handfast_model::mutant::WEAKEN;
use handfast_model::runtime::loom::{Count, Payload};
use handfast_model::scenario::foreign_reader::ForeignReader;
use handfast_model::scenario::issuer_completer::IssuerCompleter;
use handfast_model::scenario::issuer_waiter::{IssuerWaiter, Released};
use std::process::{Command, Output};
use std::sync::Arc;

#[test]
fn issuer_completer() {
    explore::loom::<IssuerCompleter>(None);
}

#[test]
fn issuer_waiter() {
    explore::loom::<IssuerWaiter>(None);
}

#[test]
fn issuer_waiter_released() {
    explore::loom::<Released>(None);
}

#[test]
fn foreign_reader() {
    explore::loom::<ForeignReader>(None);
}

#[test]
fn s7_issuer_completer_notices_a_relaxed_publish() {
    assert_caught("issuer_completer", Site::Publish, &["S14: local", "S7: over", "race: "]);
}

#[test]
fn l4_issuer_waiter_notices_a_relaxed_ticket() {
    assert_caught("issuer_waiter", Site::CountTicket, &["deadlock; threads"]);
}

#[test]
fn s7_issuer_waiter_released_notices_a_relaxed_release() {
    assert_caught("issuer_waiter_released", Site::ReleaseHandle, &["S7: over"]);
}

#[test]
fn s9_foreign_reader_notices_a_missing_fence() {
    assert_caught("foreign_reader", Site::OutcomeFence, &["S9: the result of another"]);
}

/// The scenario's test alone, in a new process.
fn child(test: &str, weaken: Option<Site>) -> Output {
    let binary = std::env::current_exe().expect("a test binary has a path");
    let mut command = Command::new(binary);
    command.args(["--exact", test, "--nocapture"]).env_remove(WEAKEN);
    if let Some(site) = weaken {
        command.env(WEAKEN, site.name());
    }
    command.output().expect("the test binary starts")
}

/// The scenario fails with one of these messages when the site is weakened, and passes when not.
fn assert_caught(test: &str, site: Site, messages: &[&str]) {
    let sound = child(test, None);
    assert!(sound.status.success(), "{test} fails without a mutant: {}", text(&sound));
    let mutant = child(test, Some(site));
    let said = text(&mutant);
    assert!(!mutant.status.success(), "{test} does not notice a relaxed {}: {said}", site.name());
    assert!(
        messages.iter().any(|message| said.contains(message)),
        "{test} fails with a relaxed {}, but not as expected: {said}",
        site.name()
    );
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The model's event count itself: a post between ticket and sleep makes the sleep return, a later
/// one wakes it, and nothing else ends it.
#[test]
fn event_count_wakes_only_by_a_post() {
    explore::every_execution(|| {
        let shared = Arc::new((Count::new(), Payload::new(0)));
        let poster = loom::thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.set(1);
                shared.0.post();
            }
        });
        loop {
            let ticket = shared.0.ticket();
            if shared.1.peek() == 1 {
                break;
            }
            let _look_again = shared.0.sleep(ticket, 1);
        }
        assert!(poster.join().is_ok());
    });
}
