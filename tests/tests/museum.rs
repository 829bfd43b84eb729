//! PostgreSQL's known flaws that concern method `sync`, and what keeps handfast free of each: a test that
//! would fail, a program that would compile, or the reason why it cannot exist.
//!
//! A test is named by its file in `tests/tests` and its function, or by a path from the top of the
//! repository; a program by its file. The test below checks that all of them exist.
//!
//! | entry | the flaw | what shows that it is not here |
//! |---|---|---|
//! | B4 | local result dropped | callbacks::b4_the_local_result_reaches_the_issuer_and_nobody_else |
//! | B9 | no free handle although all are over | handles::b9_l1_acquire_succeeds_when_every_handle_is_staged |
//! | B16 | handle registered with another scope | scope::b16_s15_a_nested_scope_does_not_release_the_handle_of_an_outer_one, scope::b16_a_forgotten_scope_leaves_its_handle_to_the_scope_around_it, compile_fail/scope_used_under_nested.rs |
//! | B17 | status too narrow | callbacks::b17_each_of_the_five_statuses_arrives_and_unknown_changes_nothing, core/src/outcome.rs::b17_all_five_statuses_and_all_fields_survive_packing |
//! | B18 | side arrays overlap | handles::b18_handle_data_of_neighbours_does_not_run_into_each_other, handles::b18_handle_data_is_set_once_and_only_as_much_as_is_reserved, real/src/layout.rs::s17_side_arrays_are_disjoint |
//! | B19 | control block under-allocated | real/src/layout.rs::b19_the_largest_configuration_has_room_for_everything, real/src/layout.rs::s17_sections_are_disjoint_aligned_and_within_the_total |
//! | B20 | table indexed before its bounds are checked | real/src/registry.rs::b20_ids_are_checked_before_the_table_is_used, hostile::s26_hostile_callback_ids_run_nothing |
//! | B21 | zero handles accepted | segment::b21_each_setting_has_its_limits, real/src/config.rs::b21_no_handles_are_refused |
//! | B22 | staged IO forgotten at an end | scope::b22_what_is_staged_is_submitted_however_the_scope_ends, scope::b22_a_nested_scope_in_a_batch_submits_at_its_end_and_leaves_the_batch_open, scope::behaviour_12_13_an_open_batch_is_warned_about_and_submitted |
//! | B23 | wait for an own staged IO undecided | wait::b23_waiting_for_an_own_staged_io_submits_all_that_is_staged |
//! | B24 | a handle used that is not the one handed out | results::b24_anothers_pending_is_not_mine_and_comes_back, results::b24_a_pending_of_another_pool_is_not_mine_even_in_the_same_slot, compile_fail/two_handles.rs, compile_fail/use_after_start.rs |
//! | R1 | shutdown loses staged IO and poisons the slot | attach::r1_l7_a_detach_submits_drains_and_leaves_a_pristine_slot, compile_fail/detach_in_scope.rs |
//! | R2 | handle leaks if a stage callback fails | callbacks::r2_a_refused_stage_completes_with_an_error_and_leaks_nothing |
//! | R3 | release needs an owner that may be missing | handles::dropping_a_handle_or_releasing_it_gives_it_back, scope::behaviour_9_to_11_handles_are_usable_after_an_error_in_any_scope |
//! | R4 | result written into a frame that is gone | results::r4_results_wait_while_their_handles_are_used_again, results::r4_a_pending_dropped_while_staged_gives_its_frame_back, results::r4_pendings_of_one_handle_dropped_in_any_order_give_their_frames_back |
//! | R5 | polling an own staged IO never ends | wait::r5_check_done_submits_an_own_staged_io |
//! | R6 | an IO that never began reported as done | wait::r6_an_io_that_was_never_handed_out_is_not_done, core/src/decide/waiter.rs::r6_idle_at_the_same_generation_is_not_done |
//! | R7 | callback added unchecked or too late | handles::r7_a_fifth_or_unknown_callback_is_refused_and_changes_nothing, compile_fail/callback_after_start.rs |
//! | R10 | waiter of a handed-out handle fails | wait::r10_a_reference_made_before_the_start_waits_for_the_io |
//! | R11 | released handle reported as executed | wait::r11_waiters_of_a_released_handle_are_told_that_it_is_over, handles::a_refused_start_releases_the_handle_and_its_reference_reports_recycled |
//! | R12 | reclaim re-entered from a callback | reentry::r12_a_callback_that_waits_for_its_own_io_is_refused, reentry::s13_nothing_is_acquired_waited_for_or_finished_in_a_callback |
//! | R13 | IO started in a callback is lost | reentry::r13_nothing_is_submitted_in_a_callback, reentry::r13_a_process_that_ends_in_a_callback_leaves_its_slot_to_recovery |
//! | R14 | partial submission unnoticed | partial::r14_what_a_method_does_not_take_stays_staged_and_is_offered_again, partial::r14_what_a_method_never_takes_is_executed_in_place, scope::r14_r16_a_batch_is_executed_whole_and_in_order |
//! | R15 | late second release frees another's handle | compile_fail/release_twice.rs, compile_fail/finish_twice.rs, results::r15_a_pending_of_an_earlier_attachment_is_not_mine |
//! | R17 | more iovecs advertised than reserved | handles::r17_b18_more_buffers_than_reserved_are_refused_and_come_back |
//! | R18 | 32-bit arithmetic wraps | real/src/layout.rs::r18_extreme_settings_are_a_typed_error_or_do_not_wrap, segment::r18_settings_that_are_too_large_together_are_refused_before_memory_is_taken |
//! | R19 | forged reference reads out of bounds | wait::r19_forged_references_are_typed_errors, core/src/ids.rs::s11_invalid_bytes_are_no_reference |
//! | R20 | try_acquire submits, and misses what is over | handles::r20_try_acquire_takes_back_what_is_over_and_neither_submits_nor_waits |

use std::path::{Path, PathBuf};

/// What the issue asks for.
const ENTRIES: [&str; 28] = [
    "B4", "B9", "B16", "B17", "B18", "B19", "B20", "B21", "B22", "B23", "B24", "R1", "R2", "R3",
    "R4", "R5", "R6", "R7", "R10", "R11", "R12", "R13", "R14", "R15", "R17", "R18", "R19", "R20",
];

/// How the reason begins where no test can be written.
const IMPOSSIBLE: &str = "cannot exist: ";

/// Entry and shown-by column of each row of the table above.
fn rows() -> Vec<(&'static str, &'static str)> {
    let source = include_str!("museum.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | "));
    let cells = rows.filter_map(|row| {
        let mut cells = row.split(" | ");
        let (entry, _flaw, shown) = (cells.next()?, cells.next()?, cells.next()?);
        Some((entry, shown.strip_suffix(" |")?))
    });
    cells.filter(|(entry, _)| *entry != "entry").collect()
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Whether there is such a test, or such a program that must not compile with the message it earns.
fn exists(name: &str) -> bool {
    let Some((file, function)) = name.split_once("::") else {
        let program = tests().join(name);
        return program.exists() && program.with_extension("stderr").exists();
    };
    let path = if file.contains('/') {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
    } else {
        tests().join(file).with_extension("rs")
    };
    let Ok(source) = std::fs::read_to_string(path) else { return false };
    // A test's attribute stands right above it; what is in a doc comment does not count.
    let plain = source.split("#[test]").skip(1).any(|rest| {
        let first = rest.lines().map(str::trim).find(|line| line.starts_with("fn "));
        first.is_some_and(|line| line[3..].starts_with(&format!("{function}(")))
    });
    // Or it is in the list of those that run with every method.
    let lists = source.split("every_method! {\n").skip(1);
    let mut listed =
        lists.filter_map(|rest| rest.split_once('}')).flat_map(|(list, _)| list.lines());
    plain || listed.any(|line| line.split_whitespace().next() == Some(function))
}

#[test]
fn every_entry_has_what_shows_that_the_flaw_is_not_here() {
    let rows = rows();
    let entries: Vec<_> = rows.iter().map(|(entry, _)| *entry).collect();
    assert_eq!(entries, ENTRIES);
    for (entry, shown) in rows {
        if let Some(reason) = shown.strip_prefix(IMPOSSIBLE) {
            assert!(reason.len() > 20 && reason.ends_with('.'), "{entry}: say why");
            continue;
        }
        for name in shown.split(", ") {
            assert!(exists(name), "{entry}: {name} is not there");
        }
    }
}

#[test]
fn the_check_of_the_table_notices_what_is_missing() {
    assert!(exists("museum::the_check_of_the_table_notices_what_is_missing"));
    assert!(!exists("museum::rows"), "no test");
    assert!(!exists("museum::the_check_of_the_table"), "not the whole name");
    assert!(!exists("nowhere::at_all") && !exists("compile_fail/nothing.rs"));
}
