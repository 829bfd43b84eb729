//! From PostgreSQL's names to handfast's: what each is here, and which test shows it.
//!
//! The reference is PostgreSQL's AIO core as first proposed ("v2.3") and as released in version 18. A row
//! whose handfast column says *no* is a decision. Tests are named by file and function; a test of its own
//! (`real/tests/documents.rs`) checks that each exists.
//!
//! # Handles
//! | PostgreSQL | handfast | test |
//! |---|---|---|
//! | `PgAioHandleState`, eight states | [`State`], same names | `core/tests/state.rs::step_agrees_with_the_table` |
//! | `generation` | [`Generation`], in one word with the state | `core/tests/state.rs` |
//! | `pgaio_io_acquire` | [`Scope::acquire`] | `` |
//! | `pgaio_io_acquire_nb` | [`Scope::try_acquire`]: reclaims first, never blocks or executes | `` |
//! | one handed-out handle per process | a borrow of the [`Scope`]; after `mem::forget` a typed error | `` |
//! | `pgaio_io_release` | [`Handle::release`], and dropping | `` |
//! | `pgaio_io_release_resowner` | the end of a [`Scope`] | `` |
//! | `pgaio_io_set_flag` | [`Handle::set_flag`] | `` |
//! | `pgaio_io_get_id`, `pgaio_io_get_owner` | [`Handle::id`], [`Handle::owner`] | `` |
//! | `PGAIO_HF_REFERENCES_LOCAL`, `_SYNCHRONOUS`, `_BUFFERED` | [`Flags`]; local memory sets its flag itself | `` |
//! | `pgaio_io_get_wref` | [`Handle::wait_ref`], [`Pending::wait_ref`] | `` |
//! | `pgaio_io_get_iovec`, `pgaio_io_get_op_data` | buffers are given by value ([`Lend`]); capacity is [`PoolConfig::max_iovecs`] | `` |
//! | `PGAIO_OP_READV`, `PGAIO_OP_WRITEV` | [`Operation`], also FSYNC and FDATASYNC | `` |
//! | `pgaio_io_prep_readv`, `pgaio_io_prep_writev` (18: `pgaio_io_start_*`) | [`Handle::read`], [`Handle::write`], [`Handle::fsync`], [`Handle::fdatasync`] | `` |
//! | `pgaio_io_set_target`, `_has_target`, `_get_target_data` | [`Process::file`], [`Process::target`]; [`File::target`], [`File::target_data`] | `` |
//! | `pgaio_io_get_target_description`, `describe_identity` | [`IoError::target`], [`HandleView::target`]; [`Target::describe`] | `` |
//! | `reopen` | [`File::reopen`], [`Target::reopen`] | `` |
//! | `pgaio_io_register_callbacks` | [`Handle::register_callback`]: four, checked before anything changes | `` |
//! | stage, complete_shared, complete_local, report | [`Callback`], four methods; the data byte is [`IoContext::callback_data`] | `` |
//! | `pgaio_io_set_handle_data_64`, `_32`, `pgaio_io_get_handle_data` | [`Handle::set_data_64`], [`Handle::set_data_32`], [`IoContext::data`] | `` |
//! | `PgAioResult` | [`Outcome`], five statuses | `` |
//! | `PgAioReturn` | [`Finished`], from the issuer's own slab | `` |
//! | `pgaio_result_report` | [`IoError`], [`Callback::report`] | `` |
