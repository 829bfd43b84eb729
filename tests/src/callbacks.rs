//! The callbacks that every process of these tests registers.
//!
//! | id | what it does |
//! |---|---|
//! | [`COUNT`] | counts its runs in the pool's user words |
//! | [`HALT`] | the same; and stands still at a turn at which its process was told to |
//! | [`INJECT`] | holds completions until they are released, and forces results, by user words ([`Injection`]) |
#![expect(clippy::disallowed_types, reason = "the tests' own words in the pool's user words")]

use handfast::{Callback, CallbackId, IoContext, Outcome, Registry, StageRefused, Status};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts.
pub const COUNT: CallbackId = id(1);
/// Counts, and stands still where it is told to.
pub const HALT: CallbackId = id(2);

/// Holds completions, and forces results.
pub const INJECT: CallbackId = id(3);

/// With this data byte, [`HALT`] turns every result into an error of its own.
pub const AS_ERROR: u8 = 1;

/// User words that a pool needs for the counts.
pub const WORDS: u32 = 12;

const fn id(number: u8) -> CallbackId {
    match CallbackId::new(number) {
        Some(id) => id,
        None => CallbackId::BUILT_IN,
    }
}

/// A turn of an IO's life at which a callback can stand still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// In the stage callback: the handle is DEFINED.
    Stage,
    /// In the shared completion callback: COMPLETED_IO.
    Shared,
    /// In the local completion callback: COMPLETED_SHARED.
    Local,
    /// While the error is put into words for the issuer: COMPLETED_LOCAL.
    Report,
}

impl Turn {
    /// Its name in commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Shared => "shared",
            Self::Local => "local",
            Self::Report => "report",
        }
    }

    /// The turn with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Stage, Self::Shared, Self::Local, Self::Report];
        all.into_iter().find(|turn| turn.name() == name)
    }
}

/// What the shared runs of a callback left in the user words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// How often it ran.
    pub runs: u64,
    /// How often it was told that this is a repeat.
    pub repeats: u64,
    /// The raw result that it saw last.
    pub last_raw: i32,
}

/// What a callback, [`COUNT`] or [`HALT`], has seen in this pool so far.
#[must_use]
pub fn seen(words: &[AtomicU64], callback: CallbackId) -> Seen {
    let words = &words[place(callback)..][..3];
    let [runs, repeats, raw] = [0, 1, 2].map(|at: usize| words[at].load(Ordering::Acquire));
    Seen { runs, repeats, last_raw: i32::from_le_bytes(low(raw)) }
}

fn place(callback: CallbackId) -> usize {
    (usize::from(callback.get()) - 1) * 4
}

fn low(word: u64) -> [u8; 4] {
    let bytes = word.to_le_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

fn note(callback: CallbackId, io: &IoContext<'_>) {
    let words = &io.user_words()[place(callback)..];
    words[2]
        .store(u64::from(u32::from_le_bytes(io.raw_result().0.to_le_bytes())), Ordering::Release);
    words[1].fetch_add(u64::from(io.is_repeat()), Ordering::Release);
    words[0].fetch_add(1, Ordering::Release);
}

/// The registry of every process; `reached` is called at each turn of [`HALT`], and may stand
/// still there.
#[must_use]
pub fn registry(reached: impl Fn(Turn) + Send + Sync + 'static) -> Registry {
    let count = Registry::new().callback(COUNT, Arc::new(Count));
    let both = count.and_then(|with| with.callback(HALT, Arc::new(Halt(reached))));
    let all = both.and_then(|with| with.callback(INJECT, Arc::new(Inject)));
    all.unwrap_or_default()
}

/// What [`INJECT`] is told, in whatever process it runs: by words of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Injection<'p>(&'p [AtomicU64]);

impl<'p> Injection<'p> {
    /// By the user words of a pool.
    #[must_use]
    pub fn of(words: &'p [AtomicU64]) -> Self {
        Self(&words[place(INJECT)..][..4])
    }

    /// From now on completions stand still.
    pub fn hold(self) {
        self.0[0].store(1, Ordering::Release);
    }

    /// Until now.
    pub fn release(self) {
        self.0[0].store(0, Ordering::Release);
    }

    /// How many have stood still so far.
    #[must_use]
    pub fn held(self) -> u64 {
        self.0[1].load(Ordering::Acquire)
    }

    /// From now on this is the result, whatever it was: bytes, or a negative errno; `None`: as it was.
    pub fn force(self, result: Option<i32>) {
        let word = result.map_or(0, |result| 1 << 32 | u64::from(result.cast_unsigned()));
        self.0[2].store(word, Ordering::Release);
    }

    fn forced(self) -> Option<i32> {
        let word = self.0[2].load(Ordering::Acquire);
        (word != 0).then(|| i32::from_le_bytes(low(word)))
    }
}

struct Inject;

impl Callback for Inject {
    fn name(&self) -> &'static str {
        "inject"
    }

    fn complete_shared(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        let told = Injection::of(io.user_words());
        if told.0[0].load(Ordering::Acquire) != 0 {
            told.0[1].fetch_add(1, Ordering::Release);
            crate::eventually("the completion is released", || {
                told.0[0].load(Ordering::Acquire) == 0
            });
        }
        match told.forced() {
            Some(result) if result < 0 => {
                Outcome::new(Status::Error, CallbackId::BUILT_IN, 0, result)
            }
            Some(result) => Outcome::new(Status::Ok, CallbackId::BUILT_IN, 0, result),
            None => prior,
        }
    }
}

struct Count;

impl Callback for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn complete_shared(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        note(COUNT, io);
        prior
    }
}

struct Halt<F>(F);

impl<F: Fn(Turn) + Send + Sync> Callback for Halt<F> {
    fn name(&self) -> &'static str {
        "halt"
    }

    fn stage(&self, _io: &IoContext<'_>) -> Result<(), StageRefused> {
        self.0(Turn::Stage);
        Ok(())
    }

    fn complete_shared(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        note(HALT, io);
        self.0(Turn::Shared);
        match io.callback_data() {
            AS_ERROR => Outcome::new(Status::Error, HALT, 0, prior.result()),
            _ => prior,
        }
    }

    fn complete_local(&self, _io: &IoContext<'_>, prior: Outcome) -> Outcome {
        self.0(Turn::Local);
        prior
    }

    fn report(&self, _outcome: Outcome, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0(Turn::Report);
        f.write_str("halt was asked for an error")
    }
}
