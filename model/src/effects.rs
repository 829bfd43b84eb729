//! The application of the scenarios: callbacks that check what they are shown, and what its IOs are told
//! as.
//!
//! | part | written by |
//! |---|---|
//! | `staged` | the stage callback |
//! | `effect` | the shared callback |
//!
//! The effect of an IO stands for what an application's waiter wants to see: the state of its own header.
//! It is the IO's generation, so that old effects tell themselves.
//!
//! Invariants asserted here: S1 (callbacks once), S4 (the completer sees the frozen request), S7.
//! Checked by: the scenarios, whose mutants show that these assertions can fail.

use crate::mailbox::IoId;
use crate::manner;
use crate::runtime::Runtime;
use crate::world::{data_of, io, raw_of};
use handfast_core::outcome::{Outcome, Status};
use handfast_core::platform::Field;
use handfast_core::protocol::{Callbacks, Io, StageRefused};
use handfast_core::request::{CallbackId, CallbackList, Flags, Operation, Request, TargetId};

/// The application: callbacks that check what they are shown, and the effect of each handle's IO.
pub struct Effects<R: Runtime> {
    staged: Vec<R::Field>,
    effect: Vec<R::Field>,
    pub(crate) refuses: Refuses,
    /// Whether no staging is cut short.
    whole: bool,
    /// What a stage callback does instead of returning.
    interrupt: Option<fn()>,
}

/// Which stage callbacks refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Refuses {
    /// None.
    #[default]
    Never,
    /// Those of the first generations.
    Until(u64),
    /// Every fourth, by the numbers of the IO.
    Some,
}

impl Refuses {
    /// Whether the stage callback of this IO refuses.
    #[must_use]
    pub const fn refuses(self, (id, generation): IoId) -> bool {
        match self {
            Self::Never => false,
            Self::Until(last) => generation.get() <= last,
            Self::Some => (id.0 as u64 + generation.get()).is_multiple_of(4),
        }
    }
}

/// The callback's id.
pub(crate) const CALLBACK: u8 = 3;
/// The byte that it is registered with.
const CALLBACK_DATA: u8 = 9;

impl<R: Runtime> Effects<R> {
    pub(crate) fn new(handles: u32) -> Self {
        let fields = || (0..handles).map(|_| R::Field::new(0)).collect();
        Self {
            staged: fields(),
            effect: fields(),
            refuses: Refuses::Never,
            whole: false,
            interrupt: None,
        }
    }

    /// No staging is cut short: who completes an IO, even unexecuted, sees what its stage callback did.
    pub const fn staging_is_whole(&mut self) {
        self.whole = true;
    }

    /// From now on, stage callbacks are cut short by this.
    pub fn interrupt_staging(&mut self, by: fn()) {
        self.interrupt = Some(by);
    }

    /// The IO of this handle whose stage callback ran last, if anybody can see that.
    pub fn published(&self, handle: u32) -> Option<IoId> {
        let generation = R::glimpse(&self.staged[handle as usize]);
        (generation > 0).then(|| io(handle, generation))
    }

    /// Who knows that this IO is over sees what its shared callback did, or what a later one's did.
    ///
    /// # Panics
    /// If that is an older effect (S7).
    #[track_caller]
    pub fn assert_seen(&self, (id, generation): IoId) {
        let seen = R::glimpse(&self.effect[id.index()]);
        assert!(
            seen >= generation.get(),
            "S7: over, but the callback's effect is not seen: {seen}"
        );
    }
}

impl<R: Runtime> Callbacks<R> for Effects<R> {
    fn stage(&self, _id: CallbackId, io: &Io<'_, R>) -> Result<(), StageRefused> {
        self.staged[io.handle.index()].set(io.generation.get());
        if let Some(interrupt) = self.interrupt {
            interrupt();
        }
        let refused = self.refuses.refuses((io.handle, io.generation));
        if refused { Err(StageRefused) } else { Ok(()) }
    }

    fn complete_shared(&self, id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        let this = (io.handle, io.generation);
        R::saw("shared callback");
        let own = io.raw.0 < 0 || manner::executed(this, io.raw);
        assert!(own, "S14: the result of another IO: {:?} for {this:?}", io.raw);
        let asked = Request { flags: Flags::BUFFERED, ..io.request };
        assert_eq!(asked, request(this, true), "S4: the completer sees another request");
        assert_eq!(io.callback_data, CALLBACK_DATA, "S4: the completer sees another byte");
        if self.whole || manner::executed(this, io.raw) {
            // Otherwise it may have ended before its stage callback ran.
            let staged = self.staged[io.handle.index()].get();
            assert_eq!(staged, io.generation.get(), "S4: what staging did is not seen");
        }
        let data = io.data.first().map_or(0, Field::get);
        assert_eq!(data, data_of(this), "S4: the completer sees other handle data");
        assert_eq!(prior, Outcome::from_raw(io.raw), "the first callback sees the raw result");
        // What a run that ended in a death did was published by nobody.
        let effect = &self.effect[io.handle.index()];
        let before = if io.repeat { effect.peek() } else { effect.get() };
        let again = before == io.generation.get();
        if io.repeat {
            R::saw("repeated");
        }
        assert!(!again || io.repeat, "S1: the shared callback ran twice");
        effect.set(io.generation.get());
        debug_assert_eq!(id.get(), CALLBACK, "no other callback is registered");
        manner::shared_of(this, io.raw, true)
    }

    fn complete_local(&self, id: CallbackId, _io: &Io<'_, R>, prior: Outcome) -> Outcome {
        R::saw("local callback");
        let error = prior.status() == Status::Error;
        if error { prior } else { warned(id, prior.error_data() + 1, prior) }
    }
}

pub(crate) fn warned(id: CallbackId, error_data: u32, prior: Outcome) -> Outcome {
    Outcome::new(Status::Warning, id, error_data, prior.result())
}

/// What everybody but the issuer is told of an IO that went well.
#[must_use]
pub fn shared_outcome(io: IoId, callbacks: bool) -> Outcome {
    manner::shared_of(io, raw_of(io), callbacks)
}

/// What the issuer is told (S14): local after shared.
#[must_use]
pub fn final_outcome(io: IoId, callbacks: bool) -> Outcome {
    manner::final_of(io, raw_of(io), callbacks)
}

/// The same as [`request`], but its issuer executes it in place, whatever its method is.
#[must_use]
pub fn request_in_place(io: IoId, callbacks: bool) -> Request {
    Request { flags: Flags::BUFFERED.union(Flags::SYNCHRONOUS), ..request(io, callbacks) }
}

/// The request of every scenario, with the callback or without. The offset tells the IOs apart.
#[must_use]
pub fn request(io: IoId, callbacks: bool) -> Request {
    let with = CallbackId::new(CALLBACK).and_then(|id| CallbackList::EMPTY.with(id, CALLBACK_DATA));
    Request {
        operation: Operation::Readv,
        flags: Flags::BUFFERED,
        target: TargetId::FILE,
        target_data: [11, 12, 13],
        offset: io.1.get(),
        length: 512,
        iovecs: 0,
        data_len: 1,
        callbacks: if callbacks { with.unwrap_or_default() } else { CallbackList::EMPTY },
    }
}
