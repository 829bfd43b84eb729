//! The known bugs of PostgreSQL's asynchronous IO, and how the model would notice each of them here.
//!
//! | ids | what they are |
//! |---|---|
//! | B1 … B29 | mended there |
//! | U1 … U6 | known there |
//! | R1 … R28 | found by reasoning |
//!
//! Each is planted by patches in `model/mutants/`, which name it in their head, or by the weakening of a
//! site; or closed by a sentence: why it cannot exist here, or what else shows that it does not. What
//! concerns memory layout, types and system calls is shown in the real library, see
//! `tests/tests/museum.rs`. Checked by: `model/tests/lists.rs`.

/// How an entry is dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// By patches that name it; and by weakening these sites.
    Planted(&'static [&'static str]),
    /// It cannot be planted in the protocol, and why.
    Closed(&'static str),
}

/// An entry of the museum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number.
    pub id: &'static str,
    /// The bug, in a few words.
    pub bug: &'static str,
    /// What shows that it would be noticed.
    pub shown: Shown,
}

const fn planted(id: &'static str, bug: &'static str) -> Entry {
    Entry { id, bug, shown: Shown::Planted(&[]) }
}

const fn weakened(id: &'static str, bug: &'static str, sites: &'static [&'static str]) -> Entry {
    Entry { id, bug, shown: Shown::Planted(sites) }
}

const fn closed(id: &'static str, bug: &'static str, sentence: &'static str) -> Entry {
    Entry { id, bug, shown: Shown::Closed(sentence) }
}

/// All of them.
pub const ALL: &[Entry] = &[
    weakened("B1", "result read without acquiring it", &["ScanLook"]),
    planted("B2", "a neighbour's bits lost in a store"),
    weakened("B3", "state and generation read out of order", &["WaitLook"]),
    planted("B4", "the local result dropped"),
    planted("B5", "fields reset before the generation moved"),
    planted("B6", "an entry point entered again from inside"),
    planted("B7", "an executor that leaves between submission and completion"),
    planted("B8", "staged IO kept while its process blocks"),
    planted("B9", "no free handle, although submitting has freed them"),
    closed(
        "B10",
        "file closed under an IO",
        "the protocol knows no files: an IO holds its target's file until it is over, see tests/tests/files.rs",
    ),
    closed(
        "B11",
        "worker's file closed between opening and use",
        "the executor holds the file for the whole call, see tests/tests/files.rs",
    ),
    planted("B12", "a completion read after its place was given back"),
    closed(
        "B13",
        "a worker that left is still marked as idle",
        "the doorbell counts sleepers and names none, so that one too many costs a needless wake-up and loses nothing",
    ),
    planted("B14", "the wake-up of a worker that leaves is lost"),
    planted("B15", "asking whether it is over moves nothing"),
    closed(
        "B16",
        "handle registered with another scope",
        "a scope is a number that the handle keeps from acquire on, not a surrounding: tests/tests/scope.rs, b16_s15_a_nested_scope_does_not_release_the_handle_of_an_outer_one",
    ),
    closed(
        "B17",
        "status too narrow",
        "five statuses in three bits: core/src/outcome.rs, b17_all_five_statuses_and_all_fields_survive_packing",
    ),
    closed(
        "B18",
        "arrays of neighbours overlap",
        "no interleaving is needed to see it: real/src/layout.rs, s17_side_arrays_are_disjoint",
    ),
    closed(
        "B19",
        "control block under-allocated",
        "sizes are computed once and checked: real/src/layout.rs, b19_the_largest_configuration_has_room_for_everything",
    ),
    closed(
        "B20",
        "table indexed before its bounds are checked",
        "the tables are slices, and an index out of bounds is a value: real/src/registry.rs, b20_ids_are_checked_before_the_table_is_used",
    ),
    closed(
        "B21",
        "no handles accepted",
        "refused when a pool is configured: real/src/config.rs, b21_no_handles_are_refused",
    ),
    planted("B22", "staged IO forgotten at an end"),
    planted("B23", "waiting for an own staged IO"),
    closed(
        "B24",
        "another handle used than the one handed out",
        "a token of the handle in its present use is needed, and there is one at a time: i-token is planted, and tests/tests/compile_fail/two_handles.rs does not compile",
    ),
    closed(
        "B25",
        "waiting for others' IO at issue time",
        "not a bug but a cost: a reference can be kept and waited for later, which is what wait_ref is for",
    ),
    closed(
        "B26",
        "workers queue up for the queue's lock",
        "there is no queue and no lock: the hint is a bitmap, the word the truth",
    ),
    closed(
        "B27",
        "configuration not re-read, sentinels of two types, inverted tests",
        "no such configuration or sentinel exists: optional values are Options, settings are fixed when the pool is made",
    ),
    closed(
        "B28",
        "a test that could not fail",
        "this table is what keeps it away: each scenario has mutants that make it fail",
    ),
    planted("B29", "condition checked, then registered as a waiter"),
    planted("U1", "a waiter for a staged IO that nobody wakes at its submission"),
    closed(
        "U2",
        "resource busy before its reference is there",
        "a reference exists from acquire on, so that it is stored together with the mark: wait_ref of a handed-out handle",
    ),
    planted("U3", "executed in place without saying so before the submission"),
    planted("U4", "an abandoned IO keeps its handle until the next call"),
    closed(
        "U5",
        "ring resources leaked by a restart after a crash",
        "no process restarts others here; the kernel frees the ring of a process that died",
    ),
    closed(
        "U6",
        "wait events not reported",
        "there are none: timed waits and views say what is waited for",
    ),
    planted("R1", "a detach loses staged IO and poisons the slot"),
    planted("R2", "a handle leaks when its stage callback fails"),
    closed(
        "R3",
        "release needs an owner that may be missing",
        "every handle has a scope, the outermost being 0: tests/tests/handles.rs, dropping_a_handle_or_releasing_it_gives_it_back",
    ),
    planted("R4", "result delivered when its place may be gone"),
    planted("R5", "asking about an own staged IO never ends"),
    planted("R6", "an IO that has not begun is said to be over"),
    planted("R7", "the request changes after its start"),
    weakened("R8", "recycled learnt without acquiring", &["HandOut", "Retire"]),
    planted("R9", "a decision from a field without a look afterwards"),
    planted("R10", "a waiter for a handed-out handle fails"),
    planted("R11", "a released handle reported as executed"),
    planted("R12", "reclaim entered again from a callback"),
    planted("R13", "IO started inside a callback is lost"),
    planted("R14", "a partial submission unnoticed"),
    planted("R15", "a late second release hits the next use"),
    planted("R16", "an IO in place overtakes staged ones"),
    closed(
        "R17",
        "more buffers advertised than reserved",
        "the slice that is handed out has the reserved length: tests/tests/handles.rs, r17_b18_more_buffers_than_reserved_are_refused_and_come_back",
    ),
    closed(
        "R18",
        "32-bit offsets wrap",
        "computed with checks once: real/src/layout.rs, r18_extreme_settings_are_a_typed_error_or_do_not_wrap",
    ),
    closed(
        "R19",
        "forged references",
        "checked before memory is touched, no interleaving needed: tests/tests/wait.rs, r19_forged_references_are_typed_errors",
    ),
    planted("R20", "acquire without waiting misses what is over"),
    closed(
        "R21",
        "a raw error looks like success",
        "no interleaving is needed: core/src/outcome.rs, r21_untranslated_negative_result_is_an_error",
    ),
    planted("R22", "a worker loses an IO that it has taken"),
    closed(
        "R23",
        "a queue held while sleeping",
        "the reap lock is held around one entry and never in the kernel; holding it there would delay, which no model without time shows",
    ),
    closed(
        "R24",
        "old state under a new generation",
        "state and generation are one word, written by one access",
    ),
    planted("R25", "the completer touches the handle after publishing"),
    planted("R26", "a process dies"),
    closed(
        "R27",
        "flags that forbid foreign reaping",
        "nobody reaps a foreign ring: the reaper thread of the issuer does, so that those flags may be used",
    ),
    closed(
        "R28",
        "pointers in shared memory",
        "the segment holds indexes and offsets; what only a process needs is private: core/src/handle.rs",
    ),
];

/// The entry of this number.
#[must_use]
pub fn named(id: &str) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.id == id)
}
