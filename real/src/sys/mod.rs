//! The calls this crate makes to the kernel, one small file per group.
//!
//! Nothing here decides anything: each function is one system call (or one short, fixed sequence)
//! with a Rust signature. Reading order: `memfd` (where a segment comes from), `mapping` (how it
//! gets into memory), `lock` (who holds a slot), `futex` (how a thread sleeps), `io` (how bytes
//! move), `file` (what a descriptor is), `uring` (how they move without a thread waiting).
//!
//! | call | needs Linux | without it |
//! |---|---|---|
//! | memfd_create with seals | 3.17 | error |
//! | MFD_NOEXEC_SEAL | 6.3 | left out |
//! | byte-range OFD locks | 3.15 | error |
//! | MADV_WIPEONFORK | 4.14 | error |
//! | statx DIOALIGN | 6.1 | `None` |
//! | io_uring with time limits and restrictions | 5.11 | error |
//! | IORING_SETUP_NO_MMAP, for a shared queue | 6.5 | private queue |
//! | IORING_SETUP_NO_SQARRAY, for a shared queue | 6.6 | private queue |
//! | IORING_SETUP_NO_MMAP over scattered pages | 6.10 | private queue |
//!
//! Not checked by tests: behaviour on kernels that lack one of these.

pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod io;
pub(crate) mod lock;
pub(crate) mod mapping;
pub(crate) mod memfd;
pub(crate) mod signals;
pub(crate) mod uring;

/// What tests of several processes share.
#[cfg(test)]
pub(crate) mod testing {
    use std::time::{Duration, Instant};

    /// A forked child that runs one closure and exits with its answer; killed and reaped when
    /// dropped.
    pub(crate) struct Forked {
        pid: rustix::process::Pid,
        reaped: bool,
    }

    /// Forks; the child runs `body` and exits with its answer, or with 101 if it panics.
    ///
    /// The test program has several threads, so `body` should do little more than system calls. The
    /// child also keeps every descriptor that other tests have open until it ends, so it should end
    /// soon.
    pub(crate) fn forked(body: impl FnOnce() -> u8) -> Forked {
        // SAFETY: glibc and musl make their own locks usable in the child, and the child never
        // returns into the test program: it runs `body` and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork failed");
        if pid == 0 {
            let run = std::panic::AssertUnwindSafe(body);
            let code = std::panic::catch_unwind(run).unwrap_or(101);
            // SAFETY: `_exit` takes any number and does not return.
            unsafe { libc::_exit(i32::from(code)) };
        }
        let pid = rustix::process::Pid::from_raw(pid).expect("the child's number is not zero");
        Forked { pid, reaped: false }
    }

    impl Forked {
        /// Waits for the child to exit; its exit code, or `None` if a signal ended it.
        pub(crate) fn exit_code(mut self) -> Option<i32> {
            self.reap()
        }

        /// Kills the child and waits until it is gone.
        pub(crate) fn kill(mut self) {
            let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
            self.reap();
        }

        fn reap(&mut self) -> Option<i32> {
            self.reaped = true;
            let options = rustix::process::WaitOptions::empty();
            let ended =
                rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(self.pid), options));
            ended.ok().flatten().and_then(|(_, status)| status.exit_status())
        }
    }

    impl Drop for Forked {
        fn drop(&mut self) {
            if !self.reaped {
                let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
                self.reap();
            }
        }
    }

    /// Whether `condition` becomes true within ten seconds.
    pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if condition() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}
