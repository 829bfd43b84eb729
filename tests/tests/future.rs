//! Waiting as a future, with executors of our own and with tokio: who is woken, by which thread, and what a
//! dropped future leaves behind.

#![expect(clippy::disallowed_types, reason = "a test's own count")]

mod common;

use common::{Data, eventually, finished, free_frames, in_time, small, start_read};
use handfast::{File, Frame, Memory, Pending, Pool, Process, Scope, State};
use handfast_tests::method;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

handfast_tests::every_method! {
    several_futures_are_over_one_after_the_other
    a_task_is_woken_when_its_staged_io_is_submitted_and_over
    rc7_a_task_is_woken_by_the_completion_and_not_by_a_slice
    a_dropped_future_cancels_nothing_and_leaks_nothing
    a_future_is_polled_by_another_thread_than_its_issuers
    the_waker_of_the_last_poll_is_woken
    l4_two_futures_of_one_io_are_both_woken
    l4_a_dropped_future_takes_no_other_of_its_io_off_the_list
    thousands_of_rounds_lose_no_wake_up
    futures_on_tokio_with_one_thread
    futures_on_tokio_with_several_threads_and_attachments
    a_task_whose_issuer_does_nothing_is_woken
}

/// Wakes a thread, and counts how often.
struct Unparks(Thread, AtomicUsize);

impl Unparks {
    fn here() -> Arc<Self> {
        Arc::new(Self(std::thread::current(), AtomicUsize::new(0)))
    }

    fn count(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// The smallest executor: polls, and sleeps until it is woken. How often it has polled.
fn run<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let waker = Waker::from(Unparks::here());
    let mut context = Context::from_waker(&waker);
    let mut polls = 0;
    loop {
        polls += 1;
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return (output, polls);
        }
        // A wake-up that is lost makes this hang, which `in_time` notices.
        std::thread::park();
    }
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Arc<Unparks>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(waker.clone())))
}

fn into_frame<'pool>(
    scope: &mut Scope<'_, 'pool>,
    file: &File<'pool>,
    offset: u64,
) -> Pending<'pool, Frame<'pool>> {
    let frame = scope.frame().expect("a frame is free");
    scope.acquire().unwrap().read(file, frame, offset).unwrap()
}

fn several_futures_are_over_one_after_the_other() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut scope = me.scope();
            let mut all = [0, 1, 2, 3].map(|at| Some(into_frame(&mut scope, &file, at)));
            for which in order {
                let pending = all[which].take().unwrap();
                let (over, polls) = run(pending.ready());
                assert_eq!(over, Ok(()));
                assert!(polls <= 4, "it is not polled for nothing: {polls}");
                let row = pool.snapshot()[pending.wait_ref().handle().index()].clone();
                assert_eq!(row.state, State::CompletedShared, "finishing does not block");
                assert_eq!(finished(&mut scope, pending).0 as usize, 5 - which);
            }
        }
    });
}

fn a_task_is_woken_when_its_staged_io_is_submitted_and_over() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let mut batch = scope.batch();
        let pending = start_read(&mut batch, &file, (8, 0));
        {
            let (woken, mut future) = (Unparks::here(), pin!(pending.ready()));
            for _ in 0..3 {
                assert!(poll(future.as_mut(), &woken).is_pending());
            }
            handfast_tests::pause(Duration::from_millis(20));
            assert!(poll(future.as_mut(), &woken).is_pending());
            assert_eq!(woken.count(), 0, "nothing has happened");
            drop(batch);
            assert!(eventually(|| woken.count() > 0));
            assert_eq!(poll(future.as_mut(), &woken), Poll::Ready(Ok(())));
        }
        assert_eq!(finished(&mut scope, pending).0, 5);
    });
}

fn rc7_a_task_is_woken_by_the_completion_and_not_by_a_slice() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut took = [(); 21].map(|()| {
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let pending = start_read(&mut batch, &file, (8, 0));
            let took = {
                let (woken, mut future) = (Unparks::here(), pin!(pending.ready()));
                assert!(poll(future.as_mut(), &woken).is_pending());
                // The attendant has looked, and sleeps for up to 10 ms.
                handfast_tests::pause(Duration::from_millis(1));
                let began = Instant::now();
                drop(batch);
                assert!(eventually(|| woken.count() > 0));
                began.elapsed()
            };
            assert_eq!(finished(&mut scope, pending).0, 5);
            took
        });
        took.sort();
        // A quarter is enough: where others want the processor, too, some are late.
        assert!(took[5] < Duration::from_millis(6), "slices have 10 ms: {took:?}");
    });
}

fn a_dropped_future_cancels_nothing_and_leaks_nothing() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let woken = Unparks::here();
        for _ in 0..20 {
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let pending = into_frame(&mut batch, &file, 0);
            assert!(poll(pin!(pending.ready()), &woken).is_pending());
            // One that was never polled, too.
            drop(pending.ready());
            drop(batch);
            assert_eq!(finished(&mut scope, pending).0, 5);
        }
        // The attendant lets go of the last of them, if it has one in hand.
        assert!(eventually(|| Arc::strong_count(&woken) == 1), "a waker is kept");
        assert_eq!(woken.count(), 0, "nobody waits any more");
        assert_eq!(free_frames(&mut me), 4);
    });
}

fn a_future_is_polled_by_another_thread_than_its_issuers() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        for _ in 0..50 {
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let pending = start_read(&mut batch, &file, (8, 0));
            std::thread::scope(|threads| {
                let pending = &pending;
                let task = threads.spawn(move || run(pending.ready()).0);
                let seen = || pool.snapshot()[pending.wait_ref().handle().index()].has_waiters;
                assert!(eventually(seen));
                drop(batch);
                assert_eq!(task.join().unwrap(), Ok(()));
            });
            assert_eq!(finished(&mut scope, pending).0, 5);
        }
    });
}

fn the_waker_of_the_last_poll_is_woken() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let mut batch = scope.batch();
        let pending = start_read(&mut batch, &file, (8, 0));
        {
            let (early, late) = (Unparks::here(), Unparks::here());
            let mut future = pin!(pending.ready());
            assert!(poll(future.as_mut(), &early).is_pending());
            assert!(poll(future.as_mut(), &late).is_pending());
            drop(batch);
            assert!(eventually(|| late.count() > 0));
            assert_eq!(early.count(), 0);
        }
        assert_eq!(finished(&mut scope, pending).0, 5);
    });
}

fn l4_two_futures_of_one_io_are_both_woken() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let mut batch = scope.batch();
        let pending = start_read(&mut batch, &file, (8, 0));
        {
            let woken = [(); 2].map(|()| Unparks::here());
            let (mut one, mut two) = (pin!(pending.ready()), pin!(pending.ready()));
            assert!(poll(one.as_mut(), &woken[0]).is_pending());
            assert!(poll(two.as_mut(), &woken[1]).is_pending());
            drop(batch);
            assert!(eventually(|| woken.iter().all(|woken| woken.count() > 0)), "one is lost");
            assert_eq!(poll(one, &woken[0]), Poll::Ready(Ok(())));
            assert_eq!(poll(two, &woken[1]), Poll::Ready(Ok(())));
        }
        assert_eq!(finished(&mut scope, pending).0, 5);
    });
}

fn l4_a_dropped_future_takes_no_other_of_its_io_off_the_list() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        for polled_again in [false, true] {
            let mut scope = me.scope();
            let mut batch = scope.batch();
            let pending = start_read(&mut batch, &file, (8, 0));
            {
                let (kept, dropped) = (Unparks::here(), Unparks::here());
                let mut stays = pin!(pending.ready());
                assert!(poll(stays.as_mut(), &kept).is_pending());
                {
                    let goes = pin!(pending.ready());
                    assert!(poll(goes, &dropped).is_pending());
                    if polled_again {
                        assert!(poll(stays.as_mut(), &kept).is_pending());
                    }
                }
                drop(batch);
                assert!(eventually(|| kept.count() > 0), "it was lost, {polled_again}");
                assert_eq!(dropped.count(), 0, "nobody waits there any more");
                assert_eq!(poll(stays, &kept), Poll::Ready(Ok(())));
            }
            assert_eq!(finished(&mut scope, pending).0, 5);
        }
    });
}

fn thousands_of_rounds_lose_no_wake_up() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut frame = me.frame();
        for round in 0..4000_u64 {
            let mut scope = me.scope();
            let memory = frame.take().unwrap();
            let pending = scope.acquire().unwrap().read(&file, memory, round % 5).unwrap();
            assert_eq!(run(pending.ready()).0, Ok(()));
            let (bytes, memory) = finished(&mut scope, pending);
            assert_eq!(u64::from(bytes), 5 - round % 5);
            frame = Some(memory);
        }
    });
}

fn a_task_whose_issuer_does_nothing_is_woken() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let pipe = me.file(reader, "a pipe").unwrap();
        let in_flight = method() == handfast::Method::IoUring;
        let mut scope = me.scope();
        let pending = start_read(&mut scope, if in_flight { &pipe } else { &file }, (8, 0));
        let woken = Unparks::here();
        {
            let mut future = pin!(pending.ready());
            if poll(future.as_mut(), &woken).is_pending() {
                std::io::Write::write_all(&mut writer, b"12345").unwrap();
                assert!(eventually(|| woken.count() > 0));
                assert_eq!(poll(future.as_mut(), &woken), Poll::Ready(Ok(())));
            } else {
                assert!(!in_flight);
            }
        }
        assert_eq!(finished(&mut scope, pending).0, 5);
    });
}

/// Reads again and again, all of it in tasks.
async fn reads(pool: &Pool, data: &Data, rounds: u64) -> u64 {
    let mut me: Process<'_> = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut bytes = 0;
    for round in 0..rounds {
        let start = |at| {
            let memory = common::memory(pool, 8);
            me.scope().acquire().unwrap().read(&file, memory, at).unwrap()
        };
        let all: Vec<Pending<'_, Memory<'_>>> = (0..4).map(start).collect();
        for pending in all.iter().skip(usize::try_from(round % 2).unwrap()) {
            pending.ready().await.unwrap();
        }
        for pending in all {
            bytes += u64::from(finished(&mut me.scope(), pending).0);
        }
    }
    me.detach().unwrap();
    bytes
}

fn futures_on_tokio_with_one_thread() {
    in_time(|| {
        let (data, pool) = (Data::new(b"hello"), small().create().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(reads(&pool, &data, 200)), 200 * (5 + 4 + 3 + 2));
    });
}

fn futures_on_tokio_with_several_threads_and_attachments() {
    in_time(|| {
        let data: &'static Data = Box::leak(Box::new(Data::new(b"hello")));
        let pool = small().processes(6).create().unwrap();
        let pool: &'static Pool = Box::leak(Box::new(pool));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
        let tasks: Vec<_> = (0..6).map(|_| runtime.spawn(reads(pool, data, 100))).collect();
        for task in tasks {
            assert_eq!(runtime.block_on(task).unwrap(), 100 * (5 + 4 + 3 + 2));
        }
        assert!(pool.snapshot().iter().all(|row| row.state == State::Idle));
        // The directory is not deleted by a leak.
        std::fs::remove_dir_all(data.path().parent().unwrap()).unwrap();
    });
}
