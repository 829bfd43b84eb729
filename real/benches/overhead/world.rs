//! What both sides share: files, offsets, and the very same pages of memory.

use handfast::{Frame, Method, Pool, Process, Registry};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// Bytes of a block that is read.
pub const BLOCK: usize = 8192;
/// Frames of the pool, and buffers of the raw loop.
pub const BUFFERS: usize = 32;
/// Blocks of each file: 64 MiB.
const FILE_BLOCKS: usize = 8192;
/// Words for what the processes tell each other.
const USER_WORDS: u32 = 8;
/// Random offsets; a power of two, so that a block's number selects a window of them.
const OFFSETS: usize = 1 << 15;

/// A file in the page cache, one that is not, and offsets into both.
pub struct World {
    directory: tempfile::TempDir,
    /// Offsets of blocks, in no order.
    pub offsets: Vec<u64>,
}

impl World {
    /// Writes the files, so that one is in the page cache.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let block: Vec<u8> = (0..=250_u8).cycle().take(BLOCK).collect();
        for name in ["cached", "direct"] {
            let mut file = File::create(directory.path().join(name)).expect("a new file");
            for _ in 0..FILE_BLOCKS {
                file.write_all(&block).expect("space for the file");
            }
            file.sync_all().expect("clean pages: write-back must not run during a measurement");
            if name == "direct" {
                let all = rustix::fs::Advice::DontNeed;
                // A hint; direct reads go to the device in any case.
                let _not_cached = rustix::fs::fadvise(&file, 0, None, all);
            }
        }
        Self { directory, offsets: random_offsets() }
    }

    /// The path of the cached file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("cached")
    }

    /// The path of the file that is not cached.
    pub fn direct_path(&self) -> PathBuf {
        self.directory.path().join("direct")
    }

    /// The cached file.
    pub fn cached(&self) -> OwnedFd {
        File::open(self.path()).expect("the cached file").into()
    }

    /// The other one, open for direct IO; or why that is not possible here.
    pub fn direct(&self) -> Result<OwnedFd, String> {
        let direct = libc::O_DIRECT;
        let file = OpenOptions::new().read(true).custom_flags(direct).open(self.direct_path());
        let file =
            file.map_err(|error| format!("a file cannot be opened with O_DIRECT: {error}"))?;
        let pool = pool(Method::Sync, 1, 1);
        let mut process = pool.attach().expect("a free slot");
        let known = process.file(file.try_clone().expect("a descriptor"), self.direct_path());
        let limits = known.expect("an open file").direct_io_limits();
        let fits = |(memory, block): (u32, u32)| {
            BLOCK.is_multiple_of(memory as usize) && BLOCK.is_multiple_of(block as usize)
        };
        match limits {
            Some(limits) if fits(limits) => Ok(file.into()),
            Some(limits) => Err(format!("direct IO needs an alignment of {limits:?}")),
            None => Err("the file system of temporary files has no direct IO".to_owned()),
        }
    }

    /// An offset past the end of the files: reads there have all the fixed cost and move nothing.
    pub fn past_the_end(&self) -> u64 {
        ((FILE_BLOCKS + 16) * BLOCK) as u64
    }
}

fn random_offsets() -> Vec<u64> {
    // A linear congruential generator; its high bits are random enough to defeat read-ahead and
    // prefetchers, and the same in every run.
    let mut state = 1_u64;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % FILE_BLOCKS as u64 * BLOCK as u64
    };
    std::iter::repeat_with(next).take(OFFSETS).collect()
}

/// A pool with [`BUFFERS`] frames.
pub fn pool(method: Method, processes: u32, handles: u32) -> Pool {
    let frames = u32::try_from(BUFFERS).expect("a small number");
    let pool = Pool::builder().registry(Registry::new()).method(method).processes(processes);
    let pool = pool.handles_per_process(handles).user_words(USER_WORDS);
    let pool = pool.frames(frames).frame_size(u32::try_from(BLOCK).expect("a small number"));
    pool.create().expect("memory for a small pool")
}

/// All frames of the pool.
pub fn frames<'pool>(process: &mut Process<'pool>) -> Vec<Option<Frame<'pool>>> {
    let frames: Vec<_> = std::iter::from_fn(|| process.frame()).map(Some).collect();
    assert_eq!(frames.len(), BUFFERS, "nobody else has frames of this pool");
    frames
}

/// The raw side's view of the pool's frames: a second mapping of the same pages, so that both
/// sides meet the same cache lines, page sizes and cgroup charges.
pub struct SamePages {
    base: *mut u8,
    descriptor: OwnedFd,
}

impl SamePages {
    /// Maps the last `BUFFERS * BLOCK` bytes of the segment, which are the frames; checks that they
    /// are.
    pub fn new(pool: &Pool, frame: &mut Frame<'_>, descriptor: OwnedFd) -> Self {
        let len = BUFFERS * BLOCK;
        let offset = pool.segment_len() - len as u64;
        // SAFETY: the address is the kernel's choice, so nothing that exists is replaced; the
        // segment is sealed against shrinking.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
                pool.as_fd(),
                offset,
            )
        };
        let base = base.expect("room for a second mapping").cast::<u8>();
        let pages = Self { base, descriptor };
        frame.copy_from_slice(0, b"the same page").expect("a frame of this process");
        let at = frame.id().0 as usize * BLOCK;
        // SAFETY: frame numbers are below `BUFFERS`, so the offset is inside of the mapping.
        let seen = unsafe { base.add(at) };
        // SAFETY: 13 bytes of the mapping; nothing writes to them meanwhile.
        let seen = unsafe { std::slice::from_raw_parts(seen, 13) };
        assert_eq!(seen, b"the same page", "frames are the last part of the segment");
        pages
    }

    /// The descriptor that both sides use.
    pub fn descriptor(&self) -> OwnedFd {
        self.descriptor.try_clone().expect("a descriptor")
    }

    /// The loop's read with preadv(2): what it returned.
    #[inline(always)]
    pub fn preadv(&self, buffer: usize, offset: u64) -> isize {
        let iov = libc::iovec { iov_base: self.buffer(buffer), iov_len: BLOCK };
        // SAFETY: the buffer is part of a mapping that lives as long as `self`, and no reference
        // to its bytes exists.
        unsafe {
            libc::preadv(self.descriptor.as_raw_fd(), &raw const iov, 1, offset.cast_signed())
        }
    }

    /// The loop's read with pread(2): what it returned.
    #[inline(always)]
    pub fn pread(&self, buffer: usize, offset: u64) -> isize {
        let (fd, offset) = (self.descriptor.as_raw_fd(), offset.cast_signed());
        // SAFETY: as in `preadv`.
        unsafe { libc::pread(fd, self.buffer(buffer), BLOCK, offset) }
    }

    /// The same, lent.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Where a read goes.
    #[inline(always)]
    pub fn buffer(&self, index: usize) -> *mut libc::c_void {
        // SAFETY: the remainder keeps the offset inside of the mapping.
        unsafe { self.base.add(index % BUFFERS * BLOCK) }.cast()
    }
}

impl Drop for SamePages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, of this length, and nothing points into it.
        let unmapped = unsafe { rustix::mm::munmap(self.base.cast(), BUFFERS * BLOCK) };
        assert!(unmapped.is_ok(), "the mapping was made by this value");
    }
}
