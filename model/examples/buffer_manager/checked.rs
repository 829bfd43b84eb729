//! The buffer manager as the model sees it: its words, its callbacks, and what must be true.

#![expect(clippy::disallowed_types, reason = "an application chooses its own orderings")]

use super::buffer::{Bug, Header, HeaderWord};
use handfast_core::outcome::{Outcome, RawResult, Status};
use handfast_core::platform::Field as _;
use handfast_core::protocol::{Callbacks, Io, StageRefused};
use handfast_core::request::CallbackId;
use handfast_model::check::{Application, IoId, Pool};
use handfast_model::runtime::{Runtime, SharedWord};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

/// A word of the model as a word of the buffer manager.
#[derive(Debug)]
pub struct Checked<W>(W);

impl<W: SharedWord> HeaderWord for Checked<W> {
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_sub(value, order)
    }

    fn change(&self, from: u64, to: u64, order: Ordering) -> bool {
        self.0.compare_exchange(from, to, order, Ordering::Relaxed).is_ok()
    }
}

/// The planted mistake of this process, if there is one.
static BUG: OnceLock<Option<Bug>> = OnceLock::new();

/// Plants a mistake, or none; once in a process.
pub fn plant(bug: Option<Bug>) {
    let _the_first_one_counts = BUG.set(bug);
}

fn bug() -> Option<Bug> {
    BUG.get().copied().flatten()
}

type Asks = Box<dyn Fn() + Send + Sync>;

/// One buffer in shared memory.
pub struct Buffer<R: Runtime> {
    header: Header<Checked<R::Word>>,
    /// The page's bytes: which read has filled it.
    page: R::Field,
    /// Asks the pool whether an IO is over, which a callback must not do.
    asks: OnceLock<Asks>,
}

impl<R: Runtime> Callbacks<R> for Buffer<R> {
    fn stage(&self, _id: CallbackId, _io: &Io<'_, R>) -> Result<(), StageRefused> {
        if bug() == Some(Bug::EarlyValid) {
            self.header.valid_too_early();
        }
        Ok(())
    }

    fn complete_shared(&self, _id: CallbackId, io: &Io<'_, R>, prior: Outcome) -> Outcome {
        if bug() == Some(Bug::UsesPool)
            && let Some(asks) = self.asks.get()
        {
            asks();
        }
        let _the_word_knows_better = io.repeat;
        self.header.read_is_over(prior.status() == Status::Ok, bug());
        prior
    }

    fn complete_local(&self, _id: CallbackId, _io: &Io<'_, R>, prior: Outcome) -> Outcome {
        prior
    }
}

/// The buffer manager.
pub struct BufferManager;

impl Application for BufferManager {
    type Shared<R: Runtime> = Buffer<R>;

    fn shared<R: Runtime>() -> Buffer<R> {
        let header = Header(Checked(R::Word::new(0)));
        Buffer { header, page: R::Field::new(0), asks: OnceLock::new() }
    }

    fn joined<R: Runtime>(app: &Buffer<R>, pool: Pool<R, Self>) {
        let some_io = handfast_model::world::io(0, 1);
        let asks = move || {
            let _refused = pool.check_done(some_io);
        };
        let _once = app.asks.set(Box::new(asks));
    }

    fn begin<R: Runtime>(app: &Buffer<R>, _io: IoId) {
        app.header.read_begins();
    }

    fn execute<R: Runtime>(app: &Buffer<R>, io: IoId) -> RawResult {
        app.page.set(io.1.get());
        RawResult(512)
    }

    fn over<R: Runtime>(app: &Buffer<R>, io: IoId, _outcome: Option<Outcome>) {
        assert!(app.header.is_valid(), "the read is over, but its buffer is not valid");
        assert_eq!(app.page.get(), io.1.get(), "the read is over, but its page is not there");
    }

    /// Another process that finds the buffer by itself and uses its page if it is there.
    fn look<R: Runtime>(app: &Buffer<R>) {
        if app.header.pin() {
            assert_eq!(app.page.get(), 1, "the buffer is valid, but its page is not there");
        }
        app.header.unpin();
    }

    fn state<R: Runtime>(app: &Buffer<R>) -> Vec<(&'static str, u64)> {
        vec![("pins", app.header.pins()), ("valid", u64::from(app.header.is_valid()))]
    }
}
