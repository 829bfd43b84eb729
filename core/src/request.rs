//! What an IO is to do: operation, flags, target, callbacks, all as plain numbers.
//!
//! The issuer writes a [`Request`] while the handle is HANDED_OUT; from DEFINED to the reclaim it
//! does not change (S4), so completer, viewers and recoverers read it without a lock. Numbers read
//! from a segment are decoded here, and bytes that mean nothing become `None`, never a panic.

use core::fmt;

/// The operation (PostgreSQL: `PgAioOp`; FSYNC and FDATASYNC are additions).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Operation {
    /// Read into one or several buffers, preadv(2).
    Readv = 1,
    /// Write from one or several buffers, pwritev(2).
    Writev = 2,
    /// fsync(2).
    Fsync = 3,
    /// fdatasync(2).
    Fdatasync = 4,
}

impl Operation {
    /// The operation with this number; 0 is PostgreSQL's `PGAIO_OP_INVALID`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Readv),
            2 => Some(Self::Writev),
            3 => Some(Self::Fsync),
            4 => Some(Self::Fdatasync),
            _ => None,
        }
    }

    /// A short name, as in the `operation` column of `pg_aios` (`pgaio_io_get_op_name`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Readv => "readv",
            Self::Writev => "writev",
            Self::Fsync => "fsync",
            Self::Fdatasync => "fdatasync",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

bitflags::bitflags! {
    /// Properties of one IO (`PgAioHandleFlags`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Flags: u8 {
        /// The buffers are reachable by the issuer only; required for correctness, set by the
        /// library for local memory.
        const REFERENCES_LOCAL = 1;
        /// Hint: the issuer will wait at once, so it may as well execute it itself.
        const SYNCHRONOUS = 2;
        /// Hint: the file is read or written through the page cache.
        const BUFFERED = 4;
    }
}

/// Index of a target kind in the application's registry; 1 is the built-in file target.
///
/// PostgreSQL: `PgAioTargetID`; 0 is `PGAIO_TID_INVALID` and means "no target set".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TargetId(pub u8);

impl TargetId {
    /// No target.
    pub const NONE: Self = Self(0);
    /// The built-in file target.
    pub const FILE: Self = Self(1);
}

/// Index of a callback in the application's registry, `1 ..= 63`.
///
/// PostgreSQL: `PgAioHandleCallbackID`. Six bits of a packed result hold it; 0 is handfast itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallbackId(u8);

impl CallbackId {
    /// handfast itself, for errors that no callback translated.
    pub const BUILT_IN: Self = Self(0);
    /// The largest id of an application's callback.
    pub const MAX: u8 = 63;

    /// An id from a number up to 63.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    pub(crate) const fn from_six_bits(bits: u64) -> Self {
        Self((bits & 0x3f) as u8)
    }
}

/// At most this many callbacks on one IO (`PGAIO_HANDLE_MAX_CALLBACKS`).
pub const MAX_CALLBACKS: usize = 4;

/// The callbacks of one IO in the order of registration, each with its data byte, in one u64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CallbackList(u64);

impl CallbackList {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// The list with one more; `None` if it is full or the id is not an application's
    /// (`pgaio_io_register_callbacks`).
    #[must_use]
    pub const fn with(self, id: CallbackId, data: u8) -> Option<Self> {
        let len = self.len();
        if len == MAX_CALLBACKS || id.get() == 0 {
            return None;
        }
        let entry = (data as u64) << 8 | id.get() as u64;
        Some(Self(self.0 | entry << (16 * len)))
    }

    /// How many there are.
    #[inline(always)]
    #[must_use]
    pub const fn len(self) -> usize {
        let mut len = 0;
        while len < MAX_CALLBACKS && self.0 >> (16 * len) & 0x3f != 0 {
            len += 1;
        }
        len
    }

    /// Whether there is none.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 & 0x3f == 0
    }

    /// The callback at `index`, with its data byte.
    #[must_use]
    pub const fn get(self, index: usize) -> Option<(CallbackId, u8)> {
        if index >= self.len() {
            return None;
        }
        let entry = self.0 >> (16 * index);
        #[expect(clippy::cast_possible_truncation, reason = "one byte")]
        Some((CallbackId::from_six_bits(entry), (entry >> 8) as u8))
    }

    /// From first registered to last. Callbacks run in the reverse of this.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = (CallbackId, u8)> + ExactSizeIterator {
        (0..self.len()).map(move |i| self.get(i).unwrap_or((CallbackId::BUILT_IN, 0)))
    }

    /// As a field of a handle.
    #[inline(always)]
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// From a field of a handle. Ids that cannot be are masked to ones that the registry checks.
    #[inline(always)]
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// Everything that is fixed about an IO when it is defined.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// How.
    pub flags: Flags,
    /// To what kind of thing.
    pub target: TargetId,
    /// Which thing of that kind (`PgAioTargetData`); the target's own encoding.
    pub target_data: [u64; 3],
    /// Byte offset in the target.
    pub offset: u64,
    /// Bytes over all buffers.
    pub length: u64,
    /// Buffers.
    pub iovecs: u16,
    /// Words of handle data in use.
    pub data_len: u8,
    /// Callbacks in the order of registration.
    pub callbacks: CallbackList,
}

impl Request {
    /// The small parts in one field of a handle.
    #[inline(always)]
    #[must_use]
    pub const fn head(&self) -> u64 {
        self.operation as u64
            | (self.flags.bits() as u64) << 8
            | (self.target.0 as u64) << 16
            | (self.data_len as u64) << 24
            | (self.iovecs as u64) << 32
    }

    /// Undoes [`Self::head`]; the other parts are left at zero. `None` if it names no operation.
    #[inline(always)]
    #[must_use]
    pub const fn from_head(head: u64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "each cast takes its own bits")]
        let (operation, flags, target, data_len, iovecs) = (
            head as u8,
            (head >> 8) as u8,
            (head >> 16) as u8,
            (head >> 24) as u8,
            (head >> 32) as u16,
        );
        let Some(operation) = Operation::from_number(operation) else { return None };
        Some(Self {
            operation,
            flags: Flags::from_bits_truncate(flags),
            target: TargetId(target),
            target_data: [0; 3],
            offset: 0,
            length: 0,
            iovecs,
            data_len,
            callbacks: CallbackList::EMPTY,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_callbacks_fit_and_a_fifth_is_refused() {
        let mut list = CallbackList::EMPTY;
        for i in 1..=4 {
            list = list.with(CallbackId::new(i).unwrap(), i * 10).unwrap();
        }
        assert_eq!(list.with(CallbackId::new(5).unwrap(), 0), None);
        let pairs: alloc::vec::Vec<_> = list.iter().map(|(id, data)| (id.get(), data)).collect();
        assert_eq!(pairs, [(1, 10), (2, 20), (3, 30), (4, 40)]);
        assert_eq!(list.get(4), None);
        assert_eq!(CallbackList::EMPTY.with(CallbackId::BUILT_IN, 0), None);
    }

    #[test]
    fn head_round_trips() {
        let request = Request {
            operation: Operation::Fdatasync,
            flags: Flags::BUFFERED | Flags::SYNCHRONOUS,
            target: TargetId(9),
            target_data: [0; 3],
            offset: 0,
            length: 0,
            iovecs: 1024,
            data_len: 255,
            callbacks: CallbackList::EMPTY,
        };
        assert_eq!(Request::from_head(request.head()), Some(request));
        assert_eq!(Request::from_head(0), None);
        assert_eq!(Request::from_head(0xff), None);
    }
}
