//! Methods: how an IO is executed (`io_method`).
//!
//! | method | who executes | who completes | in place instead |
//! |---|---|---|---|
//! | [`Method::Sync`] | the issuer | the issuer | |
//! | [`Method::Worker`] | a worker of the pool, on a descriptor of its own | that worker | what a worker cannot reach; all, while there is none |
//! | [`Method::IoUring`] | the kernel | any thread of the issuer's process | what its issuer marked as synchronous |
//!
//! The method is the pool's, so that whoever meets an IO knows who may complete it. A process that has no
//! ring in a pool of rings executes in place, which every method allows.
//!
//! Reading order: [`local`] (the issuer's private side of all methods), [`ring`] (a process's ring and its
//! flights), [`attendant`] (the thread that completes for a busy issuer), [`staff`] (the workers' shared words),
//! [`worker`] (executing for others), [`foreman`] (how many workers there should be).

pub(crate) mod attendant;
pub(crate) mod foreman;
mod kept;
pub(crate) mod local;
pub(crate) mod ring;
pub(crate) mod staff;
pub(crate) mod worker;

use crate::config::{DEFAULT_FRAMES, DEFAULT_PROCESSES, default_handles};
use crate::layout::queue_entries;
use crate::sys::uring;
use std::fmt;

/// How the IO of a pool is executed. Chosen at creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Method {
    /// The best that the machine offers: io_uring, else workers, else in place. What it has become,
    /// [`crate::Pool::method`] says: where it is [`Self::Worker`], somebody must run workers.
    #[default]
    Auto,
    /// In the issuer, during the call that starts it.
    Sync,
    /// By worker processes or threads. Run workers (`handfast worker`, [`crate::Process::work`]), or IO is
    /// executed in place, one after the other, as with [`Self::Sync`]; see [`crate::Pool::workers`].
    Worker,
    /// By the kernel, in a ring of each process.
    IoUring,
}

impl Method {
    /// PostgreSQL's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sync => "sync",
            Self::Worker => "worker",
            Self::IoUring => "io_uring",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a method is not used, and what would change that.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{method} is not used: {cause}; {remedy}")]
pub struct MethodRefusal {
    /// Which.
    pub method: Method,
    /// Why.
    pub cause: String,
    /// What to do.
    pub remedy: String,
}

impl MethodRefusal {
    pub(crate) fn of_ring(error: &uring::UringError) -> Self {
        let why = uring::why(error);
        Self { method: Method::IoUring, cause: why.cause, remedy: why.remedy }
    }
}

/// The method of a pool, and why it is not a better one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MethodChoice {
    /// The method: never [`Method::Auto`].
    pub method: Method,
    /// What was tried before it.
    pub refusals: Vec<MethodRefusal>,
    /// Of [`Method::IoUring`]: whether the kernel puts completions into the pool's own memory, where survivors
    /// find the results of a dead process's IO (Linux 6.6, or 6.10). Without, waiters learn that its issuer
    /// died. `None` where no ring was tried.
    pub shares_completions: Option<bool>,
}

impl MethodChoice {
    /// What [`Method::Auto`] means here and now, for a pool with the default settings: makes a ring as large as
    /// one of its processes has, and gives it back.
    #[must_use]
    pub fn here() -> Self {
        Self::for_pool(DEFAULT_PROCESSES, default_handles(DEFAULT_PROCESSES, DEFAULT_FRAMES))
    }

    /// The same for a pool with so many processes, and handles for each. One ring of that size is tried; there may
    /// not be memory for those of all processes.
    pub(crate) fn for_pool(processes: u32, handles: u32) -> Self {
        let mut refusals = Vec::new();
        match uring::probe(queue_entries(handles)) {
            Ok(facts) => {
                let shares_completions = Some(facts.shared);
                return Self { method: Method::IoUring, refusals, shares_completions };
            }
            Err(error) => refusals.push(MethodRefusal::of_ring(&error)),
        }
        if processes > 1 {
            return Self { refusals, ..Self::told(Method::Worker) };
        }
        refusals.push(MethodRefusal {
            method: Method::Worker,
            cause: "the pool has one slot, and a worker needs one, too".to_owned(),
            remedy: "make the pool with more processes".to_owned(),
        });
        Self { refusals, ..Self::told(Method::Sync) }
    }

    /// A method that was not tried here.
    pub(crate) fn told(method: Method) -> Self {
        Self { method, refusals: Vec::new(), shares_completions: None }
    }
}

/// The method of a pool as every process of it knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chosen {
    /// Never [`Method::Auto`].
    pub method: Method,
    /// Whether it was chosen by [`Method::Auto`]: then a process that cannot follow goes without.
    pub by_itself: bool,
}

/// Numbers of methods in a header differ in more than one bit from other values.
const NUMBERS: [(Method, u64); 3] = [(Method::Sync, 2), (Method::Worker, 4), (Method::IoUring, 6)];
const BY_ITSELF: u64 = 8;

impl Chosen {
    #[cfg(test)]
    pub const SYNC: Self = Self { method: Method::Sync, by_itself: false };

    pub fn number(self) -> u64 {
        let number = NUMBERS.iter().find(|(method, _)| *method == self.method);
        number.map_or(0, |(_, number)| *number) | if self.by_itself { BY_ITSELF } else { 0 }
    }

    pub fn from_number(number: u64) -> Option<Self> {
        let found = NUMBERS.iter().find(|(_, known)| *known == number & !BY_ITSELF);
        found.map(|(method, _)| Self { method: *method, by_itself: number & BY_ITSELF != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_but_auto_has_a_number() {
        for method in [Method::Sync, Method::Worker, Method::IoUring] {
            for by_itself in [false, true] {
                let chosen = Chosen { method, by_itself };
                assert_eq!(Chosen::from_number(chosen.number()), Some(chosen));
                assert_eq!(Chosen::from_number(chosen.number() ^ 1), None);
            }
        }
        assert_eq!(Chosen::from_number(0), None);
    }

    #[test]
    fn a_pool_of_one_slot_has_no_room_for_a_worker() {
        let choice = MethodChoice::for_pool(1, 16);
        assert_ne!(choice.method, Method::Worker);
        assert_eq!(choice.refusals.is_empty(), choice.method == Method::IoUring);
    }
}
