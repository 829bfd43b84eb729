//! Eight processes at once, for each method: random reads, writes and syncs, scopes, batches, releases and
//! time-outs. Every byte is checked; afterwards all handles are idle, and no process has grown.
//!
//! `HANDFAST_SOAK_SECONDS` makes it longer than 2 seconds for each method; `HANDFAST_SOAK_SEED` makes the
//! processes do the same again.

use handfast::State;
use handfast_tests::participant::Participant;
use handfast_tests::soak::{BLOCK, BLOCKS};
use handfast_tests::{PATIENCE, builder, callbacks, method};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

handfast_tests::every_method! {
    eight_processes_lose_no_byte_and_leave_nothing_behind
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_participant");
const PROCESSES: u32 = 8;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn eight_processes_lose_no_byte_and_leave_nothing_behind() {
    let seconds = setting("HANDFAST_SOAK_SECONDS").unwrap_or(2);
    let chosen = RandomState::new().build_hasher().finish() >> 16;
    let seed = setting("HANDFAST_SOAK_SEED").unwrap_or(chosen);
    let again = format!(
        "HANDFAST_SOAK_SEED={seed} HANDFAST_SOAK_SECONDS={seconds} cargo test -p handfast-tests \
         --test soak -- {}",
        method()
    );
    let pool = builder()
        .registry(callbacks::registry(|_| ()))
        .processes(PROCESSES)
        .handles_per_process(16)
        .frames(PROCESSES * 16)
        .frame_size(u32::try_from(BLOCK).unwrap())
        .user_words(callbacks::WORDS.max(PROCESSES))
        .create()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(u64::from(PROCESSES * BLOCKS) * BLOCK as u64).unwrap();
    let segment = format!("/proc/{}/fd/{}", std::process::id(), pool.as_fd().as_raw_fd());
    let mut all: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut process = Participant::start(PROGRAM);
            process.ask(&format!("pool {segment}"));
            process
        })
        .collect();
    for (number, process) in all.iter_mut().enumerate() {
        let ms = seconds * 1000;
        let path = path.display();
        process.tell(&format!("soak {number} {PROCESSES} {seed} {ms} {path}"));
    }
    let mut counts = [0_u64; 5];
    for (number, process) in all.iter_mut().enumerate() {
        let line = process.hear_within(Duration::from_secs(seconds) + PATIENCE);
        let Some(said) = line.strip_prefix("ok ") else {
            panic!("process {number}: {line}\nagain: {again}");
        };
        for (count, word) in counts.iter_mut().zip(said.split(' ')) {
            *count += word.parse::<u64>().unwrap();
        }
    }
    let [reads, writes, syncs, waits, releases] = counts;
    println!(
        "{}: {reads} reads, {writes} writes, {syncs} syncs, {waits} waits, {releases} releases; {again}",
        method()
    );
    assert!(reads > 0 && writes > 0 && syncs > 0 && waits > 0, "{again}");
    let idle = pool.snapshot().iter().all(|row| row.state == State::Idle);
    assert!(idle, "a handle is in use: {again}");
    let mut me = pool.attach().unwrap();
    let frames = std::iter::from_fn(|| me.frame()).collect::<Vec<_>>();
    assert_eq!(frames.len(), pool.frame_count() as usize, "a frame is lost: {again}");
}
