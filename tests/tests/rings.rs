//! Method io_uring: rings whose issuers are busy, stopped by filters or dead; many handles, many files.
//!
//! A read of an empty pipe stays in flight until the test writes to it, so that nothing here depends on
//! how fast a disk is.

mod common;

use common::{Data, eventually, finished, in_time, memory, pattern, room, small, start_read};
use handfast::{
    AlignedBuf, Flags, Memory, Method, MethodChoice, Pool, Process, RawResult, State, Waited,
};
use handfast_tests::callbacks::{self, COUNT};
use handfast_tests::participant::Participant;
use handfast_tests::{TestPool, with_method};
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_participant");

/// Whether there are rings here; says so if there are none.
fn here() -> bool {
    let choice = MethodChoice::here();
    let rings = choice.method == Method::IoUring;
    if !rings {
        println!("SKIPPED: {}", choice.refusals[0]);
    }
    rings
}

fn settings() -> handfast_tests::Builder {
    with_method(Method::IoUring, small)
        .processes(4)
        .frames(16)
        .user_words(callbacks::WORDS)
        .registry(callbacks::registry(|_| ()))
}

fn pool() -> TestPool {
    settings().create().unwrap()
}

/// A pipe whose reading end is a file of the process.
fn pipe<'pool>(me: &mut Process<'pool>) -> (handfast::File<'pool>, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (me.file(reader, "a pipe").unwrap(), writer)
}

/// How long a foreign waiter goes on waiting after the IO of an issuer is over that is busy with `work`
/// in the meantime. Of several times the third: where other programs want the processor, too, some are late.
fn woken_after(work: impl Fn(&std::sync::mpsc::Receiver<()>)) -> Duration {
    let pool = pool();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let (file, mut writer) = pipe(&mut me);
    let mut took: Vec<_> = (0..9)
        .map(|_| {
            let mut scope = me.scope();
            let pending = start_read(&mut scope, &file, (8, 0));
            let reference = pending.wait_ref();
            let (tell, told) = channel();
            let (other, writer, pool) = (&mut other, &mut writer, &pool);
            let took = std::thread::scope(|threads| {
                let waiter = threads.spawn(move || {
                    assert_eq!(other.wait(reference), Ok(Waited::Done));
                    let over = Instant::now();
                    // The issuer listens, or it is busy with something else.
                    let _heard = tell.send(());
                    over
                });
                let device = threads.spawn(move || {
                    let row = || pool.snapshot()[reference.handle().index()].clone();
                    assert!(eventually(|| row().has_waiters));
                    assert_eq!(row().state, State::Submitted);
                    let begin = Instant::now();
                    writer.write_all(b"12345678").unwrap();
                    begin
                });
                work(&told);
                waiter.join().unwrap() - device.join().unwrap()
            });
            assert_eq!(finished(&mut scope, pending).0, 8);
            took
        })
        .collect();
    took.sort_unstable();
    println!("woken after {took:?}");
    took[2]
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn l4_u1_an_issuer_that_spins_in_user_space_does_not_delay_a_foreign_waiter() {
    if here() {
        in_time(|| {
            let woken = woken_after(|_| spin(Duration::from_millis(120)));
            assert!(woken < Duration::from_millis(8), "{woken:?}, of 120 ms");
        });
    }
}

#[test]
fn l4_an_issuer_that_spins_for_a_second_delays_a_foreign_waiter_by_milliseconds_at_most() {
    if here() {
        in_time(|| {
            let once = std::cell::Cell::new(true);
            let woken = woken_after(|told| {
                if once.take() {
                    spin(Duration::from_secs(1));
                    assert!(told.try_recv().is_ok(), "it was over long before");
                }
            });
            assert!(woken < Duration::from_millis(8), "{woken:?}");
        });
    }
}

#[test]
fn l4_an_issuer_that_blocks_on_its_waiter_does_not_delay_it() {
    if here() {
        in_time(|| {
            let woken = woken_after(|told| told.recv().unwrap());
            assert!(woken < Duration::from_millis(8), "{woken:?}");
        });
    }
}

#[test]
fn l4_a_direct_read_is_reported_while_its_issuer_spins() {
    if !here() {
        return;
    }
    in_time(|| {
        let (data, pool) = (Data::new(&pattern(1 << 20)), pool());
        let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let mut direct = std::fs::OpenOptions::new();
        direct.read(true).custom_flags(libc::O_DIRECT);
        let Ok(file) = me.open(data.path(), &direct) else {
            println!("SKIPPED: the temporary directory's file system has no direct IO");
            return;
        };
        for _ in 0..5 {
            let mut scope = me.scope();
            let buffer = AlignedBuf::new(1 << 20, 4096).unwrap();
            let pending = scope.acquire().unwrap().read(&file, buffer, 0).unwrap();
            let reference = pending.wait_ref();
            std::thread::scope(|threads| {
                let other = &mut other;
                let waiter = threads.spawn(move || {
                    assert_eq!(other.wait(reference), Ok(Waited::Done));
                    Instant::now()
                });
                let begin = Instant::now();
                spin(Duration::from_millis(300));
                let took = waiter.join().unwrap() - begin;
                assert!(took < Duration::from_millis(250), "{took:?}");
            });
            let (bytes, buffer) = finished(&mut scope, pending);
            assert_eq!((bytes, &buffer[..]), (1 << 20, &pattern(1 << 20)[..]));
        }
    });
}

#[test]
fn full_batches_and_more_handles_than_a_ring_has_submissions() {
    if !here() {
        return;
    }
    in_time(|| {
        let data = Data::new(&pattern(4096));
        for handles in [1, 2, 31, 32, 64, 65, 200, 1024] {
            let pool = settings().processes(1).handles_per_process(handles).create().unwrap();
            let mut me = pool.attach().unwrap();
            let file = data.open(&mut me);
            let mut scope = me.scope();
            for batched in [true, false] {
                let mut all = Vec::new();
                if batched {
                    let mut batch = scope.batch();
                    all.extend(
                        (0..handles).map(|at| start_read(&mut batch, &file, (8, at.into()))),
                    );
                } else {
                    all.extend(
                        (0..handles).map(|at| start_read(&mut scope, &file, (8, at.into()))),
                    );
                }
                for (at, pending) in all.into_iter().enumerate().rev() {
                    let (bytes, memory) = finished(&mut scope, pending);
                    let expected = &pattern(4096)[at..at + 8];
                    assert_eq!((bytes, &common::bytes_of(&memory)[..]), (8, expected));
                }
            }
        }
    });
}

#[test]
fn vectored_and_short_io_and_its_syncs() {
    if !here() {
        return;
    }
    in_time(|| {
        let (data, pool) = (Data::new(&pattern(100)), pool());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        for _ in 0..20 {
            let list = |sizes: &[usize]| sizes.iter().map(|&n| Memory::Local(room(n))).collect();
            let list: Vec<_> = list(&[10, 3, 50, 60]);
            let pending = scope.acquire().unwrap().read(&file, list, 5).unwrap();
            let (bytes, list) = finished(&mut scope, pending);
            let seen: Vec<u8> = list.iter().flat_map(common::bytes_of).collect();
            assert_eq!((bytes, &seen[..95]), (95, &pattern(100)[5..]));
            let pending = scope.acquire().unwrap().write(&file, list, 5).unwrap();
            assert_eq!(finished(&mut scope, pending).0, 123);
            let pending = scope.acquire().unwrap().fsync(&file).unwrap();
            assert_eq!(finished(&mut scope, pending).0, 0);
            std::fs::File::options().write(true).open(data.path()).unwrap().set_len(100).unwrap();
        }
        assert_eq!(data.bytes(), pattern(100));
    });
}

#[test]
fn an_io_that_cannot_be_done_now_is_done_when_it_can() {
    if !here() {
        return;
    }
    in_time(|| {
        let pool = pool();
        let mut me = pool.attach().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).unwrap();
        let file = me.file(reader, "a pipe").unwrap();
        let mut scope = me.scope();
        for _ in 0..3 {
            let pending = start_read(&mut scope, &file, (8, 0));
            let slice = Duration::from_millis(15);
            assert_eq!(scope.wait_timeout(pending.wait_ref(), slice), Ok(None), "not EAGAIN");
            writer.write_all(b"1234").unwrap();
            assert_eq!(finished(&mut scope, pending).0, 4);
        }
    });
}

#[test]
fn many_buffered_reads_are_offloaded_and_are_the_same() {
    if !here() {
        return;
    }
    in_time(|| {
        let (data, pool) = (Data::new(&pattern(4096)), pool());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        for most in [Some(0), Some(2), None] {
            me.offload_buffered(most);
            let mut scope = me.scope();
            let mut all = Vec::new();
            for at in 0..50_u64 {
                let mut handle = scope.acquire().unwrap();
                handle.set_flag(Flags::BUFFERED);
                all.push((at, handle.read(&file, room(8), at).unwrap()));
            }
            for (at, pending) in all {
                let at = usize::try_from(at).unwrap();
                assert_eq!(&finished(&mut scope, pending).1[..], &pattern(4096)[at..at + 8]);
            }
        }
    });
}

#[test]
fn s16_a_file_that_was_registered_is_gone_when_it_is_closed() {
    if !here() {
        return;
    }
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), pool());
        let mut me = pool.attach().unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for round in 0..200 {
            let file = data.open(&mut me);
            // The lock goes with the last reference to this open file, the ring's included.
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
            let mut scope = me.scope();
            for _ in 0..8 {
                let pending = start_read(&mut scope, &file, (8, 0));
                assert_eq!(finished(&mut scope, pending).0, 5);
            }
            drop(scope);
            if round % 2 == 0 {
                assert!(me.close_fd(file).unwrap());
            } else {
                drop(file);
            }
            let again = std::fs::File::open(data.path()).unwrap();
            let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
            assert!(eventually(|| rustix::fs::flock(&again, lock).is_ok()), "round {round}");
        }
        // Other tests of this program open files, too.
        assert!(eventually(|| open() < before + 60), "{} and {before} before", open());
    });
}

#[test]
fn s16_files_closed_while_their_io_flies_serve_it() {
    if !here() {
        return;
    }
    in_time(|| {
        let pool = pool();
        let mut me = pool.attach().unwrap();
        for registered in [false, true] {
            let (file, mut writer) = pipe(&mut me);
            let mut scope = me.scope();
            for _ in 0..if registered { 8 } else { 0 } {
                writer.write_all(b"before").unwrap();
                let pending = start_read(&mut scope, &file, (8, 0));
                assert_eq!(finished(&mut scope, pending).0, 6);
            }
            let pending = start_read(&mut scope, &file, (8, 0));
            drop(file);
            let others: Vec<_> = (0..4).map(|_| std::fs::File::open("/dev/zero")).collect();
            writer.write_all(b"after").unwrap();
            let (bytes, memory) = finished(&mut scope, pending);
            assert_eq!((bytes, &common::bytes_of(&memory)[..5]), (5, &b"after"[..]));
            drop(others);
        }
    });
}

#[test]
fn l7_a_detach_waits_for_what_is_in_flight() {
    if !here() {
        return;
    }
    in_time(|| {
        let pool = pool();
        let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let (file, mut writer) = pipe(&mut me);
        let pending = start_read(&mut me.scope(), &file, (8, 0));
        let reference = pending.wait_ref();
        std::thread::scope(|threads| {
            let leaves = threads.spawn(move || me.detach());
            handfast_tests::pause(Duration::from_millis(20));
            assert!(!leaves.is_finished(), "the kernel may still write to its memory");
            writer.write_all(b"12345678").unwrap();
            assert_eq!(leaves.join().unwrap(), Ok(()));
        });
        assert_eq!(other.wait(reference), Ok(Waited::Recycled));
        drop((pending, memory(&pool, 8)));
        assert!(pool.snapshot().iter().all(|row| row.state == State::Idle));
    });
}

/// Another process that has opened the pool.
fn opened(pool: &Pool) -> Participant {
    let mut process = Participant::start(PROGRAM);
    let segment = pool.as_fd().as_raw_fd();
    process.ask(&format!("pool /proc/{}/fd/{segment}", std::process::id()));
    process
}

#[test]
fn a_process_that_may_not_make_a_ring_goes_on_in_place_or_is_told() {
    if !here() {
        return;
    }
    in_time(|| {
        let data = Data::new(&[1; 4096]);
        let registry = || callbacks::registry(|_| ());
        let plain = |method| {
            let builder = Pool::builder().method(method).frame_size(4096).frames(16);
            builder.user_words(callbacks::WORDS).registry(registry()).create().unwrap()
        };
        let auto = plain(Method::Auto);
        assert_eq!(auto.method(), Method::IoUring);
        let mut process = opened(&auto);
        process.ask("forbid io_uring_setup");
        process.ask("attach");
        let said = process.ask("method");
        assert!(said.starts_with("sync "), "{said}");
        for part in ["io_uring", "seccomp", "allow"] {
            assert!(said.to_lowercase().contains(part), "{part}: {said}");
        }
        process.ask(&format!("file {}", data.path().display()));
        process.ask("read 0 count");
        assert_eq!(process.ask("finish"), "4096 1");
        process.ask("detach");

        let explicit = plain(Method::IoUring);
        let mut process = opened(&explicit);
        process.ask("forbid io_uring_setup");
        let refused = process.refuses("attach");
        assert!(refused.contains("cannot use the pool's method"), "{refused}");
        assert!(explicit.snapshot().iter().all(|row| row.state == State::Idle));
        assert_eq!(explicit.attach().unwrap().slot().get(), 0, "no slot is lost");
    });
}

/// A fifo that both ends of have been opened for.
fn fifo(data: &Data) -> std::fs::File {
    let path = data.beside("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    common::read_write().open(path).unwrap()
}

fn reference(words: &str) -> String {
    words.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_ring_that_breaks_in_mid_flight_loses_nothing() {
    if !here() {
        return;
    }
    in_time(|| {
        let (data, pool) = (Data::new(&[1; 8 * 4096]), pool());
        let mut writer = fifo(&data);
        let (mut process, mut other) = (opened(&pool), opened(&pool));
        process.ask("attach");
        other.ask("attach");
        process.ask(&format!("file {}", data.beside("fifo").display()));
        let in_flight = reference(&process.ask("read 0 count"));
        process.ask("forbid io_uring_enter");
        process.ask(&format!("file {}", data.path().display()));
        for _ in 0..2 {
            let later = reference(&process.ask("read 0 count"));
            assert_eq!(other.ask(&format!("wait {later}")), "done");
        }
        other.tell(&format!("wait {in_flight}"));
        writer.write_all(&[7; 4096]).unwrap();
        assert_eq!(other.hear_ok(), "done");
        assert_eq!(process.ask("finish"), "4096 7");
        assert_eq!(process.ask("finish"), "4096 1");
        assert_eq!(process.ask("finish"), "4096 1");
        for _ in 0..10 {
            process.ask("batch");
            process.ask("read 0 count");
            process.ask("read 4096 count");
            process.ask("submit");
            assert_eq!((process.ask("finish"), process.ask("finish")).0, "4096 1");
            process.ask("drop");
        }
        process.ask("detach");
        let seen = callbacks::seen(pool.user_words(), COUNT);
        assert_eq!((seen.runs, seen.repeats), (23, 0), "S1");
    });
}

/// How many completions wait in the rings of a process, as its kernel shows them.
fn unread_completions(pid: u32) -> u32 {
    let number = |line: &str| line.rsplit(char::is_whitespace).next()?.parse::<u32>().ok();
    let of_ring = |text: String| {
        let word = |name| text.lines().find(|line| line.starts_with(name)).and_then(number);
        Some(word("CqTail:")?.wrapping_sub(word("CqHead:")?))
    };
    let all = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    all.filter_map(|file| of_ring(std::fs::read_to_string(file.ok()?.path()).ok()?)).sum()
}

#[test]
fn rc40_the_queue_of_a_dead_process_tells_its_waiters_the_true_result() {
    if !here() {
        return;
    }
    in_time(|| {
        let (data, pool) = (Data::new(&[1; 4096]), pool());
        let mut writer = fifo(&data);
        let mut other = opened(&pool);
        other.ask("attach");
        let mut issuer = opened(&pool);
        issuer.ask("attach");
        issuer.ask(&format!("file {}", data.beside("fifo").display()));
        let over = reference(&issuer.ask("read 0 count"));
        writer.write_all(&[7; 4096]).unwrap();
        assert!(eventually(|| unread_completions(issuer.pid()) > 0));
        let seen = || callbacks::seen(pool.user_words(), COUNT);
        assert_eq!(seen().runs, 0, "nobody has looked for it");
        issuer.kill();
        let told = other.ask(&format!("wait {over}"));
        assert!(told == "recycled" || told == "done", "{told}");
        assert!(eventually(|| pool.snapshot().iter().all(|row| row.state == State::Idle)));
        assert_eq!((seen().runs, seen().repeats, seen().last_raw), (1, 0, 4096));

        // In flight for ever, so that the death ends it.
        let mut issuer = opened(&pool);
        issuer.ask("attach");
        issuer.ask(&format!("file {}", data.beside("fifo").display()));
        let flying = reference(&issuer.ask("read 0 count"));
        other.tell(&format!("wait {flying}"));
        let began = Instant::now();
        issuer.kill();
        let told = other.hear_ok();
        assert!(told == "recycled" || told == "done", "{told}");
        assert!(began.elapsed() < Duration::from_secs(1), "L9: {:?}", began.elapsed());
        assert!(eventually(|| pool.snapshot().iter().all(|row| row.state == State::Idle)));
        assert_eq!((seen().runs, seen().repeats), (2, 0));
        assert_ne!(seen().last_raw, RawResult::OWNER_DIED.0, "the kernel has said how it ended");
    });
}

#[test]
fn waiting_for_any_sees_own_and_foreign_ios_in_flight() {
    if !here() {
        return;
    }
    in_time(|| {
        let pool = pool();
        let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let (mine, mut to_mine) = pipe(&mut me);
        let (theirs, mut to_theirs) = pipe(&mut other);
        for own_first in [true, false, true] {
            let (mut scope, mut of_other) = (me.scope(), other.scope());
            let own = start_read(&mut scope, &mine, (8, 0));
            let foreign = start_read(&mut of_other, &theirs, (8, 0));
            let references = [own.wait_ref(), foreign.wait_ref()];
            let slice = Duration::from_millis(15);
            let me = scope.process();
            assert_eq!(me.wait_any_timeout(&references, slice), Ok(None));
            let (tell, told) = channel();
            std::thread::scope(|threads| {
                let writer = if own_first { &mut to_mine } else { &mut to_theirs };
                threads.spawn(move || {
                    told.recv().unwrap();
                    writer.write_all(b"12345678").unwrap();
                });
                tell.send(()).unwrap();
                let which = usize::from(!own_first);
                assert_eq!(me.wait_any(&references), Ok((which, Waited::Done)));
            });
            let last = if own_first { &mut to_theirs } else { &mut to_mine };
            last.write_all(b"12345678").unwrap();
            assert_eq!(finished(&mut scope, own).0, 8);
            assert_eq!(finished(&mut of_other, foreign).0, 8);
        }
    });
}

#[test]
fn s24_memory_of_a_forgotten_io_comes_back_when_the_kernel_is_done_with_it() {
    if !here() {
        return;
    }
    in_time(|| {
        let pool = pool();
        let mut me = pool.attach().unwrap();
        let (file, mut writer) = pipe(&mut me);
        let all = common::free_frames(&mut me);
        for _ in 0..5 {
            let mut scope = me.scope();
            let frame = scope.frame().unwrap();
            let pending = scope.acquire().unwrap().read(&file, frame, 0).unwrap();
            let reference = pending.wait_ref();
            drop(pending);
            drop(scope);
            assert_eq!(common::free_frames(&mut me), all - 1, "the kernel may write to it");
            writer.write_all(&[1; 4096]).unwrap();
            assert_eq!(me.wait(reference), Ok(Waited::Done));
            assert_eq!(common::free_frames(&mut me), all);
        }
    });
}
