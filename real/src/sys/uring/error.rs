//! Why there is no ring, and what to do about it.
//!
//! An error says which step the kernel refused, and with which errno. [`why`] looks at what surrounds the
//! process to tell apart what has the same errno: a sysctl, a seccomp filter, a security module, a limit,
//! an old kernel.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// A step of making a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// mmap(2) of private memory for submissions.
    Memory,
    /// io_uring_setup(2).
    Setup,
    /// mmap(2) of the ring.
    Map,
    /// Asking for the operations.
    Probe,
    /// Registering the table of files.
    Files,
    /// Restricting the ring.
    Restrict,
    /// Enabling the ring.
    Enable,
    /// Mapping memory to try a shared queue in.
    Scratch,
    /// io_uring_enter(2) with one entry.
    Trial,
}

impl Step {
    fn deed(self) -> &'static str {
        match self {
            Step::Memory => "allocate a submission queue",
            Step::Setup => "set up a ring",
            Step::Map => "map a ring",
            Step::Probe => "ask a ring for its operations",
            Step::Files => "register a table of files",
            Step::Restrict => "restrict a ring",
            Step::Enable => "enable a ring",
            Step::Scratch => "map memory for a trial",
            Step::Trial => "take an entry from a new ring",
        }
    }
}

/// Why a ring could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UringError {
    /// No ring has such sizes.
    #[error(
        "no ring has {submissions} submissions, {completions} completions, {files} files and such a \
         queue; take powers of two, no fewer completions than submissions, a place for the file kept, \
         and a queue that is large enough"
    )]
    Sizes {
        /// Submissions asked for.
        submissions: u32,
        /// Completions asked for.
        completions: u32,
        /// Places for files asked for.
        files: u32,
    },
    /// The kernel refused a step.
    #[error("the kernel does not {}: {errno}; see io_uring_setup(2), io_uring_register(2)", step.deed())]
    Refused {
        /// Which step.
        step: Step,
        /// Its answer.
        errno: Errno,
    },
    /// The kernel makes rings, but of a kind that does not do.
    #[error("the kernel's io_uring lacks {what}; use a newer kernel")]
    Lacks {
        /// What is missing, and since which version of Linux it is there.
        what: &'static str,
    },
    /// A ring is not laid out as expected.
    #[error("the kernel lays a ring out in a way unknown here; use another method")]
    Layout,
    /// Neither kind of ring could be made.
    #[error("{private} (with a shared queue before: {shared})")]
    Neither {
        /// Why not with a shared queue.
        shared: Box<UringError>,
        /// Why not with a private one.
        #[source]
        private: Box<UringError>,
    },
}

impl UringError {
    /// Turns the errno of a step into an error.
    pub(super) fn at(step: Step) -> impl Fn(Errno) -> UringError {
        move |errno| UringError::Refused { step, errno }
    }

    /// Whether it may be the sharing of the queue that is refused, as kernels before 6.6 do, or those
    /// before 6.10 if the pages are not contiguous.
    pub(super) fn is_of_sharing(&self) -> bool {
        match self {
            UringError::Refused { step: Step::Setup, errno } => matches!(
                *errno,
                Errno::INVAL | Errno::FAULT | Errno::NOMEM | Errno::OPNOTSUPP | Errno::TOOBIG
            ),
            UringError::Layout => true,
            UringError::Refused { .. }
            | UringError::Sizes { .. }
            | UringError::Lacks { .. }
            | UringError::Neither { .. } => false,
        }
    }
}

/// What to tell about a refusal: two sentences in lower case, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What stands in the way.
    pub(crate) cause: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

impl Refusal {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Refusal {
        Refusal { cause: cause.into(), remedy: remedy.into() }
    }
}

/// Looks for the cause of an error at what surrounds this process.
pub(crate) fn why(error: &UringError) -> Refusal {
    explain(error, look_around())
}

/// What surrounds a refusal.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings {
    /// Value of the sysctl `kernel.io_uring_disabled`, if there is one.
    disabled: Option<u32>,
    /// Whether a seccomp filter sits on this process.
    filtered: bool,
    /// Limit of locked memory in bytes.
    locked: Option<u64>,
    /// Limit of open files.
    files: Option<u64>,
}

fn look_around() -> Surroundings {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    Surroundings {
        disabled: disabled.and_then(|value| value.trim().parse().ok()),
        filtered: seccomp_mode(&status) == Some(2),
        locked: getrlimit(Resource::Memlock).current,
        files: getrlimit(Resource::Nofile).current,
    }
}

fn seccomp_mode(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().parse().ok()
}

fn explain(error: &UringError, around: Surroundings) -> Refusal {
    match error {
        UringError::Refused { step, errno } => refused(*step, *errno, around),
        UringError::Neither { private, .. } => explain(private, around),
        UringError::Lacks { what } => Refusal::new(
            format!("the kernel's io_uring lacks {what}"),
            "use a kernel of version 5.11 or later",
        ),
        UringError::Sizes { .. } | UringError::Layout => {
            Refusal::new(error.to_string(), "use another method")
        }
    }
}

fn refused(step: Step, errno: Errno, around: Surroundings) -> Refusal {
    let denied = matches!(errno, Errno::PERM | Errno::ACCESS);
    let sysctl = around.disabled.unwrap_or(0);
    if errno == Errno::PERM && sysctl == 2 && step == Step::Setup {
        return Refusal::new(
            "io_uring is off for everybody: sysctl kernel.io_uring_disabled is 2",
            "set sysctl kernel.io_uring_disabled to 0",
        );
    }
    if errno == Errno::PERM && sysctl == 1 && step == Step::Setup {
        return Refusal::new(
            "io_uring is off for ordinary users: sysctl kernel.io_uring_disabled is 1",
            "set sysctl kernel.io_uring_disabled to 0, or put the user into the group \
             kernel.io_uring_group",
        );
    }
    if (denied || errno == Errno::NOSYS) && around.filtered {
        return Refusal::new(
            "a seccomp filter of the sandbox or container refuses io_uring",
            "allow io_uring_setup, io_uring_enter and io_uring_register in its profile",
        );
    }
    if denied {
        return Refusal::new(
            "io_uring is not permitted, neither by sysctl nor by a seccomp filter that can be seen",
            "ask the security module (SELinux, AppArmor)",
        );
    }
    if errno == Errno::NOSYS && step != Step::Trial {
        return Refusal::new(
            "the kernel has no io_uring: it is older than 5.1 or built without it",
            "use a kernel of version 5.11 or later, built with CONFIG_IO_URING",
        );
    }
    if errno == Errno::NOMEM {
        let limit =
            around.locked.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10));
        return Refusal::new(
            format!("there is no memory for a ring, and the limit of locked memory is {limit}"),
            "raise the limit of locked memory with ulimit -l, or make the rings smaller: fewer handles \
             per process (PoolBuilder::handles_per_process), in handfast copy a smaller --queue-depth",
        );
    }
    if matches!(errno, Errno::MFILE | Errno::NFILE) {
        let limit = around.files.map_or("unlimited".to_owned(), |files| files.to_string());
        return Refusal::new(
            format!("there are too many open files, and this process's limit is {limit}"),
            "raise the limit of open files with ulimit -n, which the ring's table counts against",
        );
    }
    if errno == Errno::INVAL {
        return Refusal::new(
            format!("the kernel does not {} as it is needed: it is older than 5.11", step.deed()),
            "use a kernel of version 5.11 or later",
        );
    }
    Refusal::new(format!("the kernel does not {}: {errno}", step.deed()), "see io_uring_setup(2)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(disabled: u32, filtered: bool) -> Surroundings {
        let (locked, files) = (Some(64 << 10), Some(1024));
        Surroundings { disabled: Some(disabled), filtered, locked, files }
    }

    fn setup(errno: Errno) -> UringError {
        UringError::at(Step::Setup)(errno)
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let restrict = UringError::at(Step::Restrict)(Errno::INVAL);
        let lacks = UringError::Lacks { what: "waits with a time limit (5.11)" };
        let cases = [
            (setup(Errno::PERM), with(2, false), "io_uring_disabled is 2"),
            (setup(Errno::PERM), with(1, true), "io_uring_disabled is 1"),
            (setup(Errno::PERM), with(0, true), "seccomp"),
            (setup(Errno::NOSYS), with(0, true), "seccomp"),
            (UringError::at(Step::Probe)(Errno::PERM), with(1, true), "seccomp"),
            (UringError::at(Step::Trial)(Errno::PERM), with(2, true), "seccomp"),
            (UringError::at(Step::Trial)(Errno::NOSYS), with(0, true), "seccomp"),
            (UringError::at(Step::Trial)(Errno::NOSYS), with(0, false), "does not take an entry"),
            (UringError::at(Step::Trial)(Errno::AGAIN), with(0, false), "does not take an entry"),
            (setup(Errno::PERM), with(0, false), "not permitted"),
            (setup(Errno::ACCESS), with(0, false), "not permitted"),
            (setup(Errno::NOSYS), Surroundings::default(), "older than 5.1 "),
            (setup(Errno::NOMEM), with(0, false), "locked memory is 64 KiB"),
            (setup(Errno::NOMEM), Surroundings::default(), "locked memory is unlimited"),
            (setup(Errno::MFILE), with(0, false), "limit is 1024"),
            (restrict, with(0, false), "does not restrict a ring as it is needed"),
            (lacks, with(0, false), "lacks waits with a time limit"),
            (setup(Errno::IO), with(0, false), "does not set up a ring: "),
            (UringError::Layout, with(0, false), "lays a ring out"),
        ];
        for (error, around, part) in cases {
            let refusal = explain(&error, around);
            assert!(refusal.cause.contains(part), "{error:?} {around:?}: {refusal:?}");
            assert!(!refusal.remedy.is_empty());
        }
    }

    #[test]
    fn of_two_refusals_the_second_is_explained_and_both_are_shown() {
        let (shared, private) = (Box::new(setup(Errno::INVAL)), Box::new(setup(Errno::NOMEM)));
        let both = UringError::Neither { shared, private };
        assert!(explain(&both, with(0, false)).cause.contains("64 KiB"));
        let shown = both.to_string();
        assert!(shown.contains("os error 22") && shown.contains("os error 12"), "{shown}");
    }

    #[test]
    fn only_what_old_kernels_say_is_tried_again_without_sharing() {
        let again = [Errno::INVAL, Errno::FAULT, Errno::NOMEM, Errno::OPNOTSUPP, Errno::TOOBIG];
        assert!(again.into_iter().all(|errno| setup(errno).is_of_sharing()));
        let for_good = [Errno::PERM, Errno::NOSYS, Errno::MFILE, Errno::ACCESS];
        assert!(!for_good.into_iter().any(|errno| setup(errno).is_of_sharing()));
        assert!(UringError::Layout.is_of_sharing());
        assert!(!UringError::at(Step::Restrict)(Errno::INVAL).is_of_sharing());
    }

    #[test]
    fn the_seccomp_mode_is_read_from_the_status_page() {
        assert_eq!(seccomp_mode("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"), Some(2));
        assert_eq!(seccomp_mode("Name:\tx\n"), None);
    }
}
