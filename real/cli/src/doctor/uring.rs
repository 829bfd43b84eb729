//! io_uring: a ring is really made; if it is refused, the reason is looked for.

use std::fs;

use io_uring::IoUring;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::finding::Finding;

/// Entries of the ring that is tried: what a locked-memory limit of 64 KiB allows.
const ENTRIES: u32 = 64;
const NAME: &str = "io_uring";

/// What surrounds a refusal.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings {
    /// Value of the sysctl `kernel.io_uring_disabled`, if there is one.
    disabled: Option<u32>,
    /// Whether a seccomp filter sits on this process.
    filtered: bool,
    /// Limit of locked memory in bytes.
    locked: Option<u64>,
}

/// Tries a ring.
pub fn ring() -> Finding {
    let finding = match IoUring::new(ENTRIES) {
        Ok(_) => Finding::yes(
            NAME,
            format!("a ring of {ENTRIES} entries can be made (this version does not use it yet)"),
        ),
        Err(error) => {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            Finding::no(NAME, explain(errno, look_around()))
        }
    };
    finding.optional()
}

fn look_around() -> Surroundings {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Surroundings {
        disabled: fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .ok()
            .and_then(|value| value.trim().parse().ok()),
        filtered: seccomp_mode(&status) == Some(2),
        locked: getrlimit(Resource::Memlock).current,
    }
}

fn seccomp_mode(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().parse().ok()
}

fn explain(errno: Errno, around: Surroundings) -> String {
    const FILTER: &str = "a seccomp filter of the sandbox or container refuses io_uring_setup: \
         allow the three io_uring calls in its profile";
    let sysctl = around.disabled.unwrap_or(0);
    if errno == Errno::PERM && sysctl == 2 {
        return "off for everybody: sysctl kernel.io_uring_disabled is 2, set it to 0".to_owned();
    }
    if errno == Errno::PERM && sysctl == 1 {
        return "off for ordinary users: sysctl kernel.io_uring_disabled is 1, set it to 0, \
                or put the user into the group kernel.io_uring_group"
            .to_owned();
    }
    if (errno == Errno::PERM || errno == Errno::NOSYS) && around.filtered {
        return FILTER.to_owned();
    }
    if errno == Errno::PERM {
        return "not permitted, neither by sysctl nor by a seccomp filter that can be seen: ask the \
                security module (SELinux, AppArmor)"
            .to_owned();
    }
    if errno == Errno::NOSYS {
        return "the kernel has none: it is older than 5.1 or built without it".to_owned();
    }
    if errno == Errno::NOMEM {
        let limit =
            around.locked.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
        return format!(
            "no memory for a ring; the limit of locked memory is {limit}: raise it with ulimit -l"
        );
    }
    format!("{errno}: a ring cannot be made")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(disabled: u32, filtered: bool) -> Surroundings {
        Surroundings { disabled: Some(disabled), filtered, locked: Some(64 << 10) }
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let cases = [
            (Errno::PERM, with(2, false), "io_uring_disabled is 2"),
            (Errno::PERM, with(1, true), "io_uring_disabled is 1"),
            (Errno::PERM, with(0, true), "seccomp"),
            (Errno::NOSYS, with(0, true), "seccomp"),
            (Errno::PERM, with(0, false), "security module"),
            (Errno::NOSYS, Surroundings::default(), "older than 5.1"),
            (Errno::NOMEM, with(0, false), "locked memory is 64 KiB"),
            (Errno::MFILE, with(0, false), "cannot be made"),
        ];
        for (errno, around, part) in cases {
            let text = explain(errno, around);
            assert!(text.contains(part), "{errno:?} {around:?}: {text}");
        }
    }

    #[test]
    fn the_seccomp_mode_is_read_from_the_status_page() {
        assert_eq!(seccomp_mode("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"), Some(2));
        assert_eq!(seccomp_mode("Name:\tx\n"), None);
    }
}
