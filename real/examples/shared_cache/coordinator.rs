//! Makes the file and the pool, starts the readers, adds up what they did.
//!
//! It never attaches. The end is a barrier made of pipes: every reader prints its tally when it has
//! seen all blocks, and keeps its frames until its standard input is closed, which happens when all
//! tallies are there, or when the coordinator ends in whatever way. If a reader dies before, its frames
//! go back to the pool under the others' eyes: they do not hang, and the run fails.

use crate::Failure;
use crate::blocks::{Blocks, words_needed};
use crate::options::Options;
use crate::reader::{Orders, Random, Tally};
use crate::verify::{Checksum, DATA_WORDS, registry};
use crate::worker;
use handfast::Pool;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub fn main(options: &Options) -> Result<(), Failure> {
    // Kept until the end: dropping it removes the file.
    let made = match &options.file {
        Some(_) => None,
        None => Some(make_file(options.size_mib)?),
    };
    let given = options.file.as_deref();
    let path = made.as_ref().map(|file| file.path()).or(given).ok_or("no file")?;
    let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(format!("{} is not a regular file", path.display()).into());
    }
    let blocks = metadata.len().div_ceil(options.block_size.into());
    let blocks =
        u32::try_from(blocks).map_err(|_| "the file is too large for a cache of it all")?;
    let pool = make_pool(options, blocks)?;
    note_checksums(&pool, &path, blocks)?;

    for refusal in &pool.method_choice().refusals {
        println!("{refusal}");
    }
    if options.workers.is_some() && options.workers_of(pool.method()) == 0 {
        println!("--workers is not used: the method {} has none", pool.method());
    }
    let mut workers = start_workers(options, &pool)?;
    let began = Instant::now();
    let tallies = run_readers(options, &pool, &path)?;
    let seconds = began.elapsed().as_secs_f64();
    for worker in &mut workers {
        // `wait` closes the worker's standard input first, so that it leaves.
        let status = worker.wait()?;
        if !status.success() {
            return Err(format!("a worker ended with {status}").into());
        }
    }
    let how = if options.direct { ", direct" } else { "" };
    let title = format!("{blocks} blocks, {seconds:.2} s by method {}{how}", pool.method());
    summarise(blocks, &tallies, (&title, options.busy.ms()))
}

/// A file that no two blocks of are alike.
fn make_file(mib: u32) -> Result<tempfile::NamedTempFile, Failure> {
    let mut file = tempfile::NamedTempFile::new()?;
    let mut random = Random(0);
    for _ in 0..mib {
        let bytes: Vec<u8> = (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    // A direct read would wait until it is on the disk.
    file.as_file().sync_all()?;
    Ok(file)
}

/// A pool with a frame for every block, and for the reads that find the block claimed already.
fn make_pool(options: &Options, blocks: u32) -> Result<Pool, Failure> {
    let words = words_needed(blocks).ok_or("the file has too many blocks: use larger ones")?;
    let workers = options.most_workers();
    let in_flight = (options.processes + workers) * options.queue_depth;
    if in_flight > u32::from(u16::MAX) {
        return Err("use fewer processes or a lower queue depth: too many handles".into());
    }
    let builder = Pool::builder()
        .registry(registry()?)
        .method(options.method)
        .processes(options.processes + workers)
        .handles_per_process(options.queue_depth)
        .frames(blocks.saturating_add(in_flight))
        .frame_size(options.block_size)
        .max_iovecs(1)
        .max_handle_data(DATA_WORDS)
        .max_files(options.processes)
        .user_words(words);
    Ok(builder.create()?)
}

/// Puts into each block's header what its reader has to find.
fn note_checksums(pool: &Pool, path: &Path, blocks: u32) -> Result<(), Failure> {
    let (headers, mut file) = (Blocks::new(pool.user_words()), File::open(path)?);
    let mut bytes = Vec::new();
    for block in 0..blocks {
        bytes.clear();
        (&mut file).take(pool.frame_size() as u64).read_to_end(&mut bytes)?;
        let mut checksum = Checksum::default();
        checksum.add(&bytes);
        headers.set_checksum(block, checksum.0);
    }
    Ok(())
}

/// Starts the workers, if the method needs some, and returns when all of them are about to work.
fn start_workers(options: &Options, pool: &Pool) -> Result<Vec<Child>, Failure> {
    let mut workers = Vec::new();
    for _ in 0..options.workers_of(pool.method()) {
        let arguments = [worker::ROLE.to_owned(), path_of(pool)];
        workers.push(start(&std::env::current_exe()?, &arguments)?);
    }
    for worker in &mut workers {
        let mut line = String::new();
        let output = worker.stdout.take().ok_or("a worker without an output")?;
        BufReader::new(output).read_line(&mut line)?;
    }
    Ok(workers)
}

/// The segment is a memfd without a name; a process of the same user can open it through /proc.
fn path_of(pool: &Pool) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), pool.as_fd().as_raw_fd())
}

fn run_readers(options: &Options, pool: &Pool, path: &Path) -> Result<Vec<Tally>, Failure> {
    let segment = path_of(pool);
    let file = path.to_str().ok_or("the file's path is not UTF-8")?;
    let program = std::env::current_exe()?;
    // A single process has nobody who could join it.
    let ensure_join = options.ensure_join && options.processes > 1;
    let mut readers = Vec::new();
    for number in 0..options.processes {
        let (segment, file) = (segment.clone(), file.to_owned());
        let Options { queue_depth, direct, busy, .. } = *options;
        let orders = Orders { segment, file, number, queue_depth, ensure_join, direct, busy };
        readers.push(start(&program, &orders.to_arguments())?);
    }
    // A reader that failed closes its output without a tally; its exit code tells below.
    let heard: Vec<Option<Tally>> = readers.iter_mut().map(hear).collect();
    let mut failed = Vec::new();
    for (number, mut reader) in readers.into_iter().enumerate() {
        // `wait` closes the reader's standard input first.
        let status = reader.wait()?;
        if !status.success() {
            failed.push(format!("process {number}: {status}"));
        }
    }
    if !failed.is_empty() {
        return Err(failed.join(", ").into());
    }
    heard.into_iter().collect::<Option<_>>().ok_or_else(|| "a process told nothing".into())
}

fn start(program: &Path, arguments: &[String]) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

fn hear(reader: &mut Child) -> Option<Tally> {
    let mut line = String::new();
    BufReader::new(reader.stdout.take()?).read_line(&mut line).ok()?;
    Tally::from_line(&line)
}

fn summarise(blocks: u32, tallies: &[Tally], (title, busy_ms): (&str, u32)) -> Result<(), Failure> {
    println!("process    issued    joined       hit  bytes checked");
    let mut total = Tally::default();
    for (number, tally) in tallies.iter().enumerate() {
        print_row(&number.to_string(), *tally);
        total.issued += tally.issued;
        total.joined += tally.joined;
        total.hit += tally.hit;
        total.checked += tally.checked;
        total.longest_us = total.longest_us.max(tally.longest_us);
    }
    print_row("total", total);
    let longest_ms = total.longest_us / 1000;
    println!("{title}, longest join {longest_ms} ms: every byte was right");
    if busy_ms > 0 && longest_ms >= u64::from(busy_ms) {
        return Err(format!("somebody was held up by one who was busy for {busy_ms} ms").into());
    }
    let wanted = u64::from(blocks) * tallies.len() as u64;
    if total.issued != u64::from(blocks) {
        return Err(format!("{} reads were issued for {blocks} blocks", total.issued).into());
    }
    if total.issued + total.joined + total.hit != wanted {
        return Err("some block was not counted, or counted twice".into());
    }
    Ok(())
}

fn print_row(name: &str, tally: Tally) {
    let Tally { issued, joined, hit, checked, .. } = tally;
    println!("{name:<7} {issued:>9} {joined:>9} {hit:>9} {checked:>14}");
}
