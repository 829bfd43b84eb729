//! Says what a failed check means: once, before the panic goes on.
//!
//! The text is printed from the panic hook, because loom may abort the process while it unwinds.
//! A hook is the process's own; this one speaks only for the thread that checks.
//!
//! Checked by: `model/tests/check.rs`.

use crate::trace::columns;
use crate::{explore, walk, witness};
use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::Once;

#[derive(Clone, Copy)]
struct Check {
    name: &'static str,
    tool: &'static str,
    scene: &'static str,
    exit: Option<i32>,
}

thread_local! {
    static CHECK: Cell<Option<Check>> = const { Cell::new(None) };
}

/// From now on a panic of this thread is explained.
pub(super) fn begin(name: &'static str, tool: &'static str, exit: Option<i32>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // shuttle sets a hook of its own before its first execution; it would speak before this one.
        explore::nothing();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match CHECK.take() {
            Some(check) => tell(check, info),
            None => before(info),
        }));
    });
    CHECK.set(Some(Check { name, tool, scene: "", exit }));
}

pub(super) fn scene(scene: &'static str) {
    CHECK.set(CHECK.get().map(|check| Check { scene, ..check }));
}

pub(super) fn end() {
    CHECK.set(None);
}

fn tell(check: Check, info: &PanicHookInfo<'_>) {
    let Check { name, tool, scene, exit } = check;
    let said = info.payload_as_str().unwrap_or("a panic without a text");
    eprintln!("\n{name}: FAULT FOUND under {tool}, in the scene with the {scene}\n");
    eprintln!("  what happened: {said}");
    if let Some(place) = info.location() {
        eprintln!("  where:         {}:{}", place.file(), place.line());
    }
    eprintln!("  what it means: {}", meaning(said));
    if tool == "shuttle" {
        eprintln!("  seed:          {} (under_shuttle(1, seed) repeats it)", walk::at().seed);
    }
    eprintln!(
        "\nwhat happened until then:\n{}\n\n{}",
        columns::LEGEND,
        columns::table(&witness::lines())
    );
    if let Some(code) = exit {
        std::process::exit(code);
    }
}

/// In words that need no knowledge of the model.
fn meaning(said: &str) -> &'static str {
    const MEANINGS: &[(&str, &str)] = &[
        (
            "race: ",
            "one process read or wrote a plain field while another one wrote it, or before the write was \
             visible to it. Something said too early that the field may be used, or said it without \
             Release, or was read without Acquire.",
        ),
        (
            "state: ",
            "the callback leaves something else behind in this order than in the simple one. Either two \
             processes changed a word at the same time and one change was lost (a load and a store instead \
             of one read-modify-write), or the callback ran a second time after a death and did \
             its work twice (it must be idempotent: look at `io.repeat`, or at your own word).",
        ),
        (
            "S13",
            "a callback runs while its IO is not over yet, on any thread: waiting for IO there can wait for \
             itself, so every entry point refuses.",
        ),
        ("S1", "the callback of one IO ran more often than it may."),
        (
            "deadlock",
            "everybody who is left waits, and nobody will wake them: the callback blocks, or it keeps a \
             thread from its work.",
        ),
        (
            "exceeded max_steps",
            "the execution does not end: a loop of the callback waits for something that no other thread \
             does.",
        ),
    ];
    let found = MEANINGS.iter().find(|(begins, _)| said.starts_with(begins));
    found.map_or(
        "an assertion of the application does not hold in this order of events.",
        |(_, means)| means,
    )
}
