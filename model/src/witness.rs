//! Watches one execution from outside of the model: which words changed, what was seen.
//!
//! loom runs the threads of an execution one at a time on the thread that called it, and the
//! protocol reports a change in the same step as it makes it. So a plain list in that thread's
//! storage is the modification order of the words, and it adds no branch point to the search.
//!
//! Invariants judged at the end of each execution: S1 (one completion of a generation), S2 (the
//! changes of a word form one chain of edges by the actors that may take them, so no store has
//! wiped out what somebody else did), S23 (generations go up by one).
//! Checked by: the unit tests below. Not checked: loads (the scenarios assert their values).

use crate::runtime::Actor;
use crate::trace::conformance::Taken;
use crate::trace::{Line, Place, What};
use handfast_core::platform::Change;
use handfast_core::state::{State, Word};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;

thread_local! {
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    static LAYOUT: RefCell<Vec<(Range<usize>, Place)>> = const { RefCell::new(Vec::new()) };
    static SEEN: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
    static TAKEN: Cell<Taken> = const { Cell::new(Taken::NONE) };
}

/// Counts something that happened, over all executions of a scenario.
pub fn saw(what: &'static str) {
    SEEN.with_borrow_mut(|seen| *seen.entry(what).or_default() += 1);
}

/// How often something was seen so far.
#[must_use]
pub fn count(what: &str) -> u64 {
    SEEN.with_borrow(|seen| seen.get(what).copied().unwrap_or_default())
}

/// What is counted when an entry point refuses inside of a callback.
pub const USED_IN_CALLBACK: &str = "the pool was used inside of a callback";

/// Counts an entry point that was called, and refuses, inside of a callback (S13).
pub(crate) fn in_callback(inside: bool) -> bool {
    if inside {
        saw(USED_IN_CALLBACK);
    }
    inside
}

/// An access to a word of the application's own.
pub(crate) fn application(actor: Actor, word: usize, what: &'static str, value: u64) {
    step(actor, What::Application(word, what, value));
}

/// A step of this actor; counts it, if its kind is one that scenarios require.
pub fn step(actor: Actor, what: What) {
    if let Some(name) = what.counts_as() {
        saw(name);
    }
    LINES.with_borrow_mut(|lines| lines.push(Line { actor, what }));
}

/// What happened how often since the last call.
#[must_use]
pub fn take_seen() -> BTreeMap<&'static str, u64> {
    SEEN.take()
}

/// Which edges were taken since the last call.
#[must_use]
pub fn take_edges() -> Taken {
    TAKEN.take()
}

/// Forgets the execution before.
pub(crate) fn start() {
    LINES.with_borrow_mut(Vec::clear);
    LAYOUT.with_borrow_mut(Vec::clear);
}

/// The steps of the present execution.
#[must_use]
pub fn lines() -> Vec<Line> {
    LINES.with_borrow(Vec::clone)
}

/// How many steps the present execution has had.
pub(crate) fn steps() -> u64 {
    LINES.with_borrow(|lines| lines.len() as u64)
}

/// Says where a list of shared things lies in this execution, so that steps on them have a name.
pub(crate) fn lay_out<T>(things: &[T], name: impl Fn(u32) -> Place) {
    LAYOUT.with_borrow_mut(|layout| {
        for (index, thing) in (0..).zip(things) {
            let start = std::ptr::from_ref(thing).addr();
            layout.push((start..start + size_of::<T>(), name(index)));
        }
    });
}

/// The name of the shared thing that this is a part of.
pub(crate) fn place_of<T>(part: &T) -> Place {
    place_at(std::ptr::from_ref(part).addr())
}

/// The same for an address.
pub(crate) fn place_at(at: usize) -> Place {
    LAYOUT.with_borrow(|layout| {
        let found = layout.iter().find(|(range, _)| range.contains(&at));
        found.map_or(Place::Other, |(_, place)| *place)
    })
}

pub(crate) fn changed(actor: Actor, change: Change) {
    step(actor, What::Changed(change));
}

/// Judges the execution that ends.
///
/// # Panics
/// If it broke S1, S2 or S23.
pub(crate) fn judge() {
    LINES.with_borrow(|lines| {
        let changes = lines.iter().filter_map(|line| {
            if let What::Changed(change) = &line.what { Some(change) } else { None }
        });
        match verdict(changes) {
            Ok(taken) => TAKEN.set(TAKEN.get().union(taken)),
            Err(what) => panic!("{what}"),
        }
    });
}

fn verdict<'a>(changes: impl Iterator<Item = &'a Change>) -> Result<Taken, &'static str> {
    let mut words = BTreeMap::new();
    let mut completions = BTreeMap::new();
    let mut taken = Taken::NONE;
    for change in changes {
        let handle = change.handle.0;
        let before = words.insert(handle, change.new).unwrap_or(Word::NEW);
        if before != change.old {
            return Err("S2: a change was wiped out by a store");
        }
        let (old, new) = (change.old.generation().get(), change.new.generation().get());
        let recycled = change.new.state() == State::Idle;
        if new != old + u64::from(recycled) {
            return Err("S23: a generation did not go up by one");
        }
        taken = taken.and(change).ok_or("S2: a change is not an edge")?;
        if change.old.state() <= State::Submitted && change.new.state() >= State::CompletedIo {
            let count = completions.entry((handle, old)).or_insert(0);
            *count += 1;
            if *count > 1 {
                return Err("S1: a generation was completed twice");
            }
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_core::ids::{Generation, HandleId, ProcessSlot};
    use handfast_core::site::Site;
    use handfast_core::state::{Event, Role};

    fn change(old: Word, new: Word, event: Event) -> Change {
        let role = Role::Issuer(ProcessSlot::new(0).unwrap());
        Change { handle: HandleId(0), old, new, site: Site::Define, event, role }
    }

    fn word(generation: u64, state: State) -> Word {
        let generation = Generation::new(generation).unwrap();
        Word::from_raw(Word::idle(generation).raw() | state as u64)
    }

    #[test]
    fn s2_a_gap_in_the_chain_is_noticed() {
        let broken = [
            change(Word::NEW, word(1, State::HandedOut), Event::HandOut),
            change(word(1, State::Defined), word(1, State::Staged), Event::Stage),
        ];
        assert!(verdict(broken[..1].iter()).is_ok());
        assert_eq!(verdict(broken.iter()), Err("S2: a change was wiped out by a store"));
    }

    #[test]
    fn s23_a_generation_that_skips_one_is_noticed() {
        let broken = [
            change(Word::NEW, word(1, State::HandedOut), Event::HandOut),
            change(word(1, State::HandedOut), word(3, State::Idle), Event::Release),
        ];
        assert_eq!(verdict(broken.iter()), Err("S23: a generation did not go up by one"));
    }
}
