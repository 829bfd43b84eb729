//! The transition relation under random words, events and roles: S1, S2, S23, L8.
//!
//! `step` is held against its table, words are random 64-bit patterns (most of them close to what a
//! pool contains), and walks of legal steps by several actors look for a second owner.

use handfast_core::edges;
use handfast_core::ids::{Generation, ProcessSlot};
use handfast_core::state::{Event, Holder, Illegal, Role, State, Word, compose, step};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn slot(number: u32) -> ProcessSlot {
    ProcessSlot::new(number).expect("the tests use small slots and the last one")
}

/// The slots that words and roles are made of: few, so that they often meet; and the last one.
const SLOTS: [u32; 5] = [0, 1, 2, 3, ProcessSlot::MAX_COUNT - 1];

fn generations() -> [u64; 6] {
    let last = Generation::LAST.get();
    [0, 1, 2, 3, last - 1, last]
}

/// Every role of every slot in [`SLOTS`].
fn every_role() -> Vec<Role> {
    let mut roles = vec![Role::Waiter];
    for me in SLOTS.map(slot) {
        roles.extend([Role::Issuer(me), Role::Completer(me), Role::OwnerRecoverer(me)]);
        roles.extend(SLOTS.map(|dead| Role::CompleterRecoverer { me, dead: slot(dead) }));
    }
    roles
}

/// Every combination of fields over small ranges, malformed ones included.
fn every_near_word() -> Vec<Word> {
    let mut words = Vec::new();
    for generation in generations() {
        for completer in [0].into_iter().chain(SLOTS.map(|slot| u64::from(slot) + 1)) {
            for low in 0..64 {
                words.push(Word::from_raw(generation << 16 | completer << 6 | low));
            }
        }
    }
    words
}

/// Half of the words are well-formed, most of the others nearly; a few are any bits.
fn word() -> impl Strategy<Value = Word> {
    let near = every_near_word();
    let well: Vec<Word> = near.iter().copied().filter(|word| word.is_well_formed()).collect();
    prop_oneof![
        5 => select(well),
        3 => select(near),
        1 => (any::<u64>(), 0..64_u64).prop_map(|(high, low)| Word::from_raw(high << 16 | low)),
        1 => any::<u64>().prop_map(Word::from_raw),
    ]
}

fn role() -> impl Strategy<Value = Role> {
    select(every_role())
}

fn event() -> impl Strategy<Value = Event> {
    select(&Event::ALL[..])
}

fn recycles(event: Event) -> bool {
    matches!(event, Event::Release | Event::Reclaim | Event::Bury)
}

/// What holds for one word, event and role, whatever they are.
fn check_step(word: Word, event: Event, role: Role) -> Result<(), TestCaseError> {
    let result = step(word, event, role);
    prop_assert_eq!(result.ok(), edges::apply(word, event, role), "step and table differ");
    let next = match result {
        Ok(next) => next,
        Err(illegal) => {
            prop_assert_eq!(illegal, Illegal { word, event, role });
            return Ok(());
        }
    };
    prop_assert!(word.is_well_formed(), "a malformed word took a step");
    prop_assert!(next.is_well_formed(), "{word:?} became {next:?}");
    let moved = next.generation().get() - word.generation().get();
    prop_assert_eq!(moved, u64::from(recycles(event)), "generation of {:?}", next);
    if recycles(event) {
        prop_assert_eq!(next, Word::idle(next.generation()), "the reset leaves something");
    } else {
        prop_assert!(next.state() >= word.state(), "L8: {word:?} went back to {next:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn s23_step_agrees_with_the_table_and_generations_go_up_by_one(
        word in word(), event in event(), role in role(),
    ) {
        check_step(word, event, role)?;
    }

    #[test]
    fn malformed_words_are_always_illegal(word in word(), event in event(), role in role()) {
        if !word.is_well_formed() {
            prop_assert!(step(word, event, role).is_err());
            prop_assert!(compose(word, &[event], role).is_err());
        }
    }

    #[test]
    fn compose_is_the_steps_one_after_another(
        word in word(), events in vec(event(), 0..6), role in role(),
    ) {
        let one_by_one = events.iter().try_fold(word, |at, &event| step(at, event, role));
        prop_assert_eq!(compose(word, &events, role), one_by_one);
    }

    #[test]
    fn s1_s2_no_walk_of_legal_steps_reaches_two_owners(picks in vec(any::<Index>(), 1..120)) {
        walk(Word::NEW, &picks)?;
    }

    #[test]
    fn s23_a_walk_that_starts_at_the_last_but_one_generation_is_retired(
        picks in vec(any::<Index>(), 1..120),
    ) {
        let last_but_one = Generation::new(Generation::LAST.get() - 1).expect("in range");
        let end = walk(Word::idle(last_but_one), &picks)?;
        if end.generation() == Generation::LAST {
            prop_assert_eq!(end, Word::idle(Generation::LAST));
            prop_assert!(legal_moves(end).is_empty(), "the last generation was handed out");
        }
    }
}

/// The same check without luck: every combination of the small ranges.
#[test]
fn step_agrees_with_the_table_for_every_near_word() {
    let (roles, mut legal) = (every_role(), 0_u32);
    for word in every_near_word() {
        for event in Event::ALL {
            for &role in &roles {
                check_step(word, event, role).expect("see the message");
                legal += u32::from(step(word, event, role).is_ok());
            }
        }
    }
    assert!(legal > 1000, "only {legal} legal steps: the words are not the interesting ones");
}

/// Owner 0; completers 1 and 2; recoverer 3, of the owner and of whoever completes.
fn actors() -> Vec<Role> {
    let mut roles = vec![Role::Issuer(slot(0)), Role::Waiter, Role::OwnerRecoverer(slot(3))];
    roles.extend([1, 2].map(|me| Role::Completer(slot(me))));
    roles.extend(
        [0, 1, 2, 3].map(|dead| Role::CompleterRecoverer { me: slot(3), dead: slot(dead) }),
    );
    roles
}

fn legal_moves(word: Word) -> Vec<(Event, Role, Word)> {
    let mut moves = Vec::new();
    for role in actors() {
        for event in Event::ALL {
            if let Ok(next) = step(word, event, role) {
                moves.push((event, role, next));
            }
        }
    }
    moves
}

/// What has happened in the present generation.
#[derive(Clone, Copy, Default)]
struct Tally {
    completions: u32,
    publications: u32,
    open_claims: u32,
}

/// Takes legal steps as picked; at each word, every legal step has to be the holder's.
fn walk(from: Word, picks: &[Index]) -> Result<Word, TestCaseError> {
    let (mut word, mut tally) = (from, Tally::default());
    for pick in picks {
        let moves = legal_moves(word);
        for &(event, role, _) in &moves {
            prop_assert!(is_holders(word, event, role), "{event:?} as {role:?} on {word:?}");
        }
        if moves.is_empty() {
            break;
        }
        let (event, _, next) = *pick.get(&moves);
        count(&mut tally, event, word)?;
        word = next;
    }
    Ok(word)
}

fn is_holders(word: Word, event: Event, role: Role) -> bool {
    match (role, word.holder()) {
        (Role::Issuer(_), Holder::Issuer) => true,
        (Role::Issuer(me), Holder::Completer(by)) => me == by && event == Event::Publish,
        (Role::Completer(_), Holder::FirstToComplete) => {
            matches!(event, Event::Claim | Event::CompleteIo)
        }
        (Role::Completer(me), Holder::Completer(by)) => me == by,
        (Role::Issuer(_), Holder::FirstToComplete) | (Role::Completer(_), Holder::Issuer) => false,
        (Role::Waiter, _) => event == Event::AddWaiter,
        // Recoverers act for the dead: as the owner where nobody else completes, as the completer
        // where that one is dead.
        (Role::OwnerRecoverer(_), Holder::Issuer | Holder::FirstToComplete) => true,
        (Role::OwnerRecoverer(me), Holder::Completer(by)) => me == by,
        (Role::CompleterRecoverer { me, dead }, Holder::Completer(by)) => by == me || by == dead,
        (Role::CompleterRecoverer { .. }, Holder::Issuer | Holder::FirstToComplete) => false,
    }
}

fn count(tally: &mut Tally, event: Event, word: Word) -> Result<(), TestCaseError> {
    match event {
        Event::HandOut => *tally = Tally::default(),
        Event::CompleteIo | Event::Abandon => tally.completions += 1,
        Event::Publish => tally.publications += 1,
        Event::Claim => tally.open_claims += 1,
        Event::Unclaim => tally.open_claims -= 1,
        Event::Reclaim | Event::Bury => {
            prop_assert_eq!((tally.completions, tally.publications), (1, 1), "{:?}", word);
        }
        Event::Release => {
            prop_assert_eq!((tally.completions, tally.publications), (0, 0), "{:?}", word);
        }
        Event::Define
        | Event::Stage
        | Event::Submit
        | Event::SubmitInPlace
        | Event::TakeOver
        | Event::Localise
        | Event::AddWaiter => {}
    }
    prop_assert!(tally.completions <= 1, "S1: completed twice from {word:?}");
    prop_assert!(tally.publications <= tally.completions, "S1: published twice from {word:?}");
    prop_assert!(tally.open_claims <= 1, "S1: claimed twice from {word:?}");
    Ok(())
}

/// A guard against a walk that proves nothing: legal steps lead through all states and events.
#[test]
fn every_event_and_every_state_is_within_reach_of_a_walk() {
    let (mut known, mut todo) = (vec![Word::NEW], vec![Word::NEW]);
    let (mut events, mut states) = (Vec::new(), Vec::new());
    while let Some(word) = todo.pop() {
        for (event, role, next) in legal_moves(word) {
            assert!(is_holders(word, event, role), "{event:?} as {role:?} on {word:?}");
            events.push(event);
            states.push(next.state());
            if next.generation() == Generation::FIRST && !known.contains(&next) {
                known.push(next);
                todo.push(next);
            }
        }
    }
    assert!(Event::ALL.iter().all(|event| events.contains(event)), "an event was never legal");
    assert!(State::ALL.iter().all(|state| states.contains(state)), "a state was never reached");
}
