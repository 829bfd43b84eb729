//! What a worker does: scan the hints, claim, execute, complete, look again; sleep when there is
//! nothing; leave when asked.
//!
//! | it | then |
//! |---|---|
//! | sees a bit | claims; the loser of a claim goes on |
//! | has won a claim | executes, completes, goes on scanning behind it, so that nobody starves |
//! | found nothing in a whole round | takes a ticket, announces that it sleeps, scans a whole round again |
//! | found nothing in that round either | sleeps with the ticket |
//! | was announced and has found something, or its sleep has ended | withdraws the announcement first |
//! | is asked to leave | withdraws, passes the ring on: it may have taken a wake-up meant for any worker (B14) |
//!
//! Invariants: L2, L5, S18. Whether it is to leave is asked before every round, so also between announcement
//! and sleep: who asks it sets a flag and then rings all. Checked by: the unit tests below and the
//! model's worker scenarios.

/// What the worker wants done next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Action {
    /// Is it to leave? Report [`Observation::Leave`].
    AskLeave,
    /// Read a word of a slot's hints, report [`Observation::Hints`].
    Look {
        /// The slot.
        slot: u32,
        /// Which word of its bitmap.
        word: u32,
    },
    /// Claim a handle, report [`Observation::Claimed`].
    Claim {
        /// The slot.
        slot: u32,
        /// Which of its handles.
        index: u32,
    },
    /// Execute what was claimed, report [`Observation::Executed`].
    Execute,
    /// Complete it, report [`Observation::Completed`].
    Complete,
    /// Take the ticket of the doorbell, report [`Observation::Ticket`].
    TakeTicket,
    /// Announce a sleeper at the doorbell, report [`Observation::Announced`].
    Announce,
    /// Sleep with the ticket for one slice, report [`Observation::Slept`].
    Sleep,
    /// Take the announcement back, report [`Observation::Withdrawn`].
    Withdraw,
    /// Ring for one, report [`Observation::PassedOn`].
    PassOn,
    /// Finished.
    Return,
}

/// What the protocol saw.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Observation {
    /// Whether it is asked to leave.
    Leave(bool),
    /// The bits of the word.
    Hints(u64),
    /// Whether the claim was won.
    Claimed(bool),
    /// The result is known.
    Executed,
    /// The IO is over.
    Completed,
    /// The ticket is taken.
    Ticket,
    /// It is counted as a sleeper.
    Announced,
    /// The sleep has ended, for whatever reason.
    Slept,
    /// It is not counted any more.
    Withdrawn,
    /// The ring is passed on.
    PassedOn,
}

/// What follows a withdrawal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Then {
    Execute,
    Scan,
    Leave,
}

/// The machine of one worker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Worker {
    /// How many words the hints of each slot have.
    words: u32,
    /// How many words there are in all.
    total: u32,
    /// The word that is read next.
    next: u32,
    /// The word that was read last, and its bits that have not been tried.
    at: u32,
    bits: u64,
    /// How many words of this round are left.
    left: u32,
    announced: bool,
    then: Then,
}

impl Worker {
    /// A worker for this many slots, each with this many words of hints, that begins its first round
    /// at slot `first`. The first action is [`Action::AskLeave`].
    #[must_use]
    pub const fn new(slots: u32, words: u32, first: u32) -> Self {
        let total = slots.saturating_mul(words);
        let next = if first < slots { first * words } else { 0 };
        let then = Then::Scan;
        Self { words, total, next, at: 0, bits: 0, left: 0, announced: false, then }
    }

    /// The next action.
    pub const fn next(&mut self, saw: Observation) -> Action {
        match saw {
            Observation::Leave(true) if self.announced => self.withdraw(Then::Leave),
            Observation::Leave(true) => Action::PassOn,
            Observation::Leave(false) => {
                self.left = self.total;
                self.scan()
            }
            Observation::Hints(bits) => {
                self.bits = bits;
                self.scan()
            }
            Observation::Claimed(won) => {
                // The lowest bit is the one that was tried.
                self.bits &= self.bits.wrapping_sub(1);
                match (won, self.announced) {
                    (true, true) => self.withdraw(Then::Execute),
                    (true, false) => Action::Execute,
                    (false, true | false) => self.scan(),
                }
            }
            Observation::Executed => Action::Complete,
            Observation::Ticket => Action::Announce,
            Observation::Announced => {
                self.announced = true;
                Action::AskLeave
            }
            Observation::Slept => self.withdraw(Then::Scan),
            Observation::Withdrawn => {
                self.announced = false;
                match self.then {
                    Then::Execute => Action::Execute,
                    Then::Scan => Action::AskLeave,
                    Then::Leave => Action::PassOn,
                }
            }
            Observation::Completed => Action::AskLeave,
            Observation::PassedOn => Action::Return,
        }
    }

    const fn withdraw(&mut self, then: Then) -> Action {
        self.then = then;
        Action::Withdraw
    }

    const fn scan(&mut self) -> Action {
        if self.bits != 0 {
            let (slot, word) = (self.at / self.words, self.at % self.words);
            return Action::Claim { slot, index: word * u64::BITS + self.bits.trailing_zeros() };
        }
        if self.left == 0 {
            return if self.announced { Action::Sleep } else { Action::TakeTicket };
        }
        self.left -= 1;
        self.at = self.next;
        self.next = if self.next + 1 < self.total { self.next + 1 } else { 0 };
        Action::Look { slot: self.at / self.words, word: self.at % self.words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Answers like a pool whose hints are `hints`, whose claims are always won, and which is quiet.
    fn answer(action: Action, hints: &mut [u64]) -> Observation {
        match action {
            Action::AskLeave => Observation::Leave(false),
            Action::Look { slot, word } => Observation::Hints(hints[(slot * 2 + word) as usize]),
            Action::Claim { slot, index } => {
                let word = &mut hints[(slot * 2 + index / 64) as usize];
                let bit = 1 << (index % 64);
                let won = *word & bit != 0;
                *word &= !bit;
                Observation::Claimed(won)
            }
            Action::Execute => Observation::Executed,
            Action::Complete => Observation::Completed,
            Action::TakeTicket => Observation::Ticket,
            Action::Announce => Observation::Announced,
            Action::Sleep => Observation::Slept,
            Action::Withdraw => Observation::Withdrawn,
            Action::PassOn | Action::Return => Observation::PassedOn,
        }
    }

    /// The actions up to the first sleep, with it.
    fn until_asleep(worker: &mut Worker, hints: &mut [u64]) -> Vec<Action> {
        let mut actions = alloc::vec![Action::AskLeave];
        while let Some(&last) = actions.last()
            && last != Action::Sleep
        {
            actions.push(worker.next(answer(last, hints)));
        }
        actions
    }

    fn looks(actions: &[Action]) -> usize {
        actions.iter().filter(|action| matches!(action, Action::Look { .. })).count()
    }

    #[test]
    fn l5_every_word_is_read_between_announcement_and_sleep() {
        for first in 0..3 {
            let actions = until_asleep(&mut Worker::new(3, 2, first), &mut [0; 6]);
            let announced = actions.iter().position(|&action| action == Action::Announce).unwrap();
            assert_eq!(actions[announced - 1], Action::TakeTicket);
            assert_eq!(actions[announced + 1], Action::AskLeave);
            assert_eq!((looks(&actions[..announced]), looks(&actions[announced..])), (6, 6));
        }
    }

    #[test]
    fn l5_a_worker_that_finds_work_after_its_announcement_withdraws_before_it_executes() {
        let (mut worker, mut hints) = (Worker::new(3, 2, 0), [0; 6]);
        let _ = until_asleep(&mut worker, &mut hints);
        let mut action = worker.next(Observation::Slept);
        assert_eq!(action, Action::Withdraw);
        while action != Action::Announce {
            action = worker.next(answer(action, &mut hints));
        }
        hints[3] = 1 << 5;
        let mut seen = Vec::new();
        while action != Action::Execute {
            action = worker.next(answer(action, &mut hints));
            seen.push(action);
        }
        let last = [Action::Claim { slot: 1, index: 69 }, Action::Withdraw, Action::Execute];
        assert!(seen.ends_with(&last), "{seen:?}");
    }

    #[test]
    fn l2_a_handle_that_is_busy_again_and_again_does_not_keep_another_one_waiting() {
        let (mut worker, mut hints) = (Worker::new(3, 2, 0), [0; 6]);
        (hints[0], hints[5]) = (0b11, 1 << 63);
        let (mut action, mut claims) = (Action::AskLeave, Vec::new());
        while claims.len() < 4 {
            let saw = answer(action, &mut hints);
            if let Action::Claim { slot, index } = action {
                claims.push((slot, index));
                // Its issuer submits the same handle again at once.
                hints[0] |= 1;
            }
            action = worker.next(saw);
        }
        assert_eq!(claims, [(0, 0), (0, 1), (2, 127), (0, 0)]);
    }

    #[test]
    fn b14_a_worker_that_leaves_passes_the_ring_on() {
        let mut worker = Worker::new(1, 2, 0);
        let actions = until_asleep(&mut worker, &mut [0; 2]);
        assert_eq!(actions.last(), Some(&Action::Sleep));
        assert_eq!(worker.next(Observation::Slept), Action::Withdraw);
        assert_eq!(worker.next(Observation::Withdrawn), Action::AskLeave);
        assert_eq!(worker.next(Observation::Leave(true)), Action::PassOn);
        assert_eq!(worker.next(Observation::PassedOn), Action::Return);
    }

    #[test]
    fn b13_a_worker_that_leaves_between_announcement_and_sleep_withdraws() {
        let mut worker = Worker::new(1, 2, 0);
        let mut action = Action::AskLeave;
        while action != Action::Announce {
            action = worker.next(answer(action, &mut [0; 2]));
        }
        assert_eq!(worker.next(Observation::Announced), Action::AskLeave);
        assert_eq!(worker.next(Observation::Leave(true)), Action::Withdraw);
        assert_eq!(worker.next(Observation::Withdrawn), Action::PassOn);
    }

    #[test]
    fn a_pool_without_hints_lets_its_worker_sleep() {
        let actions = until_asleep(&mut Worker::new(0, 0, 0), &mut []);
        assert_eq!(looks(&actions), 0);
    }
}
