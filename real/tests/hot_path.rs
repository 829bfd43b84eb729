//! A warm loop makes no system call but the IO itself, and allocates nothing: in place, and with a ring, whose
//! only call is `io_uring_enter`; so nobody is woken by a futex call who does not wait.
//!
//! Each test runs itself again as a child process, which warms up, has the kernel kill it at any system
//! call but those of the IO (seccomp), and counts the allocations of its thread. Controls show that one call
//! and one allocation too many are noticed. Works as any user. Not checked here: workers, who have to be
//! woken; the attendant of a ring, which is another thread, and asleep.

use handfast::{
    AlignedBuf, File, Flags, Frame, Memory, Method, MethodChoice, Pending, Pool, Process, Registry,
    Scope,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// Names the role of a child; not set in the test proper.
const ROLE: &str = "HANDFAST_HOT_PATH_ROLE";
/// Rounds of a loop, the warm-up's and the real one's.
const ROUNDS: [u64; 2] = [100, 10_000];
/// One batch in so many rounds.
const ROUNDS_PER_BATCH: u64 = 25;
/// IOs of a batch.
const BATCH: usize = 32;
/// Buffers of a vectored IO.
const VECTOR: usize = 4;
/// Bytes of the file: a batch fills it.
const FILE_LEN: u64 = 256 * 1024;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn count() {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: every call is passed on to the system's allocator as it is; the counter is a plain cell
// without a destructor, so counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the system's too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as above; the memory came from the system's allocator.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory came from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a child does beside the loop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extra {
    Nothing,
    SystemCall,
    Allocation,
}

#[test]
fn a_warm_loop_makes_no_system_call_but_the_io_and_allocates_nothing() {
    let name = "a_warm_loop_makes_no_system_call_but_the_io_and_allocates_nothing";
    if let Some(output) = in_child(name, Method::Sync, Extra::Nothing) {
        assert!(output.status.success(), "a system call too many: {output:?}");
        assert_eq!(allocations(&output), 0, "the loop allocates: {output:?}");
    }
}

#[test]
fn a_warm_loop_with_a_ring_calls_the_system_to_submit_and_to_sleep_and_allocates_nothing() {
    let name =
        "a_warm_loop_with_a_ring_calls_the_system_to_submit_and_to_sleep_and_allocates_nothing";
    if has_rings()
        && let Some(output) = in_child(name, Method::IoUring, Extra::Nothing)
    {
        assert!(output.status.success(), "a system call too many: {output:?}");
        assert_eq!(allocations(&output), 0, "the loop allocates: {output:?}");
    }
}

#[test]
fn a_system_call_of_its_own_for_an_io_with_a_ring_is_noticed() {
    let name = "a_system_call_of_its_own_for_an_io_with_a_ring_is_noticed";
    if has_rings()
        && let Some(output) = in_child(name, Method::IoUring, Extra::SystemCall)
    {
        assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
    }
}

fn has_rings() -> bool {
    let choice = MethodChoice::here();
    let rings = choice.method == Method::IoUring;
    if !rings {
        println!("SKIPPED: {}", choice.refusals[0]);
    }
    rings
}

#[test]
fn one_system_call_too_many_is_noticed() {
    if let Some(output) =
        in_child("one_system_call_too_many_is_noticed", Method::Sync, Extra::SystemCall)
    {
        assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
    }
}

#[test]
fn one_allocation_too_many_is_noticed() {
    if let Some(output) =
        in_child("one_allocation_too_many_is_noticed", Method::Sync, Extra::Allocation)
    {
        assert!(output.status.success(), "{output:?}");
        assert_eq!(allocations(&output), 1, "{output:?}");
    }
}

/// Runs the test of this name as a child; in the child, does its work and does not return.
fn in_child(name: &str, method: Method, extra: Extra) -> Option<Output> {
    if std::env::var_os(ROLE).is_some() {
        child(method, extra);
    }
    let program = std::env::current_exe().expect("the path of this program");
    let mut child = Command::new(program);
    child.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, "child");
    Some(child.output().expect("this program runs again"))
}

/// What the child reported.
fn allocations(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("allocations "));
    line.and_then(|count| count.parse().ok()).unwrap_or(u64::MAX)
}

fn child(method: Method, extra: Extra) -> ! {
    let no_core = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, no_core).expect("a lower limit");
    let frames = u32::try_from(BATCH + VECTOR + 1).expect("a small number");
    let builder = Pool::builder().registry(Registry::new()).processes(1).handles_per_process(64);
    let pool = builder.method(method).frames(frames).create().expect("memory for a small pool");
    let mut process = pool.attach().expect("a free slot");
    let mut work = Work::new(&mut process);
    work.rounds(&mut process, ROUNDS[0]);
    let (filter, output) = (filter(method), std::io::stdout());
    seccompiler::apply_filter(&filter).expect("seccomp in this kernel");

    let before = ALLOCATIONS.get();
    work.rounds(&mut process, ROUNDS[1]);
    match extra {
        Extra::Nothing => {}
        Extra::SystemCall => drop(rustix::process::getppid()),
        Extra::Allocation => drop(std::hint::black_box(Box::new(1))),
    }
    report(ALLOCATIONS.get() - before, output.as_fd());
    // SAFETY: ends the process at once; nothing of it is needed any more.
    unsafe { libc::_exit(0) }
}

/// Kills the process at any system call but those of the IO and of the report.
fn filter(method: Method) -> BpfProgram {
    let in_place: &[i64] =
        &[libc::SYS_pread64, libc::SYS_preadv, libc::SYS_pwrite64, libc::SYS_pwritev];
    let ring: &[i64] = &[libc::SYS_io_uring_enter, libc::SYS_ppoll];
    let io = if method == Method::IoUring { ring } else { in_place };
    let report = [libc::SYS_write, libc::SYS_exit_group];
    let rules = io.iter().copied().chain(report).map(|call| (call, Vec::new())).collect();
    let machine = std::env::consts::ARCH.try_into().expect("a machine that seccompiler knows");
    let (others, these) = (SeccompAction::KillProcess, SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, others, these, machine).expect("a plain filter");
    filter.try_into().expect("a short filter")
}

/// Writes the count to the standard output, past the buffers of the test harness and without
/// allocating.
fn report(allocations: u64, to: BorrowedFd<'_>) {
    let mut line = [0_u8; 64];
    let mut rest = &mut line[..];
    writeln!(rest, "\nallocations {allocations}").expect("it fits");
    let left = rest.len();
    let written = rustix::io::write(to, &line[..line.len() - left]);
    written.expect("the standard output");
}

/// What the loop works with: it takes everything along from round to round.
struct Work<'pool> {
    file: File<'pool>,
    one: Option<Frame<'pool>>,
    local: Option<AlignedBuf>,
    vector: Option<Vec<Memory<'pool>>>,
    batch: Vec<Option<Frame<'pool>>>,
    started: Vec<Option<Pending<'pool, Frame<'pool>>>>,
}

impl<'pool> Work<'pool> {
    fn new(process: &mut Process<'pool>) -> Self {
        // Without a name, so that nothing is left behind when the child is killed.
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(FILE_LEN).expect("a sparse file");
        let file = process.file(file, Path::new("without a name")).expect("an open file");
        let mut frame = || process.frame().expect("a frame for everybody");
        let vector = (0..VECTOR).map(|_| Memory::Frame(frame())).collect();
        let batch = (0..BATCH).map(|_| Some(frame())).collect();
        let local = AlignedBuf::new(8192, 4096).expect("a little memory");
        let started = (0..BATCH).map(|_| None).collect();
        let (one, vector, local) = (Some(frame()), Some(vector), Some(local));
        Self { file, one, local, vector, batch, started }
    }

    fn rounds(&mut self, process: &mut Process<'pool>, rounds: u64) {
        for round in 0..rounds {
            let mut scope = process.scope();
            let offset = round * 8192 % FILE_LEN;
            self.write(&mut scope, offset);
            self.read(&mut scope, offset);
            acquire_and_release(&mut scope);
            if round % ROUNDS_PER_BATCH == 0 {
                self.vectored(&mut scope, offset);
                self.batched(&mut scope);
            }
            scope.commit().expect("nothing was left behind");
        }
    }

    fn write(&mut self, scope: &mut Scope<'_, 'pool>, offset: u64) {
        let buffer = self.local.take().expect("it came back");
        let handle = scope.acquire().expect("none is handed out");
        let pending = handle.write(&self.file, buffer, offset).expect("a good request");
        let finished = scope.finish(pending).expect("an IO of this process");
        assert_eq!(finished.outcome.bytes().ok(), Some(8192));
        self.local = Some(finished.memory);
    }

    /// With every way to ask whether it is over, before and after the handle is idle again.
    fn read(&mut self, scope: &mut Scope<'_, 'pool>, offset: u64) {
        let frame = self.one.take().expect("it came back");
        let mut handle = scope.try_acquire().expect("none is handed out").expect("one is idle");
        handle.set_flag(Flags::BUFFERED);
        handle.set_data_64(&[1, 2, 3]).expect("three words fit");
        let reference = handle.wait_ref();
        let pending = handle.read(&self.file, frame, offset).expect("a good request");
        let _done = scope.wait(reference).expect("an IO of this pool");
        assert!(scope.check_done(reference).expect("an IO of this pool"));
        let finished = scope.finish(pending).expect("an IO of this process");
        assert_eq!(finished.outcome.bytes().ok(), Some(8192));
        self.one = Some(finished.memory);
        let _recycled = scope.wait(reference).expect("an IO of this pool");
        assert!(scope.check_done(reference).expect("an IO of this pool"));
    }

    fn vectored(&mut self, scope: &mut Scope<'_, 'pool>, offset: u64) {
        let list = self.vector.take().expect("it came back");
        let handle = scope.acquire().expect("none is handed out");
        let pending = handle.write(&self.file, list, offset).expect("a good request");
        let list = scope.finish(pending).expect("an IO of this process").memory;
        let handle = scope.acquire().expect("none is handed out");
        let pending = handle.read(&self.file, list, offset).expect("a good request");
        self.vector = Some(scope.finish(pending).expect("an IO of this process").memory);
    }

    fn batched(&mut self, scope: &mut Scope<'_, 'pool>) {
        let mut batch = scope.batch();
        for ((frame, started), block) in self.batch.iter_mut().zip(&mut self.started).zip(0_u64..) {
            let handle = batch.acquire().expect("none is handed out");
            let frame = frame.take().expect("it came back");
            *started = Some(handle.read(&self.file, frame, block * 8192).expect("a good request"));
        }
        batch.submit().expect("the method takes all");
        for (frame, started) in self.batch.iter_mut().zip(&mut self.started) {
            let pending = started.take().expect("it was started");
            *frame = Some(scope.finish(pending).expect("an IO of this process").memory);
        }
    }
}

/// In a scope of its own, ended by an abort every time.
fn acquire_and_release(scope: &mut Scope<'_, '_>) {
    let mut inner = scope.scope();
    inner.acquire().expect("none is handed out").release();
    let leaked = inner.acquire().expect("none is handed out");
    std::mem::forget(leaked);
}
