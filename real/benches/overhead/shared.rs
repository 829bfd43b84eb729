//! Words that both sides of a round trip see, as those of different processes would: in a shared mapping,
//! and slept on without FUTEX_PRIVATE_FLAG.

#![expect(clippy::disallowed_types, reason = "the raw side of a benchmark, not protocol words")]

use handfast::{Pool, WaitRef};
use rustix::thread::futex;
use std::sync::atomic::{AtomicU32, Ordering};

/// For a flag that another thread is to see.
pub const RELEASE: Ordering = Ordering::Release;

/// How many words there are.
const WORDS: usize = 4096 / size_of::<Turn>();

/// A word that counts turns, on a cache line of its own.
#[repr(align(64))]
pub struct Turn(AtomicU32);

impl Turn {
    /// The next turn begins: whoever sleeps for it is woken.
    #[inline(always)]
    pub fn begin(&self, turn: u32) {
        self.0.store(turn, Ordering::Release);
        futex::wake(&self.0, futex::Flags::empty(), 1).expect("a word in memory");
    }

    /// Sleeps until another turn than this has begun: which.
    #[inline(always)]
    pub fn wait(&self, seen: u32) -> u32 {
        loop {
            let now = self.0.load(Ordering::Acquire);
            if now != seen {
                return now;
            }
            // Whatever it says, the word is read again.
            let _woken_or_changed = futex::wait(&self.0, futex::Flags::empty(), seen, None);
        }
    }

    /// The turn.
    #[inline(always)]
    pub fn now(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// A page of words in a shared mapping, which stays for ever.
pub fn turns() -> &'static [Turn] {
    // SAFETY: the address is the kernel's choice, so nothing that exists is replaced.
    let page = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            4096,
            rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
            rustix::mm::MapFlags::SHARED,
        )
    };
    let page = page.expect("room for a page").cast::<Turn>();
    // SAFETY: a page of zeroes, aligned, never unmapped, and reached by atomic accesses only.
    unsafe { std::slice::from_raw_parts(page, WORDS) }
}

/// Puts a reference where the other side finds it. Not read before it is published by other means.
pub fn publish(pool: &Pool, side: usize, reference: WaitRef) {
    let bytes = reference.to_bytes();
    for (word, chunk) in pool.user_words()[2 * side..].iter().zip(bytes.chunks_exact(8)) {
        let value = u64::from_ne_bytes(chunk.try_into().expect("eight bytes"));
        word.store(value, Ordering::Release);
    }
}

/// What the other side has published; `None` while that is nothing.
pub fn published(pool: &Pool, side: usize) -> Option<WaitRef> {
    let mut bytes = [0; 16];
    let words = &pool.user_words()[2 * side..][..2];
    // The generation, which is written last, is read first.
    for (word, chunk) in words.iter().zip(bytes.chunks_exact_mut(8)).rev() {
        chunk.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes());
    }
    WaitRef::from_bytes(bytes)
}
