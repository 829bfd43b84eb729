//! Making a ring, and narrowing what it can do before it is started.
//!
//! The ring starts disabled; its table of files is registered (with the description that has to live as
//! long as the ring at place 0), then what it is restricted to, and only then is it enabled. Whoever gets
//! hold of its descriptor can have it read and write the files of this process, but not open, accept or
//! connect.
#![expect(
    clippy::disallowed_types,
    reason = "words are prepared before there is a ring, or before it is enabled"
)]

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::io_uring::{
    IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringFeatureFlags, IoringOp, IoringRegisterOp,
    IoringRestrictionOp, IoringSetupFlags, IoringSqeFlags, io_uring_params, io_uring_ptr,
    io_uring_register, io_uring_restriction, io_uring_setup,
    register_or_sqe_op_or_sqe_flags_union as Allowed,
};

use super::completion::{self, Completions, Offsets};
use super::error::{Step, UringError};
use super::memory::{Region, SharedQueue};
use super::ring::RingFd;
use super::submission::Submission;
use super::{Made, Wanted};

/// Bytes of an entry of the submission queue.
const SLOT_LEN: usize = 64;

/// What the kernel must say that it does, and since when it can.
const FEATURES: [(IoringFeatureFlags, &str); 4] = [
    (IoringFeatureFlags::SINGLE_MMAP, "one mapping for both queues (5.4)"),
    (IoringFeatureFlags::NODROP, "keeping of completions without room (5.5)"),
    (IoringFeatureFlags::SUBMIT_STABLE, "submissions that can be forgotten at once (5.5)"),
    (IoringFeatureFlags::EXT_ARG, "waits with a time limit (5.11)"),
];

/// The operations a ring is for.
const OPS: [(IoringOp, &str); 6] = [
    (IoringOp::Nop, "the operation NOP (5.1)"),
    (IoringOp::Readv, "the operation READV (5.1)"),
    (IoringOp::Writev, "the operation WRITEV (5.1)"),
    (IoringOp::Fsync, "the operation FSYNC (5.1)"),
    (IoringOp::Read, "the operation READ (5.6)"),
    (IoringOp::Write, "the operation WRITE (5.6)"),
];

/// A ring that is not enabled yet, and its memory.
struct Raw {
    fd: OwnedFd,
    params: io_uring_params,
    /// Its header and its completion queue.
    queue: Arc<Region>,
    /// The entries of its submission queue.
    slots: Arc<Region>,
    shared: bool,
}

/// A ring whose header and completion queue are in the memory given (Linux 6.6).
pub(super) fn shared(wanted: &Wanted<'_>, queue: SharedQueue) -> Result<Made, UringError> {
    let slots_len = wanted.submissions as usize * SLOT_LEN;
    let slots = Region::anonymous(slots_len).map_err(UringError::at(Step::Memory))?;
    let region = Region::borrowed(queue);
    zero(&region, queue.len())?;
    let flags = IoringSetupFlags::NO_MMAP | IoringSetupFlags::NO_SQARRAY;
    let mut params = params(wanted, flags);
    params.cq_off.user_addr = io_uring_ptr::new(queue.base().as_ptr().cast());
    params.sq_off.user_addr = io_uring_ptr::new(slots.base().as_ptr().cast());
    // SAFETY: the kernel writes its header and completions to the queue, which is long enough for both
    // (`Wanted::check`) and which `SharedQueue::new` was promised for it; and reads the entries from a
    // mapping of their own, as long as they are. It holds the pages of both, whoever unmaps them.
    let fd = unsafe { io_uring_setup(wanted.submissions, &mut params) };
    let fd = fd.map_err(UringError::at(Step::Setup))?;
    let cq = &params.cq_off;
    // Another process finds its way in a dead one's queue by these.
    let usual = (completion::HEAD_AT, completion::TAIL_AT, completion::ENTRIES_AT);
    if (cq.head, cq.tail, cq.cqes) != usual {
        return Err(UringError::Layout);
    }
    finish(wanted, Raw { fd, params, queue: region, slots, shared: true })
}

/// A ring whose memory the kernel allocates.
pub(super) fn private(wanted: &Wanted<'_>) -> Result<Made, UringError> {
    let mut params = params(wanted, IoringSetupFlags::NO_SQARRAY);
    // SAFETY: the kernel allocates the memory itself.
    let mut made = unsafe { io_uring_setup(wanted.submissions, &mut params) };
    if matches!(made, Err(Errno::INVAL)) {
        // Before Linux 6.6 there is an array between the queue and the entries.
        params = self::params(wanted, IoringSetupFlags::empty());
        // SAFETY: as above.
        made = unsafe { io_uring_setup(wanted.submissions, &mut params) };
    }
    let fd = made.map_err(UringError::at(Step::Setup))?;
    features(params.features)?;
    let entries = completion::ENTRY_LEN as usize * wanted.completions as usize;
    let mut len = params.cq_off.cqes as usize + entries;
    let array = !params.flags.contains(IoringSetupFlags::NO_SQARRAY);
    if array {
        len = len.max(params.sq_off.array as usize + 4 * wanted.submissions as usize);
    }
    let mapped = Region::of_ring(fd.as_fd(), len, IORING_OFF_SQ_RING);
    let queue = mapped.map_err(UringError::at(Step::Map))?;
    let slots_len = wanted.submissions as usize * SLOT_LEN;
    let mapped = Region::of_ring(fd.as_fd(), slots_len, IORING_OFF_SQES);
    let slots = mapped.map_err(UringError::at(Step::Map))?;
    if array {
        identity(&queue, params.sq_off.array, wanted.submissions)?;
    }
    finish(wanted, Raw { fd, params, queue, slots, shared: false })
}

fn params(wanted: &Wanted<'_>, flags: IoringSetupFlags) -> io_uring_params {
    let mut params = io_uring_params::default();
    params.cq_entries = wanted.completions;
    params.flags = flags | IoringSetupFlags::CQSIZE | IoringSetupFlags::R_DISABLED;
    params
}

/// What an earlier ring left in the memory is not taken for this one's.
fn zero(region: &Arc<Region>, len: usize) -> Result<(), UringError> {
    let lines = u32::try_from(len / 64).map_err(|_| UringError::Layout)?;
    let lines = region.entries::<8>(0, lines).ok_or(UringError::Layout)?;
    for word in lines.as_flattened() {
        word.store(0, Ordering::Relaxed);
    }
    Ok(())
}

/// Has the `i`th submission be the `i`th entry, for good.
fn identity(queue: &Arc<Region>, offset: u32, count: u32) -> Result<(), UringError> {
    let array = queue.words(offset, count).ok_or(UringError::Layout)?;
    for (i, word) in (0..count).zip(array.iter()) {
        word.store(i, Ordering::Relaxed);
    }
    Ok(())
}

fn features(found: IoringFeatureFlags) -> Result<(), UringError> {
    let lacking = FEATURES.iter().find(|(feature, _)| !found.contains(*feature));
    lacking.map_or(Ok(()), |&(_, what)| Err(UringError::Lacks { what }))
}

/// Checks what the ring can do, restricts it to what it is for, and enables it.
fn finish(wanted: &Wanted<'_>, raw: Raw) -> Result<Made, UringError> {
    let Raw { fd, params, queue, slots, shared } = raw;
    features(params.features)?;
    if (params.sq_entries, params.cq_entries) != (wanted.submissions, wanted.completions) {
        return Err(UringError::Layout);
    }
    probe(fd.as_fd())?;
    files(fd.as_fd(), wanted)?;
    restrict(fd.as_fd())?;
    enable(fd.as_fd())?;
    let (sq, cq) = (params.sq_off, params.cq_off);
    let ring = Arc::new(RingFd { fd, first_file: u32::from(wanted.keep.is_some()), shared });
    let tail = queue.word(sq.tail).ok_or(UringError::Layout)?;
    let submission = Submission::of_ring(Arc::clone(&ring), &slots, wanted.submissions, tail);
    let at = Offsets { head: cq.head, tail: cq.tail, entries: cq.cqes };
    let completions = Completions::of_ring(&queue, at, wanted.completions);
    let submission = submission.ok_or(UringError::Layout)?;
    let completions = completions.ok_or(UringError::Layout)?;
    Ok(Made { submission, completions, ring, shared })
}

/// IORING_REGISTER_PROBE (5.6): whether the kernel has the operations.
fn probe(ring: BorrowedFd<'_>) -> Result<(), UringError> {
    // Operations asked about: all that `OPS` has.
    const COUNT: u32 = 32;
    // `struct io_uring_probe`, then one `struct io_uring_probe_op` each, eight bytes all of them.
    let mut answer = [[0_u8; 8]; 2 + COUNT as usize];
    let (op, at) = (IoringRegisterOp::RegisterProbe, &raw mut answer);
    // SAFETY: the kernel writes a header of 16 bytes and `COUNT` entries of 8, which `answer` holds.
    let asked = unsafe { io_uring_register(ring, op, at.cast(), COUNT) };
    asked.map_err(UringError::at(Step::Probe))?;
    for (op, what) in OPS {
        // An entry is the operation's number, a byte reserved, and 16 bits of flags.
        let [_, _, low, high, ..] = answer.get(2 + op as usize).copied().unwrap_or_default();
        if u16::from_ne_bytes([low, high]) & 1 == 0 {
            return Err(UringError::Lacks { what });
        }
    }
    Ok(())
}

/// IORING_REGISTER_FILES: a table with empty places, and the description to keep at the first.
fn files(ring: BorrowedFd<'_>, wanted: &Wanted<'_>) -> Result<(), UringError> {
    if wanted.files == 0 {
        return Ok(());
    }
    let mut table = vec![-1_i32; wanted.files as usize];
    if let (Some(first), Some(keep)) = (table.first_mut(), wanted.keep) {
        *first = keep.as_raw_fd();
    }
    let (op, at) = (IoringRegisterOp::RegisterFiles, table.as_ptr());
    // SAFETY: the kernel reads `files` descriptors, as many as the table has.
    let registered = unsafe { io_uring_register(ring, op, at.cast(), wanted.files) };
    registered.map(drop).map_err(UringError::at(Step::Files))
}

/// IORING_REGISTER_RESTRICTIONS (5.10): from when it is enabled on, the ring does nothing else.
fn restrict(ring: BorrowedFd<'_>) -> Result<(), UringError> {
    let allow = |opcode: IoringRestrictionOp, what: Allowed| {
        let mut restriction = io_uring_restriction::default();
        restriction.opcode = opcode;
        restriction.register_or_sqe_op_or_sqe_flags = what;
        restriction
    };
    let flags = Allowed { sqe_flags: IoringSqeFlags::FIXED_FILE | IoringSqeFlags::ASYNC };
    let mut all =
        OPS.map(|(op, _)| allow(IoringRestrictionOp::SqeOp, Allowed { sqe_op: op })).to_vec();
    all.push(allow(IoringRestrictionOp::SqeFlagsAllowed, flags));
    let register = |op| allow(IoringRestrictionOp::RegisterOp, Allowed { register_op: op });
    all.push(register(IoringRegisterOp::RegisterFilesUpdate));
    let without = all.len();
    // Before Linux 5.18 there are no such operations, and the kernel refuses the whole list.
    all.push(register(IoringRegisterOp::RegisterRingFds));
    all.push(register(IoringRegisterOp::UnregisterRingFds));
    let restricted = match restrict_to(ring, &all) {
        Err(Errno::INVAL) => restrict_to(ring, &all[..without]),
        other => other,
    };
    restricted.map_err(UringError::at(Step::Restrict))
}

fn restrict_to(ring: BorrowedFd<'_>, all: &[io_uring_restriction]) -> Result<(), Errno> {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let (op, at) = (IoringRegisterOp::RegisterRestrictions, all.as_ptr());
    // SAFETY: the kernel reads `count` restrictions, as many as the list has.
    unsafe { io_uring_register(ring, op, at.cast(), count) }.map(drop)
}

/// IORING_REGISTER_ENABLE_RINGS (5.10).
fn enable(ring: BorrowedFd<'_>) -> Result<(), UringError> {
    let op = IoringRegisterOp::RegisterEnableRings;
    // SAFETY: the operation takes no argument.
    let enabled = unsafe { io_uring_register(ring, op, ptr::null(), 0) };
    enabled.map(drop).map_err(UringError::at(Step::Enable))
}
