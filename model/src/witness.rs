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
use handfast_core::edges::EDGES;
use handfast_core::platform::Change;
use handfast_core::state::{State, Word};
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static CHANGES: RefCell<Vec<(Actor, Change)>> = const { RefCell::new(Vec::new()) };
    static NOTES: RefCell<Vec<Note>> = const { RefCell::new(Vec::new()) };
    static SEEN: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
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

/// Notes an access to a word of the application's own, or a death, for people.
pub(crate) fn note(actor: Actor, word: Option<usize>, what: &'static str, value: u64) {
    let after = CHANGES.with_borrow(Vec::len);
    NOTES.with_borrow_mut(|notes| notes.push(Note { after, actor, word, what, value }));
}

/// What happened in this execution so far, a line for each: the changes of the handles' words, and what was
/// noted. The application's words are numbered as they appear. Empty in the midst of a change.
#[must_use]
pub fn happened() -> Vec<String> {
    let (mut lines, mut words) = (Vec::new(), Vec::new());
    let all =
        CHANGES.with(|changes| changes.try_borrow().map(|all| all.clone()).unwrap_or_default());
    let notes = NOTES.with(|notes| notes.try_borrow().map(|all| all.clone()).unwrap_or_default());
    let mut notes = notes.iter().peekable();
    for at in 0..=all.len() {
        while let Some(note) = notes.next_if(|note| note.after == at) {
            lines.push(note.line(&mut words));
        }
        if let Some((actor, Change { handle, old, new, event, .. })) = all.get(at) {
            let name = actor.name;
            lines.push(format!("{name:12} {handle}: {old:?} -> {new:?} ({event:?})"));
        }
    }
    lines
}

/// Something that is no change of a handle's word.
#[derive(Clone, Copy)]
struct Note {
    /// How many changes came before.
    after: usize,
    actor: Actor,
    /// The address of the word, if it is about one.
    word: Option<usize>,
    what: &'static str,
    value: u64,
}

impl Note {
    fn line(&self, words: &mut Vec<usize>) -> String {
        let Self { actor, word, what, value, .. } = *self;
        let Some(word) = word else { return format!("{:12} {what}", actor.name) };
        let known = words.iter().position(|known| *known == word);
        let number = known.unwrap_or_else(|| {
            words.push(word);
            words.len() - 1
        });
        format!("{:12} application's word {}: {what} {value:#x}", actor.name, number + 1)
    }
}

/// What happened how often since the last call.
#[must_use]
pub fn take_seen() -> BTreeMap<&'static str, u64> {
    SEEN.take()
}

/// Forgets the changes of the execution before.
pub(crate) fn start() {
    CHANGES.with_borrow_mut(Vec::clear);
    NOTES.with_borrow_mut(Vec::clear);
}

pub(crate) fn changed(actor: Actor, change: Change) {
    CHANGES.with_borrow_mut(|changes| changes.push((actor, change)));
}

/// Judges the execution that ends.
///
/// # Panics
/// If it broke S1, S2 or S23.
pub(crate) fn judge() {
    CHANGES.with_borrow(|changes| {
        if let Err(what) = verdict(changes) {
            panic!("{what}\n{changes:#?}");
        }
    });
}

fn verdict(changes: &[(Actor, Change)]) -> Result<(), &'static str> {
    let mut words = BTreeMap::new();
    let mut completions = BTreeMap::new();
    for (_, change) in changes {
        let handle = change.handle.0;
        let before = words.insert(handle, change.new).unwrap_or(Word::NEW);
        if before != change.old {
            return Err("S2: a change was wiped out by a store");
        }
        if !EDGES.iter().any(|edge| edge.event == change.event && ends_in(edge.to, change.new)) {
            return Err("S2: a change is not an edge");
        }
        let (old, new) = (change.old.generation().get(), change.new.generation().get());
        let recycled = change.new.state() == State::Idle;
        if new != old + u64::from(recycled) {
            return Err("S23: a generation did not go up by one");
        }
        if change.old.state() <= State::Submitted && change.new.state() >= State::CompletedIo {
            let count = completions.entry((handle, old)).or_insert(0);
            *count += 1;
            if *count > 1 {
                return Err("S1: a generation was completed twice");
            }
        }
    }
    Ok(())
}

fn ends_in(to: Option<State>, word: Word) -> bool {
    to.is_none_or(|to| to == word.state())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::MAIN;
    use handfast_core::ids::{Generation, HandleId, ProcessSlot};
    use handfast_core::site::Site;
    use handfast_core::state::{Event, Role};

    fn change(old: Word, new: Word, event: Event) -> (Actor, Change) {
        let role = Role::Issuer(ProcessSlot::new(0).unwrap());
        (MAIN, Change { handle: HandleId(0), old, new, site: Site::Define, event, role })
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
        assert_eq!(verdict(&broken[..1]), Ok(()));
        assert_eq!(verdict(&broken), Err("S2: a change was wiped out by a store"));
    }

    #[test]
    fn s23_a_generation_that_skips_one_is_noticed() {
        let broken = [
            change(Word::NEW, word(1, State::HandedOut), Event::HandOut),
            change(word(1, State::HandedOut), word(3, State::Idle), Event::Release),
        ];
        assert_eq!(verdict(&broken), Err("S23: a generation did not go up by one"));
    }
}
