//! Several real processes, exec'ed and driven step by step, share one pool.
//!
//! Every test has a pool and a file of its own; the test itself is never attached, it looks at the
//! pool's snapshot. Read in this order: this file, `opening`, `waits`, `deaths`, `recovery`,
//! `storms`.

mod deaths;
mod opening;
mod recovery;
mod storms;
mod waits;

use handfast::{HandleView, State, WaitRef};
use handfast_tests::callbacks::{self, COUNT, HALT, Seen};
use handfast_tests::participant::Participant;
use handfast_tests::{PATIENCE, TestPool, eventually};
use std::os::fd::{AsFd, AsRawFd};

/// The program that takes part.
const PROGRAM: &str = env!("CARGO_BIN_EXE_participant");

const FRAME: u32 = 4096;
const FRAMES: u32 = 24;
const HANDLES: u32 = 4;
const PROCESSES: u32 = 4;
const FILES: u32 = 8;

/// A pool, and a file of 16 blocks whose bytes are the number of the block plus 1.
struct World {
    pool: TestPool,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(handfast_tests::builder().handles_per_process(HANDLES))
    }

    fn with(builder: handfast_tests::Builder) -> Self {
        let builder = builder
            .registry(callbacks::registry(|_| ()))
            .processes(PROCESSES)
            .frames(FRAMES)
            .frame_size(FRAME)
            .max_files(FILES)
            .user_words(callbacks::WORDS);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let bytes: Vec<u8> = (1..=16).flat_map(|block: u8| [block; FRAME as usize]).collect();
        std::fs::write(directory.path().join("data"), bytes).expect("there is room");
        Self { pool: builder.create().expect("a pool"), directory }
    }

    /// Where any process of this user can open the pool.
    fn segment(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.pool.as_fd().as_raw_fd())
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("an ASCII path").to_owned()
    }

    /// A process that has opened the pool.
    fn opened(&self) -> Participant {
        let mut process = Participant::start(PROGRAM);
        process.ask(&format!("pool {}", self.segment()));
        process
    }

    /// A process that is attached and has opened the file.
    fn attached(&self) -> Attached {
        let mut process = self.opened();
        let (slot, epoch) = place(&process.ask("attach"));
        process.ask(&format!("file {}", self.path("data")));
        Attached { process, slot, epoch }
    }

    /// What can be seen of the handle that the reference names.
    fn row(&self, reference: &str) -> HandleView {
        let handle = parse(reference).handle();
        let mut rows = self.pool.snapshot().into_iter();
        rows.find(|row| row.handle == handle).expect("the handle exists")
    }

    fn state(&self, reference: &str) -> State {
        self.row(reference).state
    }

    #[track_caller]
    fn await_waiter(&self, reference: &str) {
        eventually("somebody waits for the IO", || self.row(reference).has_waiters);
    }

    fn counted(&self) -> Seen {
        callbacks::seen(self.pool.user_words(), COUNT)
    }

    fn halted(&self) -> Seen {
        callbacks::seen(self.pool.user_words(), HALT)
    }

    /// S19 and L10 for a slot whose process died, after `survivor` has recovered what is left: every
    /// handle is idle, old references are recycled, every frame and file entry that is not
    /// `survivor`'s is free, and a newcomer gets the slot and works.
    #[track_caller]
    fn check_recovered(&self, victim: (u32, u32), references: &[&str], survivor: &mut Attached) {
        survivor.ask("recover");
        let rows = self.pool.snapshot();
        let of_victim = rows.iter().filter(|row| row.owner.get() == victim.0);
        let states: Vec<State> = of_victim.map(|row| row.state).collect();
        let handles = self.pool.config().handles_per_process() as usize;
        assert_eq!(states, vec![State::Idle; handles], "S19");
        for reference in references {
            assert_eq!(survivor.ask(&format!("wait {reference}")), "recycled");
            assert_eq!(survivor.ask(&format!("check {reference}")), "true");
        }
        // The survivor's only file has one entry.
        let entries = survivor.ask(&format!("entries {FILES} {}", self.path("data")));
        assert_eq!(entries, (FILES - 1).to_string(), "file entries are free again");
        survivor.ask(&format!("entries 0 {}", self.path("data")));
        survivor.ask("drop");
        assert_eq!(survivor.ask("frames 1000"), FRAMES.to_string(), "frames are free again");
        survivor.ask("drop");
        let mut newcomer = self.attached();
        assert_eq!((newcomer.slot, newcomer.epoch), (victim.0, victim.1 + 1), "L10");
        newcomer.ask("read 4096 count");
        assert_eq!(newcomer.ask("finish"), "4096 2");
        newcomer.ask("detach");
    }
}

/// A participant in its slot.
struct Attached {
    process: Participant,
    slot: u32,
    epoch: u32,
}

impl Attached {
    /// Starts a read of block 0, with callbacks: its reference.
    #[track_caller]
    fn read(&mut self, callbacks: &str) -> String {
        let answer = self.ask(&format!("read 0 {callbacks}"));
        first(&answer).to_owned()
    }

    /// Its slot and epoch.
    fn place(&self) -> (u32, u32) {
        (self.slot, self.epoch)
    }

    fn kill(self) {
        self.process.kill();
    }
}

impl World {
    /// Kills a process and waits until its slot's lock is free: with a ring that is when the kernel has
    /// ended what it had in flight.
    #[track_caller]
    fn kill(&self, victim: Attached) {
        let slot = victim.slot;
        victim.kill();
        eventually("the kernel lets go of the slot", || self.is_free(slot));
    }

    fn is_free(&self, slot: u32) -> bool {
        let mut range = libc::flock {
            l_type: libc::c_short::try_from(libc::F_WRLCK).expect("a small number"),
            l_whence: libc::c_short::try_from(libc::SEEK_SET).expect("a small number"),
            l_start: slot.into(),
            l_len: 1,
            l_pid: 0,
        };
        let fd = self.pool.as_fd().as_raw_fd();
        // SAFETY: the descriptor is open, the command takes a pointer to a `flock` of this function's.
        let answer = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut range) };
        assert_eq!(answer, 0, "the lock can be asked for");
        i32::from(range.l_type) == libc::F_UNLCK
    }
}

impl std::ops::Deref for Attached {
    type Target = Participant;

    fn deref(&self) -> &Participant {
        &self.process
    }
}

impl std::ops::DerefMut for Attached {
    fn deref_mut(&mut self) -> &mut Participant {
        &mut self.process
    }
}

fn place(answer: &str) -> (u32, u32) {
    let mut numbers = answer.split(' ').map(|number| number.parse().expect("a number"));
    (numbers.next().expect("a slot"), numbers.next().expect("an epoch"))
}

fn first(answer: &str) -> &str {
    answer.split(' ').next().expect("a word")
}

fn parse(reference: &str) -> WaitRef {
    let bytes = u128::from_str_radix(reference, 16).expect("a reference").to_be_bytes();
    WaitRef::from_bytes(bytes).expect("a reference")
}
