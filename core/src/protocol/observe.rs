//! Looking without a right to: copies of handles for people (`pg_get_aios`).
//!
//! A copy counts only if the word was the same before and after the payload was read (S9). The
//! word of a generation changes a finite number of times, and a busy handle may go on to the next
//! generation: after a few tries it is reported with its word alone.

use super::words::At;
use super::{Context, Embed, Shared};
use crate::handle::HandleView;
use crate::ids::HandleId;
use crate::outcome::Outcome;
use crate::platform::{Field, Platform};
use crate::site::Site;
use crate::state::{State, Word};

const TRIES: u32 = 8;

impl<E: Embed> Context<'_, E> {
    /// A consistent copy of one handle; `None` if there is no such handle.
    pub fn view(&self, id: HandleId) -> Option<HandleView> {
        let (at, owner) = (self.at(id).ok()?, self.shared.owner(id)?);
        let bare =
            |word| HandleView { handle: id, owner, word, request: None, raw: None, outcome: None };
        for _ in 0..TRIES {
            let word = at.load(Site::ViewLook);
            let view = copy::<E::P>(at, bare(word));
            E::P::fence(Site::ViewFence);
            if at.load(Site::ViewAgain) == word {
                return Some(view);
            }
            E::P::pause();
        }
        Some(bare(at.load(Site::ViewLook)))
    }
}

/// What the state says is there.
fn copy<P: Platform>(at: At<'_, P>, mut view: HandleView) -> HandleView {
    let word: Word = view.word;
    let state = word.state();
    if state >= State::Defined {
        view.request = at.handle.peek_request();
    }
    if state >= State::CompletedIo {
        view.raw = at.handle.peek_raw(word.generation());
    }
    if state >= State::CompletedShared {
        view.outcome = Some(Outcome::from_packed(at.handle.outcome.peek()));
    }
    view
}
