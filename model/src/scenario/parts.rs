//! What actors of the larger scenarios do: look around, wait for whatever is there, issue.
//!
//! | part | asserts |
//! |---|---|
//! | [`look`] | S9: what a viewer copies is of one generation |
//! | [`wait_for_one`] | S7, S10: whoever learns that it is over sees what it did |
//! | [`Issuing`] | S14, S15, S19, S22: the results it gets, and an empty book at the end |
//!
//! Each choice is the runtime's, so that a walk mixes them all. Not checked here: that every one of
//! them was made; the scenarios name what must have been seen.

use crate::mailbox::IoId;
use crate::manner::{self, Manner, raw_told};
use crate::runtime::{Lock as _, Runtime};
use crate::world::{self, SimulatedIssuer, World, reference};
use handfast_core::ids::{HandleId, ProcessSlot};
use handfast_core::platform::SLICE_NS;
use handfast_core::protocol::wait::Waited;
use handfast_core::protocol::{HandedOut, Shared as _};
use handfast_core::state::State;

/// How many handles a look tries until it finds one that is used.
const TRIES: usize = 4;

/// Looks at some handle, preferably one that is used: which use of it, and in which state.
///
/// # Panics
/// If the copy mixes two uses (S9).
pub fn look<R: Runtime>(world: &World<R>, me: ProcessSlot) -> (IoId, State) {
    let all = usize::try_from(world.context(me).shared.handle_count()).expect("a few");
    let some = || HandleId(u32::try_from(R::choose(all)).expect("a few"));
    let mut seen = look_at(world, me, some());
    for _ in 1..TRIES {
        if seen.1 != State::Idle {
            break;
        }
        seen = look_at(world, me, some());
    }
    seen
}

/// Looks at this handle.
///
/// # Panics
/// If the copy mixes two uses (S9).
pub fn look_at<R: Runtime>(world: &World<R>, me: ProcessSlot, id: HandleId) -> (IoId, State) {
    let view = world.context(me).view(id).expect("the handle exists");
    let this = (id, view.word.generation());
    if let Some(request) = view.request {
        assert_eq!(request.offset, this.1.get(), "S9: the request of another use of {id:?}");
    }
    if let Some(raw) = view.raw {
        assert!(manner::possible(this).contains(&raw), "S9: {raw:?} is no result of {this:?}");
    }
    if let Some(outcome) = view.outcome {
        let _its_own = raw_told(this, outcome);
        R::saw("viewed a result");
    }
    (this, view.word.state())
}

/// Waits for some IO of the pool, or for any of two, with a deadline or without; looks at what it did.
///
/// # Panics
/// If something is missing (S7), or it is not over after all (S10).
pub fn wait_for_one<R: Runtime>(world: &World<R>, me: ProcessSlot) {
    let some: Vec<_> = (0..=R::choose(2)).map(|_| look(world, me)).collect();
    let used = some.iter().filter(|(_, state)| *state != State::Idle);
    let these: Vec<_> = used.map(|(this, _)| *this).collect();
    let Some(&(mut this)) = these.first() else { return };
    let deadline = match R::choose(3) {
        0 => None,
        1 => Some(R::now_ns() + SLICE_NS / 2),
        _ => Some(0),
    };
    let waited = if these.len() == 1 {
        world.context(me).wait(reference(this), deadline).expect("it was seen")
    } else {
        let references: Vec<_> = these.iter().map(|&this| reference(this)).collect();
        let first = world.context(me).wait_any(&references, deadline).expect("they were seen");
        R::saw("waited for any");
        first.map_or(Waited::TimedOut, |(which, waited)| {
            this = these[which];
            waited
        })
    };
    R::saw(match waited {
        Waited::Done => "done",
        Waited::Recycled => "recycled",
        Waited::TimedOut => "timed out",
    });
    assert!(waited != Waited::TimedOut || deadline.is_some(), "L4: there was no deadline");
    if waited != Waited::TimedOut {
        assert_over(world, me, this);
    }
}

/// What somebody who knows that this IO is over can see of it.
///
/// # Panics
/// If it is not all there (S7), or it is not over after all (S10).
pub fn assert_over<R: Runtime>(world: &World<R>, me: ProcessSlot, this: IoId) {
    let context = world.context(me);
    assert_eq!(context.check_done(reference(this)), Ok(true), "S10: once over, always over");
    if let Some(outcome) = context.foreign_outcome(reference(this)).expect("it was seen")
        && manner::transferred(raw_told(this, outcome))
    {
        world.kernel.assert_seen(this);
        R::saw("saw the bytes of another process's IO");
    }
}

/// One process that issues.
pub struct Issuing<'w, R: Runtime> {
    world: &'w World<R>,
    me: ProcessSlot,
    manner: Manner,
    issuer: SimulatedIssuer<'w, R>,
    /// What it has started and not finished yet, and whether with callbacks.
    started: Vec<(HandedOut, bool)>,
    attached: bool,
}

/// How many different things [`Issuing::round`] does.
const THINGS: usize = 7;

impl<'w, R: Runtime> Issuing<'w, R> {
    /// Attaches; `None` if the slot cannot be had now.
    #[must_use]
    pub fn attach(world: &'w World<R>, me: ProcessSlot, manner: Manner) -> Option<Self> {
        let issuer = world.attach(me, manner)?;
        Some(Self { world, me, manner, issuer, started: Vec::new(), attached: true })
    }

    /// Does some thing that issuers do. Nothing, if it has lost its slot.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn round(&mut self) {
        if !self.attached {
            return;
        }
        match R::choose(THINGS) {
            0 => {
                self.start();
            }
            1 => self.batch(),
            2 => self.release(),
            3 => self.scope(),
            4 => self.poll(),
            5 => self.wait_with_staged(),
            _ => self.attach_again(),
        }
        if R::choose(2) == 0 {
            self.finish_all();
        }
        assert!(self.issuer.book().check(), "S3: every handle is in one list");
    }

    /// Starts one, with callbacks or without, in place or not.
    fn start(&mut self) -> HandedOut {
        let handle = self.issuer.acquire(0).expect("L1: nothing is handed out");
        let (this, callbacks) = ((handle.id, handle.generation), R::choose(2) == 0);
        self.issuer.set_data(handle, &[world::data_of(this)]).expect("one word fits");
        let in_place = R::choose(4) == 0;
        let request = if in_place {
            world::request_in_place(this, callbacks)
        } else {
            world::request(this, callbacks)
        };
        self.issuer.start(handle, &request, &[]).expect("it is handed out");
        self.started.push((handle, callbacks));
        if handle.generation.get() >= 3 {
            R::saw("third generation");
        }
        handle
    }

    fn batch(&mut self) {
        self.issuer.enter_batch();
        for _ in 0..=R::choose(self.issuer.book().len()) {
            self.start();
        }
        self.issuer.leave_batch(0).expect("the words are sound");
        assert_eq!(self.issuer.book().staged(), 0, "S22: nothing is staged outside of a batch");
        R::saw("batch");
    }

    fn release(&mut self) {
        let handle = self.issuer.acquire(0).expect("L1: nothing is handed out");
        self.issuer.release(handle).expect("it is handed out");
        let late = self.issuer.release(handle);
        assert!(late.is_err(), "R15: a late second release hits nothing");
    }

    /// A scope that ends with a handle in its hand and IO staged.
    fn scope(&mut self) {
        self.issuer.enter_batch();
        self.start();
        let leaked = self.issuer.acquire(1).expect("L1: nothing is handed out");
        self.issuer.leave_batch(0).expect("the words are sound");
        let end = self.issuer.end_scope(1).expect("the words are sound");
        assert_eq!(end.leaked, Some(leaked.id), "RC26: it was only handed out");
        R::saw("scope cleaned up");
    }

    /// Polls a few times, then waits with a deadline.
    fn poll(&mut self) {
        let handle = self.start();
        let this = reference((handle.id, handle.generation));
        for _ in 0..2 {
            if self.issuer.check_done(this).expect("its own") {
                R::saw("polled until done");
            }
        }
        let deadline = R::now_ns() + SLICE_NS / 2;
        if self.issuer.wait(this, Some(deadline)).expect("its own") == Waited::TimedOut {
            R::saw("timed out");
        }
    }

    /// RC27: waits for whatever another process is at, with IO of its own staged.
    fn wait_with_staged(&mut self) {
        self.issuer.enter_batch();
        let own = self.start();
        let own = reference((own.id, own.generation));
        let (this, state) = look(self.world, self.me);
        if state >= State::Defined
            && self.world.context(self.me).shared.owner(this.0) != Some(self.me)
        {
            if R::choose(2) == 0 {
                let waited = self.issuer.wait(reference(this), None).expect("it was seen");
                assert_ne!(waited, Waited::TimedOut, "there was no deadline");
            } else {
                let both = [reference(this), own];
                let first = self.issuer.wait_any(&both, None).expect("it was seen, and its own");
                assert!(first.is_some(), "there was no deadline");
            }
            R::saw("waited for another issuer");
        }
        self.issuer.leave_batch(0).expect("the words are sound");
    }

    /// Leaves and comes back. Somebody who thought that the slot needs recovery may hold its lock for
    /// a moment; then this one stays away.
    fn attach_again(&mut self) {
        self.finish_all();
        self.detach();
        match self.world.attach(self.me, self.manner) {
            Some(issuer) => {
                self.issuer = issuer;
                R::saw("attached again");
            }
            None => self.attached = false,
        }
    }

    /// Finishes whatever it has started.
    ///
    /// # Panics
    /// If a result is not its own (S14), or an effect is not seen (S7).
    pub fn finish_all(&mut self) {
        for (handle, callbacks) in std::mem::take(&mut self.started) {
            self.issuer.finish(handle).expect("it was started");
            self.assert_finished(handle, callbacks);
        }
    }

    fn assert_finished(&self, handle: HandedOut, callbacks: bool) {
        // A later use of the handle has taken the place of its result.
        let Some(outcome) = self.issuer.method().outcome(handle) else { return };
        let this = (handle.id, handle.generation);
        let raw = manner::raw_delivered(this, outcome, callbacks);
        if manner::transferred(raw) {
            self.world.kernel.assert_seen(this);
            R::saw("everything or a part");
        } else {
            R::saw("refused or failed");
        }
        if callbacks {
            self.world.app.assert_seen(this);
        }
    }

    fn detach(&mut self) {
        self.issuer.detach().expect("S19: the slot is pristine");
        assert!(self.issuer.book().is_pristine() && self.issuer.book().check(), "S19");
        self.world.kernel.lock(self.me).expect("its slot").unlock();
    }

    /// The end of the process.
    ///
    /// # Panics
    /// If the slot is not pristine (S19).
    pub fn end(mut self) {
        self.finish_all();
        if self.attached {
            self.detach();
        }
    }
}

/// Attaches at a slot that nobody uses, does an IO there if it has handles, and detaches.
///
/// # Panics
/// If the slot cannot be used (S19, L10).
pub fn use_slot<R: Runtime>(world: &World<R>, slot: ProcessSlot) {
    let issuer = world.attach(slot, manner::How::InPlace);
    let mut issuer = issuer.expect("L10: the slot is free and can be used");
    if !issuer.book().is_empty() {
        let handle = issuer.acquire(0).expect("L1: nothing is handed out");
        let this = (handle.id, handle.generation);
        issuer.start(handle, &world::request(this, false), &[]).expect("it is handed out");
        issuer.finish(handle).expect("it was started");
    }
    world.detach(issuer);
}
