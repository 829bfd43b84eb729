//! What became of an IO: the raw result of the system call, and the packed result that callbacks
//! made of it.
//!
//! | bits | field of [`Outcome`] |
//! |---|---|
//! | 0..32 | result: bytes transferred, or a negative error number |
//! | 32..35 | status: three bits for five values (MUSEUM B17) |
//! | 35..41 | id of the callback that spoke last; 0 is handfast |
//! | 41..64 | error data, 23 bits, the callback's own encoding |
//!
//! PostgreSQL: `PgAioResult`. An outcome starts as [`Outcome::from_raw`]; each completion callback,
//! last registered first, maps the prior one to the next. A negative raw result that nobody
//! translated is an error, not OK (MUSEUM R21).

use crate::request::CallbackId;

/// How an IO went (`PgAioResultStatus`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Status {
    /// Not known yet. Never seen after completion (S14).
    Unknown = 0,
    /// Everything worked.
    Ok = 1,
    /// A part worked; the result says how much.
    Partial = 2,
    /// It worked, and a callback has something to say about it.
    Warning = 3,
    /// It failed.
    Error = 4,
}

impl Status {
    const fn from_bits(bits: u64) -> Self {
        match bits & 0b111 {
            1 => Self::Ok,
            2 => Self::Partial,
            3 => Self::Warning,
            4 => Self::Error,
            _ => Self::Unknown,
        }
    }
}

/// The raw result of an IO: not negative is bytes, `-1 ..= -4095` an error number of the system,
/// below that one of handfast's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct RawResult(pub i32);

impl RawResult {
    /// The issuer died before anybody learned the true result.
    pub const OWNER_DIED: Self = Self(-4097);
    /// A stage callback refused the IO; it was never executed.
    pub const REFUSED: Self = Self(-4098);
    /// Staging was cut short by the end of its scope or process; it was never executed.
    pub const INTERRUPTED: Self = Self(-4099);
    /// A callback panicked.
    pub const CALLBACK_PANICKED: Self = Self(-4100);
    /// The request in the segment made no sense to its executor; it was never executed.
    pub const GARBLED: Self = Self(-4101);

    /// As a field of a handle, keyed by the generation it belongs to: a recoverer that finds
    /// another key knows that no result was stored for this IO.
    #[inline(always)]
    #[must_use]
    pub const fn keyed(self, generation: crate::ids::Generation) -> u64 {
        #[expect(clippy::cast_sign_loss, reason = "the bits are kept")]
        let bits = self.0 as u32 as u64;
        generation.get() << 32 | bits
    }

    /// Undoes [`Self::keyed`]; `None` if the key is of another generation.
    #[must_use]
    pub const fn from_keyed(field: u64, generation: crate::ids::Generation) -> Option<Self> {
        if field >> 32 != generation.get() & 0xffff_ffff {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        Some(Self(field as u32 as i32))
    }
}

/// The packed result of an IO.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Outcome(u64);

const STATUS_SHIFT: u32 = 32;
const ID_SHIFT: u32 = 35;
const DATA_SHIFT: u32 = 41;

impl Outcome {
    /// Error data above this is cut to its low bits.
    pub const MAX_ERROR_DATA: u32 = (1 << 23) - 1;

    /// An outcome from its parts. Error data keeps 23 bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(status: Status, id: CallbackId, error_data: u32, result: i32) -> Self {
        #[expect(clippy::cast_sign_loss, reason = "the bits are kept")]
        let result = result as u32 as u64;
        Self(
            result
                | (status as u64) << STATUS_SHIFT
                | (id.get() as u64) << ID_SHIFT
                | ((error_data & Self::MAX_ERROR_DATA) as u64) << DATA_SHIFT,
        )
    }

    /// What an IO without callbacks reports: bytes are OK, a negative number is an error whose
    /// error data is that number without its sign.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: RawResult) -> Self {
        if raw.0 >= 0 {
            Self::new(Status::Ok, CallbackId::BUILT_IN, 0, raw.0)
        } else {
            Self::new(Status::Error, CallbackId::BUILT_IN, raw.0.unsigned_abs(), raw.0)
        }
    }

    /// This outcome as an error that a callback found, with the result as it was: what a completion
    /// callback returns when, say, a checksum is wrong.
    #[must_use]
    pub const fn failed(self, by: CallbackId, error_data: u32) -> Self {
        Self::new(Status::Error, by, error_data, self.result())
    }

    /// How it went.
    #[inline(always)]
    #[must_use]
    pub const fn status(self) -> Status {
        Status::from_bits(self.0 >> STATUS_SHIFT)
    }

    /// Bytes transferred, or a negative error number.
    #[inline(always)]
    #[must_use]
    pub const fn result(self) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        {
            self.0 as u32 as i32
        }
    }

    /// Which callback spoke last.
    #[must_use]
    pub const fn callback(self) -> CallbackId {
        CallbackId::from_six_bits(self.0 >> ID_SHIFT)
    }

    /// That callback's error data.
    #[must_use]
    pub const fn error_data(self) -> u32 {
        (self.0 >> DATA_SHIFT) as u32
    }

    /// The system's error number, if handfast itself reports one.
    #[must_use]
    pub const fn errno(self) -> Option<i32> {
        match self.status() {
            Status::Error if self.callback().get() == 0 && self.result() >= -4095 => {
                Some(-self.result())
            }
            Status::Error | Status::Unknown | Status::Ok | Status::Partial | Status::Warning => {
                None
            }
        }
    }

    /// As a field of a handle.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// From a field of a handle; any bits are some outcome.
    #[inline(always)]
    #[must_use]
    pub const fn from_packed(bits: u64) -> Self {
        Self(bits)
    }
}

impl core::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}({})", self.status(), self.result())?;
        if self.callback() != CallbackId::BUILT_IN {
            write!(f, " by callback {} data {}", self.callback().get(), self.error_data())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;

    #[test]
    fn b17_all_five_statuses_and_all_fields_survive_packing() {
        let statuses =
            [Status::Unknown, Status::Ok, Status::Partial, Status::Warning, Status::Error];
        for status in statuses {
            for id in [0, 1, CallbackId::MAX] {
                for data in [0, 1, Outcome::MAX_ERROR_DATA] {
                    for result in [i32::MIN, -1, 0, 1, i32::MAX] {
                        let id = CallbackId::new(id).unwrap();
                        let packed =
                            Outcome::from_packed(Outcome::new(status, id, data, result).raw());
                        assert_eq!(packed.status(), status);
                        assert_eq!((packed.callback(), packed.error_data()), (id, data));
                        assert_eq!(packed.result(), result);
                    }
                }
            }
        }
    }

    #[test]
    fn r21_untranslated_negative_result_is_an_error() {
        let outcome = Outcome::from_raw(RawResult(-5));
        assert_eq!(outcome.status(), Status::Error);
        assert_eq!(outcome.errno(), Some(5));
        assert_eq!(Outcome::from_raw(RawResult::OWNER_DIED).errno(), None);
        assert_eq!(Outcome::from_raw(RawResult::OWNER_DIED).error_data(), 4097);
        assert_eq!(Outcome::from_raw(RawResult(0)).status(), Status::Ok);
    }

    #[test]
    fn raw_result_of_another_generation_is_not_taken() {
        let (one, two) = (Generation::FIRST, Generation::new(2).unwrap());
        for raw in [RawResult(0), RawResult(8192), RawResult(-5), RawResult::OWNER_DIED] {
            assert_eq!(RawResult::from_keyed(raw.keyed(one), one), Some(raw));
            assert_eq!(RawResult::from_keyed(raw.keyed(one), two), None);
        }
        assert_eq!(RawResult::from_keyed(0, one), None);
    }
}
