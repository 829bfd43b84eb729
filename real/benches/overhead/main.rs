//! What handfast adds to the system call, against a raw loop that does the same.
//!
//! `cargo bench -p handfast` takes about two minutes, with `-- --quick` about 20 seconds; with words such as
//! `-- sync` or `-- wakes` only those groups of rows ([`GROUPS`]) are measured. Every row is
//! a series of samples; in each sample both sides do the same work in small blocks by turns
//! ([`paired`]), so that a change of clock frequency or a busy neighbour hits both. The verdict of
//! one run is printed, not asserted: a bar is met when the median is at or below it in two of
//! three runs.

mod cpus;
mod paired;
mod reads;
mod rings;
mod rows;
mod shared;
mod table;
mod wakes;
mod workers;
mod world;

use handfast::Method;
use paired::Effort;
use std::time::Duration;
use table::Row;
use world::World;

/// How long a waiter may spin where it does.
const SPIN: Duration = Duration::from_micros(50);

/// Measures the rows of a group.
type Group = fn(&World, Effort) -> Vec<Row>;

/// The groups of rows by name.
const GROUPS: [(&str, Group); 4] =
    [("sync", sync), ("io_uring", io_uring), ("wakes", wakes), ("worker", worker)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let all = !GROUPS.iter().any(|(name, _)| named(name));
    let world = World::new();
    let groups = GROUPS.iter().filter(|(name, _)| all || named(name));
    let rows: Vec<Row> = groups.flat_map(|(_, rows)| rows(&world, effort)).collect();
    table::print(&rows);
}

fn sync(world: &World, effort: Effort) -> Vec<Row> {
    vec![
        rows::past_the_end_alone(world, effort, rows::Raw::Preadv),
        rows::past_the_end_alone(world, effort, rows::Raw::Pread),
        rows::past_the_end_in_batches(world, effort, rows::Raw::Preadv),
        rows::past_the_end_in_batches(world, effort, rows::Raw::Pread),
        rows::acquire_and_release(world, effort),
        rows::acquire_of_many(effort),
        rows::wait_when_over(world, effort),
        rows::cached_alone(world, effort),
        rows::cached_in_batches(world, effort),
        rows::memory_per_handle(),
    ]
}

fn io_uring(world: &World, effort: Effort) -> Vec<Row> {
    if let Some(why) = rings::refusal() {
        println!("no rows of io_uring: {why}");
        return Vec::new();
    }
    let mut rows = Vec::from(rings::past_the_end(world, effort));
    rows.extend(rings::hot(world, effort));
    rows.push(rings::random(world, effort));
    rows.extend(or_say_why(rings::direct(world, effort)));
    rows
}

fn wakes(world: &World, effort: Effort) -> Vec<Row> {
    if let Some(why) = rings::refusal() {
        println!("no rows of waiters: {why}");
        return Vec::new();
    }
    let on_one = |method| wakes::on_one_cpu(world, effort, method);
    let mut rows: Vec<Row> =
        [Method::Sync, Method::IoUring].into_iter().filter_map(on_one).collect();
    rows.extend(or_say_why(wakes::on_two_cpus(world, effort, None)));
    rows.extend(or_say_why(wakes::on_two_cpus(world, effort, Some(SPIN))));
    rows.extend(or_say_why(wakes::in_flight(world, effort)));
    rows
}

fn worker(world: &World, effort: Effort) -> Vec<Row> {
    vec![workers::past_the_end(world, effort)]
}

fn or_say_why<E: std::fmt::Display>(row: Result<Row, E>) -> Option<Row> {
    row.inspect_err(|why| println!("a row is left out: {why}")).ok()
}
