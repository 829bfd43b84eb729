//! Tasks of a simulated process: waiters that its reaper wakes, as it wakes the tasks of an application's
//! executor.
//!
//! | part | written by |
//! |---|---|
//! | `lock` | a token: who has it holds the list |
//! | `awaited` | the task that lists itself; the reaper, which takes it off |
//! | `wakers` | the reaper; the task sleeps there |
//!
//! Fails by assertions: L4 (a task is woken whose IO is not over), S7. Checked by: the task scenarios and their
//! mistakes. Not checked: an executor, and tasks that are dropped while they wait.

use crate::mailbox::IoId;
use crate::runtime::{Queue, Runtime};
use crate::world::{Size, World, io, reference};
use handfast_core::ids::{HandleId, ProcessSlot, WaitRef};
use handfast_core::platform::Field;
use handfast_core::protocol::Callbacks;
use handfast_core::protocol::tasks::Tasks;
use handfast_core::protocol::wait::Waited;

/// The tasks of one process, at most one for each handle.
pub struct SimTasks<R: Runtime> {
    lock: R::Queue,
    /// For each handle the generation that is waited for, or 0.
    awaited: Vec<R::Field>,
    wakers: Vec<R::Queue>,
}

impl<R: Runtime> SimTasks<R> {
    /// None wait yet.
    #[must_use]
    pub(crate) fn new(size: Size) -> Self {
        let lock = R::Queue::new();
        lock.push(1);
        Self {
            lock,
            awaited: (0..size.handles).map(|_| R::Field::new(0)).collect(),
            wakers: (0..size.handles).map(|_| R::Queue::new()).collect(),
        }
    }

    /// Puts a task on the list.
    fn list(&self, (id, generation): IoId) {
        self.lock.pop();
        self.awaited[id.index()].set(generation.get());
        self.lock.push(1);
    }

    /// The task sleeps until it is woken.
    fn until_woken(&self, id: HandleId) {
        self.wakers[id.index()].pop();
    }
}

impl<R: Runtime> Tasks for SimTasks<R> {
    fn visit(&self, is_over: &mut dyn FnMut(WaitRef) -> bool) -> bool {
        let mut left = false;
        self.lock.pop();
        for ((handle, awaited), waker) in (0..).zip(&self.awaited).zip(&self.wakers) {
            let generation = awaited.get();
            if generation == 0 {
                continue;
            }
            if is_over(reference(io(handle, generation))) {
                awaited.set(0);
                waker.push(1);
            } else {
                left = true;
            }
        }
        self.lock.push(1);
        left
    }
}

impl<R: Runtime, C: Callbacks<R> + Send + 'static> World<R, C> {
    /// The body of a task of the process in the first slot: until the IO is over.
    ///
    /// # Panics
    /// If it is woken too early (L4), or does not see what the IO did (S7).
    pub fn be_task(&self, me: ProcessSlot, this: IoId) {
        let (context, tasks) = (self.context(me), self.kernel.tasks());
        let tasks = tasks.expect("the world was made with tasks");
        let asked = context.ask(reference(this), &mut || tasks.list(this));
        let over = asked.expect("the reference is good").or_else(|| {
            R::settled(0, &("task waits", this));
            R::saw("task waits");
            tasks.until_woken(this.0);
            R::saw("task woken");
            context.glance(reference(this)).expect("the reference is good")
        });
        match over {
            Some(Waited::Recycled) => R::saw("recycled"),
            Some(Waited::Done) => self.kernel.assert_seen(this),
            Some(Waited::TimedOut) | None => panic!("L4: {this:?} is not over for its task"),
        }
    }
}
