//! Limits of the process.

use rustix::process::{Resource, geteuid, getrlimit};

use super::finding::Finding;

/// Bytes of locked memory that let a user without privileges have a ring of 1024 entries on every
/// kernel; with 64 KiB it is 64 entries.
const ENOUGH_LOCKED: u64 = 1 << 20;
/// Descriptors that a copy with any number of processes gets along with, and some room.
const ENOUGH_FILES: u64 = 32;

/// The limit of locked memory, which io_uring counts against.
pub fn locked_memory() -> Finding {
    judge_locked_memory(getrlimit(Resource::Memlock).current, geteuid().is_root()).optional()
}

/// The limit of open files.
pub fn open_files() -> Finding {
    judge_open_files(getrlimit(Resource::Nofile).current).optional()
}

fn judge_locked_memory(limit: Option<u64>, root: bool) -> Finding {
    const NAME: &str = "locked-memory limit";
    match limit {
        None => Finding::yes(NAME, "none"),
        Some(bytes) if root => {
            Finding::yes(NAME, format!("{} KiB, which does not bind root", bytes >> 10))
        }
        Some(bytes) if bytes >= ENOUGH_LOCKED => Finding::yes(NAME, format!("{} KiB", bytes >> 10)),
        Some(bytes) => Finding::no(
            NAME,
            format!(
                "{} KiB, too low for many or large rings: raise it with ulimit -l, or memlock in \
                 /etc/security/limits.conf",
                bytes >> 10
            ),
        ),
    }
}

fn judge_open_files(limit: Option<u64>) -> Finding {
    const NAME: &str = "open-files limit";
    match limit {
        None => Finding::yes(NAME, "none"),
        Some(files) if files >= ENOUGH_FILES => Finding::yes(NAME, files.to_string()),
        Some(files) => {
            Finding::no(NAME, format!("{files} may be too low: raise it with ulimit -n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_limits_are_told_with_the_command_that_raises_them() {
        let finding = judge_locked_memory(Some(64 << 10), false);
        assert!(
            !finding.works && finding.text.contains("64 KiB") && finding.text.contains("ulimit -l")
        );
        let finding = judge_open_files(Some(16));
        assert!(!finding.works && finding.text.contains("ulimit -n"));
        assert!(judge_locked_memory(None, false).works && judge_open_files(Some(1024)).works);
        assert!(judge_locked_memory(Some(64 << 10), true).works, "nothing is counted for root");
    }
}
