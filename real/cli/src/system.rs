//! Small questions to the operating system that several parts ask.

use std::error::Error;
use std::io::{self, Write};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Signal, getppid, getrlimit, set_parent_process_death_signal};

/// This program, whatever its name is by now.
pub const SELF: &str = "/proc/self/exe";

/// Says one line on standard error, in one piece: other processes of the program may speak at the same time.
/// There is nobody to tell if that fails.
pub fn say(message: &str) {
    let _ = io::stderr().write_all(format!("handfast: {message}\n").as_bytes());
}

/// A number of things, by the right name of them.
pub fn counted(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Makes this process die with its parent. The parent may be dead already, and then somebody else is
/// the parent, which is an error.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map(Pid::as_raw_nonzero).and_then(|pid| u32::try_from(pid.get()).ok());
    if now == Some(parent) { Ok(()) } else { Err(io::Error::other("it is gone")) }
}

/// What to do about an error whose own text does not say it, if it is one of those.
///
/// The number is looked for along the chain of sources, and at the end in the text: an error may
/// have lost its number on the way through another crate, but it never loses "os error 24".
pub fn remedy(error: &(dyn Error + 'static)) -> Option<String> {
    let errno = errno_of(error)?;
    if errno == Errno::MFILE {
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        return Some(format!("the limit of open files (ulimit -n) is {limit}: raise it"));
    }
    if errno == Errno::NFILE {
        return Some("the whole system has too many open files (sysctl fs.file-max)".to_owned());
    }
    if errno == Errno::FBIG {
        return Some("the limit of a file's size (ulimit -f) may be too low".to_owned());
    }
    None
}

/// Puts an error and its remedy into one line. A copier's error that the coordinator passes on has
/// its remedy already.
pub fn with_remedy(error: &(dyn Error + 'static)) -> String {
    match remedy(error) {
        Some(remedy) if !error.to_string().contains(&remedy) => format!("{error}; {remedy}"),
        _ => error.to_string(),
    }
}

/// An error without its own words if it is one with a [`remedy`], else unchanged: what the library
/// says to do is only in the way of the remedy that names the limit.
pub fn plain_if_remedied(error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
    match errno_of(error.as_ref()).filter(|_| remedy(error.as_ref()).is_some()) {
        Some(errno) => Box::new(io::Error::from(errno)),
        None => error,
    }
}

fn errno_of(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(errno) = error.downcast_ref::<Errno>() {
            return Some(*errno);
        }
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw_os_error(number));
        }
        next = error.source();
    }
    number_in(&error.to_string()).map(Errno::from_raw_os_error)
}

fn number_in(text: &str) -> Option<i32> {
    let (_, rest) = text.rsplit_once("os error ")?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do it: {source}")]
    struct Outer {
        source: io::Error,
    }

    #[test]
    fn a_number_deep_in_the_chain_is_found() {
        let outer = Outer { source: Errno::MFILE.into() };
        assert!(with_remedy(&outer).contains("ulimit -n"), "{}", with_remedy(&outer));
    }

    #[test]
    fn a_number_that_is_only_in_the_text_is_found() {
        assert_eq!(number_in("cannot: Too many open files (os error 24); so"), Some(24));
        assert_eq!(number_in("nothing of that kind"), None);
    }

    #[test]
    fn a_lack_of_descriptors_has_one_remedy() {
        let wordy = || -> Box<dyn Error + Send + Sync> {
            "cannot open /proc/self/fd/5: Too many open files (os error 24); see open(2)".into()
        };
        let plain = plain_if_remedied(wordy());
        assert_eq!(plain.to_string(), "Too many open files (os error 24)");
        assert!(with_remedy(plain.as_ref()).contains("ulimit -n"));
        let once = with_remedy(plain.as_ref());
        let passed_on: Box<dyn Error + Send + Sync> = once.clone().into();
        assert_eq!(with_remedy(passed_on.as_ref()), once);
        let other = plain_if_remedied("something else (os error 2)".into());
        assert_eq!(other.to_string(), "something else (os error 2)");
    }

    #[test]
    fn errors_that_speak_for_themselves_get_no_remedy() {
        let outer = Outer { source: Errno::NOENT.into() };
        assert_eq!(with_remedy(&outer), outer.to_string());
    }
}
