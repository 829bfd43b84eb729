//! The issuer's lists under random sequences of use and misuse, against lists that are too simple to
//! be wrong: S3, S19–S23. Misuse has to be `None` and to change nothing.

use handfast_core::decide::book::{Acquire, Book, MAX_STAGED, Place, Staged};
use handfast_core::ids::Generation;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// The reference: one plain list for each place. The top of `idle` is its end.
#[derive(Clone, Debug, Default)]
struct Plain {
    idle: Vec<u32>,
    handed_out: Option<(u32, u32)>,
    defined: Option<u32>,
    staged: Vec<u32>,
    in_flight: Vec<u32>,
    retired: Vec<u32>,
    generations: Vec<u64>,
}

impl Plain {
    fn new(generations: &[Generation]) -> Self {
        let generations: Vec<u64> = generations.iter().map(|generation| generation.get()).collect();
        let mut plain = Self { generations, ..Self::default() };
        for index in (0..plain.len()).rev() {
            plain.give_back(index);
        }
        plain
    }

    fn len(&self) -> u32 {
        u32::try_from(self.generations.len()).expect("a few handles")
    }

    fn give_back(&mut self, index: u32) {
        if self.generations[index as usize] == Generation::LAST.get() {
            self.retired.push(index);
        } else {
            self.idle.push(index);
        }
    }

    fn next(&self, index: u32) -> Generation {
        let now = self.generations.get(index as usize).copied().unwrap_or(0);
        Generation::new(now + 1).unwrap_or(Generation::LAST)
    }

    fn place(&self, index: u32) -> Option<Place> {
        let places = [
            (Place::Idle, self.idle.clone()),
            (Place::HandedOut, self.handed_out.iter().map(|(index, _)| *index).collect()),
            (Place::Defined, self.defined.into_iter().collect()),
            (Place::Staged, self.staged.clone()),
            (Place::InFlight, self.in_flight.clone()),
            (Place::Retired, self.retired.clone()),
        ];
        places.into_iter().find(|(_, list)| list.contains(&index)).map(|(place, _)| place)
    }

    fn acquire(&self, looked: bool) -> Acquire {
        match (self.handed_out, self.idle.last(), self.in_flight.first()) {
            (Some(_), _, _) => Acquire::Refuse,
            (None, Some(top), _) => Acquire::HandOut(*top),
            (None, None, Some(_)) if !looked => Acquire::ReclaimOver,
            (None, None, _) if !self.staged.is_empty() => Acquire::SubmitStaged,
            (None, None, Some(oldest)) => Acquire::WaitFor(*oldest),
            (None, None, None) => Acquire::Exhausted,
        }
    }

    /// Does what the book should do; `None` where it should refuse.
    fn apply(&mut self, operation: Do) -> Option<()> {
        match operation {
            Do::HandOut(scope) if self.handed_out.is_none() => {
                self.handed_out = Some((self.idle.pop()?, scope));
            }
            Do::Release(index) if self.is_handed_out(index) => {
                self.handed_out = None;
                self.recycle(index);
            }
            Do::Define(index) if self.is_handed_out(index) && self.defined.is_none() => {
                self.handed_out = None;
                self.defined = Some(index);
            }
            Do::Stage(index) if self.defined == Some(index) && self.staged.len() < MAX_STAGED => {
                self.defined = None;
                self.staged.push(index);
            }
            Do::Start(index) if self.defined == Some(index) => {
                self.defined = None;
                self.in_flight.push(index);
            }
            Do::SubmitFirst if !self.staged.is_empty() => {
                let index = self.staged.remove(0);
                self.in_flight.push(index);
            }
            Do::Reclaim(index) if self.in_flight.contains(&index) => {
                self.in_flight.retain(|&other| other != index);
                self.recycle(index);
            }
            Do::HandOut(_)
            | Do::Release(_)
            | Do::Define(_)
            | Do::Stage(_)
            | Do::Start(_)
            | Do::SubmitFirst
            | Do::Reclaim(_) => return None,
        }
        Some(())
    }

    fn is_handed_out(&self, index: u32) -> bool {
        self.handed_out.is_some_and(|(current, _)| current == index)
    }

    fn recycle(&mut self, index: u32) {
        self.generations[index as usize] += 1;
        self.give_back(index);
    }
}

/// One operation on a book, with its index decided.
#[derive(Clone, Copy, Debug)]
enum Do {
    HandOut(u32),
    Release(u32),
    Define(u32),
    Stage(u32),
    Start(u32),
    SubmitFirst,
    Reclaim(u32),
}

fn apply(book: &mut Book, operation: Do, next: Generation) -> Option<()> {
    match operation {
        Do::HandOut(scope) => book.hand_out(scope).map(drop),
        Do::Release(index) => book.release(index, next),
        Do::Define(index) => book.define(index),
        Do::Stage(index) => book.stage(index, index % 3 == 1),
        Do::Start(index) => book.start(index),
        Do::SubmitFirst => book.submit_first().map(drop),
        Do::Reclaim(index) => book.reclaim(index, next),
    }
}

/// What a test asks for: the kind of operation, and whether with the right index.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Acquire,
    HandOut,
    Release,
    Define,
    Stage,
    Start,
    /// Hand out, define, stage: so that full batches are common.
    OneMoreStaged,
    SubmitAll,
    SubmitFirst,
    Reclaim,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    wish: Wish,
    pick: Index,
    misuse: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wish = prop_oneof![
        2 => Just(Wish::Acquire),
        3 => Just(Wish::HandOut),
        1 => Just(Wish::Release),
        3 => Just(Wish::Define),
        3 => Just(Wish::Stage),
        2 => Just(Wish::Start),
        8 => Just(Wish::OneMoreStaged),
        1 => Just(Wish::SubmitAll),
        1 => Just(Wish::SubmitFirst),
        4 => Just(Wish::Reclaim),
    ];
    let step = (wish, any::<Index>(), prop::bool::weighted(0.15));
    vec(step.prop_map(|(wish, pick, misuse)| Step { wish, pick, misuse }), 0..200)
}

/// Up to 40 handles, so that a batch can be full; some close to the last generation.
fn generations() -> impl Strategy<Value = Vec<Generation>> {
    let last = Generation::LAST.get();
    let generation = prop_oneof![
        6 => 1..4_u64,
        1 => last - 2..=last,
    ];
    let one = generation.prop_map(|value| Generation::new(value).expect("in range"));
    prop_oneof![vec(one.clone(), 1..4), vec(one, 30..40)]
}

/// Book and reference, moved together.
struct Both {
    book: Book,
    plain: Plain,
    /// Whether the caller keeps to the rule to submit when the batch is full.
    submits_when_full: bool,
}

impl Both {
    fn new(generations: &[Generation], submits_when_full: bool) -> Self {
        let book = Book::new(generations.iter().copied());
        Self { book, plain: Plain::new(generations), submits_when_full }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let (right, wrong) = (self.right_index(step), self.any_index(step.pick));
        let index = if step.misuse { wrong } else { right };
        match step.wish {
            Wish::Acquire => {}
            Wish::HandOut => self.apply(Do::HandOut(wrong))?,
            Wish::Release => self.apply(Do::Release(index))?,
            Wish::Define => self.apply(Do::Define(index))?,
            Wish::Stage => self.apply(Do::Stage(index))?,
            Wish::Start => self.apply(Do::Start(index))?,
            Wish::SubmitFirst => self.apply(Do::SubmitFirst)?,
            Wish::SubmitAll => self.submit_all()?,
            Wish::Reclaim => self.apply(Do::Reclaim(index))?,
            Wish::OneMoreStaged => {
                self.apply(Do::HandOut(0))?;
                self.apply(Do::Define(self.handed_out()))?;
                self.apply(Do::Stage(self.plain.defined.unwrap_or(u32::MAX)))?;
            }
        }
        if self.submits_when_full && self.plain.staged.len() == MAX_STAGED {
            self.submit_all()?;
        }
        Ok(())
    }

    fn handed_out(&self) -> u32 {
        self.plain.handed_out.map_or(u32::MAX, |(index, _)| index)
    }

    fn right_index(&self, step: Step) -> u32 {
        match step.wish {
            Wish::Stage | Wish::Start => self.plain.defined.unwrap_or(u32::MAX),
            Wish::Reclaim if !self.plain.in_flight.is_empty() => {
                *step.pick.get(&self.plain.in_flight)
            }
            Wish::Reclaim => u32::MAX,
            Wish::Acquire
            | Wish::HandOut
            | Wish::Release
            | Wish::Define
            | Wish::OneMoreStaged
            | Wish::SubmitAll
            | Wish::SubmitFirst => self.handed_out(),
        }
    }

    /// An index of the book, one beyond it, or the one that the book uses for "none".
    fn any_index(&self, pick: Index) -> u32 {
        let mut all: Vec<u32> = (0..=self.plain.len()).collect();
        all.push(u32::MAX);
        *pick.get(&all)
    }

    fn submit_all(&mut self) -> Result<(), TestCaseError> {
        let (staged, in_flight) = (self.plain.staged.len(), self.plain.in_flight.len());
        for _ in 0..staged {
            self.apply(Do::SubmitFirst)?;
        }
        prop_assert_eq!(self.plain.in_flight.len(), in_flight + staged, "S3: submit moves all");
        Ok(())
    }

    fn apply(&mut self, operation: Do) -> Result<(), TestCaseError> {
        let next = match operation {
            Do::Release(index) | Do::Reclaim(index) => self.plain.next(index),
            Do::HandOut(_) | Do::Define(_) | Do::Stage(_) | Do::Start(_) | Do::SubmitFirst => {
                Generation::FIRST
            }
        };
        let before = self.book.clone();
        let (done, expected) =
            (apply(&mut self.book, operation, next), self.plain.apply(operation));
        prop_assert_eq!(done, expected, "{:?}", operation);
        if done.is_none() {
            prop_assert_eq!(&self.book, &before, "misuse changed something: {:?}", operation);
        }
        self.compare()
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let (book, plain) = (&self.book, &self.plain);
        prop_assert!(book.check(), "S3: {book:?}");
        for index in 0..plain.len() + 2 {
            prop_assert_eq!(book.place(index), plain.place(index), "handle {}", index);
            let generation = book.generation(index).map(Generation::get);
            let expected = plain.generations.get(index as usize).copied();
            prop_assert_eq!(generation, expected, "S23: handle {}", index);
        }
        prop_assert_eq!(book.handed_out(), plain.handed_out);
        prop_assert_eq!(book.defined(), plain.defined);
        prop_assert_eq!(book.staged(), plain.staged.len());
        let staged = |&index: &u32| Staged { index, in_place: index % 3 == 1 };
        prop_assert_eq!(book.first_staged(), plain.staged.first().map(staged));
        prop_assert_eq!(book.acquire(false), plain.acquire(false), "S20");
        prop_assert_eq!(book.acquire(true), plain.acquire(true), "S21");
        let oldest_first: Vec<u32> =
            std::iter::successors(book.oldest(), |&index| book.younger(index)).collect();
        prop_assert_eq!(&oldest_first, &plain.in_flight, "S21");
        prop_assert_eq!(book.in_flight() as usize, plain.in_flight.len());
        let idle = plain.idle.len() + plain.retired.len();
        prop_assert_eq!(book.is_pristine(), idle == book.len(), "S19");
        if self.submits_when_full && plain.handed_out.is_some() {
            prop_assert!(book.staged() < MAX_STAGED, "S22: no room for the one handed out");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn s3_s19_to_s23_book_agrees_with_plain_lists(
        generations in generations(), steps in steps(),
    ) {
        let mut both = Both::new(&generations, true);
        both.compare()?;
        for step in steps {
            both.step(step)?;
        }
    }

    #[test]
    fn s22_a_full_batch_refuses_one_more_and_changes_nothing(
        generations in generations(), steps in steps(),
    ) {
        let mut both = Both::new(&generations, false);
        for step in steps {
            both.step(step)?;
        }
    }

    #[test]
    fn s20_the_handle_given_back_last_is_handed_out_first(
        generations in generations(), count in 1..40_usize,
    ) {
        let mut both = Both::new(&generations, true);
        let count = count.min(both.plain.idle.len());
        for _ in 0..count {
            both.apply(Do::HandOut(0))?;
            both.apply(Do::Define(both.handed_out()))?;
            both.apply(Do::Start(both.plain.defined.unwrap_or(u32::MAX)))?;
        }
        for _ in 0..count {
            let oldest = both.plain.in_flight[0];
            both.apply(Do::Reclaim(oldest))?;
            if both.plain.place(oldest) == Some(Place::Idle) {
                prop_assert_eq!(both.book.acquire(false), Acquire::HandOut(oldest));
            }
        }
    }
}

/// A guard against sequences that prove nothing: a batch does get full.
#[test]
fn s22_a_full_batch_is_within_reach() {
    let mut both = Both::new(&[Generation::FIRST; 40], false);
    for _ in 0..=MAX_STAGED {
        let pick = Step { wish: Wish::OneMoreStaged, pick: some_index(), misuse: false };
        both.step(pick).expect("see the message");
    }
    assert_eq!(both.book.staged(), MAX_STAGED);
    assert!(both.book.defined().is_some(), "the one more stays defined");
}

fn some_index() -> Index {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    any::<Index>().new_tree(&mut runner).expect("any index").current()
}
