//! Moving bytes: positioned vectored IO whose answer is the raw result that handles store.
//!
//! A raw result is a number of bytes, or an errno negated. Nothing is retried but EINTR; a short
//! transfer is an answer.
//!
//! These go through the C library: rustix's functions take slices, and a slice of memory that other
//! processes may write to at the same time is undefined behaviour, whereas an address is just a
//! number to the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use rustix::io::Errno;

/// A piece of memory for an IO: readv(2)'s `struct iovec`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct IoVec {
    /// The first byte; dangling if `len` is zero.
    pub(crate) base: NonNull<u8>,
    /// The length in bytes.
    pub(crate) len: usize,
}

const _: () = {
    assert!(size_of::<IoVec>() == size_of::<libc::iovec>());
    assert!(align_of::<IoVec>() == align_of::<libc::iovec>());
    assert!(std::mem::offset_of!(IoVec, base) == std::mem::offset_of!(libc::iovec, iov_base));
    assert!(std::mem::offset_of!(IoVec, len) == std::mem::offset_of!(libc::iovec, iov_len));
    // Offsets past two gigabytes must not be cut off.
    assert!(size_of::<libc::off_t>() == 8);
};

/// pread(2), or preadv(2) for anything but one piece: reads from `offset` into `iovecs` in order;
/// the raw result.
///
/// Zero is the end of the file, or that nothing was asked for. More than 1024 pieces are -EINVAL.
///
/// # Safety
/// Until the call returns, each of `iovecs` describes memory that is mapped and writable, and that
/// no Rust reference covers, unless it is one of atomics or the caller's own exclusive one.
#[inline(always)]
pub(crate) unsafe fn preadv(fd: BorrowedFd<'_>, iovecs: &[IoVec], offset: u64) -> i32 {
    let Ok(offset) = libc::off_t::try_from(offset) else { return refused(Errno::INVAL) };
    let fd = fd.as_raw_fd();
    if let [only] = iovecs {
        // SAFETY: the caller answers for the memory; the descriptor is open while it is borrowed.
        return uninterrupted(|| unsafe {
            libc::pread(fd, only.base.as_ptr().cast(), only.len, offset)
        });
    }
    let Ok(count) = libc::c_int::try_from(iovecs.len()) else { return refused(Errno::INVAL) };
    // SAFETY: as above; an `IoVec` has the layout of an `iovec` (asserted), of which the slice
    // holds `count`.
    uninterrupted(|| unsafe { libc::preadv(fd, iovecs.as_ptr().cast(), count, offset) })
}

/// pwrite(2), or pwritev(2) for anything but one piece: writes `iovecs` in order at `offset`; the
/// raw result.
///
/// More than 1024 pieces are -EINVAL. A descriptor opened with O_APPEND ignores the offset
/// (pwrite(2), BUGS).
///
/// # Safety
/// Until the call returns, each of `iovecs` describes memory that is mapped and readable, and that
/// no exclusive Rust reference but the caller's own covers.
#[inline(always)]
pub(crate) unsafe fn pwritev(fd: BorrowedFd<'_>, iovecs: &[IoVec], offset: u64) -> i32 {
    let Ok(offset) = libc::off_t::try_from(offset) else { return refused(Errno::INVAL) };
    let fd = fd.as_raw_fd();
    if let [only] = iovecs {
        // SAFETY: the caller answers for the memory; the descriptor is open while it is borrowed.
        return uninterrupted(|| unsafe {
            libc::pwrite(fd, only.base.as_ptr().cast(), only.len, offset)
        });
    }
    let Ok(count) = libc::c_int::try_from(iovecs.len()) else { return refused(Errno::INVAL) };
    // SAFETY: as above; an `IoVec` has the layout of an `iovec` (asserted), of which the slice
    // holds `count`.
    uninterrupted(|| unsafe { libc::pwritev(fd, iovecs.as_ptr().cast(), count, offset) })
}

/// fsync(2): zero, or an errno negated.
pub(crate) fn fsync(fd: BorrowedFd<'_>) -> i32 {
    rustix::io::retry_on_intr(|| rustix::fs::fsync(fd)).map_or_else(refused, |()| 0)
}

/// fdatasync(2): zero, or an errno negated.
pub(crate) fn fdatasync(fd: BorrowedFd<'_>) -> i32 {
    rustix::io::retry_on_intr(|| rustix::fs::fdatasync(fd)).map_or_else(refused, |()| 0)
}

/// Makes the call until no signal interrupts it, and packs its answer. Each repeat takes a signal
/// that arrived.
#[inline(always)]
fn uninterrupted(mut call: impl FnMut() -> isize) -> i32 {
    loop {
        let answer = call();
        if answer >= 0 {
            // The kernel moves at most 2 GiB less a page in one call.
            return i32::try_from(answer).unwrap_or(i32::MAX);
        }
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        if errno != libc::EINTR {
            return -errno;
        }
    }
}

fn refused(errno: Errno) -> i32 {
    -errno.raw_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    fn piece(bytes: &mut [u8]) -> IoVec {
        IoVec { base: NonNull::from(&mut *bytes).cast(), len: bytes.len() }
    }

    fn read(file: impl AsFd, iovecs: &[IoVec], offset: u64) -> i32 {
        // SAFETY: the tests' arrays live on and are not looked at during the call.
        unsafe { preadv(file.as_fd(), iovecs, offset) }
    }

    fn write(file: impl AsFd, iovecs: &[IoVec], offset: u64) -> i32 {
        // SAFETY: as in `read`.
        unsafe { pwritev(file.as_fd(), iovecs, offset) }
    }

    fn file_with(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn pieces_are_filled_in_order_from_the_offset() {
        let file = file_with(b"0123456789");
        let (mut one, mut two) = ([0_u8; 3], [0_u8; 4]);
        let iovecs = [piece(&mut one), piece(&mut two)];
        assert_eq!(read(&file, &iovecs, 2), 7);
        assert_eq!((&one, &two), (b"234", b"5678"));
    }

    #[test]
    fn a_short_transfer_and_the_end_of_the_file_are_answers() {
        let file = file_with(b"0123456789");
        let mut bytes = [0_u8; 8];
        let iovecs = [piece(&mut bytes)];
        assert_eq!([8, 10, 1 << 40].map(|offset| read(&file, &iovecs, offset)), [2, 0, 0]);
        assert_eq!(&bytes[..2], b"89");
    }

    #[test]
    fn what_was_written_is_read_back() {
        let file = file_with(b"");
        let (mut one, mut two, mut back) = (*b"abc", *b"de", [0_u8; 6]);
        let (pair, all) = ([piece(&mut one), piece(&mut two)], [piece(&mut back)]);
        let written = [write(&file, &pair, 0), write(&file, &pair[..1], 3)];
        assert_eq!((written, read(&file, &all, 0)), ([5, 3], 6));
        assert_eq!(&back, b"abcabc");
        assert_eq!((fsync(file.as_fd()), fdatasync(file.as_fd())), (0, 0));
    }

    #[test]
    fn errors_are_negative_errnos() {
        let (reader, writer) = io::pipe().unwrap();
        let file = file_with(b"x");
        let mut byte = [0_u8; 1];
        let iovecs = [piece(&mut byte)];
        let many = vec![iovecs[0]; 1025];
        assert_eq!(read(&reader, &iovecs, 0), -libc::ESPIPE);
        assert_eq!(write(&writer, &iovecs, 0), -libc::ESPIPE);
        assert_eq!(read(&file, &iovecs, u64::MAX), -libc::EINVAL);
        assert_eq!(read(&file, &many, 0), -libc::EINVAL);
        assert_eq!(read(&file, &[], 0), 0);
        assert_eq!(fsync(reader.as_fd()), -libc::EINVAL);
    }

    #[test]
    fn r21_an_interrupted_call_is_made_again() {
        let mut answers = [-1_isize, -1, 42].into_iter();
        let packed = uninterrupted(|| {
            // SAFETY: the function has no preconditions.
            let errno = unsafe { libc::__errno_location() };
            // SAFETY: the address is that of this thread's own errno.
            unsafe { *errno = libc::EINTR };
            answers.next().unwrap()
        });
        assert_eq!((packed, answers.next()), (42, None));
    }
}
