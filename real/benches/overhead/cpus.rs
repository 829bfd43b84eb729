//! Which CPUs a measurement runs on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs that this thread may use.
fn usable() -> Vec<usize> {
    let usable = sched_getaffinity(None).expect("a thread's own CPUs");
    (0..CpuSet::MAX_CPU).filter(|&cpu| usable.is_set(cpu)).collect()
}

/// Where the two sides of a round trip run.
#[derive(Clone, Copy)]
pub struct Two {
    /// Of the side that is measured.
    pub first: usize,
    /// Of the other side.
    pub second: usize,
}

impl Two {
    /// Both on one CPU.
    pub fn on_one() -> Self {
        let first = usable()[0];
        Self { first, second: first }
    }

    /// Each on its own; `None` if there is only one.
    pub fn apart() -> Option<Self> {
        let usable = usable();
        Some(Self { first: usable[0], second: *usable.get(1)? })
    }

    /// Whether both are the same.
    pub fn is_one(self) -> bool {
        self.first == self.second
    }
}

/// Binds this thread, and those that it starts from now on, to a CPU.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).expect("a CPU that this thread may use");
}

/// Runs a measurement in a thread of its own, so that its CPU is not everybody's.
pub fn pinned<T: Send>(cpu: usize, measurement: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            pin(cpu);
            measurement()
        });
        thread.join().expect("a measurement that ends")
    })
}
