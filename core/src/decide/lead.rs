//! The lead of a ring: who of the owning process sleeps in it, who else wants something of it, and what
//! an issuer does before it sleeps on an IO of its own.
//!
//! | word | means | an issuer that enters | a reaper that enters |
//! |---|---|---|---|
//! | free | nobody sleeps in the ring | takes it | takes it |
//! | issuer | the issuer does | (it is one thread) | sets WANT, sleeps on the bell |
//! | reaper | the reaper does | sets WANT, sleeps on its IO | (it is one thread) |
//!
//! At most one thread sleeps in the ring, so that one completion wakes one thread; whoever wants it, too, has
//! said what for (WAITERS) before it sets WANT. An issuer that finds it free needs neither: it will see the
//! end of its IO itself. Who leaves with WANT set has a duty: the issuer posts the
//! bell, the reaper clears WANT and looks again. Every entry is a read-modify-write, also of a WANT that is
//! set already: it is what the leaver's look is ordered by.
//!
//! A new leader drains and looks at its IO again before it sleeps: the one before may have completed it since.
//! Invariants: L2, L4. Checked by: the unit tests below and the model's lead scenarios.

/// Who may sleep in a ring.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Leader {
    /// The thread that issues the ring's IOs.
    Issuer = 1,
    /// The thread that completes them while the issuer is busy and somebody asks.
    Reaper = 2,
}

/// What came of entering.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Entered {
    /// The caller leads.
    Taken,
    /// Somebody else leads, and knows that more is wanted.
    Wanted,
}

/// The word {leader, WANT}.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LeadWord(u64);

/// Whoever leaves has something to do.
const WANT: u64 = 4;
const LEADER_BITS: u64 = 3;

impl LeadWord {
    /// Nobody leads.
    pub const FREE: Self = Self(0);
    /// Everything but WANT.
    pub const NOT_WANTED: u64 = !WANT;

    /// Any bits as a lead word.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The bits.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Led by this one, nothing wanted.
    #[must_use]
    pub const fn led_by(leader: Leader) -> Self {
        Self(leader as u64)
    }

    /// Whether this one leads.
    #[must_use]
    pub const fn is_led_by(self, leader: Leader) -> bool {
        self.0 & LEADER_BITS == leader as u64
    }

    /// Whether more is wanted.
    #[must_use]
    pub const fn is_wanted(self) -> bool {
        self.0 & WANT != 0
    }

    /// The word after `me` has entered.
    pub const fn entered(self, me: Leader) -> (Self, Entered) {
        if self.0 & LEADER_BITS == 0 {
            (Self::led_by(me), Entered::Taken)
        } else {
            (Self(self.0 | WANT), Entered::Wanted)
        }
    }
}

/// How many more IOs a ring with this many completion entries can take: one entry stays free for the one that
/// is over, and submitted again, before its entry is given back.
#[must_use]
pub const fn room(entries: u32, in_flight: u32) -> u32 {
    entries.saturating_sub(1).saturating_sub(in_flight)
}

/// What an issuer wants done, before it sleeps on an own IO.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Action {
    /// Complete what is in the ring, report [`Observation::Drained`].
    Drain,
    /// Take the lead if it is free, report [`Observation::Taken`].
    Take,
    /// Enter as the issuer, report [`Observation::Entered`].
    Enter,
    /// Read the IO's word, report [`Observation::Looked`].
    Look,
    /// Sleep in the ring for one slice, report [`Observation::Slept`].
    Sleep,
    /// Leave, report [`Observation::Left`].
    Leave,
    /// Post the slot's bell, report [`Observation::Posted`].
    PostBell,
    /// Finished.
    Return {
        /// Whether to look at the IO again. If not, somebody else leads: who has been announced will be
        /// posted, who has not must be before it comes again.
        look_again: bool,
    },
}

/// What the protocol saw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Observation {
    /// Everything is completed; whether there was anything.
    Drained {
        /// Whether there was anything.
        any: bool,
    },
    /// Whether the lead was free.
    Taken(bool),
    /// The lead is taken or wanted.
    Entered(Entered),
    /// Whether the IO is still SUBMITTED.
    Looked {
        /// Whether it is.
        pending: bool,
    },
    /// The sleep has ended, for whatever reason.
    Slept,
    /// The lead is free; whether more was wanted.
    Left {
        /// Whether it was.
        wanted: bool,
    },
    /// The bell is posted.
    Posted,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    Outside,
    Leading,
    Over,
}

/// The machine of an issuer's one turn at its ring. The first action is [`Action::Drain`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Turn {
    stage: Stage,
    announced: bool,
}

impl Turn {
    /// A turn, and what it begins with. Only who is `announced` as a waiter of its IO may want something of
    /// another leader, who looks for waiters.
    pub const fn start(announced: bool) -> (Self, Action) {
        (Self { stage: Stage::Outside, announced }, Action::Drain)
    }

    /// The next action.
    pub const fn next(&mut self, saw: Observation) -> Action {
        match saw {
            Observation::Drained { any } => match self.stage {
                Stage::Outside if any => Action::Return { look_again: true },
                Stage::Outside if self.announced => Action::Enter,
                Stage::Outside => Action::Take,
                Stage::Leading => Action::Look,
                Stage::Over => Action::Leave,
            },
            Observation::Taken(false) | Observation::Entered(Entered::Wanted) => {
                Action::Return { look_again: false }
            }
            Observation::Taken(true) | Observation::Entered(Entered::Taken) => {
                self.stage = Stage::Leading;
                Action::Drain
            }
            Observation::Looked { pending: true } => Action::Sleep,
            Observation::Looked { pending: false } => Action::Leave,
            // One sleep in a turn, so that the wait can look at its deadline.
            Observation::Slept => {
                self.stage = Stage::Over;
                Action::Drain
            }
            Observation::Left { wanted: true } => Action::PostBell,
            Observation::Left { wanted: false } | Observation::Posted => {
                Action::Return { look_again: true }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l4_whoever_finds_the_lead_taken_is_known_to_the_leader() {
        let led = LeadWord::led_by(Leader::Reaper);
        let (word, entered) = led.entered(Leader::Issuer);
        assert_eq!((word.is_wanted(), entered), (true, Entered::Wanted));
        assert_eq!(word.entered(Leader::Issuer), (word, Entered::Wanted), "and again");
        assert_eq!(LeadWord::from_raw(word.raw() & LeadWord::NOT_WANTED), led);
        let taken = (LeadWord::led_by(Leader::Issuer), Entered::Taken);
        assert_eq!(LeadWord::FREE.entered(Leader::Issuer), taken);
    }

    #[test]
    fn l4_a_new_leader_drains_and_looks_before_it_sleeps() {
        let (mut turn, first) = Turn::start(true);
        assert_eq!(first, Action::Drain);
        assert_eq!(turn.next(Observation::Drained { any: false }), Action::Enter);
        assert_eq!(turn.next(Observation::Entered(Entered::Taken)), Action::Drain);
        assert_eq!(turn.next(Observation::Drained { any: false }), Action::Look);
        assert_eq!(turn.next(Observation::Looked { pending: true }), Action::Sleep);
        assert_eq!(turn.next(Observation::Slept), Action::Drain);
        assert_eq!(turn.next(Observation::Drained { any: true }), Action::Leave);
        assert_eq!(turn.next(Observation::Left { wanted: true }), Action::PostBell);
        assert_eq!(turn.next(Observation::Posted), Action::Return { look_again: true });
    }

    #[test]
    fn l4_an_issuer_sleeps_on_its_io_only_if_somebody_else_leads() {
        let (mut turn, _) = Turn::start(true);
        let _ = turn.next(Observation::Drained { any: false });
        let wanted = turn.next(Observation::Entered(Entered::Wanted));
        assert_eq!(wanted, Action::Return { look_again: false });
        let (mut turn, _) = Turn::start(true);
        let drained = turn.next(Observation::Drained { any: true });
        assert_eq!(drained, Action::Return { look_again: true });
    }

    #[test]
    fn an_issuer_that_finds_the_lead_free_needs_no_announcement() {
        let (mut turn, _) = Turn::start(false);
        assert_eq!(turn.next(Observation::Drained { any: false }), Action::Take);
        assert_eq!(turn.clone().next(Observation::Taken(true)), Action::Drain);
        let elsewhere = turn.next(Observation::Taken(false));
        assert_eq!(elsewhere, Action::Return { look_again: false });
    }

    #[test]
    fn r14_one_completion_entry_stays_free() {
        assert_eq!([room(8, 0), room(8, 6), room(8, 7), room(8, 9), room(0, 0)], [7, 1, 0, 0, 0]);
    }
}
