//! What handfast adds to the system call, against a raw loop that does the same.
//!
//! `cargo bench -p handfast` takes about a minute, with `-- --quick` a few seconds. Every row is
//! a series of samples; in each sample both sides do the same work in small blocks by turns
//! ([`paired`]), so that a change of clock frequency or a busy neighbour hits both. The verdict of
//! one run is printed, not asserted: a bar is met when the median is at or below it in two of
//! three runs.

mod paired;
mod rows;
mod table;
mod world;

use paired::Effort;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let world = world::World::new();
    let rows = [
        rows::past_the_end_alone(&world, effort, rows::Raw::Preadv),
        rows::past_the_end_alone(&world, effort, rows::Raw::Pread),
        rows::past_the_end_in_batches(&world, effort, rows::Raw::Preadv),
        rows::past_the_end_in_batches(&world, effort, rows::Raw::Pread),
        rows::acquire_and_release(&world, effort),
        rows::acquire_of_many(effort),
        rows::wait_when_over(&world, effort),
        rows::cached_alone(&world, effort),
        rows::cached_in_batches(&world, effort),
        rows::memory_per_handle(),
    ];
    table::print(&rows);
}
