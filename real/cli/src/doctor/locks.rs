//! Locks of open file descriptions (OFD): taken, seen to conflict, seen to be apart by byte, seen
//! to be given back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{MemfdFlags, memfd_create};

use super::finding::Finding;

/// Why these locks cannot be relied on.
#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error("cannot {what}: {source}")]
    Step { what: &'static str, source: io::Error },
    #[error("two open descriptions hold the same lock")]
    NoConflict,
}

/// Tries two descriptions of one file.
pub fn ofd_locks() -> Finding {
    const NAME: &str = "OFD locks";
    match try_locks() {
        Ok(()) => Finding::yes(
            NAME,
            "a second holder is refused, and gets the lock when the first is gone",
        ),
        Err(error) => {
            Finding::failed(NAME, &error, "use a kernel with F_OFD_SETLK (3.15) and mount /proc")
        }
    }
}

fn try_locks() -> Result<(), LockError> {
    fn step<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> LockError {
        move |error| LockError::Step { what, source: error.into() }
    }
    let file =
        memfd_create("handfast-doctor", MemfdFlags::CLOEXEC).map_err(step("make a memfd"))?;
    let open = || {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        OpenOptions::new().read(true).write(true).open(path).map_err(step("open a memfd again"))
    };
    let (first, second) = (open()?, open()?);
    lock(&first, 0).map_err(step("lock a byte"))?;
    match lock(&second, 0) {
        Err(Errno::EAGAIN | Errno::EACCES) => {}
        Ok(()) => return Err(LockError::NoConflict),
        Err(errno) => return Err(step("lock a locked byte")(errno)),
    }
    lock(&second, 1).map_err(step("lock another byte"))?;
    drop(first);
    lock(&second, 0).map_err(step("lock a byte that was given back"))
}

fn lock(file: &File, byte: libc::off_t) -> Result<(), Errno> {
    let wanted = libc::flock {
        l_type: WRITE_LOCK,
        l_whence: FROM_START,
        l_start: byte,
        l_len: 1,
        // The kernel insists on 0 here for locks of this kind.
        l_pid: 0,
    };
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&wanted)).map(|_| ())
}

// The C library's constants are wider than the fields they are for; both are tiny numbers.
const WRITE_LOCK: libc::c_short = narrow(libc::F_WRLCK);
const FROM_START: libc::c_short = narrow(libc::SEEK_SET);

const fn narrow(number: libc::c_int) -> libc::c_short {
    assert!(number >= 0 && number < 128);
    let [low, ..] = number.to_le_bytes();
    low as libc::c_short
}
