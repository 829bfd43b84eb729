//! Scenarios: each is a few actors on the shipped protocol, written once for every runtime.
//!
//! | scenario | actors | asserts |
//! |---|---|---|
//! | [`issuer_completer`] | issuer, completer | S1, S2, S4, S5, S7, S14 |
//! | [`issuer_waiter`] | issuer, waiter | S2, S7, S10, L4 |
//! | [`wait_any`] | issuers, a waiter for whichever ends first | S7, L4, L9 |
//! | [`tasks`] | issuer, task, reaper, completer | S7, L4, L7, L9 |
//! | [`foreign_reader`] | issuer, completer, reader | S2, S9 |
//! | [`kernel_manners`] | issuer, its device, waiter, viewer | S3, S7, S14, S24, L1, L4, L9, L10 |
//! | [`crowd`] | three issuers, two workers, a device, waiter, viewer | everything without a death |
//! | [`survivors`] | six processes, four of them mortal | S1, S24, S25, L9, L10 |
//!
//! Its [`Scenario::run`] is the main actor's body, which starts the others. What it does is
//! determined by what it sees through the runtime, nothing else, so that a search can run it again.
//! Checked by: the mutants (see `model/COVERAGE.md`).

pub mod acquire;
pub mod aftermath;
pub mod callbacks_waiter;
pub mod crowd;
pub mod death;
pub mod deaths;
pub mod foreign_reader;
pub mod issuer_completer;
pub mod issuer_waiter;
pub mod kernel_manners;
pub mod late;
pub mod lead;
pub mod leases;
pub mod own;
pub mod parts;
pub mod reaper;
pub mod recoverers;
pub mod reentry;
pub mod refusal;
pub mod ring;
pub mod ring_deaths;
pub mod slots;
pub mod survivors;
pub mod tasks;
pub mod trio;
pub mod viewer;
pub mod wait_any;
pub mod waiters;
pub mod worker;
pub mod worker_deaths;
pub mod workers;

use crate::runtime::loom::Loom;
use crate::runtime::shuttle::Shuttle;
use crate::runtime::{Body, Runtime};
use crate::{explore, search};
use std::sync::Arc;

/// A scenario.
pub trait Scenario: 'static {
    /// Its name, also in `pins.txt`.
    const NAME: &'static str;
    /// The races, invariants and properties that it is about, by their ids.
    const COVERS: &'static [&'static str];
    /// Outcomes of which each must be reached in some execution.
    const REACHED: &'static [&'static str];
    /// The same, for outcomes that only weak memory has.
    const REACHED_BY_WEAKNESS: &'static [&'static str] = &[];
    /// Outcomes of which none may be reached in any execution.
    const NEVER: &'static [&'static str] = &[];
    /// How many variants loom explores one after the other: the values of [`Runtime::choose`], and
    /// the places at which a mortal actor dies (0: it does not).
    const VARIANTS: usize = 1;
    /// In which tools it runs, and how far.
    const PLAN: Plan = Plan::LOOM;
    /// The shared words, application and computer.
    type World<R: Runtime>: Send + Sync + 'static;

    /// A new world; no actor runs yet.
    fn world<R: Runtime>() -> Self::World<R>;

    /// The main actor, a thread of process 0.
    fn run<R: Runtime>(world: &Arc<Self::World<R>>);

    /// What holds in every state; the search asks after every step.
    fn always<R: Runtime>(_world: &Self::World<R>) {}
}

/// In which tools a scenario runs, and how far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Under loom, with this bound at the quick level and at the wide one.
    pub loom: Option<[Bound; 2]>,
    /// Under shuttle, this many schedules at the quick level and at the wide one.
    pub shuttle: Option<[u32; 2]>,
    /// In the explicit search.
    pub search: Option<Reach>,
}

/// How many preemptions loom makes in one execution: none is the exhaustive run.
pub type Bound = Option<usize>;

/// How far a search goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// At most this many processes die.
    pub deaths: u8,
    /// At most this many sleeps end for no reason.
    pub spurious: u8,
    /// From which level of running on.
    pub level: Level,
}

/// The three levels of running.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// `cargo test`: all day.
    Quick,
    /// The same with `--cfg loom`: before anything lands.
    Ci,
    /// By hand.
    Wide,
}

impl Reach {
    /// Everybody lives, no wake-up without a reason.
    pub const ALIVE: Self = Self { deaths: 0, spurious: 0, level: Level::Quick };
    /// Everybody lives, one sleep may end for no reason.
    pub const SPURIOUS: Self = Self { spurious: 1, ..Self::ALIVE };
}

impl Plan {
    /// Nowhere.
    pub const NONE: Self = Self { loom: None, shuttle: None, search: None };
    /// Exhaustively under loom at every level, and in the search.
    pub const LOOM: Self = Self::NONE.loom([None, None]).search(Reach::ALIVE);

    /// The same, under loom with these bounds at the quick and at the wide level.
    #[must_use]
    pub const fn loom(self, bounds: [Bound; 2]) -> Self {
        Self { loom: Some(bounds), ..self }
    }

    /// The same, under shuttle for these many schedules at the quick and at the wide level.
    #[must_use]
    pub const fn shuttle(self, schedules: [u32; 2]) -> Self {
        Self { shuttle: Some(schedules), ..self }
    }

    /// The same, searched this far.
    #[must_use]
    pub const fn search(self, reach: Reach) -> Self {
        Self { search: Some(reach), ..self }
    }
}

/// A scenario as a row of the list, so that programs can find it by its name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// [`Scenario::NAME`].
    pub name: &'static str,
    /// [`Scenario::COVERS`].
    pub covers: &'static [&'static str],
    /// [`Scenario::PLAN`].
    pub plan: Plan,
    /// [`Scenario::REACHED`].
    pub reached: &'static [&'static str],
    /// [`Scenario::REACHED_BY_WEAKNESS`].
    pub reached_by_weakness: &'static [&'static str],
    /// [`Scenario::NEVER`].
    pub never: &'static [&'static str],
    /// [`Scenario::VARIANTS`].
    pub variants: usize,
    pub(crate) bodies: Bodies,
}

/// What is compiled for each scenario and tool: a new world and the main actor in it. All else is
/// compiled once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bodies {
    pub loom: fn(),
    pub shuttle: fn(),
    /// The main actor, and what always holds.
    pub search: fn() -> (Body, Body),
}

fn execution<S: Scenario, R: Runtime>() {
    S::run(&Arc::new(S::world::<R>()));
}

impl Entry {
    /// The row of a scenario.
    #[must_use]
    pub const fn of<S: Scenario>() -> Self {
        let (loom, shuttle, search) = ("loom", "shuttle", "search");
        Self {
            name: S::NAME,
            covers: S::COVERS,
            plan: S::PLAN,
            reached: S::REACHED,
            reached_by_weakness: S::REACHED_BY_WEAKNESS,
            never: S::NEVER,
            variants: S::VARIANTS,
            bodies: Bodies {
                loom: if is_built(loom, S::NAME) { execution::<S, Loom> } else { left_out },
                shuttle: if is_built(shuttle, S::NAME) {
                    execution::<S, Shuttle>
                } else {
                    left_out
                },
                search: if is_built(search, S::NAME) { search::world::<S> } else { left_out },
            },
        }
    }

    /// Runs it under loom with this bound, prints what was done, and compares with the pin.
    ///
    /// # Panics
    /// In the execution that breaks an assertion; at the end if an outcome was never reached or the
    /// count is not the pinned one.
    pub fn loom(&self, preemptions: Bound) {
        explore::loom(self, preemptions);
    }

    /// Searches it this far, prints what was done, and compares with the pin.
    ///
    /// # Panics
    /// If something is wrong, with the story; if an outcome was never reached; if the numbers are not
    /// the pinned ones.
    pub fn search(&self, reach: Reach) {
        search::explore(self, reach);
    }

    /// Runs this many random schedules of it under shuttle, the first of which has this seed, and
    /// prints what was done; if one fails, the line that repeats it. All outcomes must be reached
    /// if there are at least as many schedules as at the quick level.
    ///
    /// # Panics
    /// In the execution that breaks an assertion or deadlocks; at the end if an outcome was never
    /// reached.
    pub fn shuttle(&self, schedules: u32, seed: u64) {
        explore::shuttle(self, schedules, seed);
    }
}

/// The environment variable that names, at compile time, the one tool and scenario that a program is
/// built for: what is planted in `core` is compiled again for each scenario in the program.
pub const ONLY: &str = "HANDFAST_ONLY";

/// Whether this program can run a scenario in a tool.
const fn is_built(tool: &str, scenario: &str) -> bool {
    let Some(only) = option_env!("HANDFAST_ONLY") else { return true };
    let (only, tool, scenario) = (only.as_bytes(), tool.as_bytes(), scenario.as_bytes());
    if only.len() != tool.len() + 1 + scenario.len() {
        return false;
    }
    let mut at = 0;
    while at < only.len() {
        let expected = if at < tool.len() {
            tool[at]
        } else if at == tool.len() {
            b' '
        } else {
            scenario[at - tool.len() - 1]
        };
        if only[at] != expected {
            return false;
        }
        at += 1;
    }
    true
}

fn left_out<T>() -> T {
    panic!("this program was built for one scenario, and this is another one");
}

/// All scenarios. A static, so that only this crate compiles them.
pub static ALL: &[Entry] = &[
    Entry::of::<issuer_completer::IssuerCompleter>(),
    Entry::of::<issuer_waiter::IssuerWaiter>(),
    Entry::of::<issuer_waiter::Released>(),
    Entry::of::<foreign_reader::ForeignReader>(),
    Entry::of::<trio::Trio>(),
    Entry::of::<trio::Batches>(),
    Entry::of::<deaths::Deaths>(),
    Entry::of::<workers::Doorbell>(),
    Entry::of::<workers::HintAgain>(),
    Entry::of::<workers::TwoIssuers>(),
    Entry::of::<workers::BatchForTwo>(),
    Entry::of::<workers::Leaves>(),
    Entry::of::<workers::AskedToLeave>(),
    Entry::of::<ring::Busy>(),
    Entry::of::<ring::BusyLate>(),
    Entry::of::<ring::WaiterFirst>(),
    Entry::of::<ring::WaiterFirstLate>(),
    Entry::of::<ring::BothWait>(),
    Entry::of::<ring::Polled>(),
    Entry::of::<ring::OwnPoll>(),
    Entry::of::<lead::LeadsWord>(),
    Entry::of::<lead::HandOver>(),
    Entry::of::<lead::GiveUp>(),
    Entry::of::<lead::WantAgain>(),
    Entry::of::<lead::Tight>(),
    Entry::of::<lead::Free>(),
    Entry::of::<lead::Unannounced>(),
    Entry::of::<wait_any::WaitsForTwo>(),
    Entry::of::<wait_any::AtOnce>(),
    Entry::of::<wait_any::InTime>(),
    Entry::of::<wait_any::Late>(),
    Entry::of::<wait_any::OwnAndForeign>(),
    Entry::of::<wait_any::IssuerDies>(),
    Entry::of::<tasks::Busy>(),
    Entry::of::<tasks::Elsewhere>(),
    Entry::of::<tasks::BesideAWaiter>(),
    Entry::of::<tasks::AtTheEnd>(),
    Entry::of::<tasks::InPlace>(),
    Entry::of::<tasks::IssuerPolls>(),
    Entry::of::<tasks::BesideTheRing>(),
    Entry::of::<tasks::WorkerDies>(),
    Entry::of::<worker_deaths::WorkerDies>(),
    Entry::of::<worker_deaths::LastWorkerDies>(),
    Entry::of::<worker_deaths::IssuerDies>(),
    Entry::of::<worker_deaths::BothDie>(),
    Entry::of::<ring_deaths::OwnerDies>(),
    Entry::of::<ring_deaths::RecovererDies>(),
    Entry::of::<ring_deaths::TwoLeft>(),
    Entry::of::<deaths::Reattach>(),
    Entry::of::<viewer::OfDefinition>(),
    Entry::of::<viewer::OfStart>(),
    Entry::of::<viewer::OfReuse>(),
    Entry::of::<viewer::OfCompletion>(),
    Entry::of::<worker::Claim>(),
    Entry::of::<worker::TwoClaims>(),
    Entry::of::<worker::ClaimInPlace>(),
    Entry::of::<callbacks_waiter::Waits>(),
    Entry::of::<callbacks_waiter::WaitsForTwo>(),
    Entry::of::<callbacks_waiter::Polls>(),
    Entry::of::<slots::Identity>(),
    Entry::of::<slots::ReuseAlone>(),
    Entry::of::<slots::Reuse>(),
    Entry::of::<refusal::Refused>(),
    Entry::of::<refusal::Interrupted>(),
    Entry::of::<reentry::Reentry>(),
    Entry::of::<waiters::TwoWaiters>(),
    Entry::of::<waiters::TimesOut>(),
    Entry::of::<waiters::Staged>(),
    Entry::of::<waiters::Crosswise>(),
    Entry::of::<reaper::Poll>(),
    Entry::of::<reaper::TwoIos>(),
    Entry::of::<acquire::OneHandle>(),
    Entry::of::<acquire::AllStaged>(),
    Entry::of::<acquire::Partial>(),
    Entry::of::<acquire::Detaches>(),
    Entry::of::<leases::Reused>(),
    Entry::of::<leases::HandedOn>(),
    Entry::of::<leases::Recovered>(),
    Entry::of::<leases::LeftBehind>(),
    Entry::of::<death::Issuer>(),
    Entry::of::<death::StagedIssuer>(),
    Entry::of::<death::IssuerWaiter>(),
    Entry::of::<death::RefusedIssuer>(),
    Entry::of::<death::OpenIssuer>(),
    Entry::of::<death::Worker>(),
    Entry::of::<recoverers::Two>(),
    Entry::of::<recoverers::Dead>(),
    Entry::of::<kernel_manners::KernelManners>(),
    Entry::of::<kernel_manners::CompleteInSubmit>(),
    Entry::of::<kernel_manners::WritesAfterDeath>(),
    Entry::of::<crowd::Crowd>(),
    Entry::of::<survivors::Survivors>(),
    Entry::of::<own::OwnStaged>(),
    Entry::of::<own::LateRelease>(),
    Entry::of::<own::MixedBatch>(),
    Entry::of::<own::InOrder>(),
    Entry::of::<own::DetachBatch>(),
    Entry::of::<late::EarlyPoll>(),
    Entry::of::<late::LateCompletion>(),
    Entry::of::<aftermath::ProbedIssuer>(),
    Entry::of::<aftermath::ProbedWorker>(),
    Entry::of::<aftermath::Newcomer>(),
    Entry::of::<aftermath::Ring>(),
    Entry::of::<aftermath::Leases>(),
    Entry::of::<aftermath::OpenWorker>(),
];

/// The scenario of this name.
#[must_use]
pub fn named(name: &str) -> Option<Entry> {
    ALL.iter().copied().find(|entry| entry.name == name)
}
