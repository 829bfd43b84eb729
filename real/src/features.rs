//! From PostgreSQL's names to handfast's: what each is here, and which test shows it.
//!
//! The reference is PostgreSQL's AIO core as first proposed ("v2.3") and as released in version 18. Tests are
//! named by file and function; `real/tests/documents.rs` checks that each exists. A row that waits for a later
//! method says so.
//!
//! # Handles
//! | PostgreSQL | handfast | test |
//! |---|---|---|
//! | `PgAioHandleState`, eight states | [`State`], same names; every change by [`step`](crate::handfast_core::state::step) | `core/tests/state.rs::step_agrees_with_the_table_for_every_near_word` |
//! | `generation` | [`Generation`], in one word with the state | `core/tests/state.rs::s23_step_agrees_with_the_table_and_generations_go_up_by_one` |
//! | `pgaio_io_acquire` | [`Scope::acquire`] | `tests/tests/handles.rs::l1_one_handle_is_enough_for_any_number_of_ios` |
//! | `pgaio_io_acquire_nb` | [`Scope::try_acquire`]: reclaims first, never blocks or executes | `tests/tests/handles.rs::r20_try_acquire_takes_back_what_is_over_and_neither_submits_nor_waits` |
//! | one handed-out handle per process | a borrow of the [`Scope`]; after `mem::forget` a typed error | `tests/tests/handles.rs::s22_a_second_handle_is_refused_while_a_forgotten_one_is_handed_out` |
//! | `pgaio_io_release` | [`Handle::release`], and dropping | `tests/tests/handles.rs::dropping_a_handle_or_releasing_it_gives_it_back` |
//! | `pgaio_io_release_resowner` | the end of a [`Scope`] | `tests/tests/scope.rs::behaviour_1_2_a_leaked_handle_is_warned_about_at_commit_and_released` |
//! | `pgaio_io_set_flag` | [`Handle::set_flag`] | `tests/tests/handles.rs::flags_and_handle_data_reach_the_callbacks` |
//! | `pgaio_io_get_id`, `pgaio_io_get_owner` | [`Handle::id`], [`Handle::owner`] | `tests/tests/handles.rs::a_handle_has_a_number_an_owner_and_a_reference` |
//! | `PGAIO_HF_REFERENCES_LOCAL`, `_SYNCHRONOUS`, `_BUFFERED` | [`Flags`]; local memory sets its flag itself | `tests/tests/memory.rs::local_memory_is_marked_as_the_issuers_own` |
//! | `pgaio_io_get_wref` | [`Handle::wait_ref`], [`Pending::wait_ref`] | `tests/tests/wait.rs::r10_a_reference_made_before_the_start_waits_for_the_io` |
//! | `pgaio_io_get_iovec`, `pgaio_io_get_op_data` | buffers are given by value ([`Lend`]); the capacity is [`PoolConfig::max_iovecs`] | `tests/tests/handles.rs::r17_b18_more_buffers_than_reserved_are_refused_and_come_back` |
//! | `PGAIO_OP_READV`, `PGAIO_OP_WRITEV` | [`Operation`], also FSYNC and FDATASYNC | `tests/tests/files.rs::fsync_and_fdatasync_are_ios` |
//! | `pgaio_io_prep_readv`, `_writev` (18: `pgaio_io_start_*`) | [`Handle::read`], [`Handle::write`], [`Handle::fsync`], [`Handle::fdatasync`], by value | `tests/tests/files.rs::readv_and_writev_go_through_their_pieces_in_order_whatever_they_are` |
//! | `pgaio_io_set_target`, `_has_target`, `_get_target_data` | [`Process::file`], [`Process::target`]; [`File::target`], [`File::target_data`] | `tests/tests/files.rs::a_target_of_the_applications_own_is_described_and_reopened_by_it` |
//! | `pgaio_io_get_target_description`, `describe_identity` | [`IoError::target`], [`HandleView::target`]; [`Target::describe`] | `tests/tests/results.rs::an_error_still_names_its_file_when_the_file_is_closed` |
//! | `pgaio_io_can_reopen`, `pgaio_io_reopen` | [`File::is_reopenable`], [`File::reopen`], [`Target::reopen`] | `tests/tests/files.rs::a_file_is_found_again_by_its_path_only_while_it_is_the_same_file` |
//! | `pgaio_io_register_callbacks` | [`Handle::register_callback`]: four, checked before anything changes | `tests/tests/handles.rs::r7_a_fifth_or_unknown_callback_is_refused_and_changes_nothing` |
//! | stage, complete_shared, complete_local, report | [`Callback`], four methods; the data byte is [`IoContext::callback_data`] | `tests/tests/callbacks.rs::s1_the_last_registered_runs_first_at_each_turn_and_once` |
//! | the local result (v2.3 drops it) | reaches the issuer | `tests/tests/callbacks.rs::b4_the_local_result_reaches_the_issuer_and_nobody_else` |
//! | `pgaio_io_set_handle_data_64`, `_32`, `pgaio_io_get_handle_data` | [`Handle::set_data_64`], [`Handle::set_data_32`], [`IoContext::data`] | `tests/tests/handles.rs::b18_handle_data_is_set_once_and_only_as_much_as_is_reserved` |
//! | `PgAioResult` | [`Outcome`], five statuses | `tests/tests/callbacks.rs::b17_each_of_the_five_statuses_arrives_and_unknown_changes_nothing` |
//! | `PgAioReturn` | [`Finished`], out of the issuer's own slab | `tests/tests/results.rs::r4_results_wait_while_their_handles_are_used_again` |
//! | `pgaio_result_report` | [`IoError`], [`Callback::report`] | `tests/tests/callbacks.rs::an_error_says_what_the_callback_reports` |
//!
//! # Wait references
//! | PostgreSQL | handfast | test |
//! |---|---|---|
//! | `PgAioWaitRef` | [`WaitRef`], 16 plain bytes | `tests/tests/processes/waits.rs::s10_an_old_reference_never_blocks_while_its_handle_is_in_use_again` |
//! | `pgaio_wref_clear`, `_valid`, `_get_id` | `Option<WaitRef>`, [`WaitRef::INVALID_BYTES`], [`WaitRef::handle`] | `tests/tests/wait.rs::r19_forged_references_are_typed_errors` |
//! | `pgaio_wref_wait` | [`Process::wait`]; an own staged IO is submitted | `tests/tests/wait.rs::b23_waiting_for_an_own_staged_io_submits_all_that_is_staged` |
//! | `pgaio_wref_check_done` | [`Process::check_done`]: submits, polls, monotone | `tests/tests/wait.rs::r5_check_done_submits_an_own_staged_io` |
//! | | [`Process::wait_timeout`] | `tests/tests/wait.rs::rc41_a_wait_whose_time_is_over_affects_nobody` |
//! | | [`Process::wait_any`], [`Process::wait_any_timeout`]: several at once, one sleep | `tests/tests/wait.rs::waiting_for_any_of_several_ends_with_the_first_that_is_over` |
//! | | `Pending::ready`, a future (feature `future`) | `tests/tests/future.rs::several_futures_are_over_one_after_the_other` |
//!
//! # Submission
//! | PostgreSQL | handfast | test |
//! |---|---|---|
//! | `pgaio_submit_staged`, `pgaio_have_staged` | [`Process::submit_staged`], [`Process::has_staged`] | `tests/tests/scope.rs::s22_a_batch_submits_by_itself_when_32_are_staged` |
//! | `pgaio_enter_batchmode`, `pgaio_exit_batchmode` | [`Scope::batch`], dropping or [`Batch::submit`] | `tests/tests/scope.rs::only_the_outermost_of_nested_batches_submits` |
//! | partial submission | what a method does not take stays staged ([`Submit::accept`](crate::handfast_core::protocol::Submit::accept)) | `tests/tests/scope.rs::r14_r16_a_batch_is_executed_whole_and_in_order` |
//! | `pgaio_io_needs_synchronous_execution`, `pgaio_io_perform_synchronously` | [`Submit::in_place`](crate::handfast_core::protocol::Submit::in_place), [`Submit::execute`](crate::handfast_core::protocol::Submit::execute); SYNC is a bit of the word | `tests/tests/observe.rs::a_handle_is_seen_submitted_while_its_io_runs` |
//! | `pgaio_io_prepare_submit`, `pgaio_io_process_completion` | [`Issuer::start`](crate::handfast_core::protocol::Issuer::start), [`Context::complete`](crate::handfast_core::protocol::Context::complete) | `model/tests/scenarios.rs::issuer_completer` |
//! | `pgaio_io_wait_for_free` | inside [`Scope::acquire`]: reclaim, submit, wait for the oldest | `tests/tests/handles.rs::b9_l1_acquire_succeeds_when_every_handle_is_staged` |
//! | `pgaio_closing_fd` | [`Process::close_fd`] | `tests/tests/files.rs::b10_s16_closing_a_file_submits_what_is_staged_on_it_first` |
//!
//! # Scopes, ends and errors
//! | PostgreSQL | handfast | test |
//! |---|---|---|
//! | `ResourceOwner` of an IO | the [`Scope`] it was acquired in | `tests/tests/scope.rs::b16_s15_a_nested_scope_does_not_release_the_handle_of_an_outer_one` |
//! | cleanup on abort and on commit | dropping or [`Scope::abort`]; [`Scope::commit`] warns | `tests/tests/scope.rs::rc26_an_abort_releases_a_leaked_handle_in_silence` |
//! | `pgaio_at_xact_end`, `pgaio_at_error` | the end of a scope submits and warns of an open batch | `tests/tests/scope.rs::behaviour_12_13_an_open_batch_is_warned_about_and_submitted` |
//! | `pgaio_shutdown` | [`Process::detach`], and dropping | `tests/tests/attach.rs::r1_l7_a_detach_submits_drains_and_leaves_a_pristine_slot` |
//!
//! # Initialisation
//! | PostgreSQL | handfast | test |
//! |---|---|---|
//! | `AioShmemSize`, checked arithmetic | [`PoolBuilder::create`], [`LayoutError`] | `tests/tests/segment.rs::r18_settings_that_are_too_large_together_are_refused_before_memory_is_taken` |
//! | `io_max_concurrency`, `AioChooseMaxConcurrency` | [`PoolBuilder::handles_per_process`], same rule | `tests/tests/segment.rs::default_concurrency_is_postgresqls` |
//! | `AioShmemInit`, same address everywhere | [`Pool::open`], any address | `tests/tests/processes/opening.rs::a_pool_works_at_different_addresses_at_the_same_time` |
//! | `pgaio_init_backend` | [`Pool::attach`] | `tests/tests/attach.rs::a_full_pool_is_a_typed_error_until_somebody_leaves` |
//! | `IoMethodOps` | [`Submit`](crate::handfast_core::protocol::Submit), [`Drive`](crate::handfast_core::protocol::Drive) | `model/tests/scenarios.rs::issuer_completer` |
//! | `io_method` = sync | [`Method::Sync`] | `tests/tests/files.rs::what_is_written_is_read_back_through_every_kind_of_memory` |
//! | `io_method` = worker, `IoWorkerMain` | [`Method::Worker`], [`Process::work`]; what a worker cannot reach is executed in place | `tests/tests/workers.rs::what_a_worker_cannot_reach_its_issuer_executes` |
//! | `io_min_workers`, `io_max_workers`, `maybe_adjust_io_workers` | [`Foreman`], [`WorkerLimits`], [`WorkOptions`] | `tests/tests/workers.rs::a_foreman_keeps_the_least_and_starts_more_when_work_is_left_behind` |
//! | `io_method` = io_uring | [`Method::IoUring`]: a ring of each process, that nobody else needs | `tests/tests/rings.rs::l4_u1_an_issuer_that_spins_in_user_space_does_not_delay_a_foreign_waiter` |
//! | a method that cannot be used fails at start | [`Method::Auto`], [`Process::method_refusal`] | `tests/tests/rings.rs::a_process_that_may_not_make_a_ring_goes_on_in_place_or_is_told` |
//! | `pg_aios`, `pg_get_aios` | [`Pool::snapshot`], [`HandleView`] | `tests/tests/observe.rs::every_state_of_a_handle_is_seen_with_what_is_known_in_it` |
//! | wait events, debug log | with tracing, at the asynchronous methods | |
//! | a crash restarts the whole server | survivors recover: [`Process::recover_dead`], and by themselves | `tests/tests/processes/recovery.rs::s25_two_survivors_at_once_recover_each_io_once` |

#[allow(unused_imports, reason = "the links of this page")]
use crate::*;
