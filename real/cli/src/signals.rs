//! Signals: what the coordinator waits for, and what a copier leaves to it.
//!
//! A handler only notes the signal and writes to a socket pair; the coordinator sleeps on that
//! socket, so there is one place where it waits and no signal is lost between a check and the
//! sleep. A signal that was ignored when the program started (`nohup`, a background job) stays
//! ignored.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// A signal that ends a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// The terminal is gone.
    Hangup,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-\.
    Quit,
    /// `kill` without an option.
    Terminate,
}

impl StopSignal {
    const ALL: [Self; 4] = [Self::Hangup, Self::Interrupt, Self::Quit, Self::Terminate];

    /// Its number.
    pub const fn number(self) -> i32 {
        match self {
            Self::Hangup => SIGHUP,
            Self::Interrupt => SIGINT,
            Self::Quit => SIGQUIT,
            Self::Terminate => SIGTERM,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code a shell shows for it: 128 and the number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Quit => 131,
            Self::Terminate => 143,
        }
    }

    fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.number() == number)
    }
}

/// The signals of a coordinator.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    seen: Option<StopSignal>,
}

impl Signals {
    /// Takes over the stop signals that are not ignored, and SIGCHLD.
    ///
    /// SIGXFSZ is taken over too: it would end the program where a typed error (EFBIG) is wanted.
    pub fn install() -> io::Result<Self> {
        let ignored = ignored_signals();
        let stops = StopSignal::ALL.map(StopSignal::number).into_iter();
        let wanted = stops.filter(|number| !is_in(ignored, *number)).chain([SIGCHLD, SIGXFSZ]);
        let (read, write) = UnixStream::pair()?;
        let delivery =
            SignalDelivery::with_pipe(read, write, SignalOnly, wanted.collect::<Vec<_>>())?;
        Ok(Self { delivery, seen: None })
    }

    /// The stop signal that has arrived since the last call, if any; never blocks.
    pub fn take_stop(&mut self) -> Option<StopSignal> {
        self.see_stop();
        self.seen.take()
    }

    /// The same, but the next call returns it again.
    pub fn see_stop(&mut self) -> Option<StopSignal> {
        let arrived = self.delivery.pending().filter_map(StopSignal::from_number).next();
        self.seen = self.seen.or(arrived);
        self.seen
    }

    /// Sleeps until a signal arrives, or one has arrived since the last [`Self::take_stop`], or
    /// time is over.
    pub fn wait(&self, at_most: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(at_most).map_err(io::Error::other)?;
        let mut sources = [PollFd::new(self.delivery.get_read(), PollFlags::IN)];
        match poll(&mut sources, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Makes a copier indifferent to the signals that a terminal or a service manager sends to all
/// processes of a job: what they mean is the coordinator's decision, and a copier is told by it.
pub fn leave_to_coordinator() -> io::Result<()> {
    let unused = Arc::new(AtomicBool::new(false));
    for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ] {
        signal_hook::flag::register(number, Arc::clone(&unused))?;
    }
    Ok(())
}

/// Lets stop signals only raise `leave`, in a process that looks at it between two IOs. SIGXFSZ is as of
/// [`Signals::install`].
pub fn leave_at_stop(leave: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in StopSignal::ALL {
        signal_hook::flag::register(signal.number(), Arc::clone(leave))?;
    }
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(())
}

/// The mask of ignored signals; empty where `/proc` does not tell.
fn ignored_signals() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|status| ignored_in(&status)).unwrap_or(0)
}

fn ignored_in(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn is_in(mask: u64, number: i32) -> bool {
    u32::try_from(number - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_128_and_the_number() {
        for signal in StopSignal::ALL {
            assert_eq!(i32::from(signal.exit_code()), 128 + signal.number());
            assert_eq!(StopSignal::from_number(signal.number()), Some(signal));
        }
        assert_eq!(StopSignal::from_number(SIGCHLD), None);
    }

    #[test]
    fn the_mask_of_ignored_signals_is_read_from_the_status_page() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        let mask = ignored_in(status).expect("a mask");
        assert!(is_in(mask, SIGHUP));
        assert!(is_in(mask, 13));
        assert!(!is_in(mask, SIGINT));
    }
}
