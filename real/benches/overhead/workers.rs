//! The row of method `worker`.

use crate::cpus::{Two, pinned};
use crate::paired::{Effort, measure};
use crate::reads::{Pace, READS};
use crate::rows::Raw;
use crate::table::{Row, ratio};
use crate::world::{SamePages, World, frames, pool};
use handfast::{Method, WorkOptions};
use std::sync::atomic::AtomicBool;

/// A hand-over to a worker and back, for each IO of a batch of 32, with all of it on one CPU: what the CPU time
/// of an IO comes to. One worker: with one CPU a second one could only take turns with the first.
pub fn past_the_end(world: &World, effort: Effort) -> Row {
    let name = "worker past the end, batches of 32, one CPU, to preadv";
    pinned(Two::on_one().first, || {
        let pool = pool(Method::Worker, 2, 64);
        let leave = AtomicBool::new(false);
        let paired = std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut worker = pool.attach().expect("a free slot");
                let _asked = worker.work(WorkOptions::default(), &leave).expect("a worker");
            });
            while pool.workers() == 0 {
                std::thread::yield_now();
            }
            let paired = measure_reads(world, effort, &pool);
            leave.store(true, crate::shared::RELEASE);
            pool.rouse_workers();
            paired
        });
        ratio(name, paired, 1.95)
    })
}

fn measure_reads(world: &World, effort: Effort, pool: &handfast::Pool) -> crate::paired::Paired {
    let mut process = pool.attach().expect("a free slot");
    let mut frames = frames(&mut process);
    let first = frames[0].as_mut().expect("it is there");
    let pages = SamePages::new(pool, first, world.cached());
    let file = process.file(pages.descriptor(), world.path()).expect("an open file");
    let mut scope = process.scope();
    let offsets = vec![world.past_the_end(); READS];
    let count = u32::try_from(READS).expect("a small number");
    measure(
        effort,
        count,
        |_| Raw::Preadv.reads(&pages, &offsets),
        |_| Pace::Batches.reads(&mut scope, (&file, &mut frames), &offsets),
    )
}
