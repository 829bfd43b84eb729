//! Aligned local memory for IO outside the segment.

use std::alloc::{self, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Why an [`AlignedBuf`] could not be made or resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlignedBufError {
    /// A buffer of no bytes was asked for.
    #[error("a buffer of 0 bytes was asked for; ask for at least 1")]
    Empty,
    /// The alignment is not a power of two.
    #[error("an alignment of {align} bytes is not a power of two; use one such as 512 or 4096")]
    NotAPowerOfTwo {
        /// The alignment that was asked for, in bytes.
        align: usize,
    },
    /// No object can be as large.
    #[error("{len} bytes aligned to {align} are more than an address space holds; ask for less")]
    TooLarge {
        /// The length that was asked for, in bytes.
        len: usize,
        /// The alignment that was asked for, in bytes.
        align: usize,
    },
    /// The allocator has no memory left.
    #[error("there is no memory for a buffer of {len} bytes; free some, or ask for less")]
    OutOfMemory {
        /// The length that was asked for, in bytes.
        len: usize,
    },
    /// The new length does not fit into the buffer.
    #[error(
        "a length of {len} bytes exceeds the buffer's capacity of {capacity}; make a larger buffer"
    )]
    BeyondCapacity {
        /// The length that was asked for, in bytes.
        len: usize,
        /// The most that the buffer holds, in bytes.
        capacity: usize,
    },
}

/// Owned bytes at an aligned address, always initialised: local memory for an IO, for direct IO
/// too.
///
/// Dereferences to the first [`set_len`](AlignedBuf::set_len) bytes, at first all of them. Bytes
/// past that length keep their contents and come back when the length grows again.
///
/// ```
/// use handfast::AlignedBuf;
///
/// let mut buffer = AlignedBuf::new(8192, 4096)?;
/// buffer[..5].copy_from_slice(b"hello");
/// buffer.set_len(5)?;
/// assert_eq!(&buffer[..], b"hello");
/// assert_eq!((buffer.capacity(), buffer.alignment()), (8192, 4096));
/// # Ok::<(), handfast::AlignedBufError>(())
/// ```
pub struct AlignedBuf {
    start: NonNull<u8>,
    layout: Layout,
    len: usize,
}

// SAFETY: the buffer owns its bytes alone, as a `Vec<u8>` does, and the global allocator takes
// memory back from any thread.
unsafe impl Send for AlignedBuf {}
// SAFETY: a shared buffer only gives out shared slices of bytes.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `len` zero bytes at an address that is a multiple of `align` bytes. Allocates.
    ///
    /// # Errors
    /// If `len` is zero, `align` is not a power of two, both together are too large, or memory is
    /// short.
    pub fn new(len: usize, align: usize) -> Result<AlignedBuf, AlignedBufError> {
        if len == 0 {
            return Err(AlignedBufError::Empty);
        }
        if !align.is_power_of_two() {
            return Err(AlignedBufError::NotAPowerOfTwo { align });
        }
        let layout = Layout::from_size_align(len, align)
            .map_err(|_| AlignedBufError::TooLarge { len, align })?;
        // SAFETY: the layout's size is not zero (checked above).
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or(AlignedBufError::OutOfMemory { len })?;
        Ok(AlignedBuf { start, layout, len })
    }

    /// The most bytes the buffer holds, fixed when it was made.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// The alignment in bytes that was asked for.
    #[must_use]
    pub fn alignment(&self) -> usize {
        self.layout.align()
    }

    /// The first byte. Stays where it is when the buffer is moved.
    #[inline(always)]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.start
    }

    /// Sets how many bytes the buffer shows, and an IO uses. Neither moves nor clears anything.
    ///
    /// # Errors
    /// If `len` exceeds the capacity; the length stays as it was then.
    pub fn set_len(&mut self, len: usize) -> Result<(), AlignedBufError> {
        let capacity = self.capacity();
        if len > capacity {
            return Err(AlignedBufError::BeyondCapacity { len, capacity });
        }
        self.len = len;
        Ok(())
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is the start of an allocation of `capacity()` bytes, all initialised when
        // it was made; `len` is never more; the bytes are this value's own, and borrowed as `self`
        // is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: `start` came from the global allocator with this very layout and is given back
        // once.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("AlignedBuf");
        shown
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .field("alignment", &self.alignment());
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_buffer_is_aligned_and_zero() {
        for align in [1, 8, 512, 4096, 1 << 16] {
            let buffer = AlignedBuf::new(1000, align).unwrap();
            assert_eq!(buffer.as_ptr().align_offset(align), 0);
            assert_eq!((buffer.len(), buffer.capacity(), buffer.alignment()), (1000, 1000, align));
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn bytes_past_the_length_come_back() {
        let mut buffer = AlignedBuf::new(4, 512).unwrap();
        buffer.copy_from_slice(b"abcd");
        buffer.set_len(0).unwrap();
        assert!(buffer.is_empty());
        buffer.set_len(4).unwrap();
        assert_eq!(&buffer[..], b"abcd");
        assert_eq!(buffer.set_len(5), Err(AlignedBufError::BeyondCapacity { len: 5, capacity: 4 }));
        assert_eq!(buffer.len(), 4);
    }

    #[test]
    fn impossible_buffers_are_typed_errors() {
        let refused = |len, align| AlignedBuf::new(len, align).unwrap_err();
        assert_eq!(refused(0, 512), AlignedBufError::Empty);
        assert_eq!(refused(1, 0), AlignedBufError::NotAPowerOfTwo { align: 0 });
        assert_eq!(refused(1, 513), AlignedBufError::NotAPowerOfTwo { align: 513 });
        assert_eq!(
            refused(usize::MAX, 512),
            AlignedBufError::TooLarge { len: usize::MAX, align: 512 }
        );
    }

    #[test]
    fn a_buffer_can_go_to_another_thread() {
        let mut buffer = AlignedBuf::new(16, 16).unwrap();
        buffer = std::thread::spawn(move || {
            buffer[3] = 7;
            buffer
        })
        .join()
        .unwrap();
        assert_eq!(buffer[3], 7);
    }
}
