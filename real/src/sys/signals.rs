//! Signals: threads of this crate's own take none, so that they arrive where the application expects them.

use std::mem::MaybeUninit;

/// Calls `start` with all signals blocked (pthread_sigmask(3)): a thread that it starts inherits that.
pub(crate) fn blocked<T>(start: impl FnOnce() -> T) -> T {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: it fills the set at this address.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: both addresses are those of sets; the first is filled.
    let failed =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let started = start();
    if failed == 0 {
        // SAFETY: the set was written by the call before; the last address may be null.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked_here(signal: libc::c_int) -> bool {
        let mut now = MaybeUninit::uninit();
        // SAFETY: without a new set the old one is written to the last address.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), now.as_mut_ptr()) };
        // SAFETY: the set was written by the call before.
        unsafe { libc::sigismember(now.as_ptr(), signal) == 1 }
    }

    #[test]
    fn a_thread_started_so_takes_no_signals_and_its_starter_does() {
        let thread = blocked(|| std::thread::spawn(|| blocked_here(libc::SIGTERM)));
        assert!(thread.join().unwrap());
        assert!(!blocked_here(libc::SIGTERM));
    }
}
