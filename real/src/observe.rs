//! Looking at a pool: a copy of every handle (`pg_aios`, `pg_get_aios`).
//!
//! A row is a copy of a single state of its handle (S9); different rows are of different moments.
//! Looking takes no lock, disturbs nobody, and needs no attachment. Checked by:
//! `tests/tests/observe.rs`.

use crate::pool::Pool;
use crate::target;
use handfast_core::handle::HandleView as CoreView;
use handfast_core::ids::{Generation, HandleId, ProcessSlot};
use handfast_core::outcome::Outcome;
use handfast_core::request::{Flags, Request};
use handfast_core::state::State;

/// What can be seen of one handle.
#[derive(Clone, Debug)]
pub struct HandleView {
    /// Process id of its slot's present or last attachment.
    pub pid: u32,
    /// Which handle.
    pub handle: HandleId,
    /// Whose.
    pub owner: ProcessSlot,
    /// This use of it.
    pub generation: Generation,
    /// Where it is in its life.
    pub state: State,
    /// Whether somebody waits for it.
    pub has_waiters: bool,
    /// Whether its issuer executes it in place (`f_sync`).
    pub is_sync: bool,
    /// What was asked for; from DEFINED on.
    pub request: Option<Request>,
    /// What the system call returned; when it is known and was stored.
    pub raw_result: Option<i32>,
    /// The packed result; from COMPLETED_SHARED on.
    pub outcome: Option<Outcome>,
    /// The target in words; from DEFINED on.
    pub target: Option<String>,
}

impl HandleView {
    /// Whether its memory is reachable by the issuer only (`f_localmem`).
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.has(Flags::REFERENCES_LOCAL)
    }

    /// Whether it goes through the page cache, as its issuer said (`f_buffered`).
    #[must_use]
    pub fn is_buffered(&self) -> bool {
        self.has(Flags::BUFFERED)
    }

    fn has(&self, flag: Flags) -> bool {
        self.request.is_some_and(|request| request.flags.contains(flag))
    }
}

impl Pool {
    /// A copy of every handle, IDLE ones included, in the order of their numbers.
    #[must_use]
    pub fn snapshot(&self) -> Vec<HandleView> {
        let Some((me, place)) = ProcessSlot::new(0).and_then(|me| Some((me, self.place(me)?)))
        else {
            return Vec::new();
        };
        let context = self.inner().context(me, place);
        let handles = self.segment().facts().layout.handle_count;
        (0..handles).filter_map(|index| Some(self.row(context.view(HandleId(index))?))).collect()
    }

    fn row(&self, view: CoreView) -> HandleView {
        let pid = self.attachment(view.owner).map_or(0, |(_, pid)| pid);
        HandleView {
            pid,
            handle: view.handle,
            owner: view.owner,
            generation: view.word.generation(),
            state: view.word.state(),
            has_waiters: view.word.has_waiters(),
            is_sync: view.word.is_sync(),
            raw_result: view.raw.map(|raw| raw.0),
            outcome: view.outcome,
            target: view.request.map(|request| target::describe(self.application(), &request)),
            request: view.request,
        }
    }
}
