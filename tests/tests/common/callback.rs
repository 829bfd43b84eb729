//! A callback whose turns are closures.

use handfast::{Callback, CallbackId, IoContext, Outcome, Registry, StageRefused};
use std::fmt;
use std::sync::Arc;

type Stage = dyn Fn(&IoContext<'_>) -> Result<(), StageRefused> + Send + Sync;
type Complete = dyn Fn(&IoContext<'_>, Outcome) -> Outcome + Send + Sync;
type Report = dyn Fn(Outcome, &mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync;

/// What it does at each turn; by default nothing.
#[derive(Default)]
pub struct Turns {
    pub stage: Option<Box<Stage>>,
    pub shared: Option<Box<Complete>>,
    pub local: Option<Box<Complete>>,
    pub report: Option<Box<Report>>,
}

impl Turns {
    pub fn stage(
        mut self,
        turn: impl Fn(&IoContext<'_>) -> Result<(), StageRefused> + Send + Sync + 'static,
    ) -> Self {
        self.stage = Some(Box::new(turn));
        self
    }

    pub fn shared(
        mut self,
        turn: impl Fn(&IoContext<'_>, Outcome) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        self.shared = Some(Box::new(turn));
        self
    }

    pub fn local(
        mut self,
        turn: impl Fn(&IoContext<'_>, Outcome) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        self.local = Some(Box::new(turn));
        self
    }

    pub fn report(
        mut self,
        turn: impl Fn(Outcome, &mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync + 'static,
    ) -> Self {
        self.report = Some(Box::new(turn));
        self
    }

    /// A registry with this callback alone, as number 1.
    pub fn alone(self) -> Registry {
        Registry::new().callback(id(1), Arc::new(self)).unwrap()
    }
}

impl Callback for Turns {
    fn name(&self) -> &'static str {
        "turns"
    }

    fn stage(&self, io: &IoContext<'_>) -> Result<(), StageRefused> {
        self.stage.as_ref().map_or(Ok(()), |turn| turn(io))
    }

    fn complete_shared(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        self.shared.as_ref().map_or(prior, |turn| turn(io, prior))
    }

    fn complete_local(&self, io: &IoContext<'_>, prior: Outcome) -> Outcome {
        self.local.as_ref().map_or(prior, |turn| turn(io, prior))
    }

    fn report(&self, outcome: Outcome, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.as_ref().map_or(Ok(()), |turn| turn(outcome, f))
    }
}

/// A callback's number.
pub fn id(number: u8) -> CallbackId {
    CallbackId::new(number).unwrap()
}
