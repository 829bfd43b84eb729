//! The tasks of an attachment that wait for its IOs: futures, without a thread of their own to sleep in.
//!
//! Wakers are the executors' own code: cloning, waking or dropping one may drop or poll other futures, here and now.
//! So nothing of theirs runs while the list is locked, and neither does a look for deaths, which may execute IO. A
//! panic of one is kept in: the others are woken all the same.
//! Checked by: `tests/tests/wakers.rs`, `tests/tests/future.rs`.

use crate::registry::caught;
use handfast_core::ids::WaitRef;
use handfast_core::protocol::tasks::Tasks;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Who waits for what. A future is in it once; several may wait for one IO.
#[derive(Default)]
pub(crate) struct TaskList(Mutex<List>);

#[derive(Default)]
struct List {
    /// By the number of the future.
    waiting: BTreeMap<u64, (WaitRef, Waker)>,
    /// How many numbers were given: no two futures have the same.
    #[cfg(feature = "future")]
    numbers: u64,
}

impl TaskList {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a future off the list; the waker is for the caller to wake or drop, without the lock.
    fn take(&self, number: u64) -> Option<Waker> {
        let (_, waker) = self.list().waiting.remove(&number)?;
        Some(waker)
    }
}

impl Tasks for TaskList {
    /// Who is listed meanwhile is not asked for: whoever lists a task posts the bell afterwards, whose ticket the
    /// visitor has taken before.
    fn visit(&self, is_over: &mut dyn FnMut(WaitRef) -> bool) -> bool {
        let mut over: Vec<(u64, WaitRef)> = {
            let list = self.list();
            list.waiting.iter().map(|(&number, &(reference, _))| (number, reference)).collect()
        };
        over.retain(|&(_, reference)| is_over(reference));
        for waker in over.into_iter().filter_map(|(number, _)| self.take(number)) {
            // The panic was reported where it happened; it is the task's alone.
            let _woken = caught(|| waker.wake());
        }
        !self.list().waiting.is_empty()
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
        let waker = waker.clone();
        let mut list = self.list();
        let number = number.unwrap_or_else(|| {
            list.numbers += 1;
            Number(list.numbers)
        });
        let earlier = list.waiting.insert(number.0, (reference, waker));
        drop(list);
        drop(earlier);
        number
    }

    /// Takes a future off the list, if it is on it: it is dropped.
    pub fn remove(&self, number: Number) {
        drop(self.take(number.0));
    }
}

#[cfg(all(test, feature = "future"))]
mod tests {
    use super::*;
    use handfast_core::ids::{Generation, HandleId, PoolTag};
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn tasks_come_and_go_while_others_are_looked_after() {
        let reference = WaitRef::new(PoolTag(1), HandleId(0), Generation::FIRST);
        let (list, (tell, told)) = (Arc::new(TaskList::default()), channel());
        let visited = Arc::clone(&list);
        // In a thread of its own, so that a deadlock is a failure.
        std::thread::spawn(move || {
            let [kept, gone] = [(); 2].map(|()| list.add(None, reference, Waker::noop()));
            let mut asked = 0;
            let left = list.visit(&mut |_| {
                asked += 1;
                list.remove(gone);
                list.add(Some(kept), reference, Waker::noop());
                list.add(None, reference, Waker::noop());
                true
            });
            tell.send((asked, left)).unwrap();
        });
        let seen = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(seen, Ok((2, true)), "those that were listed meanwhile are for the next visit");
        assert_eq!(visited.list().waiting.len(), 2);
    }
}
