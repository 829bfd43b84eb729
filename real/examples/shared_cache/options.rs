//! What the user asked for.

use crate::Failure;
use std::path::PathBuf;

pub const HELP: &str = "\
Several processes share the frames of one pool as a page cache of a file. Each of them looks at every
block and compares every byte; each block is read once. Prints the reads issued, the blocks found in
flight and joined, and the blocks found in the cache.

Usage: cargo run --release -p handfast --example shared_cache -- [FILE] [OPTIONS]

Arguments:
  [FILE]             the file; without it, a temporary one with random content is made

Options:
  --size N           MiB of the temporary file [256]
  --processes N      how many processes share the cache [4]
  --block-size N     bytes in a block, a multiple of 512 [8192]
  --queue-depth N    reads that a process has in flight at a time [8]
  --ensure-join      whoever reads the first block starts the read only when somebody waits for it
  -h, --help         this text

The whole file must fit into memory. Exit code 0: every byte was right and no block was read twice.";

/// The options, checked as far as the pool does not do it.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub file: Option<PathBuf>,
    pub size_mib: u32,
    pub processes: u32,
    pub block_size: u32,
    pub queue_depth: u32,
    pub ensure_join: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file: None,
            size_mib: 256,
            processes: 4,
            block_size: 8192,
            queue_depth: 8,
            ensure_join: false,
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
                "--ensure-join" => options.ensure_join = true,
                unknown if unknown.starts_with('-') => {
                    return Err(format!("there is no option {unknown}; see --help").into());
                }
                _ if options.file.is_some() => {
                    return Err(format!("one file is enough, but {argument} is another").into());
                }
                file => options.file = Some(file.into()),
            }
        }
        Ok(options)
    }
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
