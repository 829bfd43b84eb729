//! The tasks of an attachment that wait for its IOs: futures, without a thread of their own to sleep in.

use handfast_core::ids::WaitRef;
use handfast_core::protocol::tasks::Tasks;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Who waits for what. A future is in it once.
#[derive(Default)]
pub(crate) struct TaskList(Mutex<Vec<(WaitRef, Waker)>>);

impl TaskList {
    fn list(&self) -> MutexGuard<'_, Vec<(WaitRef, Waker)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks for TaskList {
    fn visit(&self, is_over: &mut dyn FnMut(WaitRef) -> bool) -> bool {
        let mut over = Vec::new();
        let left = {
            let mut list = self.list();
            let mut at = 0;
            while let Some((reference, _)) = list.get(at) {
                if is_over(*reference) {
                    over.push(list.swap_remove(at).1);
                } else {
                    at += 1;
                }
            }
            !list.is_empty()
        };
        // Without the lock: a waker may run its task here and now.
        over.into_iter().for_each(Waker::wake);
        left
    }
}

#[cfg(feature = "future")]
impl TaskList {
    /// Lists a task, once for each IO: a later one takes the place of an earlier one.
    pub fn add(&self, reference: WaitRef, waker: &Waker) {
        let mut list = self.list();
        match list.iter_mut().find(|(listed, _)| *listed == reference) {
            Some((_, listed)) => listed.clone_from(waker),
            None => list.push((reference, waker.clone())),
        }
    }

    /// Takes the task of an IO off the list: its future is dropped.
    pub fn remove(&self, reference: WaitRef) {
        self.list().retain(|(listed, _)| *listed != reference);
    }
}
