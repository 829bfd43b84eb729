//! Sleeping on a 32-bit word that other processes map too.
//!
//! None of these calls uses FUTEX_PRIVATE_FLAG: with it a waiter in another process, or at another
//! mapping of the same segment, silently never wakes.

#![expect(clippy::disallowed_types, reason = "words that are slept on, whatever they mean")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::ClockId;

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a sleeper looks again at what it waits for, whatever ended its sleep"]
pub(crate) enum Slept {
    /// Another thread woke this one, or the kernel did for no reason.
    Woken,
    /// The word did not hold the expected value, so there was no sleep.
    Changed,
    /// The time was over.
    TimedOut,
    /// A signal arrived.
    Interrupted,
}

/// futex(2) with FUTEX_WAIT, shared: sleeps while `word` holds `expected`, at most for `timeout`
/// (monotonic clock).
///
/// The kernel compares the word and falls asleep in one step with respect to [`wake_all`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Slept {
    // More seconds than a timespec holds are as good as no limit.
    let at_most = timeout.unwrap_or(Duration::MAX);
    let timeout = timeout.and_then(|duration| Timespec::try_from(duration).ok());
    match futex::wait(word, Flags::empty(), expected, timeout.as_ref()) {
        Ok(()) => Slept::Woken,
        Err(Errno::AGAIN) => Slept::Changed,
        Err(Errno::TIMEDOUT) => Slept::TimedOut,
        Err(Errno::INTR) => Slept::Interrupted,
        // A filter of system calls may forbid futexes.
        Err(_) => look_again_and_again(std::iter::once((word, expected)), at_most),
    }
}

/// How many words [`wait_any`] takes (`FUTEX_WAITV_MAX`).
pub(crate) const MOST: usize = 128;

/// futex_waitv(2), shared: sleeps while each word holds the value beside it, at most for `timeout`. A
/// kernel before 5.16 has no such call, and a filter of system calls may refuse it: then this looks again and again.
///
/// The kernel compares each word and queues on it in one step with respect to [`wake_all`]. More than
/// [`MOST`] words are not slept on.
pub(crate) fn wait_any<'w>(
    words: impl ExactSizeIterator<Item = (&'w AtomicU32, u32)> + Clone,
    timeout: Duration,
) -> Slept {
    match waitv(words.clone(), timeout) {
        Ok(_) => Slept::Woken,
        Err(Errno::AGAIN) => Slept::Changed,
        Err(Errno::TIMEDOUT) => Slept::TimedOut,
        Err(Errno::INTR) => Slept::Interrupted,
        Err(_) => look_again_and_again(words, timeout),
    }
}

/// Whether [`wait_any`] sleeps: asked with a word that has changed already.
pub(crate) fn can_wait_any() -> bool {
    let word = AtomicU32::new(1);
    waitv([(&word, 0)].into_iter(), Duration::ZERO) == Err(Errno::AGAIN)
}

fn waitv<'w>(
    words: impl ExactSizeIterator<Item = (&'w AtomicU32, u32)>,
    timeout: Duration,
) -> Result<usize, Errno> {
    let mut list = [const { Wait::new() }; MOST];
    let count = words.len().min(MOST);
    for (entry, (word, expected)) in list.iter_mut().zip(words) {
        entry.val = u64::from(expected);
        entry.uaddr = WaitPtr::new(std::ptr::from_ref(word).cast_mut().cast());
        entry.flags = WaitFlags::SIZE_U32;
    }
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let until = Timespec::try_from(timeout).ok().and_then(|timeout| now.checked_add(timeout));
    futex::waitv(&list[..count], WaitvFlags::empty(), until.as_ref(), ClockId::Monotonic)
}

/// How long one does not look where the kernel does not let one sleep.
const NAP: Duration = Duration::from_millis(1);

/// In place of a sleep. It ends as that would: the caller counts on the end of its time, after which it looks for
/// deaths.
#[cold]
fn look_again_and_again<'w>(
    words: impl Iterator<Item = (&'w AtomicU32, u32)> + Clone,
    timeout: Duration,
) -> Slept {
    let began = Instant::now();
    loop {
        if words.clone().any(|(word, expected)| word.load(Ordering::Relaxed) != expected) {
            return Slept::Changed;
        }
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Slept::TimedOut;
        }
        std::thread::sleep(left.min(NAP));
    }
}

/// futex(2) with FUTEX_WAKE, shared: wakes every thread of any process that sleeps on `word`; how
/// many there were.
pub(crate) fn wake_all(word: &AtomicU32) -> usize {
    wake(word, EVERYBODY)
}

/// The kernel takes more for a negative number.
const EVERYBODY: u32 = i32::MAX.unsigned_abs();

/// The same for at most `count` threads, those first that have slept longest.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    // A futex word in mapped memory is never refused; if a filter forbids the call, sleepers poll
    // as above.
    futex::wake(word, Flags::empty(), count.min(EVERYBODY)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mapping::Mapping;
    use crate::sys::memfd;
    use crate::sys::testing::{eventually, forked};
    use std::os::fd::AsFd;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));

    fn word(mapping: &Mapping) -> &AtomicU32 {
        // SAFETY: the first four bytes of a mapping are aligned, initialised, and reached by atomic
        // accesses only.
        unsafe { mapping.base().cast::<AtomicU32>().as_ref() }
    }

    #[test]
    fn a_changed_word_is_not_slept_on() {
        assert_eq!(wait(&AtomicU32::new(1), 0, None), Slept::Changed);
    }

    #[test]
    fn a_sleep_ends_when_its_time_is_over() {
        let word = AtomicU32::new(7);
        assert_eq!(wait(&word, 7, Some(Duration::from_millis(1))), Slept::TimedOut);
        assert_eq!(wait(&word, 7, Some(Duration::ZERO)), Slept::TimedOut);
    }

    #[test]
    fn any_of_several_words_ends_a_sleep_on_all() {
        let words = [const { AtomicU32::new(0) }; 3];
        let pairs = || words.iter().map(|word| (word, 0));
        assert_eq!(wait_any(pairs(), Duration::from_millis(1)), Slept::TimedOut);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait_any(pairs(), Duration::from_secs(10)));
            assert!(eventually(|| wake_all(&words[2]) == 1), "the wake never arrived");
            assert_eq!(sleeper.join().unwrap(), Slept::Woken);
        });
        words[1].store(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(wait_any(pairs(), Duration::from_secs(10)), Slept::Changed);
    }

    #[test]
    fn where_the_kernel_does_not_let_one_sleep_the_end_is_the_same() {
        assert!(can_wait_any(), "these tests want Linux 5.16");
        let words = [const { AtomicU32::new(0) }; 3];
        let pairs = || words.iter().map(|word| (word, 0));
        let (began, slice) = (Instant::now(), Duration::from_millis(5));
        assert_eq!(look_again_and_again(pairs(), slice), Slept::TimedOut);
        assert!(began.elapsed() >= slice);
        std::thread::scope(|scope| {
            let looker = scope.spawn(|| look_again_and_again(pairs(), Duration::MAX));
            words[2].store(1, Ordering::Relaxed);
            assert_eq!(looker.join().unwrap(), Slept::Changed);
        });
    }

    #[test]
    fn nobody_is_woken_where_nobody_sleeps() {
        assert_eq!(wake_all(&AtomicU32::new(0)), 0);
    }

    #[test]
    fn a_wake_reaches_a_sleeper_at_another_mapping() {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        let here = Mapping::new(fd.as_fd(), 4096).unwrap();
        let there = Mapping::new(fd.as_fd(), 4096).unwrap();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait(word(&there), 0, PATIENCE));
            assert!(eventually(|| wake_all(word(&here)) == 1), "the wake never arrived");
            assert_eq!(sleeper.join().unwrap(), Slept::Woken);
        });
    }

    #[test]
    fn a_wake_of_one_leaves_the_other_asleep() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let sleepers = [(); 2].map(|()| scope.spawn(|| super::wait(&word, 0, PATIENCE)));
            assert!(eventually(|| wake(&word, 1) == 1), "the first wake never arrived");
            assert!(eventually(|| wake(&word, 1) == 1), "the second wake never arrived");
            assert_eq!(sleepers.map(|sleeper| sleeper.join().unwrap()), [Slept::Woken; 2]);
        });
    }

    #[test]
    fn a_wake_reaches_a_sleeper_in_another_process() {
        let fd = memfd::create_sealed("handfast-test", 4096).unwrap();
        let here = Mapping::new(fd.as_fd(), 4096).unwrap();
        let child = forked(|| match Mapping::new(fd.as_fd(), 4096) {
            Ok(there) => u8::from(wait(word(&there), 0, PATIENCE) == Slept::Woken),
            Err(_) => 2,
        });
        assert!(eventually(|| wake_all(word(&here)) == 1), "the wake never arrived");
        assert_eq!(child.exit_code(), Some(1));
    }
}
