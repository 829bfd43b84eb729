//! The ends of rings: an earlier ring at the same place, a thread that ends, memory whose IO is not over,
//! a queue that a peer plays with.

#![expect(clippy::disallowed_types, reason = "the peer follows no protocol")]

mod common;

use common::{Data, bytes_of, finished, forked, in_time, opened_again, room, small, start_read};
use handfast::{
    File, Frame, Method, MethodChoice, Pool, Process, Registry, Scope, UseError, WaitRef, Waited,
};
use handfast_tests::{TestPool, with_method};
use rustix::mm::{MapFlags, ProtFlags};
use std::io::{PipeWriter, Write as _};
use std::os::fd::AsFd as _;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Whether there are rings here; says so if there are none.
fn here() -> bool {
    let choice = MethodChoice::here();
    let rings = choice.method == Method::IoUring;
    if !rings {
        println!("SKIPPED: {}", choice.refusals[0]);
    }
    rings
}

fn pool() -> TestPool {
    with_method(Method::IoUring, small).frames(16).create().unwrap()
}

/// A pipe whose reading end is a file of the process.
fn pipe<'pool>(me: &mut Process<'pool>) -> (File<'pool>, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (me.file(reader, "a pipe").unwrap(), writer)
}

/// So many reads that the thread has a shortcut to the ring, and the file its place there.
fn read_often<'pool>(scope: &mut Scope<'_, 'pool>, file: &File<'pool>) {
    for _ in 0..40 {
        let pending = scope.acquire().unwrap().read(file, room(8), 0).unwrap();
        assert_eq!(scope.finish(pending).unwrap().outcome.bytes(), Ok(8));
    }
}

#[test]
fn s8_a_ring_that_ends_late_does_not_write_to_the_next_ones_queue() {
    if !here() {
        return;
    }
    in_time(|| {
        let (pool, data) = (pool(), Data::new(b"hello world"));
        let (give, take) = channel();
        let (leave, left) = channel::<()>();
        std::thread::scope(|threads| {
            let (pool, data) = (&pool, &data);
            let first = threads.spawn(move || {
                let mut me = pool.attach().unwrap();
                let file = data.open(&mut me);
                read_often(&mut me.scope(), &file);
                drop(file);
                give.send(me).unwrap();
                // The thread's shortcut keeps the ring until here.
                let _ended = left.recv();
            });
            let before: Process<'_> = take.recv().unwrap();
            let slot = before.slot();
            before.detach().unwrap();
            let mut me = pool.attach().unwrap();
            assert_eq!(me.slot(), slot, "the same place");
            let file = data.open(&mut me);
            read_often(&mut me.scope(), &file);
            drop(leave);
            first.join().unwrap();
            let (empty, mut writer) = pipe(&mut me);
            let mut scope = me.scope();
            for _ in 0..20 {
                let pending = start_read(&mut scope, &empty, (8, 0));
                writer.write_all(b"12345678").unwrap();
                assert_eq!(finished(&mut scope, pending).0, 8);
                read_often(&mut scope, &file);
            }
            assert_eq!(scope.process().stray_completions(), 0);
        });
    });
}

#[test]
fn l7_attachments_follow_each_other_quickly() {
    if !here() {
        return;
    }
    in_time(|| {
        let (pool, data) = (pool(), Data::new(b"hello world"));
        for _ in 0..60 {
            let mut me = pool.attach().unwrap();
            let file = data.open(&mut me);
            read_often(&mut me.scope(), &file);
            let left_to_the_detach = start_read(&mut me.scope(), &file, (8, 0));
            drop((left_to_the_detach, file));
            assert_eq!(me.stray_completions(), 0);
            me.detach().unwrap();
        }
    });
}

#[test]
fn l4_an_io_goes_on_when_the_thread_that_submitted_it_ends() {
    if !here() {
        return;
    }
    in_time(|| {
        let pool = pool();
        let ended = std::thread::scope(|threads| {
            let submitting = threads.spawn(|| {
                let mut me = pool.attach().unwrap();
                let (file, writer) = pipe(&mut me);
                let pending = start_read(&mut me.scope(), &file, (8, 0));
                (me, pending, writer)
            });
            submitting.join().unwrap()
        });
        let (mut me, pending, mut writer) = ended;
        let mut scope = me.scope();
        assert!(!scope.check_done(pending.wait_ref()).unwrap());
        writer.write_all(b"12345678").unwrap();
        let (bytes, memory) = finished(&mut scope, pending);
        assert_eq!((bytes, &bytes_of(&memory)[..]), (8, &b"12345678"[..]));
    });
}

#[test]
fn a_forked_child_that_drops_a_file_leaves_the_parents_place_alone() {
    if !here() {
        return;
    }
    in_time(|| {
        let (pool, data) = (pool(), Data::new(b"hello world"));
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        read_often(&mut me.scope(), &file);
        let mut again = Some(file);
        let child = forked(|| {
            drop(again.take());
            0
        });
        assert_eq!(child, Some(0));
        read_often(&mut me.scope(), again.as_ref().unwrap());
    });
}

/// The segment's words, mapped by somebody who does not care.
struct Peer {
    base: NonNull<u8>,
    len: usize,
}

impl Peer {
    fn of(pool: &Pool) -> Self {
        let len = usize::try_from(pool.segment_len()).unwrap();
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null address without MAP_FIXED: the kernel chooses one that nothing else uses.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, pool.as_fd(), 0)
        };
        Self { base: NonNull::new(base.unwrap().cast()).unwrap(), len }
    }

    fn half(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at < self.len);
        // SAFETY: inside of the mapping.
        let at = unsafe { self.base.add(at) };
        // SAFETY: aligned, and an atomic for everybody, as long as `self` lives.
        unsafe { at.cast().as_ref() }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at < self.len);
        // SAFETY: inside of the mapping.
        let at = unsafe { self.base.add(at) };
        // SAFETY: as above.
        unsafe { at.cast().as_ref() }
    }

    /// Where the only ring has its queue: the page with the ring's masks.
    fn queue(&self) -> usize {
        let is_one = |page: &usize| {
            let [mask, count] = [20, 28].map(|at| self.half(page + at).load(Ordering::Relaxed));
            mask != 0 && count == mask + 1
        };
        let mut pages = (4096..self.len).step_by(4096);
        pages.find(is_one).expect("a ring has its queue in the segment")
    }

    /// Says of the only IO that it is over.
    fn call_over(&self, of: WaitRef) {
        let submitted = of.generation().get() << 16 | 4;
        let is_its = |at: &usize| self.word(*at).load(Ordering::Relaxed) == submitted;
        let at = (0..self.len).step_by(64).find(is_its).expect("the word of a handle");
        self.word(at).store(of.generation().get() << 16 | 1 << 6 | 6, Ordering::Relaxed);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference to it is left.
        let _unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[test]
fn s26_a_head_beyond_the_tail_leaves_nobody_asleep_in_the_kernel_for_ever() {
    if !here() {
        return;
    }
    in_time(|| {
        let pool = pool();
        let mut me = pool.attach().unwrap();
        let (file, mut writer) = pipe(&mut me);
        let peer = Peer::of(&pool);
        let mut scope = me.scope();
        let pending = start_read(&mut scope, &file, (8, 0));
        let head = peer.half(peer.queue() + 8);
        let before = head.load(Ordering::Relaxed);
        head.store(before.wrapping_add(100), Ordering::Relaxed);
        writer.write_all(b"12345678").unwrap();
        // The kernel takes the queue for full: the wait sees nothing, and ends when its time is over.
        let limit = Duration::from_millis(100);
        assert_eq!(scope.wait_timeout(pending.wait_ref(), limit), Ok(None));
        head.store(before, Ordering::Relaxed);
        assert_eq!(scope.wait(pending.wait_ref()), Ok(Waited::Done));
        assert_eq!(finished(&mut scope, pending).0, 8);
    });
}

/// The mappings of this process that are segments.
fn segments() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:handfast")).count()
}

/// Runs in a child, since what is leaked stays.
#[test]
fn s24_a_segment_stays_mapped_while_the_kernel_may_write_to_it() {
    if !here() {
        return;
    }
    in_time(|| {
        let child = forked(|| {
            let created = pool();
            let pool = opened_again(&created, Registry::new());
            let (peer, before) = (Peer::of(&pool), segments());
            let mut me = pool.attach().unwrap();
            // With the thread's shortcut the ring lives on after the detach.
            let data = Data::new(b"hello world");
            let plain = data.open(&mut me);
            read_often(&mut me.scope(), &plain);
            let (file, mut writer) = pipe(&mut me);
            let mut frame: Frame<'_> = me.frame().unwrap();
            frame.set_len(8).unwrap();
            let pending = me.scope().acquire().unwrap().read(&file, frame, 0).unwrap();
            peer.call_over(pending.wait_ref());
            drop((pending, file, plain));
            assert_eq!(me.detach(), Err(UseError::StillInFlight));
            drop(pool);
            assert_eq!(segments(), before, "the mapping is still there");
            // Unless the ring is gone already.
            let _read_or_refused = writer.write_all(b"12345678");
            0
        });
        assert_eq!(child, Some(0));
    });
}

#[test]
fn s26_no_two_completions_bear_numbers_that_tell_of_each_other() {
    if !here() {
        return;
    }
    let (pool, data) = (pool(), Data::new(b"hello world"));
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    read_often(&mut me.scope(), &file);
    let peer = Peer::of(&pool);
    let entries = peer.queue() + 64;
    let numbers: Vec<u64> =
        (0..8).map(|i| peer.word(entries + 16 * i).load(Ordering::Relaxed) >> 32).collect();
    let steps: std::collections::HashSet<_> =
        numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert_eq!(steps.len(), 7, "{numbers:x?}");
}
