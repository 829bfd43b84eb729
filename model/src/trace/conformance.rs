//! Which edges of the protocol's table an execution takes, and whether every change is one.
//!
//! The table (`handfast_core::edges::EDGES`) has one row for an event; here each state that it
//! starts from and each role that may take it counts by itself. A change that composes several events
//! takes each of their edges. What a run took is kept in `model/results/edges.ndjson` and compared in
//! each run, so that the union over all scenarios can be held against the table without running them
//! all.
//!
//! Checked by: the witness in every execution; `model/tests/lists.rs` for the union.

use crate::mutants::results;
use crate::pins::BLESS;
use handfast_core::edges::{self, Actor, EDGES};
use handfast_core::platform::Change;
use handfast_core::state::{Event, Role, State, Word};
use std::collections::BTreeSet;

/// One edge: an event in a state by a role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// What happens.
    pub event: Event,
    /// In which state.
    pub from: State,
    /// By whom.
    pub who: Actor,
}

impl Edge {
    /// Its name: `AddWaiter/STAGED/Waiter`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{:?}/{}/{:?}", self.event, self.from, self.who)
    }
}

/// Every edge of the table, in its order.
#[must_use]
pub fn all() -> Vec<Edge> {
    let of_row = |row: &'static edges::Edge| {
        let pairs = row.from.iter().flat_map(|&from| row.who.iter().map(move |&who| (from, who)));
        pairs.map(|(from, who)| Edge { event: row.event, from, who })
    };
    EDGES.iter().flat_map(of_row).collect()
}

/// What the protocol performs with one access where nobody needs to see the states in between.
const COMPOSED: &[&[Event]] = &[
    &[Event::Define, Event::Stage],
    &[Event::Define, Event::Stage, Event::Submit],
    &[Event::Define, Event::Stage, Event::SubmitInPlace],
    &[Event::CompleteIo, Event::Publish],
    &[Event::Localise, Event::Reclaim],
];

/// The edges that were taken, as a set of indexes into [`all`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Taken(u64);

impl Taken {
    /// None.
    pub const NONE: Self = Self(0);

    /// The same and those that this change takes; `None` if it is not a way along edges.
    #[must_use]
    pub fn and(self, change: &Change) -> Option<Self> {
        let single = [change.event];
        let composed = COMPOSED.iter().copied().filter(|way| way.last() == Some(&change.event));
        [single.as_slice()].into_iter().chain(composed).find_map(|way| self.along(way, change))
    }

    fn along(mut self, way: &[Event], change: &Change) -> Option<Self> {
        let mut word = change.old;
        for &event in way {
            self.0 |= 1 << index(word, event, change.role)?;
            word = edges::apply(word, event, change.role)?;
        }
        (word == change.new).then_some(self)
    }

    /// Both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Their names.
    #[must_use]
    pub fn names(self) -> BTreeSet<String> {
        let taken = all().into_iter().enumerate().filter(|(index, _)| self.0 >> index & 1 == 1);
        taken.map(|(_, edge)| edge.name()).collect()
    }
}

/// Compares the edges that a run took with those it is known to take, or makes them known if [`BLESS`]
/// is set. `run` is its tool and its name in `pins.txt`.
///
/// # Panics
/// If they differ, or the file cannot be read or written.
pub fn check(run: &str, taken: Taken) {
    let edges: Vec<_> = taken.names().into_iter().collect();
    if std::env::var_os(BLESS).is_some() {
        let blessed = results::change(results::EDGES, |lines: &mut Vec<results::Edges>| {
            lines.retain(|line| line.run != run);
            lines.push(results::Edges { run: run.to_owned(), edges });
        });
        return assert!(blessed.is_ok(), "model/results/edges.ndjson: {blessed:?}");
    }
    let known = results::read::<results::Edges>(results::EDGES);
    let known = known.map(|lines| lines.into_iter().find(|line| line.run == run));
    assert!(
        matches!(&known, Ok(Some(line)) if line.edges == edges),
        "{run} takes other edges than are known of it: if that was meant, bless with {BLESS}=1.\n\
         known {known:?}\ntaken {edges:?}"
    );
}

/// Edges that no run takes, and why.
pub const NEVER: &[(&str, &str)] = &[(
    "Abandon/STAGED/Issuer",
    "an issuer gives up while its stage callbacks run, in DEFINED; what it has staged it submits",
)];

/// Where this edge is in [`all`].
fn index(word: Word, event: Event, role: Role) -> Option<usize> {
    let (from, who) = (word.state(), Actor::of(role));
    let mut before = 0;
    for row in EDGES {
        let state = row.from.iter().position(|&state| state == from);
        let role = row.who.iter().position(|&actor| actor == who);
        if let (true, Some(state), Some(role)) = (row.event == event, state, role) {
            return Some(before + state * row.who.len() + role);
        }
        before += row.from.len() * row.who.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use handfast_core::ids::{HandleId, ProcessSlot};
    use handfast_core::site::Site;
    use handfast_core::state::compose;

    fn issuer() -> Role {
        Role::Issuer(ProcessSlot::new(0).unwrap())
    }

    fn change(old: Word, new: Word, event: Event) -> Change {
        Change { handle: HandleId(0), old, new, site: Site::Start, event, role: issuer() }
    }

    #[test]
    fn every_edge_has_a_place_of_its_own_in_the_set() {
        let all = all();
        assert!(all.len() <= 64, "{} edges: make the set wider", all.len());
        let names: BTreeSet<_> = all.iter().map(|edge| edge.name()).collect();
        assert_eq!(names.len(), all.len());
        assert_eq!(Taken((1 << all.len()) - 1).names(), names);
    }

    #[test]
    fn a_composed_change_takes_each_of_its_edges() {
        let handed_out = compose(Word::NEW, &[Event::HandOut], issuer()).unwrap();
        let start = [Event::Define, Event::Stage, Event::SubmitInPlace];
        let submitted = compose(handed_out, &start, issuer()).unwrap();
        let taken = Taken::NONE.and(&change(handed_out, submitted, Event::SubmitInPlace)).unwrap();
        let names: Vec<_> = taken.names().into_iter().collect();
        let expected =
            ["Define/HANDED_OUT/Issuer", "Stage/DEFINED/Issuer", "SubmitInPlace/STAGED/Issuer"];
        assert_eq!(names, expected);
    }

    #[test]
    fn s2_a_change_that_is_no_way_along_edges_is_none() {
        let handed_out = compose(Word::NEW, &[Event::HandOut], issuer()).unwrap();
        assert_eq!(Taken::NONE.and(&change(Word::NEW, Word::NEW, Event::HandOut)), None);
        assert_eq!(Taken::NONE.and(&change(handed_out, Word::NEW, Event::Release)), None);
    }
}
