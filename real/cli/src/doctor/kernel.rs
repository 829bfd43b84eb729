//! The kernel's release, and whether `/proc` is there.

use std::fs;

use rustix::system::uname;

use super::finding::Finding;
use crate::system::SELF;

/// The oldest release that handfast is written for: it has all the futex calls.
const OLDEST: (u32, u32) = (5, 16);

/// The release.
pub fn release() -> Finding {
    let uname = uname();
    let release = uname.release().to_string_lossy().into_owned();
    let text = format!("Linux {release} on {}", uname.machine().to_string_lossy());
    let finding = match version(&release) {
        Some(version) if version >= OLDEST => Finding::yes("kernel", text),
        Some(_) => {
            let (major, minor) = OLDEST;
            Finding::no("kernel", format!("{text}: older than {major}.{minor}, update it"))
        }
        None => Finding::yes("kernel", format!("{text} (a release number of another kind)")),
    };
    // What counts is what works; the number is for those who read a report.
    finding.optional()
}

/// `/proc`, through which copiers are started and find the segment.
pub fn proc_mounted() -> Finding {
    match fs::File::open(SELF) {
        Ok(_) => Finding::yes("/proc", "mounted"),
        Err(error) => {
            Finding::failed("/proc", &error, "mount it, for example with mount -t proc proc /proc")
        }
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_numbers_of_distributions_are_read() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version("wonderful"), None);
    }
}
