//! The tasks of an attachment that wait for its IOs: futures, without a thread of their own to sleep in.

use handfast_core::ids::WaitRef;
use handfast_core::protocol::tasks::Tasks;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Who waits for what. A future is in it once; several may wait for one IO.
#[derive(Default)]
pub(crate) struct TaskList(Mutex<List>);

#[derive(Default)]
struct List {
    waiting: Vec<Waiting>,
    /// How many numbers were given: no two futures have the same.
    #[cfg(feature = "future")]
    numbers: u64,
}

struct Waiting {
    #[cfg(feature = "future")]
    number: u64,
    reference: WaitRef,
    waker: Waker,
}

impl TaskList {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks for TaskList {
    fn visit(&self, is_over: &mut dyn FnMut(WaitRef) -> bool) -> bool {
        let mut over = Vec::new();
        let left = {
            let waiting = &mut self.list().waiting;
            let mut at = 0;
            while let Some(Waiting { reference, .. }) = waiting.get(at) {
                if is_over(*reference) {
                    over.push(waiting.swap_remove(at).waker);
                } else {
                    at += 1;
                }
            }
            !waiting.is_empty()
        };
        // Without the lock: a waker may run its task here and now.
        over.into_iter().for_each(Waker::wake);
        left
    }
}

/// The number of a future in the list, from the first time that it is listed.
#[cfg(feature = "future")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Number(u64);

#[cfg(feature = "future")]
impl TaskList {
    /// Lists the task that polls a future, once for each future: a later task takes the place of an earlier one.
    /// The future's number, which is new if it had none.
    pub fn add(&self, number: Option<Number>, reference: WaitRef, waker: &Waker) -> Number {
        let mut list = self.list();
        let number = number.unwrap_or_else(|| {
            list.numbers += 1;
            Number(list.numbers)
        });
        match list.waiting.iter_mut().find(|listed| listed.number == number.0) {
            Some(listed) => listed.waker.clone_from(waker),
            None => {
                let (number, waker) = (number.0, waker.clone());
                list.waiting.push(Waiting { number, reference, waker });
            }
        }
        number
    }

    /// Takes a future off the list, if it is on it: it is dropped.
    pub fn remove(&self, number: Number) {
        self.list().waiting.retain(|listed| listed.number != number.0);
    }
}
