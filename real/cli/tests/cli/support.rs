//! A directory to copy in, runs of the binary, and looks at what they leave.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary under test.
pub const HANDFAST: &str = env!("CARGO_BIN_EXE_handfast");

/// Longest time that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of one test.
pub struct Fixture {
    directory: TempDir,
}

impl Fixture {
    /// In the directory for temporary files.
    pub fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory") }
    }

    /// Beside the build's output, which is a disk more often than the other one.
    pub fn on_disk() -> Self {
        let directory =
            TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
        Self { directory }
    }

    /// In memory, if there is a file system of that kind with so much space, and so much memory.
    pub fn in_memory(bytes: u64) -> Option<Self> {
        const SHM: &str = "/dev/shm";
        let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
        let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kibibytes = available.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
        let found = rustix::fs::statvfs(SHM).ok()?;
        let room = found.f_bavail.checked_mul(found.f_frsize)?.min(kibibytes << 10);
        let directory = TempDir::new_in(SHM).ok().filter(|_| room >= bytes)?;
        Some(Self { directory })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.root().join(name.as_ref())
    }

    /// A file in it.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// Names in it, sorted.
    pub fn names(&self) -> Vec<OsString> {
        let entries = fs::read_dir(self.root()).expect("the directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    }

    /// `handfast copy` in this directory.
    pub fn copy(&self, arguments: &[&str]) -> Run {
        let run = run(self.command().arg("copy").args(arguments));
        assert_eq!(self.temporaries(), Vec::<PathBuf>::new(), "left by {arguments:?}");
        run
    }

    /// The binary, to be run in this directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(HANDFAST);
        command.current_dir(self.root());
        command
    }

    /// Temporary files of handfast in it.
    pub fn temporaries(&self) -> Vec<PathBuf> {
        let is_temporary = |name: &OsString| name.to_string_lossy().contains(".handfast-");
        self.names().into_iter().filter(is_temporary).map(|name| self.path(name)).collect()
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn new(output: Output) -> Self {
        Self {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }

    /// Asserts success and silence on standard error, and returns the summary.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert!(self.status.success(), "{self:?}");
        assert_eq!(self.stderr, "");
        self.stdout
    }

    /// Asserts an exit code, and that every part is in the one line of the message; returns the
    /// message.
    #[track_caller]
    pub fn fails(self, code: i32, parts: &[&str]) -> String {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert_eq!(self.stdout, "");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in {:?}", self.stderr);
        }
        if code != 2 {
            assert!(self.stderr.starts_with("handfast: "), "{}", self.stderr);
            assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        }
        self.stderr
    }
}

/// Runs a command in a process group of its own, and checks that the group is empty afterwards.
pub fn run(command: &mut Command) -> Run {
    Started::new(command).wait()
}

/// A command under way.
pub struct Started {
    child: Option<Child>,
    /// Process id, and the number of its process group.
    pub pid: u32,
}

impl Started {
    /// Starts a command in a process group of its own.
    pub fn new(command: &mut Command) -> Self {
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        Self { pid: child.id(), child: Some(child) }
    }

    /// The next line that it says on standard error.
    #[expect(clippy::unbuffered_bytes, reason = "the rest is there for who reads on")]
    pub fn hears(&mut self) -> String {
        let stderr = self.child.as_mut().and_then(|child| child.stderr.as_mut());
        let bytes = stderr.expect("stderr").bytes().map(|byte| byte.expect("stderr"));
        let line = bytes.take_while(|byte| *byte != b'\n').collect();
        String::from_utf8(line).expect("UTF-8 on stderr")
    }

    /// Waits for its end, and until its group is empty.
    pub fn wait(mut self) -> Run {
        let mut child = self.child.take().expect("a child");
        let mut output =
            Output { status: ExitStatus::default(), stdout: Vec::new(), stderr: Vec::new() };
        // What is printed here fits into a pipe, so one stream can be read after the other.
        let mut stdout = child.stdout.take().expect("stdout");
        let mut stderr = child.stderr.take().expect("stderr");
        stdout.read_to_end(&mut output.stdout).expect("stdout");
        stderr.read_to_end(&mut output.stderr).expect("stderr");
        output.status = child.wait().expect("the command ends");
        let run = Run::new(output);
        let left = processes(|process| process.group == self.pid);
        assert!(left.is_empty(), "processes left: {left:?} by {run:?}");
        run
    }

    /// Ids of its own children.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.pid)
    }

    /// Ids of the processes of its group whose command line begins like this behind the program's name.
    pub fn in_role(&self, role: &str) -> Vec<u32> {
        let mut found = processes(|process| process.group == self.pid);
        found.retain(|number| {
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
        });
        found
    }

    /// Ids of the workers in its group that have begun to work or are about to.
    pub fn workers(&self) -> Vec<u32> {
        self.in_role("__worker")
    }

    /// Waits until its whole group is gone, for a run whose leader was killed.
    pub fn wait_until_group_is_empty(&self) {
        eventually("the process group is empty", || {
            processes(|process| process.group == self.pid).is_empty()
        });
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(pid(self.pid), signal).expect("the process is there");
    }

    /// Sends a signal to the process and all its children, as a terminal does.
    pub fn signal_group(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process_group(pid(self.pid), signal).expect("the group is there");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Only a test that fails gets here with a child.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process id for rustix.
pub fn pid(number: u32) -> rustix::process::Pid {
    i32::try_from(number).ok().and_then(rustix::process::Pid::from_raw).expect("a process id")
}

/// What `/proc/PID/stat` tells of a process.
pub struct ProcessView {
    pub parent: u32,
    pub group: u32,
}

/// Ids of the children of a process.
pub fn children_of(number: u32) -> Vec<u32> {
    processes(|process| process.parent == number)
}

/// Kills a process that is there.
pub fn kill(number: u32) {
    rustix::process::kill_process(pid(number), rustix::process::Signal::KILL).expect("it is there");
}

/// Ids of living processes that are wanted; a process that is dead but not collected does not live.
pub fn processes(wanted: impl Fn(&ProcessView) -> bool) -> Vec<u32> {
    let numbers = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|number| view(*number).is_some_and(|process| wanted(&process))).collect()
}

fn view(number: u32) -> Option<ProcessView> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(ProcessView { parent, group })
}

/// Waits until something is so. The only place of these tests that sleeps.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The methods that work on this machine; says so if io_uring is none of them.
pub fn methods() -> impl Iterator<Item = &'static str> {
    let rings = has_rings();
    if !rings {
        skipped("method io_uring", "this machine refuses it; handfast doctor tells why");
    }
    ["sync", "worker"].into_iter().chain(rings.then_some("io_uring"))
}

/// Whether io_uring works here.
pub fn has_rings() -> bool {
    handfast::MethodChoice::here().method == handfast::Method::IoUring
}

/// Bytes that look random, and differ between files.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Asserts that two files have the same bytes, without printing them.
#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let (one_bytes, other_bytes) = (fs::read(one).expect("one"), fs::read(other).expect("other"));
    assert_eq!(one_bytes.len(), other_bytes.len(), "sizes of {one:?} and {other:?}");
    let differs = one_bytes.iter().zip(&other_bytes).position(|(a, b)| a != b);
    assert_eq!(differs, None, "first difference between {one:?} and {other:?}");
}

/// Whether these tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says visibly that a test could not test: past the harness, which hides what tests print.
pub fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}
