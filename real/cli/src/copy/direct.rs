//! Whether direct IO is possible between two files, and what it asks for.
//!
//! The limits come from `statx` (DIOALIGN): the alignment of memory, and that of offsets and
//! lengths. The tail of a file that is no multiple of the latter is written padded, and the
//! coordinator cuts the file to its size at the end: a second, buffered descriptor for the tail
//! would share a page with direct writes of its neighbours.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, statx};

/// Frames lie in the segment at multiples of their size, and the segment begins at a page of at
/// least this size.
const PAGE: u32 = 4096;
/// Frame sizes are multiples of this.
const FRAME_UNIT: u32 = 512;

/// Why direct IO cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// `statx` failed, or O_DIRECT was refused.
    #[error("cannot use direct IO on {}: {source}; copy without --direct", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file system has no limits to tell.
    #[error(
        "the file system of {} does not support direct IO, or the kernel (older than 6.1) does \
         not tell its alignment: copy without --direct", path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
    },
    /// The block size does not fit.
    #[error(
        "direct IO needs a block size that is a multiple of {unit}, and {block_size} is not: \
         use --block-size {unit} or a multiple of it"
    )]
    BlockSize {
        /// What was asked for.
        block_size: u32,
        /// What both files need.
        unit: u32,
    },
    /// The memory alignment is beyond what frames have.
    #[error(
        "direct IO needs memory aligned to {needed}, and {PAGE} is what there is: copy without \
         --direct"
    )]
    Memory {
        /// What one of the files needs.
        needed: u32,
    },
}

/// What one file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    memory: u32,
    offset: u32,
}

/// What both files ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direct {
    /// Offsets and lengths are multiples of this.
    pub unit: u32,
    /// Frames are at multiples of this.
    pub frame_unit: u32,
}

/// Switches a file to direct IO, and returns its limits.
pub fn enable(file: impl AsFd, path: &Path) -> Result<Limits, DirectError> {
    let refused = |errno: rustix::io::Errno| DirectError::Refused {
        path: path.to_owned(),
        source: errno.into(),
    };
    let found = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).map_err(refused)?;
    let limits = Limits { memory: found.stx_dio_mem_align, offset: found.stx_dio_offset_align };
    let told = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::DIOALIGN);
    if !told || limits.memory == 0 || limits.offset == 0 {
        return Err(DirectError::Unsupported { path: path.to_owned() });
    }
    let flags = fcntl_getfl(&file).map_err(refused)?;
    fcntl_setfl(&file, flags | OFlags::DIRECT).map_err(refused)?;
    Ok(limits)
}

/// Combines the limits of both files with the block size. They are powers of two, so the larger one
/// serves both.
pub fn combine(one: Limits, other: Limits, block_size: u32) -> Result<Direct, DirectError> {
    let unit = one.offset.max(other.offset);
    if !block_size.is_multiple_of(unit) {
        return Err(DirectError::BlockSize { block_size, unit });
    }
    let frame_unit = one.memory.max(other.memory).max(FRAME_UNIT);
    if frame_unit > PAGE {
        return Err(DirectError::Memory { needed: frame_unit });
    }
    Ok(Direct { unit, frame_unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Limits = Limits { memory: 4, offset: 512 };
    const BIG: Limits = Limits { memory: 4096, offset: 4096 };

    #[test]
    fn the_stricter_file_decides() {
        assert_eq!(combine(DISK, DISK, 512).ok(), Some(Direct { unit: 512, frame_unit: 512 }));
        assert_eq!(combine(DISK, BIG, 8192).ok(), Some(Direct { unit: 4096, frame_unit: 4096 }));
    }

    #[test]
    fn a_block_size_that_does_not_fit_is_refused_with_both_numbers() {
        let message =
            combine(DISK, BIG, 1536).expect_err("1536 is no multiple of 4096").to_string();
        assert!(message.contains("1536") && message.contains("4096"), "{message}");
    }

    #[test]
    fn an_alignment_beyond_a_page_is_refused() {
        let huge = Limits { memory: 65536, offset: 512 };
        assert!(matches!(combine(huge, DISK, 512), Err(DirectError::Memory { needed: 65536 })));
    }
}
