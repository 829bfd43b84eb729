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

    let began = Instant::now();
    let tallies = run_readers(options, &pool, &path)?;
    let seconds = began.elapsed().as_secs_f64();
    summarise(blocks, &tallies, seconds)
}

/// A file that no two blocks of are alike.
fn make_file(mib: u32) -> Result<tempfile::NamedTempFile, Failure> {
    let mut file = tempfile::NamedTempFile::new()?;
    let mut random = Random(0);
    for _ in 0..mib {
        let bytes: Vec<u8> = (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    Ok(file)
}

/// A pool with a frame for every block, and for the reads that find the block claimed already.
fn make_pool(options: &Options, blocks: u32) -> Result<Pool, Failure> {
    let words = words_needed(blocks).ok_or("the file has too many blocks: use larger ones")?;
    let in_flight = options.processes * options.queue_depth;
    if in_flight > u32::from(u16::MAX) {
        return Err("use fewer processes or a lower queue depth: too many handles".into());
    }
    let builder = Pool::builder()
        .registry(registry()?)
        .processes(options.processes)
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

fn run_readers(options: &Options, pool: &Pool, path: &Path) -> Result<Vec<Tally>, Failure> {
    let segment = format!("/proc/{}/fd/{}", std::process::id(), pool.as_fd().as_raw_fd());
    let file = path.to_str().ok_or("the file's path is not UTF-8")?;
    let program = std::env::current_exe()?;
    // A single process has nobody who could join it.
    let ensure_join = options.ensure_join && options.processes > 1;
    let mut readers = Vec::new();
    for number in 0..options.processes {
        let (segment, file) = (segment.clone(), file.to_owned());
        let queue_depth = options.queue_depth;
        let orders = Orders { segment, file, number, queue_depth, ensure_join };
        readers.push(start(&program, &orders)?);
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

fn start(program: &Path, orders: &Orders) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    command.args(orders.to_arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

fn hear(reader: &mut Child) -> Option<Tally> {
    let mut line = String::new();
    BufReader::new(reader.stdout.take()?).read_line(&mut line).ok()?;
    Tally::from_line(&line)
}

fn summarise(blocks: u32, tallies: &[Tally], seconds: f64) -> Result<(), Failure> {
    println!("process    issued    joined       hit  bytes checked");
    let mut total = Tally::default();
    for (number, tally) in tallies.iter().enumerate() {
        print_row(&number.to_string(), *tally);
        total.issued += tally.issued;
        total.joined += tally.joined;
        total.hit += tally.hit;
        total.checked += tally.checked;
    }
    print_row("total", total);
    println!("{blocks} blocks, {seconds:.2} s: every byte was right");
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
    let Tally { issued, joined, hit, checked } = tally;
    println!("{name:<7} {issued:>9} {joined:>9} {hit:>9} {checked:>14}");
}
