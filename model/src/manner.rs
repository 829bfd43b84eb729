//! How a simulated method behaves, and what its IOs may come to.
//!
//! | trait of a real method | here |
//! |---|---|
//! | the issuer executes it | [`How::InPlace`], or the flag SYNCHRONOUS of one request |
//! | a thread takes it from a queue | [`How::HandedOver`] |
//! | any thread of the process reaps it | [`How::Ring`] |
//! | workers find it by its hint and claim it | [`How::Workers`], [`crate::worker`] |
//! | it runs by itself, late and out of order; it survives its issuer | [`How::Device`], [`crate::device`] |
//! | it is complete when the system call returns | [`How::InSubmit`] |
//! | the queue has little room | [`Manner::fewer`] |
//! | a part of the bytes, or an error | [`Results::Mixed`] |
//!
//! All of it is a function of [`Runtime::choose`] and of what is seen. A result tells by its number
//! which IO it belongs to.
//!
//! Checked by: the scenarios that use it.

use crate::effects::{CALLBACK, warned};
use crate::mailbox::IoId;
use crate::runtime::Runtime;
use crate::world::raw_of;
use handfast_core::outcome::{Outcome, RawResult, Status};
use handfast_core::request::CallbackId;

/// Who executes the IOs of an issuer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum How {
    /// The issuer, in its submission.
    InPlace,
    /// Whoever takes it from the mailbox.
    HandedOver,
    /// Whoever of the process reaps it.
    Ring,
    /// Workers, who claim what is hinted at.
    Workers,
    /// The device of the issuer's slot.
    Device,
    /// The method itself, before the submission returns.
    InSubmit,
}

/// How a method behaves towards its issuer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Manner {
    /// Who executes.
    pub how: How,
    /// Whether it may accept fewer than it was asked to, none included.
    pub fewer: bool,
}

impl From<How> for Manner {
    fn from(how: How) -> Self {
        Self { how, fewer: false }
    }
}

impl How {
    /// The same, but it may accept fewer than it was asked to.
    #[must_use]
    pub const fn fewer(self) -> Manner {
        Manner { how: self, fewer: true }
    }
}

/// What IOs come to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Results {
    /// Everything works.
    #[default]
    Good,
    /// One in three transfers a part, one in three fails.
    Mixed,
}

/// Above every result that went well; added to say that it was a part.
const PART: i32 = 1_000_000;

impl Results {
    /// What this IO comes to; a negative number if its bytes do not arrive.
    pub(crate) fn draw<R: Runtime>(self, io: IoId) -> RawResult {
        let kind = match self {
            Self::Good => 0,
            Self::Mixed => R::choose(3),
        };
        match kind {
            0 => raw_of(io),
            1 => part_of(io),
            _ => error_of(io),
        }
    }
}

/// The result of an IO that transferred a part.
#[must_use]
pub fn part_of(io: IoId) -> RawResult {
    RawResult(PART + raw_of(io).0)
}

/// The result of an IO that failed.
#[must_use]
pub fn error_of(io: IoId) -> RawResult {
    RawResult(-raw_of(io).0)
}

/// What the shared callback makes of a raw result.
#[must_use]
pub fn shared_of(io: IoId, raw: RawResult, callbacks: bool) -> Outcome {
    let plain = Outcome::from_raw(raw);
    match CallbackId::new(CALLBACK) {
        Some(id) if callbacks && raw == raw_of(io) => warned(id, 5, plain),
        Some(id) if callbacks && raw == part_of(io) => {
            Outcome::new(Status::Partial, id, 4, plain.result())
        }
        Some(_) | None => plain,
    }
}

/// What the local callback makes of that.
#[must_use]
pub fn final_of(io: IoId, raw: RawResult, callbacks: bool) -> Outcome {
    let shared = shared_of(io, raw, callbacks);
    match CallbackId::new(CALLBACK) {
        Some(id) if callbacks && shared.status() != Status::Error => {
            warned(id, shared.error_data() + 1, shared)
        }
        Some(_) | None => shared,
    }
}

/// Every result that an IO may have had: executed, refused, or not executed because of a death.
#[must_use]
pub fn possible(io: IoId) -> [RawResult; 6] {
    let never = [RawResult::REFUSED, RawResult::INTERRUPTED, RawResult::OWNER_DIED];
    let [refused, interrupted, died] = never;
    [raw_of(io), part_of(io), error_of(io), refused, interrupted, died]
}

/// Whether an IO with this result was executed.
#[must_use]
pub fn executed(io: IoId, raw: RawResult) -> bool {
    [raw_of(io), part_of(io), error_of(io)].contains(&raw)
}

/// The result that everybody but the issuer is told as `outcome`.
///
/// # Panics
/// If no result of this IO is told so (S7, S9).
#[must_use]
#[track_caller]
pub fn raw_told(io: IoId, outcome: Outcome) -> RawResult {
    let told = |raw: &RawResult| {
        [false, true].map(|callbacks| shared_of(io, *raw, callbacks)).contains(&outcome)
    };
    let found = possible(io).into_iter().find(told);
    found.unwrap_or_else(|| panic!("S9: {outcome:?} is told of {io:?}, but is of another IO"))
}

/// The result that the issuer is told as `outcome` (S14).
///
/// # Panics
/// If no result of this IO is told so.
#[must_use]
#[track_caller]
pub fn raw_delivered(io: IoId, outcome: Outcome, callbacks: bool) -> RawResult {
    let found = possible(io).into_iter().find(|raw| final_of(io, *raw, callbacks) == outcome);
    found.unwrap_or_else(|| panic!("S14: {outcome:?} is delivered for {io:?}"))
}

/// Whether the bytes of an IO with this result are there.
#[must_use]
pub const fn transferred(raw: RawResult) -> bool {
    raw.0 >= 0
}
