//! io_uring: a ring whose completion queue other processes can read, and which can do nothing but what
//! files need.
//!
//! Nothing here knows the protocol: the caller gives memory and entries, and gets completions. Reading
//! order: `memory` (what is shared, and how it is reached), `setup` (how a ring is made), `patience` (how often
//! that is tried), `ring` (its descriptor), `shortcut` (a thread's faster way to it), `submission`, `completion`, `error` (why there is none).
//!
//! | part | who may use it | what it does |
//! |---|---|---|
//! | [`Submission`] | one thread, the issuer's | pushes entries, submits them |
//! | [`Completions`] | one thread at a time, behind the caller's mutex | takes completions |
//! | [`RingFd`] | any thread; one at a time sleeps | sleeps, registers files |
//! | [`Completions::of_dead`] | whoever recovers a dead process | reads what its ring left |
//!
//! Where things lie: the header (64 bytes: heads, tails, flags) and the completions (16 bytes each) in the
//! memory given, so that they outlive the process; the entries (64 bytes each) in private memory, since a
//! peer that could change one after it is published could have the kernel write anywhere in this process.
//!
//! What it keeps:
//! 1. No size, mask, offset or count comes from shared memory; the tail of the submissions and the head of
//!    the completions are kept here, and the words in memory are copies for the kernel.
//! 2. The kernel takes exactly the entries that were pushed, in order, each once.
//! 3. A restricted ring executes NOP, READ, WRITE, READV, WRITEV and FSYNC, and registers nothing but
//!    files, and itself with a thread.
//!
//! How it fails: a ring that cannot be made is a [`UringError`], which [`why`] explains. Where only the
//! sharing of the queue is refused, the ring is private and says so. Peers that change the memory can
//! lose or invent completions; the caller judges user data.
//!
//! Checked by the tests in each file. Not checked: kernels before 6.6, but for the private ring, which is
//! made on newer ones, too; the array of submissions before 6.6 is not.

mod completion;
mod error;
mod memory;
mod patience;
mod ring;
mod setup;
mod shortcut;
mod submission;

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use rustix::io::Errno;

pub(crate) use completion::{CompletionEntry, Completions};
pub(crate) use error::{Step, UringError, why};
pub(crate) use memory::SharedQueue;
pub(crate) use ring::{RingFd, Slept};
pub(crate) use submission::{
    Op, Submission, SubmissionEntry, Submitted, Target, USER_DATA, WRITTEN,
};

use super::{mapping::Mapping, memfd};

/// Queues are whole pages of the smallest size.
const PAGE: usize = 4096;
/// As many entries of a submission queue, 64 bytes each, as a page holds.
const ENTRIES_IN_A_PAGE: u32 = 64;

/// The bytes of memory that a ring with room for `completions` keeps its header and completion queue in.
pub(crate) const fn queue_bytes(completions: u32) -> usize {
    let entries = completion::ENTRY_LEN as usize * completions as usize;
    (completion::ENTRIES_AT as usize + entries).next_multiple_of(PAGE)
}

/// What ring to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Room for entries between two submissions, a power of two.
    pub(crate) submissions: u32,
    /// Room for completions, a power of two, no less than `submissions`.
    pub(crate) completions: u32,
    /// Where to keep the header and the completions; `None` for private memory.
    pub(crate) queue: Option<SharedQueue>,
    /// Places in the table of files; the limit of open files is one of theirs, too.
    pub(crate) files: u32,
    /// A description to hold at place 0 of the table, until the ring is gone.
    pub(crate) keep: Option<BorrowedFd<'a>>,
}

impl Wanted<'_> {
    fn check(&self) -> Result<(), UringError> {
        let (submissions, completions, files) = (self.submissions, self.completions, self.files);
        let powers = submissions.is_power_of_two() && completions.is_power_of_two();
        let place = self.keep.is_none() || files > 0;
        let fits = self.queue.is_none_or(|queue| queue.len() >= queue_bytes(completions));
        if powers && submissions <= completions && place && fits {
            return Ok(());
        }
        Err(UringError::Sizes { submissions, completions, files })
    }
}

/// A ring, in the parts that different threads use.
#[derive(Debug)]
pub(crate) struct Made {
    /// The issuer's side.
    pub(crate) submission: Submission,
    /// The completions.
    pub(crate) completions: Completions,
    /// The descriptor.
    pub(crate) ring: Arc<RingFd>,
    /// Whether the completions are in the memory given.
    pub(crate) shared: bool,
}

/// io_uring_setup(2) and io_uring_register(2): makes a ring, restricts it, and enables it. If the kernel
/// does not take the queue that is wanted, the ring has a private one. Takes up to 45 ms where there may be
/// memory for it soon.
///
/// # Errors
/// See [`UringError`]; [`why`] explains one.
pub(crate) fn make(wanted: Wanted<'_>) -> Result<Made, UringError> {
    wanted.check()?;
    let mut patience = patience::Patience::of_this_process();
    let Some(queue) = wanted.queue else { return patience.with(|| setup::private(&wanted)) };
    match patience.with(|| setup::shared(&wanted, queue)) {
        Err(error) if error.is_of_sharing() => {
            patience.with(|| setup::private(&wanted)).map_err(|private| UringError::Neither {
                shared: Box::new(error),
                private: Box::new(private),
            })
        }
        other => other,
    }
}

/// What rings can do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether a ring's completions can be in shared memory.
    pub(crate) shared: bool,
}

/// Makes a ring with room for so many completions and for a page of entries, which is as much memory as any
/// ring with these completions takes, and sends one entry through it.
///
/// # Errors
/// See [`UringError`]; [`why`] explains one.
pub(crate) fn probe(completions: u32) -> Result<Facts, UringError> {
    const TOKEN: u64 = 0x6861_6e64_6661_7374;
    let scratch = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        UringError::at(Step::Scratch)(errno)
    };
    let len = queue_bytes(completions);
    let fd = memfd::create_sealed("handfast-probe", len as u64).map_err(scratch)?;
    let mapping = Mapping::new(fd.as_fd(), len).map_err(scratch)?;
    let base = mapping.at(0, len).ok_or(UringError::Layout)?;
    // SAFETY: the mapping is dropped after the ring's parts and the copy of its queue, which are made
    // below it; nobody else knows its bytes.
    let queue = unsafe { SharedQueue::new(base, len) };
    let submissions = ENTRIES_IN_A_PAGE.min(completions);
    let wanted = Wanted { submissions, completions, queue, files: 1, keep: None };
    let mut made = make(wanted)?;
    let (op, target, user_data) = (Op::Nop, Target::Fd(-1), TOKEN);
    let entry =
        SubmissionEntry { op, target, addr: 0, len: 0, offset: 0, user_data, offload: false };
    // SAFETY: the entry names no memory and no file.
    let pushed = unsafe { made.submission.push(&entry) };
    if !pushed {
        return Err(UringError::Layout);
    }
    match made.submission.submit() {
        Submitted::All => {}
        Submitted::Again { .. } => return Err(UringError::at(Step::Trial)(Errno::AGAIN)),
        Submitted::Refused { errno, .. } => return Err(UringError::at(Step::Trial)(errno)),
    }
    let seen = queue.and_then(|queue| Completions::of_dead(queue, completions)?.peek());
    let shared = seen == Some(CompletionEntry { user_data: TOKEN, result: 0 });
    Ok(Facts { shared: made.shared && shared })
}

/// What the tests of several files share.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::sys::testing::eventually;
    use std::time::Duration;

    /// Whether the kernel refuses rings altogether, or more memory for them now; then says so.
    pub(crate) fn refused(error: &UringError) -> bool {
        let error::Refusal { cause, remedy } = why(error);
        eprintln!("skipped, no io_uring here: {cause}; {remedy}");
        let last = if let UringError::Neither { private, .. } = error { private } else { error };
        let UringError::Refused { step: Step::Setup, errno } = last else { return false };
        matches!(*errno, Errno::PERM | Errno::NOSYS | Errno::ACCESS | Errno::NOMEM)
    }

    /// A queue in a mapping, which the caller drops last.
    pub(crate) fn queue(mapping: &Mapping) -> Option<SharedQueue> {
        // SAFETY: the tests drop what they make with the queue before the mapping.
        unsafe { SharedQueue::new(mapping.base(), mapping.len()) }
    }

    /// A ring with its queue in a memfd, if there are any rings: four places for files, of which the
    /// memfd has the first.
    pub(crate) fn ring(submissions: u32, completions: u32) -> Option<(Made, Mapping)> {
        let len = queue_bytes(completions);
        let fd = memfd::create_sealed("handfast-test", len as u64).unwrap();
        let mapping = Mapping::new(fd.as_fd(), len).unwrap();
        let (queue, keep) = (queue(&mapping), Some(fd.as_fd()));
        match make(Wanted { submissions, completions, queue, files: 4, keep }) {
            Ok(made) => Some((made, mapping)),
            Err(error) => {
                assert!(refused(&error), "{error}");
                None
            }
        }
    }

    /// An entry for bytes at an offset of a file.
    pub(crate) fn io(op: Op, target: Target, bytes: &mut [u8], offset: u64) -> SubmissionEntry {
        let (addr, len) = (bytes.as_mut_ptr() as u64, u32::try_from(bytes.len()).unwrap());
        SubmissionEntry { op, target, addr, len, offset, user_data: 42, offload: false }
    }

    /// Pushes and submits an entry that does nothing.
    pub(crate) fn nop(submission: &mut Submission, user_data: u64) {
        let entry = io(Op::Nop, Target::Fd(-1), &mut [], 0);
        // SAFETY: the entry names nothing.
        assert!(unsafe { submission.push(&SubmissionEntry { user_data, ..entry }) });
        assert_eq!(submission.submit(), Submitted::All);
    }

    /// Takes all completions there are.
    pub(crate) fn drain(completions: &mut Completions) -> Vec<CompletionEntry> {
        let mut seen = vec![];
        while let Some(entry) = completions.peek() {
            completions.advance();
            seen.push(entry);
        }
        seen
    }

    /// Waits for completions, and takes all there are then.
    pub(crate) fn completed(made: &mut Made) -> Vec<CompletionEntry> {
        assert!(eventually(|| {
            let slept: Slept = made.ring.sleep(Duration::from_secs(1));
            slept == Slept::LookAgain && made.completions.any()
        }));
        drain(&mut made.completions)
    }

    /// Sends one entry through the ring and waits; its result. The bytes and the file live on.
    pub(crate) fn run(made: &mut Made, entry: SubmissionEntry) -> i32 {
        // SAFETY: the tests' bytes and files live until this has returned, and are not looked at.
        assert!(unsafe { made.submission.push(&entry) });
        assert_eq!(made.submission.submit(), Submitted::All);
        let seen = completed(made);
        let [CompletionEntry { user_data, result }] = seen[..] else { panic!("{seen:?}") };
        assert_eq!(user_data, entry.user_data);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{drain, io, nop, queue, refused, ring, run};
    use super::*;
    use crate::sys::io::IoVec;
    use crate::sys::testing::{eventually, forked};
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::ptr::NonNull;
    use std::time::Duration;

    fn file_of(len: usize) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn bytes_are_read_and_the_end_of_the_file_is_an_answer() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let (file, mut bytes) = (file_of(10_000), vec![0; 8192]);
        let target = Target::Fd(file.as_raw_fd());
        let mut read = |offset| run(&mut made, io(Op::Read, target, &mut bytes, offset));
        assert_eq!([9_990, 10_000, 1 << 40].map(&mut read), [10, 0, 0]);
        assert_eq!(read(1000), 8192);
        let offloaded = SubmissionEntry { offload: true, ..io(Op::Read, target, &mut bytes, 251) };
        assert!(bytes.iter().enumerate().all(|(i, &byte)| usize::from(byte) == (i + 1000) % 251));
        assert_eq!((run(&mut made, offloaded), bytes[0]), (8192, 0));
    }

    #[test]
    fn what_was_written_is_in_the_file() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let (mut file, mut text) = (tempfile::tempfile().unwrap(), *b"handfast");
        let target = Target::Fd(file.as_raw_fd());
        assert_eq!(run(&mut made, io(Op::Write, target, &mut text, 2)), 8);
        // Address, length and offset of these do not count.
        for op in [Op::Fsync, Op::Fdatasync] {
            assert_eq!(run(&mut made, io(op, target, &mut text, 7)), 0);
        }
        let mut found = vec![];
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut found).unwrap();
        assert_eq!(found, b"\0\0handfast");
    }

    #[test]
    fn pieces_are_filled_and_written_in_order() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let target = Target::Fd(file.as_raw_fd());
        let (mut one, mut two, mut three) = ([0_u8; 3], [0_u8; 1], [0_u8; 4]);
        let piece =
            |bytes: &mut [u8]| IoVec { base: NonNull::from(&mut *bytes).cast(), len: bytes.len() };
        let pieces = [piece(&mut one), piece(&mut two), piece(&mut three)];
        let entry = |op, offset| {
            let entry = io(op, target, &mut [], offset);
            SubmissionEntry { addr: pieces.as_ptr() as u64, len: 3, ..entry }
        };
        assert_eq!(run(&mut made, entry(Op::Readv, 1)), 8);
        assert_eq!((&one, &two, &three), (b"123", b"4", b"5678"));
        assert_eq!(run(&mut made, entry(Op::Writev, 6)), 8);
        let mut found = [0; 16];
        let len = std::os::unix::fs::FileExt::read_at(&file, &mut found, 0).unwrap();
        assert_eq!(&found[..len], b"01234512345678");
    }

    #[test]
    fn errors_are_negative_errnos() {
        let Some((mut made, _mapping)) = ring(8, 8) else { return };
        let ((reader, _writer), mut bytes) = (std::io::pipe().unwrap(), [0; 4]);
        let none = Target::Fd(-1);
        assert_eq!(run(&mut made, io(Op::Read, none, &mut bytes, 0)), -libc::EBADF);
        let beyond = Target::Registered(4);
        assert_eq!(run(&mut made, io(Op::Read, beyond, &mut bytes, 0)), -libc::EBADF);
        let pipe = Target::Fd(reader.as_raw_fd());
        assert_eq!(run(&mut made, io(Op::Fsync, pipe, &mut bytes, 0)), -libc::EINVAL);
        assert_eq!(run(&mut made, io(Op::Write, pipe, &mut bytes, 0)), -libc::EBADF);
    }

    #[test]
    fn many_ios_go_through_a_small_ring() {
        let Some((mut made, _mapping)) = ring(4, 8) else { return };
        let (file, mut bytes) = (file_of(4096), vec![0_u8; 200]);
        let target = Target::Fd(file.as_raw_fd());
        let mut next = 0_u64;
        let mut seen = vec![];
        while seen.len() < 200 {
            while next < 200 && made.submission.room() > 0 {
                let byte = &mut bytes[usize::try_from(next).unwrap()..][..1];
                let entry = io(Op::Read, target, byte, next);
                // SAFETY: bytes and file live until all completions have been seen.
                assert!(unsafe {
                    made.submission.push(&SubmissionEntry { user_data: next, ..entry })
                });
                next += 1;
            }
            assert_eq!(made.submission.submit(), Submitted::All);
            let _ = made.ring.sleep(Duration::from_secs(10));
            seen.extend(drain(&mut made.completions));
        }
        let mut whose: Vec<_> = seen.iter().map(|entry| entry.user_data).collect();
        whose.sort_unstable();
        assert!(whose.into_iter().eq(0..200) && seen.iter().all(|entry| entry.result == 1));
        assert!(bytes.iter().zip(0_u8..).all(|(&byte, i)| byte == i));
    }

    #[test]
    fn a_private_ring_does_the_same() {
        let wanted = Wanted { submissions: 2, completions: 8, queue: None, files: 0, keep: None };
        let mut made = match make(wanted) {
            Ok(made) => made,
            Err(error) => return assert!(refused(&error), "{error}"),
        };
        assert!(!made.shared);
        let (file, mut bytes) = (file_of(4096), vec![0; 100]);
        let target = Target::Fd(file.as_raw_fd());
        for offset in 0..20 {
            assert_eq!(run(&mut made, io(Op::Read, target, &mut bytes, offset)), 100);
            assert_eq!(u64::from(bytes[0]), offset);
        }
    }

    #[test]
    fn sizes_that_no_ring_has_are_refused() {
        let wanted = Wanted { submissions: 8, completions: 8, queue: None, files: 0, keep: None };
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        let mapping = Mapping::new(fd.as_fd(), 4096).unwrap();
        let cases = [
            Wanted { submissions: 0, ..wanted },
            Wanted { submissions: 6, ..wanted },
            Wanted { submissions: 16, ..wanted },
            Wanted { completions: 12, ..wanted },
            Wanted { keep: Some(fd.as_fd()), ..wanted },
            Wanted { completions: 256, queue: queue(&mapping), ..wanted },
        ];
        for case in cases {
            let refused = make(case).map(drop);
            assert!(matches!(refused, Err(UringError::Sizes { .. })), "{case:?}: {refused:?}");
        }
        assert_eq!([1, 128, 252, 253].map(queue_bytes), [4096, 4096, 4096, 8192]);
    }

    #[test]
    fn a_queue_that_the_kernel_does_not_take_makes_the_ring_private() {
        // It does not hold the pages of files on disks for long.
        let file = file_of(4096);
        let mapping = Mapping::new(file.as_fd(), 4096).unwrap();
        let queue = queue(&mapping);
        let wanted = Wanted { submissions: 8, completions: 8, queue, files: 0, keep: None };
        let mut made = match make(wanted) {
            Ok(made) => made,
            Err(error) => return assert!(refused(&error), "{error}"),
        };
        if made.shared {
            return eprintln!("skipped, temporary files are in memory here");
        }
        nop(&mut made.submission, 5);
        assert_eq!(drain(&mut made.completions).len(), 1);
        let mut header = [1; 64];
        mapping.copy_out(0, &mut header).unwrap();
        assert_eq!(header, [0; 64]);
    }

    #[test]
    fn a_shared_queue_is_seen_at_another_mapping() {
        let len = queue_bytes(8);
        let fd = memfd::create_sealed("handfast-test", len as u64).unwrap();
        let (mine, theirs) =
            (Mapping::new(fd.as_fd(), len).unwrap(), Mapping::new(fd.as_fd(), len).unwrap());
        let wanted = Wanted {
            submissions: 8,
            completions: 8,
            queue: queue(&mine),
            files: 1,
            keep: Some(fd.as_fd()),
        };
        let mut made = match make(wanted) {
            Ok(made) => made,
            Err(error) => return assert!(refused(&error), "{error}"),
        };
        for user_data in 1..=3 {
            nop(&mut made.submission, user_data);
        }
        made.completions.advance();
        let look = || Completions::of_dead(queue(&theirs).unwrap(), 8).unwrap();
        let seen: Vec<_> = drain(&mut look()).iter().map(|entry| entry.user_data).collect();
        assert_eq!(seen, if made.shared { vec![2, 3] } else { vec![] });
        assert_eq!(made.shared, probe(8).unwrap().shared);
    }

    /// What a child's ring leaves in its queue when the child submits `entry` and ends, with or without
    /// a signal.
    fn left_by(entry: SubmissionEntry, kill: bool) -> Option<Vec<CompletionEntry>> {
        let len = queue_bytes(8);
        let fd = memfd::create_sealed("handfast-test", len as u64).unwrap();
        let mapping = Mapping::new(fd.as_fd(), len).unwrap();
        let wanted = Wanted {
            submissions: 8,
            completions: 8,
            queue: queue(&mapping),
            files: 1,
            keep: Some(fd.as_fd()),
        };
        match make(wanted) {
            Ok(made) if !made.shared => return None,
            Ok(_) => {}
            Err(error) => {
                assert!(refused(&error), "{error}");
                return None;
            }
        }
        let (mut told, tell) = std::io::pipe().unwrap();
        let child = forked(|| {
            let mut made = make(wanted).unwrap();
            // SAFETY: the child ends without looking at the bytes.
            let pushed = unsafe { made.submission.push(&entry) };
            let submitted = made.submission.submit();
            rustix::io::write(&tell, b"x").unwrap();
            if kill {
                let _ = eventually(|| false);
            }
            // The parts are not dropped, as at any sudden end.
            std::mem::forget(made);
            u8::from(!pushed || submitted != Submitted::All)
        });
        told.read_exact(&mut [0]).unwrap();
        if kill {
            child.kill();
        } else {
            assert_eq!(child.exit_code(), Some(0));
        }
        let mut seen = vec![];
        assert!(eventually(|| {
            seen = drain(&mut Completions::of_dead(queue(&mapping).unwrap(), 8).unwrap());
            !seen.is_empty()
        }));
        Some(seen)
    }

    #[test]
    fn a_completion_outlives_its_process() {
        let (file, mut bytes) = (file_of(4096), [0; 100]);
        let entry = io(Op::Read, Target::Fd(file.as_raw_fd()), &mut bytes, 4000);
        let Some(seen) = left_by(entry, false) else { return };
        assert_eq!(seen, [CompletionEntry { user_data: 42, result: 96 }]);
    }

    #[test]
    fn an_io_pending_at_a_kill_is_completed_as_cancelled() {
        let ((reader, _writer), mut bytes) = (std::io::pipe().unwrap(), [0; 100]);
        let entry = io(Op::Read, Target::Fd(reader.as_raw_fd()), &mut bytes, 0);
        let Some(seen) = left_by(entry, true) else { return };
        let [CompletionEntry { user_data: 42, result }] = seen[..] else { panic!("{seen:?}") };
        assert!([-libc::ECANCELED, -libc::EINTR].contains(&result), "{result}");
    }

    /// What a probe says in a child in which a filter answers a system call with an errno.
    fn is_told_of_filter(call: libc::c_long, errno: Errno, expected: fn(&UringError) -> bool) {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
        let rules = [(call, vec![])].into_iter().collect();
        let errno = SeccompAction::Errno(errno.raw_os_error().unsigned_abs());
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        let child = forked(|| {
            seccompiler::apply_filter(&program).unwrap();
            u8::from(!probe(16).is_err_and(|error| expected(&error)))
        });
        assert_eq!(child.exit_code(), Some(0));
    }

    #[test]
    fn a_seccomp_filter_is_told_as_such() {
        is_told_of_filter(libc::SYS_io_uring_setup, Errno::PERM, |error| {
            let cause = why(error).cause;
            let told = cause.contains("sysctl kernel") || cause.contains("seccomp");
            *error == UringError::Refused { step: Step::Setup, errno: Errno::PERM } && told
        });
    }

    #[test]
    fn a_seccomp_filter_against_submissions_alone_is_told_as_such() {
        if let Err(error) = probe(16) {
            return assert!(refused(&error), "{error}");
        }
        for errno in [Errno::PERM, Errno::NOSYS] {
            is_told_of_filter(libc::SYS_io_uring_enter, errno, |error| {
                matches!(error, UringError::Refused { step: Step::Trial, .. })
                    && why(error).cause.contains("seccomp")
            });
        }
    }
}
