//! What can be asked for on the command line: options with their ranges, and the help that teaches
//! them.
//!
//! Every range is refused here, before anything is opened, with exit code 2 and the range in the
//! message. The hidden commands are the program's own: a coordinator starts its copiers with one of
//! them, a supervisor its workers with another, and `doctor` its second process with the third.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use handfast::{MOST_WORKERS, Method, WorkerLimits, WorkerLimitsError};

use crate::system::counted;

/// Most bytes that the buffers of one copy may take together.
pub const MAX_BUFFER_BYTES: u64 = 1 << 30;
const MIN_BLOCK_SIZE: u64 = 512;
const MAX_BLOCK_SIZE: u64 = 16 << 20;

/// Asynchronous IO through handles in shared memory: a file copier, and a look at this machine.
#[derive(Debug, Parser)]
#[command(name = "handfast", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy one file with several processes that share a pool of IO handles
    #[command(long_about = COPY_LONG, after_help = COPY_EXAMPLES)]
    Copy(CopyOptions),
    /// Tell what this machine can do for handfast, and what to do about the rest
    ///
    /// One line for each fact: what was tried, "yes" or "no", and the remedy; and which method "auto"
    /// stands for here. Nothing is changed. The exit code is 0 when the method "sync" works here, which
    /// is all that `handfast copy` needs, and 1 otherwise.
    Doctor,
    /// Run workers, which carry out the IO of a pool whose method is "worker"
    #[command(long_about = WORKER_LONG, after_help = WORKER_EXAMPLES)]
    Worker(WorkerOptions),
    /// A copier; started by the coordinator of a copy only
    #[command(name = "__copier", hide = true)]
    Copier(CopierOrders),
    /// One worker; started by `worker` only
    #[command(name = "__worker", hide = true)]
    OneWorker(WorkerOrders),
    /// The second process of `doctor`; started by it only
    #[command(name = "__doctor-peer", hide = true)]
    DoctorPeer(PeerOrders),
}

const COPY_LONG: &str = "\
Copy one file with several processes that share a pool of IO handles.

A coordinator makes the pool in shared memory and starts copiers. Each copier takes the next \
block that nobody has taken, keeps up to QUEUE-DEPTH blocks in flight, and goes on until no \
block is left.

DST appears whole or not at all. The bytes go to a hidden file beside it \
(.DST.handfast-PID-...), which then takes the name DST in one step; whoever reads DST sees the \
old file or the new one. An existing regular file is replaced: other hard links to it keep the \
old content. If DST is a symbolic link, the file it points to is replaced and the link stays. \
Anything else (a directory, a device such as /dev/null, a pipe) and a file that you may not \
write to is refused, and so is a DST that somebody else makes while the copy runs.

DST gets the permission bits of SRC (rwx for user, group and others); owner, times and extended \
attributes are those of a new file. Holes in SRC are filled with zeros in DST: the content is \
equal, but DST takes its full size on disk, and the space is reserved before the copy starts.

SRC is copied as long as it was at the start: what is appended meanwhile is not copied, and if \
it gets shorter the copy fails. A SRC that reports size 0 (a file under /proc, for example) is \
read to its end, by one process.";

const COPY_EXAMPLES: &str = "\
Examples:
  handfast copy big.img copy.img
      four copiers, blocks of 64 KiB
  handfast copy --processes 8 --queue-depth 32 --block-size 1M big.img copy.img
      eight copiers, up to 32 blocks of 1 MiB in flight for each
  handfast copy --direct --fsync /data/a /backup/a
      around the page cache, and on stable storage before the summary is printed

On Ctrl-C, Ctrl-\\, SIGTERM or SIGHUP, and on any error, the copiers are stopped, the hidden file is \
removed, and DST is what it was before. A second Ctrl-C does not wait for IO in flight. If the \
coordinator itself is killed with SIGKILL its copiers and workers die with it; the hidden file it \
leaves is removed by the next copy to the same DST, once the kernel has ended the IO of the dead.

On success one line is printed on standard output, for example
  copied 1073741824 bytes in 0.812 s (1261 MiB/s), 32768 IOs by 4 processes [8192 8192 8192 \
8192], method io_uring

Methods:
  auto      io_uring if it works here, else worker; a copier that cannot follow (its limits may be \
lower) carries out its own IOs; --verbose tells why
  sync      each copier carries out its own IOs, one after the other
  worker    worker processes do it, LEAST to MOST of them as there is work; a worker that is killed \
is replaced, and the copy is whole all the same
  io_uring  the kernel does it, in a ring of each copier

Exit codes:
  0    DST is a whole copy of SRC
  1    the copy failed; DST is untouched, or absent as before
  2    the command line was not understood
  129  stopped by SIGHUP               130  stopped by SIGINT (Ctrl-C)
  131  stopped by SIGQUIT (Ctrl-\\)     143  stopped by SIGTERM";

/// Options of `handfast copy`.
#[derive(Debug, Args)]
pub struct CopyOptions {
    /// File to copy
    #[arg(value_name = "SRC")]
    pub source: PathBuf,

    /// Name of the copy; a file, not a directory
    #[arg(value_name = "DST")]
    pub destination: PathBuf,

    /// Number of copiers [1 to 256]
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256), allow_negative_numbers = true)]
    pub processes: u32,

    /// Blocks that each copier keeps in flight [1 to 1024]
    #[arg(short = 'd', long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024), allow_negative_numbers = true)]
    pub queue_depth: u32,

    /// Bytes of one block: a multiple of 512 from 512 to 16M; K and M are understood
    #[arg(short, long, value_name = "BYTES", default_value = "64K", value_parser = block_size)]
    #[arg(allow_negative_numbers = true)]
    pub block_size: u32,

    /// Go around the page cache (O_DIRECT) on both files
    ///
    /// Both file systems must support it, and the block size must be a multiple of what they ask
    /// for.
    #[arg(long)]
    pub direct: bool,

    /// Put file, name and directory on stable storage before reporting success
    #[arg(long)]
    pub fsync: bool,

    /// How IOs are carried out
    #[arg(long, value_enum, default_value_t = MethodOption::Auto)]
    pub method: MethodOption,

    /// How many workers there are with the method worker: LEAST at all times, up to MOST [1 to 32] [default:
    /// 1:8]
    ///
    /// One number is both: 3 means 3:3. Refused with a method that has none; not used if auto chooses one, which --verbose tells.
    #[arg(long, value_name = "LEAST:MOST", value_parser = worker_limits)]
    #[arg(allow_negative_numbers = true)]
    pub workers: Option<WorkerLimits>,

    /// Print nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say on standard error what is being done
    #[arg(short, long)]
    pub verbose: bool,
}

/// How IOs are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodOption {
    /// The best one that works here
    Auto,
    /// Each copier carries out its own IOs
    Sync,
    /// Worker processes carry them out
    Worker,
    /// The kernel carries them out, in a ring of each copier
    #[value(name = "io_uring")]
    IoUring,
}

impl MethodOption {
    const fn may_have_workers(self) -> bool {
        match self {
            Self::Auto | Self::Worker => true,
            Self::Sync | Self::IoUring => false,
        }
    }
}

impl From<MethodOption> for Method {
    fn from(option: MethodOption) -> Self {
        match option {
            MethodOption::Auto => Self::Auto,
            MethodOption::Sync => Self::Sync,
            MethodOption::Worker => Self::Worker,
            MethodOption::IoUring => Self::IoUring,
        }
    }
}

const WORKER_LONG: &str = "\
Run workers, which carry out the IO of a pool whose method is \"worker\".

This process is their supervisor. Each worker is a process of its own, which takes one slot of the \
pool. There are never fewer than LEAST of them if the pool has slots for them and one more; another is \
started, up to MOST, whenever all are busy and IO is left waiting, but only if a quarter of the slots stays \
free for other processes, and one that has been idle for SECONDS leaves. A worker that is killed is \
replaced, and what it was about is carried out again by another one. SIGTERM or SIGINT to a worker lets \
it finish its IO and leave; it is replaced, too.

Workers run until the supervisor is told to stop, even if nobody else uses the pool any more. Without \
workers the pool's processes carry out their IO themselves, so they can be started, stopped and started \
again at any time.

A worker reads and writes what it finds by the pool's own shared memory. It cannot run callbacks of an \
application, nor reach memory that only the application can map: pools with registered callbacks or \
with common regions are refused. Their applications run workers themselves (Process::work).";

const WORKER_EXAMPLES: &str = "\
Examples:
  handfast worker /dev/shm/my-pool
      2 to 8 workers for a named pool
  handfast worker --least 1 --most 4 --idle 5 /proc/1234/fd/7
      for the pool that process 1234 has open as descriptor 7
  handfast worker --pool-fd 3 3<>/dev/shm/my-pool
      for a pool that was inherited

Ctrl-C, Ctrl-\\, SIGTERM or SIGHUP end it: the workers finish what they are about and leave. A second \
Ctrl-C kills them. If the supervisor is killed with SIGKILL, its workers die with it.

Exit codes:
  1    the pool cannot be used, or no worker can be started
  2    the command line was not understood
  129  stopped by SIGHUP               130  stopped by SIGINT (Ctrl-C)
  131  stopped by SIGQUIT (Ctrl-\\)     143  stopped by SIGTERM";

/// Options of `handfast worker`.
#[derive(Debug, Args)]
pub struct WorkerOptions {
    /// The pool: its name, or /proc/PID/fd/N of a process that has it open
    #[arg(value_name = "POOL", required_unless_present = "pool_fd")]
    pub pool: Option<PathBuf>,

    /// Number of an inherited descriptor of the pool, instead of its name
    #[arg(long, value_name = "N", conflicts_with = "pool")]
    #[arg(value_parser = clap::value_parser!(u32), allow_negative_numbers = true)]
    pub pool_fd: Option<u32>,

    /// Fewest workers [1 to 32] [default: 2, or MOST if that is less]
    #[arg(long, value_name = "LEAST")]
    #[arg(value_parser = worker_count(), allow_negative_numbers = true)]
    pub least: Option<u32>,

    /// Most workers [1 to 32] [default: 8, or LEAST if that is more]
    #[arg(long, value_name = "MOST")]
    #[arg(value_parser = worker_count(), allow_negative_numbers = true)]
    pub most: Option<u32>,

    /// After how many seconds without an IO a worker leaves, if there are more than the fewest [1 to
    /// 86400]
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86400), allow_negative_numbers = true)]
    pub idle: u32,

    /// Say on standard error when workers start and end
    #[arg(short, long)]
    pub verbose: bool,

    /// The process that this one is to die with, and to tell its tally on standard output.
    #[arg(long, hide = true)]
    pub parent: Option<u32>,
}

impl WorkerOptions {
    /// Checks what no single option can, and puts the numbers together.
    pub fn limits(&self) -> Result<WorkerLimits, WorkerLimitsError> {
        let unsaid = WorkerLimits::default();
        let most = self.most.unwrap_or(unsaid.most().max(self.least.unwrap_or(0)));
        WorkerLimits::new(self.least.unwrap_or(unsaid.least().min(most)), most)
    }
}

/// What a supervisor tells a worker. The pool is the worker's standard input.
#[derive(Debug, Args)]
pub struct WorkerOrders {
    /// Process id of the supervisor.
    #[arg(long)]
    pub supervisor: u32,
    /// How many workers stay, however idle.
    #[arg(long)]
    pub least: u32,
    /// After how many seconds without an IO the others leave.
    #[arg(long)]
    pub idle: u32,
}

impl CopyOptions {
    /// How many workers there are if workers carry out the IO.
    pub fn worker_limits(&self) -> WorkerLimits {
        self.workers.or_else(|| WorkerLimits::new(1, 8).ok()).unwrap_or_default()
    }

    /// Checks what no single option can: the buffers together, and workers that would have nothing to do.
    pub fn check(&self) -> Result<(), String> {
        if self.workers.is_some() && !self.method.may_have_workers() {
            return Err(format!(
                "--method {} has no workers: leave out --workers, or ask for --method worker",
                Method::from(self.method)
            ));
        }
        let bytes =
            u64::from(self.processes) * u64::from(self.queue_depth) * u64::from(self.block_size);
        if bytes > MAX_BUFFER_BYTES {
            return Err(format!(
                "{} with {} of {} bytes each: {bytes} bytes of buffers, and at most \
                 {MAX_BUFFER_BYTES} are allowed: lower --processes, --queue-depth or --block-size",
                counted(self.processes, "process", "processes"),
                counted(self.queue_depth, "block", "blocks"),
                self.block_size
            ));
        }
        Ok(())
    }
}

/// What a coordinator tells a copier. SRC and DST themselves are the copier's standard input and
/// output.
#[derive(Debug, Args)]
pub struct CopierOrders {
    /// Process id of the coordinator.
    #[arg(long)]
    pub coordinator: u32,
    /// Number of the inherited descriptor of the segment.
    #[arg(long)]
    pub segment: u32,
    /// Which copier this is, from 0.
    #[arg(long)]
    pub copier: u32,
    /// Number of copiers.
    #[arg(long)]
    pub copiers: u32,
    /// Blocks in flight.
    #[arg(long)]
    pub queue_depth: u32,
    /// Bytes of one block.
    #[arg(long)]
    pub block_size: u32,
    /// Offsets and lengths are multiples of this; 1 without direct IO.
    #[arg(long)]
    pub unit: u32,
    /// Bytes to copy; absent if SRC is to be read to its end.
    #[arg(long)]
    pub size: Option<u64>,
    /// The coordinator's descriptors of SRC and of the temporary file, where workers find them.
    #[arg(long, num_args = 2)]
    pub descriptors: Vec<u32>,
    /// Tell on standard error if the pool's method cannot be followed.
    #[arg(long)]
    pub verbose: bool,
    /// Path of SRC, for messages.
    pub source: PathBuf,
    /// Path of the temporary file, for messages.
    pub destination: PathBuf,
}

/// What `doctor` tells its second process. The segment is its standard input.
#[derive(Debug, Args)]
pub struct PeerOrders {
    /// Wait reference, 16 bytes as hexadecimal digits.
    #[arg(long)]
    pub wait_reference: String,
}

fn worker_count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MOST_WORKERS))
}

/// Reads `1:8`, or `4` for `4:4`.
fn worker_limits(text: &str) -> Result<WorkerLimits, String> {
    let (least, most) = text.split_once(':').unwrap_or((text, text));
    let number = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())
    };
    let (Some(Some(least)), Some(Some(most))) = (number(least), number(most)) else {
        return Err(format!(
            "give the fewest and the most workers, 1 to {MOST_WORKERS}, as in 1:8"
        ));
    };
    WorkerLimits::new(least, most).map_err(|error| error.to_string())
}

/// Reads `8192`, `64K` or `1M`.
fn block_size(text: &str) -> Result<u32, String> {
    let refusal = || {
        format!(
            "a block is a multiple of {MIN_BLOCK_SIZE} bytes from {MIN_BLOCK_SIZE} to \
             {MAX_BLOCK_SIZE} (16M), for example 8192, 64K or 1M"
        )
    };
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    // A sign would pass `parse`, so only digits get there.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refusal());
    }
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes
        .filter(|bytes| (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(bytes))
        .filter(|bytes| bytes % MIN_BLOCK_SIZE == 0)
        .and_then(|bytes| u32::try_from(bytes).ok())
        .ok_or_else(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn worker_limits_are_a_range_or_one_number() {
        let read = |text| worker_limits(text).map(|limits| (limits.least(), limits.most()));
        assert_eq!((read("1:8"), read("4"), read("32:32")), (Ok((1, 8)), Ok((4, 4)), Ok((32, 32))));
        let unsaid = WorkerLimits::new(1, 8);
        let arguments = ["handfast", "copy", "a", "b"];
        let Command::Copy(options) = Cli::parse_from(arguments).command else { unreachable!() };
        assert_eq!(Ok(options.worker_limits()), unsaid);
        for text in
            ["", ":", "0", "0:4", "5:4", "1:33", "1:", ":3", "-1:3", "+1:3", "1:2:3", "many"]
        {
            let message = worker_limits(text).expect_err(text);
            assert!(message.contains("32"), "{text}: {message}");
        }
    }

    #[test]
    fn a_limit_of_workers_that_is_not_given_gives_way_to_the_one_that_is() {
        let read = |arguments: &[&str]| {
            let all = ["handfast", "worker", "pool"].iter().chain(arguments);
            let Command::Worker(options) = Cli::parse_from(all).command else { unreachable!() };
            options.limits().map(|limits| (limits.least(), limits.most()))
        };
        assert_eq!((read(&[]), read(&["--least", "9"])), (Ok((2, 8)), Ok((9, 9))));
        assert_eq!((read(&["--most", "1"]), read(&["--least", "3"])), (Ok((1, 1)), Ok((3, 8))));
        assert!(read(&["--least", "9", "--most", "8"]).is_err());
    }

    #[test]
    fn block_sizes_are_bytes_or_have_a_suffix() {
        for (text, bytes) in [
            ("512", 512),
            ("8192", 8192),
            ("64K", 65536),
            ("4k", 4096),
            ("1M", 1 << 20),
            ("16M", 16 << 20),
        ] {
            assert_eq!(block_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn absurd_block_sizes_are_refused_with_the_range() {
        for text in [
            "",
            "0",
            "1",
            "511",
            "513",
            "17M",
            "1G",
            "K",
            "-512",
            "+512",
            "1e3",
            "99999999999999999999K",
        ] {
            let message = block_size(text).expect_err(text);
            assert!(message.contains("from 512 to 16777216"), "{text}: {message}");
        }
    }
}
