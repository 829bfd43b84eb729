//! Another try at a ring for which there is no memory yet.
//!
//! The memory of a ring counts against its user's limit of locked memory (Linux 6.14, and before 5.12), and the
//! kernel gives that of a closed ring back from a work queue of its own, some milliseconds later. A user whose
//! limit is just enough for his rings is refused one (ENOMEM) if he makes it right after he closed another.
//!
//! So a refusal for want of memory is no answer yet where there is a limit: the ring is asked for again, after
//! growing pauses and no more often than there are pauses, 45 ms together. Where memory is really short that is
//! how much later it is told. No other refusal passes by itself, and where there is no limit, ENOMEM means that the
//! machine is short of memory, which pauses do not mend.
//!
//! Checked by the tests below; as root nothing is counted, so that only the decisions are checked.

use std::slice;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::error::{Step, UringError};

/// The pauses between two tries.
const PAUSES_MS: [u64; 5] = [1, 3, 6, 12, 23];

/// What is left of the pauses for one ring.
pub(super) struct Patience {
    pauses_ms: slice::Iter<'static, u64>,
}

impl Patience {
    /// That of a process with its limit of locked memory.
    pub(super) fn of_this_process() -> Self {
        Self::with_limit(getrlimit(Resource::Memlock).current)
    }

    fn with_limit(bytes: Option<u64>) -> Self {
        let pauses: &[u64] = if bytes.is_some() { &PAUSES_MS } else { &[] };
        Self { pauses_ms: pauses.iter() }
    }

    /// Makes a ring, again and again if need be.
    ///
    /// # Errors
    /// Those of the last try.
    pub(super) fn with<T>(
        &mut self,
        mut make: impl FnMut() -> Result<T, UringError>,
    ) -> Result<T, UringError> {
        loop {
            match make() {
                Err(error) if is_of_memory(&error) => {
                    let Some(&pause) = self.pauses_ms.next() else { return Err(error) };
                    std::thread::sleep(Duration::from_millis(pause));
                }
                other => return other,
            }
        }
    }
}

/// Whether the kernel would make the ring if it had more memory.
fn is_of_memory(error: &UringError) -> bool {
    matches!(error, UringError::Refused { step: Step::Setup, errno: Errno::NOMEM })
}

#[cfg(test)]
mod tests {
    use super::super::{Made, Wanted, make, setup};
    use super::*;
    use crate::sys::testing::forked;
    use rustix::process::{Rlimit, getuid, setrlimit};
    use std::time::Instant;

    const ALL: Duration = Duration::from_millis(1 + 3 + 6 + 12 + 23);
    const NO_MEMORY: UringError = UringError::Refused { step: Step::Setup, errno: Errno::NOMEM };

    /// How often a ring is asked for that is refused `refusals` times, and whether it is made in the end.
    fn tries(patience: &mut Patience, refusals: u32, refusal: &UringError) -> (u32, bool) {
        let mut tries = 0;
        let made = patience.with(|| {
            tries += 1;
            if tries > refusals { Ok(()) } else { Err(refusal.clone()) }
        });
        (tries, made.is_ok())
    }

    #[test]
    fn a_ring_without_memory_is_asked_for_a_few_times_and_not_for_long() {
        let begin = Instant::now();
        let mut patience = Patience::with_limit(Some(1 << 20));
        assert_eq!(tries(&mut patience, 2, &NO_MEMORY), (3, true));
        assert_eq!(tries(&mut patience, 100, &NO_MEMORY), (4, false), "three pauses were left");
        assert_eq!(tries(&mut patience, 100, &NO_MEMORY), (1, false), "and then none");
        assert!(begin.elapsed() >= ALL);
        assert!(ALL <= Duration::from_millis(50));
    }

    #[test]
    fn no_other_refusal_is_waited_for_and_none_where_there_is_no_limit() {
        let limited = || Patience::with_limit(Some(1 << 20));
        let others =
            [(Step::Setup, Errno::PERM), (Step::Setup, Errno::MFILE), (Step::Files, Errno::NOMEM)];
        for (step, errno) in others {
            let other = UringError::Refused { step, errno };
            assert_eq!(tries(&mut limited(), 1, &other), (1, false));
        }
        assert_eq!(tries(&mut Patience::with_limit(None), 1, &NO_MEMORY), (1, false));
    }

    const WANTED: Wanted<'_> =
        Wanted { submissions: 64, completions: 1024, queue: None, files: 0, keep: None };

    /// A ring, and a limit of locked memory that leaves no room for a second one, unless other processes of the
    /// user give some back. `None` if he has no room at all.
    fn all_that_there_is_room_for() -> Option<Made> {
        let maximum = getrlimit(Resource::Memlock).maximum;
        for page in 1..=2048 {
            let current = Some(page * 4096);
            setrlimit(Resource::Memlock, Rlimit { current, maximum }).ok()?;
            if let Ok(made) = setup::private(&WANTED) {
                return Some(made);
            }
        }
        None
    }

    #[test]
    fn a_ring_can_be_made_in_place_of_one_that_was_just_closed() {
        if getuid().is_root() {
            println!("SKIPPED: no limit of locked memory holds for root");
            return;
        }
        let child = forked(|| {
            let Some(first) = all_that_there_is_room_for() else { return 1 };
            let mut ring = Some(first);
            for _ in 0..20 {
                drop(ring.take());
                let begin = Instant::now();
                let made = make(WANTED);
                // What other processes of the user have locked counts, too.
                let late = begin.elapsed() >= ALL;
                assert!(made.is_ok() || late, "{:?} after {:?}", made.err(), begin.elapsed());
                ring = made.ok();
            }
            0
        });
        match child.exit_code() {
            Some(1) => println!("SKIPPED: there is no ring for this user"),
            code => assert_eq!(code, Some(0)),
        }
    }
}
