//! What the user asked for.

use crate::Failure;
use handfast::Method;
use std::path::PathBuf;

pub const HELP: &str = "\
Several processes share the frames of one pool as a page cache of a file. Each of them looks at every
block and compares every byte; each block is read once. Prints the reads issued, the blocks found in
flight and joined, the blocks found in the cache, and the time that it took.

Usage: cargo run --release -p handfast --example shared_cache -- [FILE] [OPTIONS]

Arguments:
  [FILE]             the file; without it, a temporary one with random content is made

Options:
  --size N           MiB of the temporary file [256]
  --processes N      how many processes share the cache [4]
  --block-size N     bytes in a block, a multiple of 512 [8192]
  --queue-depth N    reads that a process has in flight at a time [8]
  --method M         who executes the reads: auto, sync, worker or io_uring [auto]
  --workers N        worker processes, with the method worker [2]; refused with sync and io_uring
  --direct           read around the page cache (O_DIRECT), so that every read goes to the disk
  --ensure-join      whoever reads the first block starts the read only when somebody waits for it
  --spin N           the same, and then computes for N milliseconds with its reads in flight: nobody
                     is held up by that
  --sleep N          the same, asleep outside of the pool
  -h, --help         this text

The whole file must fit into memory. Exit code 0: every byte was right, no block was read twice, and no
wait lasted as long as the spin or sleep of the one who had started the read; 2: the command line was
not understood.";

/// What whoever reads the first block does with its reads in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    /// Finishes them.
    No,
    /// Computes for so many milliseconds.
    Spins(u32),
    /// Sleeps for so many milliseconds.
    Sleeps(u32),
}

impl Busy {
    pub fn to_argument(self) -> String {
        match self {
            Self::No => "no".to_owned(),
            Self::Spins(ms) => format!("spins {ms}"),
            Self::Sleeps(ms) => format!("sleeps {ms}"),
        }
    }

    pub fn from_argument(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            Some(("spins", ms)) => Some(Self::Spins(ms.parse().ok()?)),
            Some(("sleeps", ms)) => Some(Self::Sleeps(ms.parse().ok()?)),
            Some(_) => None,
            None => (text == "no").then_some(Self::No),
        }
    }

    pub fn ms(self) -> u32 {
        match self {
            Self::No => 0,
            Self::Spins(ms) | Self::Sleeps(ms) => ms,
        }
    }
}

/// The options, checked as far as the pool does not do it.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub file: Option<PathBuf>,
    pub size_mib: u32,
    pub processes: u32,
    pub block_size: u32,
    pub queue_depth: u32,
    pub method: Method,
    /// As asked for.
    pub workers: Option<u32>,
    pub direct: bool,
    pub ensure_join: bool,
    pub busy: Busy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file: None,
            size_mib: 256,
            processes: 4,
            block_size: 8192,
            queue_depth: 8,
            method: Method::Auto,
            workers: None,
            direct: false,
            ensure_join: false,
            busy: Busy::No,
        }
    }
}

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--size" => options.size_mib = number(argument, rest.next(), 1..=4096)?,
                "--processes" => options.processes = number(argument, rest.next(), 1..=1000)?,
                "--block-size" => {
                    options.block_size = number(argument, rest.next(), 512..=1 << 20)?;
                }
                "--queue-depth" => options.queue_depth = number(argument, rest.next(), 1..=32)?,
                "--method" => options.method = method(rest.next())?,
                "--workers" => options.workers = Some(number(argument, rest.next(), 1..=32)?),
                "--direct" => options.direct = true,
                "--ensure-join" => options.ensure_join = true,
                "--spin" => options.busy = Busy::Spins(number(argument, rest.next(), 1..=20_000)?),
                "--sleep" => {
                    options.busy = Busy::Sleeps(number(argument, rest.next(), 1..=20_000)?);
                }
                unknown if unknown.starts_with('-') => {
                    return Err(format!("there is no option {unknown}; see --help").into());
                }
                _ if options.file.is_some() => {
                    return Err(format!("one file is enough, but {argument} is another").into());
                }
                file => options.file = Some(file.into()),
            }
        }
        options.ensure_join |= options.busy != Busy::No;
        if options.workers.is_some() && !options.may_have_workers() {
            let method = options.method;
            return Err(format!(
                "--method {method} has no workers: leave out --workers, or ask for --method worker"
            )
            .into());
        }
        Ok(options)
    }

    fn may_have_workers(&self) -> bool {
        matches!(self.method, Method::Auto | Method::Worker)
    }

    /// The most workers that the pool may need a slot for.
    pub fn most_workers(&self) -> u32 {
        if self.may_have_workers() { self.workers_of(Method::Worker) } else { 0 }
    }

    /// How many workers there are with the method that the pool has.
    pub fn workers_of(&self, method: Method) -> u32 {
        if method == Method::Worker { self.workers.unwrap_or(2) } else { 0 }
    }
}

fn method(name: Option<&String>) -> Result<Method, Failure> {
    let all = [Method::Auto, Method::Sync, Method::Worker, Method::IoUring];
    let found = all.into_iter().find(|method| Some(method.name()) == name.map(String::as_str));
    found.ok_or_else(|| "--method needs one of auto, sync, worker, io_uring".into())
}

fn number(
    option: &str,
    value: Option<&String>,
    range: std::ops::RangeInclusive<u32>,
) -> Result<u32, Failure> {
    let value = value.ok_or_else(|| format!("{option} needs a number"))?;
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(format!("{option} {value}: give a number from {least} to {most}").into())
        }
    }
}
