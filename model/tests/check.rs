//! The API with which users check their own callbacks, by its example: sound, it passes; with a mistake,
//! the right scene finds it, and says so in words.
//!
//! loom may abort the process in which it finds something, so each check is a process of its own: this
//! binary again, with one test selected and the mistake in the environment.

#[path = "../examples/buffer_manager/buffer.rs"]
mod buffer;
#[path = "../examples/buffer_manager/checked.rs"]
mod checked;

use buffer::Bug;
use checked::BufferManager;
use handfast_model::check::Checker;
use std::process::{Command, Output};

const PLANT: &str = "HANDFAST_TEST_PLANT";
const BUGS: [(&str, Bug); 5] = [
    ("lost-flag", Bug::LostFlag),
    ("not-idempotent", Bug::NotIdempotent),
    ("early-valid", Bug::EarlyValid),
    ("relaxed-valid", Bug::RelaxedValid),
    ("uses-pool", Bug::UsesPool),
];

fn checker() -> Checker<BufferManager> {
    let name = std::env::var(PLANT).unwrap_or_default();
    checked::plant(BUGS.iter().find(|(planted, _)| *planted == name).map(|(_, bug)| *bug));
    Checker::new("buffer manager").preemptions(Some(1)).exit_on_failure(1)
}

#[test]
fn a_sound_callback_passes_under_loom() {
    let report = checker().under_loom();
    assert!(report.repeats > 0, "RC39: no callback ran again after a death");
}

#[test]
fn a_sound_callback_passes_under_shuttle() {
    let report = checker().under_shuttle(5_000, 1);
    assert!(report.repeats > 0, "RC39: no callback ran again after a death");
}

#[test]
fn the_code_that_is_checked_is_the_code_of_production() {
    let header = buffer::Header(std::sync::atomic::AtomicU64::new(0));
    header.read_begins();
    assert!(!header.pin() && header.pins() == 2);
    header.read_is_over(true, None);
    header.unpin();
    assert!(header.is_valid() && header.pins() == 0);
}

#[test]
fn s2_a_change_that_a_store_wipes_out_is_found() {
    for tool in ["loom", "shuttle"] {
        assert_found("lost-flag", tool, "onlooker", "");
    }
}

#[test]
fn rc39_a_callback_that_is_not_idempotent_is_found() {
    for tool in ["loom", "shuttle"] {
        assert_found("not-idempotent", tool, "death", "");
    }
}

#[test]
fn s7_a_buffer_that_is_valid_too_early_is_found() {
    for tool in ["loom", "shuttle"] {
        assert_found("early-valid", tool, "onlooker", "");
    }
}

#[test]
fn s7_a_flag_that_publishes_nothing_is_found_where_memory_is_weak() {
    assert_found("relaxed-valid", "loom", "onlooker", "race: ");
    let blind = child("relaxed-valid", "shuttle");
    assert!(
        blind.status.success(),
        "shuttle's memory is sequentially consistent: {}",
        text(&blind)
    );
}

#[test]
fn s13_a_callback_that_uses_the_pool_is_found() {
    for tool in ["loom", "shuttle"] {
        assert_found("uses-pool", tool, "waiter", "S13: ");
    }
}

/// One of the two tests above, in a new process, with this mistake.
fn child(bug: &str, tool: &str) -> Output {
    let binary = std::env::current_exe().expect("a test binary has a path");
    let test = format!("a_sound_callback_passes_under_{tool}");
    let mut command = Command::new(binary);
    command.args(["--exact", &test, "--nocapture"]).env(PLANT, bug);
    command.output().expect("the test binary starts")
}

fn assert_found(bug: &str, tool: &str, scene: &str, what: &str) {
    let found = child(bug, tool);
    let said = text(&found);
    assert_eq!(found.status.code(), Some(1), "{tool} does not find {bug}: {said}");
    let head = format!("FAULT FOUND under {tool}, in the scene with the {scene}");
    assert!(said.contains(&head), "{said}");
    assert!(said.contains(&format!("what happened: {what}")), "{said}");
    assert!(said.contains("what it means: "), "{said}");
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}
