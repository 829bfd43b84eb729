//! A step of a search as lines of a trace, so that its stories read as loom's executions do.

use super::operation::{Note, Operation, Update, asleep, fresh};
use crate::runtime::Actor;
use crate::trace::{Line, Place, What};

/// What ended a sleep on several counts.
const OVER: &str = "goes on: the slice is over";

/// Who steps: its number in the state, and its name.
pub(super) type Who = (usize, Actor);

/// What a step did, and what was said in it. `before` is the memory that the access found.
pub(super) fn step(
    doing: (&Operation, Place),
    before: &[u64],
    who: Who,
    notes: &[Note],
) -> Vec<Line> {
    let changed = notes.iter().find_map(|note| match note {
        Note::Changed(change) => Some(What::Changed(*change)),
        Note::Saw(_) => None,
    });
    let said = notes.iter().filter_map(|note| match note {
        Note::Saw("slept" | "ticket was old" | "slice over") | Note::Changed(_) => None,
        Note::Saw(what) => Some(What::Note(what)),
    });
    let access = changed.or_else(|| access(doing, before, who.0));
    access.into_iter().chain(said).map(|what| Line { actor: who.1, what }).collect()
}

/// What an actor waits for that does not go on; `None` if its last step says it.
pub(super) fn blocked(doing: &Operation, actor: Actor) -> Option<Line> {
    let what = if matches!(doing, Operation::Pop(..)) {
        What::AwaitsMail
    } else if matches!(doing, Operation::Await(..)) {
        What::Note("sleeps in the ring until something is in it")
    } else if matches!(doing, Operation::UntilFree(_)) {
        What::Note("waits until a slot lock is free")
    } else {
        return None;
    };
    Some(Line { actor, what })
}

fn access((doing, place): (&Operation, Place), before: &[u64], me: usize) -> Option<What> {
    Some(match *doing {
        Operation::Word(at, update, Some(site)) => match update {
            Update::Keep => What::Read(site, place, before[at]),
            Update::Exchange(current, _) if current != before[at] => {
                What::Lost(site, place, before[at])
            }
            Update::Store(_)
            | Update::Swap(_)
            | Update::Add(_)
            | Update::Or(_)
            | Update::And(_)
            | Update::Exchange(..) => What::Wrote(site, place, update.after(before[at])),
        },
        Operation::Word(at, update, None) => own_word(at, update, place, before[at]),
        Operation::Ticket(_) => What::Ticket(place),
        Operation::FallAsleep(at) if before[at] & fresh(me) != 0 => What::Slept(place),
        Operation::FallAsleep(_) => What::TicketOld(place),
        Operation::Sleep(at, _) if before[at] & asleep(me) != 0 => What::SliceOver(place),
        Operation::Sleep(..) => What::Woke(place),
        Operation::SleepOnAny(ref on, _) => {
            What::Note(if on.iter().all(|&at| before[at] & asleep(me) != 0) {
                OVER
            } else {
                "is woken"
            })
        }
        Operation::Post(at, count) => {
            let woken = (before[at] >> 32).count_ones().min(count) as usize;
            if count == u32::MAX {
                What::Posted(place, woken)
            } else {
                What::PostedSome(place, woken)
            }
        }
        Operation::Push(..) | Operation::PushWithin(..) => What::Put,
        Operation::Pop(at, _) => What::Took(before[at] > 0),
        Operation::First(_) => What::Note("looks into the queue"),
        Operation::Await(..) => What::Note("goes on: the queue has something, or time is over"),
        Operation::TryLock(at) => What::Locked(place, before[at] == 0),
        Operation::UntilFree(_) => What::Probed(place, true),
        Operation::Join(_) => What::Note("sees that another has ended"),
        Operation::Pause => What::Note("lets others go first"),
        Operation::Choose(_)
        | Operation::Get(_)
        | Operation::Set(..)
        | Operation::Withdraw(_)
        | Operation::Note(_)
        | Operation::Spawn(_)
        | Operation::End => return None,
    })
}

/// A word that is not the protocol's: a lock's, payload that somebody peeks at, an application's.
fn own_word(at: usize, update: Update, place: Place, found: u64) -> What {
    match (place, update) {
        (Place::Lock(_), Update::Keep) => What::Probed(place, found == 0),
        (Place::Lock(_), _) => What::Unlocked(place),
        (Place::Leave(_), _) if found == 0 => What::Note("is not to leave yet"),
        (Place::Leave(_), _) => What::Note("is to leave"),
        (Place::Other, Update::Keep) => What::Application(at, "load saw", found),
        (Place::Other, _) => What::Application(at, "written to", update.after(found)),
        (
            Place::Handle(_) | Place::Slot(_) | Place::Lease(_) | Place::Doorbell | Place::Hints(_),
            _,
        ) => What::Note("peeks at a field"),
    }
}
