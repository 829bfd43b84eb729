//! A segment in memory: made, filled, sealed, and seen to keep its size.

use std::io;

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;

use super::finding::Finding;

const BYTES: u64 = 64 << 10;

/// Why there is no sealed segment.
#[derive(Debug, thiserror::Error)]
enum MemoryError {
    #[error("cannot {what} a memfd: {source}")]
    Step { what: &'static str, source: io::Error },
    #[error("a sealed memfd can still be resized")]
    Loose,
}

/// Tries a sealed memfd.
pub fn sealed_segment() -> Finding {
    const NAME: &str = "memfd and seals";
    match try_sealed() {
        Ok(()) => Finding::yes(NAME, "a sealed segment keeps its size"),
        Err(error) => Finding::failed(
            NAME,
            &error,
            "use a kernel with memfd_create and sealing, and a sandbox that allows them",
        ),
    }
}

fn try_sealed() -> Result<(), MemoryError> {
    let step = |what| move |errno: Errno| MemoryError::Step { what, source: errno.into() };
    let segment = memfd_create("handfast-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(step("make"))?;
    ftruncate(&segment, BYTES).map_err(step("size"))?;
    fallocate(&segment, FallocateFlags::empty(), 0, BYTES).map_err(step("reserve memory for"))?;
    fcntl_add_seals(&segment, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(step("seal"))?;
    for other_size in [0, 2 * BYTES] {
        if ftruncate(&segment, other_size) != Err(Errno::PERM) {
            return Err(MemoryError::Loose);
        }
    }
    Ok(())
}
