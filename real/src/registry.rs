//! What an application brings to a pool: callbacks and targets, by number.
//!
//! Every process of a pool registers the same table, because an IO names its callbacks by number
//! and any process may complete it. The fingerprint of the table (numbers and names) is in the
//! segment's header, and a process with another one is refused at the door. PostgreSQL:
//! `aio_handle_cbs`, `pgaio_target_info`, both fixed at compile time.
//!
//! Checked by: `tests/tests/callbacks.rs`, and the unit tests below (MUSEUM B20, R7).

use crate::memory::IoBuffers;
use crate::segment::Segment;
use crate::target::Target;
use handfast_core::ids::{HandleId, ProcessSlot};
use handfast_core::outcome::{Outcome, RawResult, Status};
use handfast_core::platform::{Field as _, Platform as _};
use handfast_core::protocol::{Callbacks, Io, StageRefused};
use handfast_core::request::{CallbackId, Operation, Request, TargetId};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::platform::Production;

/// What a callback is shown of its IO.
pub struct IoContext<'v> {
    io: &'v Io<'v, Production>,
    segment: &'v Segment,
}

impl<'v> IoContext<'v> {
    /// The IO's handle.
    #[must_use]
    pub fn handle(&self) -> HandleId {
        self.io.handle
    }

    /// The process that issued it.
    #[must_use]
    pub fn owner(&self) -> ProcessSlot {
        self.io.owner
    }

    /// What was asked for: operation, offset, length, target.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.io.request
    }

    /// What the system call returned: bytes, or a negative error number. 0 in a stage callback.
    #[must_use]
    pub fn raw_result(&self) -> RawResult {
        self.io.raw
    }

    /// The byte given when the callback was registered with this IO.
    #[must_use]
    pub fn callback_data(&self) -> u8 {
        self.io.callback_data
    }

    /// Whether a process died while it ran this callback for this IO, or just after: a shared
    /// callback runs exactly once without a death, and at least once with one (S1).
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        self.io.repeat
    }

    /// The words of handle data that the issuer set (`pgaio_io_get_handle_data`).
    pub fn data(&self) -> impl ExactSizeIterator<Item = u64> + 'v {
        self.io.data.iter().map(|field| field.get())
    }

    /// The IO's buffers that lie in the segment: the frames it reads or writes.
    #[must_use]
    pub fn buffers(&self) -> IoBuffers<'v> {
        IoBuffers::new(self.segment, self.io.iovecs)
    }

    /// The application's own shared words ([`crate::Pool::user_words`]).
    #[must_use]
    pub fn user_words(&self) -> &'v [std::sync::atomic::AtomicU64] {
        self.segment.user_words()
    }
}

/// What an application does at the turns of an IO's life (`PgAioHandleCallbacks`).
///
/// The last registered callback of an IO runs first. They run on whatever process and thread completes
/// the IO, so they must be quick, must not block, and reach shared state only through the segment.
/// The pool refuses to be used from inside ([`crate::UseError::Protocol`]); a panic becomes an error
/// of the IO.
pub trait Callback: Send + Sync {
    /// Its name, part of the fingerprint; the same in every process.
    fn name(&self) -> &'static str;

    /// In the issuer, after the request is fixed and before it can start.
    ///
    /// # Errors
    /// [`StageRefused`] completes the IO with an error without executing it.
    fn stage(&self, _io: &IoContext<'_>) -> Result<(), StageRefused> {
        Ok(())
    }

    /// In whatever process completes the IO, before anybody is woken; maps the prior result to
    /// the next. Must be idempotent.
    fn complete_shared(&self, _io: &IoContext<'_>, prior: Outcome) -> Outcome {
        prior
    }

    /// In the issuer, when it takes the IO back; maps the prior result to the one it will see.
    fn complete_local(&self, _io: &IoContext<'_>, prior: Outcome) -> Outcome {
        prior
    }

    /// What a result with this callback's id means, in words (`pgaio_result_report`).
    ///
    /// # Errors
    /// As the formatter.
    fn report(&self, outcome: Outcome, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} reported {:?}", self.name(), outcome)
    }
}

/// Why a callback or target cannot be registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Callback ids are 1 to 63, target ids 2 to 255.
    #[error("id {id} is out of range: use {least} to {most}")]
    OutOfRange {
        /// The id.
        id: u8,
        /// The least allowed.
        least: u8,
        /// The greatest allowed.
        most: u8,
    },
    /// Two of the same id.
    #[error("id {id} is registered already: give each callback and each target an id of its own")]
    Taken {
        /// The id.
        id: u8,
    },
}

/// The application's callbacks and targets. Empty by default, which is enough for plain IO.
#[derive(Clone, Default)]
pub struct Registry {
    callbacks: Vec<Option<Arc<dyn Callback>>>,
    targets: Vec<Option<Arc<dyn Target>>>,
}

impl Registry {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a callback under this id, 1 to 63.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn callback(
        mut self,
        id: CallbackId,
        callback: Arc<dyn Callback>,
    ) -> Result<Self, RegistryError> {
        let range = (1, CallbackId::MAX);
        put(&mut self.callbacks, id.get(), range, callback)?;
        Ok(self)
    }

    /// With a target kind under this id, 2 to 255; 1 is the built-in file.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn target(mut self, id: TargetId, target: Arc<dyn Target>) -> Result<Self, RegistryError> {
        put(&mut self.targets, id.0, (TargetId::FILE.0 + 1, u8::MAX), target)?;
        Ok(self)
    }

    pub(crate) fn find_callback(&self, id: CallbackId) -> Option<&dyn Callback> {
        self.callbacks.get(usize::from(id.get()))?.as_deref()
    }

    pub(crate) fn find_target(&self, id: TargetId) -> Option<&dyn Target> {
        self.targets.get(usize::from(id.0))?.as_deref()
    }

    /// FNV-1a over numbers and names: equal for equal tables.
    pub(crate) fn fingerprint(&self) -> u64 {
        let callbacks = self.callbacks.iter().flatten().map(|callback| callback.name());
        let names = callbacks.chain(self.targets.iter().flatten().map(|target| target.name()));
        let ids = positions(&self.callbacks).chain([0]).chain(positions(&self.targets));
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        ids.for_each(&mut eat);
        for name in names {
            name.bytes().chain([0]).for_each(&mut eat);
        }
        hash
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let callbacks: Vec<_> = self.callbacks.iter().flatten().map(|c| c.name()).collect();
        let targets: Vec<_> = self.targets.iter().flatten().map(|t| t.name()).collect();
        f.debug_struct("Registry")
            .field("callbacks", &callbacks)
            .field("targets", &targets)
            .finish()
    }
}

fn positions<T>(list: &[Option<T>]) -> impl Iterator<Item = u8> + '_ {
    (0..=u8::MAX).zip(list).filter(|(_, entry)| entry.is_some()).map(|(id, _)| id)
}

fn put<T>(
    list: &mut Vec<Option<T>>,
    id: u8,
    range: (u8, u8),
    entry: T,
) -> Result<(), RegistryError> {
    let (least, most) = range;
    if id < least || id > most {
        return Err(RegistryError::OutOfRange { id, least, most });
    }
    let index = usize::from(id);
    if list.len() <= index {
        list.resize_with(index + 1, || None);
    }
    if list[index].is_some() {
        return Err(RegistryError::Taken { id });
    }
    list[index] = Some(entry);
    Ok(())
}

/// Runs the application's code. A panic ends here, and so does what was thrown: dropping it could panic
/// again.
pub(crate) fn caught<R>(call: impl FnOnce() -> R) -> Result<R, ()> {
    catch_unwind(AssertUnwindSafe(call)).map_err(std::mem::forget)
}

/// The registry as the protocol sees it: with the segment, and with panics kept in.
pub(crate) struct Application {
    pub registry: Registry,
    pub segment: Arc<Segment>,
}

impl Application {
    fn with<R>(
        &self,
        id: CallbackId,
        io: &Io<'_, Production>,
        call: impl FnOnce(&dyn Callback, &IoContext<'_>) -> R,
    ) -> Option<Result<R, ()>> {
        let callback = self.registry.find_callback(id)?;
        let context = IoContext { io, segment: &self.segment };
        // A panic must not leave the handle half completed (MUSEUM B7); what the callback did to
        // its own state is its own to repair.
        Some(caught(|| call(callback, &context)))
    }
}

fn or_panicked(result: Option<Result<Outcome, ()>>, prior: Outcome) -> Outcome {
    match result {
        Some(Ok(outcome)) => outcome,
        Some(Err(())) => Outcome::from_raw(RawResult::CALLBACK_PANICKED),
        // Registration was checked when the IO was started, and the tables are equal.
        None => prior,
    }
}

impl Callbacks<Production> for Application {
    fn stage(&self, id: CallbackId, io: &Io<'_, Production>) -> Result<(), StageRefused> {
        match self.with(id, io, |callback, context| callback.stage(context)) {
            Some(Ok(staged)) => staged,
            Some(Err(())) => Err(StageRefused),
            None => Ok(()),
        }
    }

    fn complete_shared(&self, id: CallbackId, io: &Io<'_, Production>, prior: Outcome) -> Outcome {
        let called =
            self.with(id, io, |callback, context| callback.complete_shared(context, prior));
        or_panicked(called, prior)
    }

    fn complete_local(&self, id: CallbackId, io: &Io<'_, Production>, prior: Outcome) -> Outcome {
        let called = self.with(id, io, |callback, context| callback.complete_local(context, prior));
        or_panicked(called, prior)
    }
}

/// What went wrong with an IO, for a person (`pgaio_result_report`): operation, described target,
/// and the message of whoever reported it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{operation} of {length} bytes at offset {offset} of {target}: {message}")]
pub struct IoError {
    outcome: Outcome,
    operation: Operation,
    offset: u64,
    length: u64,
    target: String,
    message: String,
}

impl IoError {
    pub(crate) fn new(application: &Application, request: &Request, outcome: Outcome) -> Self {
        let mut message = message(&application.registry, outcome);
        // Its descriptor is open as long as the IO goes on: only its access mode can be wrong.
        if outcome.errno() == Some(libc::EBADF) {
            message.push_str(advice_on_access(request.operation));
        }
        Self {
            outcome,
            operation: request.operation,
            offset: request.offset,
            length: request.length,
            target: crate::target::describe(application, request),
            message,
        }
    }

    /// An error of which only the outcome is left: somebody has overwritten the request. It must not
    /// look like a success for that (MUSEUM R21).
    pub(crate) fn of_garbled(application: &Application, outcome: Outcome) -> Self {
        Self {
            outcome,
            operation: Operation::Readv,
            offset: 0,
            length: 0,
            target: "an IO whose request was overwritten in shared memory".to_owned(),
            message: message(&application.registry, outcome),
        }
    }

    /// The packed result.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The system's error number, if it is the system's.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.outcome.errno()
    }

    /// Whether the issuer died before the true result was known.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.outcome.callback() == CallbackId::BUILT_IN
            && self.outcome.result() == RawResult::OWNER_DIED.0
    }

    /// The target in words (`pgaio_io_get_target_description`).
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// What the application's own code writes; `None` if it fails or panics. It runs in the middle of a
/// reclaim, which must not be left half done (MUSEUM B7, S12).
pub(crate) fn in_words(write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) -> Option<String> {
    let before = Production::set_in_callback(true);
    let mut words = String::new();
    let written =
        caught(|| fmt::Write::write_fmt(&mut words, format_args!("{}", fmt::from_fn(write))));
    Production::set_in_callback(before);
    matches!(written, Ok(Ok(()))).then_some(words)
}

fn advice_on_access(operation: Operation) -> &'static str {
    match operation {
        Operation::Readv => ": it is not open for reading; open it with OpenOptions::read",
        Operation::Writev => ": it is not open for writing; open it with OpenOptions::write",
        Operation::Fsync | Operation::Fdatasync => "",
    }
}

/// A result in words.
pub(crate) fn message(registry: &Registry, outcome: Outcome) -> String {
    if let Some(callback) = registry.find_callback(outcome.callback()) {
        let said = in_words(|f| callback.report(outcome, f));
        return said.unwrap_or_else(|| "its callback failed to report it".to_owned());
    }
    match RawResult(outcome.result()) {
        _ if outcome.status() != Status::Error => format!("{outcome:?}"),
        RawResult::OWNER_DIED => "its issuer died before the result was known".to_owned(),
        RawResult::REFUSED => "a stage callback refused it; it was not executed".to_owned(),
        RawResult::INTERRUPTED => "its staging was interrupted; it was not executed".to_owned(),
        RawResult::CALLBACK_PANICKED => "a completion callback panicked".to_owned(),
        RawResult::GARBLED => {
            "its request in shared memory makes no sense; it was not executed".to_owned()
        }
        RawResult(errno) => std::io::Error::from_raw_os_error(errno.saturating_neg()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);
    impl Callback for Named {
        fn name(&self) -> &'static str {
            self.0
        }
    }

    fn id(n: u8) -> CallbackId {
        CallbackId::new(n).unwrap()
    }

    #[test]
    fn b20_ids_are_checked_before_the_table_is_used() {
        let empty = Registry::new();
        assert!(empty.find_callback(id(63)).is_none());
        assert!(empty.find_target(TargetId(255)).is_none());
        let out = Registry::new().callback(id(0), Arc::new(Named("zero"))).unwrap_err();
        assert_eq!(out, RegistryError::OutOfRange { id: 0, least: 1, most: 63 });
        let twice = Registry::new().callback(id(5), Arc::new(Named("a"))).unwrap();
        let taken = twice.callback(id(5), Arc::new(Named("b"))).unwrap_err();
        assert_eq!(taken, RegistryError::Taken { id: 5 });
    }

    #[test]
    fn fingerprint_tells_numbers_names_and_order_apart() {
        let one = |n, name| Registry::new().callback(id(n), Arc::new(Named(name))).unwrap();
        assert_eq!(one(1, "a").fingerprint(), one(1, "a").fingerprint());
        assert_ne!(one(1, "a").fingerprint(), one(2, "a").fingerprint());
        assert_ne!(one(1, "a").fingerprint(), one(1, "b").fingerprint());
        assert_ne!(one(1, "a").fingerprint(), Registry::new().fingerprint());
        let both = one(1, "a").callback(id(2), Arc::new(Named("b"))).unwrap();
        let swapped = one(1, "b").callback(id(2), Arc::new(Named("a"))).unwrap();
        assert_ne!(both.fingerprint(), swapped.fingerprint());
    }
}
