//! Wakers that do what no executor should: panic, drop futures where they are cloned, woken or dropped, end the
//! process whose IO they wait for.

#![expect(clippy::disallowed_types, reason = "a test's own count")]

mod common;

use common::{Data, eventually, finished, in_time, memory, small, start_read};
use handfast::{File, Memory, Pending, Process, Ready, Waited};
use handfast_tests::{Builder, TestPool};
use std::mem::forget;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

handfast_tests::every_method! {
    a_waker_that_owns_a_future_is_replaced_by_another
    a_waker_that_owns_a_future_goes_with_the_future_that_it_waits_for
    a_waker_that_owns_a_future_is_woken
    a_waker_drops_a_future_where_it_is_cloned
    l4_a_waker_that_panics_keeps_no_other_task_asleep
    l4_a_waker_that_panics_keeps_no_foreign_waiter_asleep [io_uring]
    l7_a_waker_ends_the_process_that_has_woken_it
    l7_a_waker_ends_the_process_that_has_woken_it_with_io_in_flight [io_uring]
}

/// It can be owned by a waker, which lives as long as it likes: so does what is borrowed by it.
type Owned = Pin<Box<Ready<'static>>>;

fn leaked(settings: Builder) -> &'static TestPool {
    Box::leak(Box::new(settings.create().unwrap()))
}

/// Reads that are staged, and are not submitted before [`Process::submit_staged`] is called.
fn staged<const COUNT: usize>(
    me: &mut Process<'static>,
    file: &File<'static>,
) -> [&'static Pending<'static, Memory<'static>>; COUNT] {
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let all = [(); COUNT].map(|()| {
        let memory = memory(batch.process().pool(), 8);
        &*Box::leak(Box::new(batch.acquire().unwrap().read(file, memory, 0).unwrap()))
    });
    // Their ends would submit.
    forget(batch);
    forget(scope);
    all
}

fn poll(future: &mut Owned, waker: &Waker) -> bool {
    future.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
}

/// A future that is on the list.
fn listed(pending: &'static Pending<'static, Memory<'static>>, waker: &Waker) -> Owned {
    let mut future = Box::pin(pending.ready());
    assert!(!poll(&mut future, waker));
    future
}

#[derive(Default)]
struct Counts(AtomicUsize);

impl Counts {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The waker of a task that owns a future.
struct Owns(Mutex<Option<Owned>>);

impl Wake for Owns {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

fn owner_of(future: Owned) -> Waker {
    Waker::from(Arc::new(Owns(Mutex::new(Some(future)))))
}

/// A process with two reads that are staged.
fn two_staged(data: &Data) -> (Process<'static>, [&'static Pending<'static, Memory<'static>>; 2]) {
    let mut me = leaked(small()).attach().unwrap();
    let file = data.open(&mut me);
    let both = staged(&mut me, &file);
    (me, both)
}

fn a_waker_that_owns_a_future_is_replaced_by_another() {
    in_time(|| {
        let data = Data::new(b"hello");
        let (_me, [one, two]) = two_staged(&data);
        let mut future = listed(one, &owner_of(listed(two, Waker::noop())));
        // The list has the last of the first waker.
        assert!(!poll(&mut future, Waker::noop()));
    });
}

fn a_waker_that_owns_a_future_goes_with_the_future_that_it_waits_for() {
    in_time(|| {
        let data = Data::new(b"hello");
        let (_me, [one, two]) = two_staged(&data);
        let future = listed(one, &owner_of(listed(two, Waker::noop())));
        // The list has the last of the waker.
        drop(future);
    });
}

fn a_waker_that_owns_a_future_is_woken() {
    in_time(|| {
        let data = Data::new(b"hello");
        let (mut me, [one, two]) = two_staged(&data);
        let count = Arc::new(Counts::default());
        let owner = Arc::new(Owns(Mutex::new(Some(listed(two, Waker::noop())))));
        let _first = listed(one, &Waker::from(Arc::clone(&owner)));
        let _last = listed(one, &Waker::from(Arc::clone(&count)));
        me.submit_staged().unwrap();
        assert!(eventually(|| count.count() > 0));
        assert!(eventually(|| owner.0.lock().unwrap().is_none()));
    });
}

/// What the next clone of a [`drops_when_cloned`] drops.
static DROPPED: Mutex<Option<Owned>> = Mutex::new(None);

fn drops_when_cloned() -> Waker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |_| {
            drop(DROPPED.lock().unwrap().take());
            RawWaker::new(std::ptr::null(), &TABLE)
        },
        |_| (),
        |_| (),
        |_| (),
    );
    // SAFETY: the functions look at no data, and may be called by any thread.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) }
}

fn a_waker_drops_a_future_where_it_is_cloned() {
    static ALONE: Mutex<()> = Mutex::new(());
    in_time(|| {
        let _others_have_another = ALONE.lock().unwrap();
        let data = Data::new(b"hello");
        let (_me, [one, two]) = two_staged(&data);
        *DROPPED.lock().unwrap() = Some(listed(two, Waker::noop()));
        let mut future = listed(one, &drops_when_cloned());
        assert!(DROPPED.lock().unwrap().is_none());
        *DROPPED.lock().unwrap() = Some(listed(two, Waker::noop()));
        assert!(!poll(&mut future, Waker::noop()));
        assert!(!poll(&mut future, &drops_when_cloned()));
        assert!(DROPPED.lock().unwrap().is_none());
    });
}

/// Panics, and so does what it throws when it is dropped.
#[derive(Default)]
struct Panics(Counts);

struct Thorn;

impl Drop for Thorn {
    fn drop(&mut self) {
        // A second panic would end the program.
        assert!(std::thread::panicking(), "dropped");
    }
}

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        std::panic::panic_any(Thorn);
    }
}

fn l4_a_waker_that_panics_keeps_no_other_task_asleep() {
    in_time(|| {
        let data = Data::new(b"hello");
        let mut me = leaked(small()).attach().unwrap();
        let file = data.open(&mut me);
        let (panics, counts) = (Arc::new(Panics::default()), Arc::new(Counts::default()));
        for round in 1..=3 {
            let [one, two, three] = staged(&mut me, &file);
            let _futures = [
                listed(one, &Waker::from(Arc::clone(&panics))),
                listed(two, &Waker::from(Arc::clone(&counts))),
                listed(three, &Waker::from(Arc::clone(&panics))),
            ];
            me.submit_staged().unwrap();
            assert!(eventually(|| counts.count() == round), "it is not woken");
            assert!(eventually(|| panics.0.count() == 2 * round));
        }
    });
}

fn l4_a_waker_that_panics_keeps_no_foreign_waiter_asleep() {
    in_time(|| {
        let pool = leaked(small());
        let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let (reader, mut writer) = std::io::pipe().unwrap();
        let pipe = me.file(reader, "a pipe").unwrap();
        let panics = Arc::new(Panics::default());
        let [first] = staged(&mut me, &pipe);
        let _future = listed(first, &Waker::from(Arc::clone(&panics)));
        me.submit_staged().unwrap();
        std::io::Write::write_all(&mut writer, b"12345678").unwrap();
        assert!(eventually(|| panics.0.count() == 1));
        // The issuer does nothing: its attendant completes this one.
        let mut scope = me.scope();
        let pending = start_read(&mut scope, &pipe, (8, 0));
        std::io::Write::write_all(&mut writer, b"12345").unwrap();
        let waited = other.wait_timeout(pending.wait_ref(), Duration::from_secs(5));
        assert_eq!(waited, Ok(Some(Waited::Done)));
        assert_eq!(finished(&mut scope, pending).0, 5);
    });
}

/// The waker of a task that owns its process, and ends with it.
#[derive(Default)]
struct Ends(Mutex<Option<Process<'static>>>);

impl Wake for Ends {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

/// Submits what is staged, and hands the process over to the waker before that can be woken.
fn submit_and_hand_over(mut me: Process<'static>, waker: &Ends) {
    let mut process = waker.0.lock().unwrap();
    me.submit_staged().unwrap();
    *process = Some(me);
}

fn l7_a_waker_ends_the_process_that_has_woken_it() {
    in_time(|| {
        let data = Data::new(b"hello");
        let pool = leaked(small().processes(1));
        for _ in 0..5 {
            let mut attached = None;
            let there = eventually(|| {
                attached = pool.attach().ok();
                attached.is_some()
            });
            assert!(there, "the slot is not given back");
            let mut me = attached.unwrap();
            assert_eq!((me.slot().get(), me.method()), (0, handfast_tests::method()));
            let file = data.open(&mut me);
            let [one, two] = staged(&mut me, &file);
            let (ends, counts) = (Arc::new(Ends::default()), Arc::new(Counts::default()));
            let _futures = [
                listed(one, &Waker::from(Arc::clone(&ends))),
                listed(two, &Waker::from(Arc::clone(&counts))),
            ];
            submit_and_hand_over(me, &ends);
            assert!(eventually(|| counts.count() == 1), "others are woken all the same");
            drop(file);
        }
        assert!(eventually(|| pool.attach().is_ok()));
    });
}

fn l7_a_waker_ends_the_process_that_has_woken_it_with_io_in_flight() {
    in_time(|| {
        let pool = leaked(small());
        let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
        let (first, mut writer) = std::io::pipe().unwrap();
        let (second, mut late_writer) = std::io::pipe().unwrap();
        let files = [me.file(first, "a pipe").unwrap(), me.file(second, "a pipe").unwrap()];
        let [one] = staged(&mut me, &files[0]);
        let [two] = staged(&mut me, &files[1]);
        let ends = Arc::new(Ends::default());
        let _future = listed(one, &Waker::from(Arc::clone(&ends)));
        let reference = two.wait_ref();
        let slot = me.slot();
        submit_and_hand_over(me, &ends);
        // The attendant leads when it wakes the task, if somebody waits.
        let soon = Duration::from_millis(20);
        assert_eq!(other.wait_timeout(reference, soon), Ok(None));
        std::io::Write::write_all(&mut writer, b"12345678").unwrap();
        assert!(eventually(|| ends.0.try_lock().is_err()), "the process ends, and waits");
        assert_eq!(other.wait_timeout(reference, soon), Ok(None));
        std::io::Write::write_all(&mut late_writer, b"12345678").unwrap();
        let _over = other.wait(reference).unwrap();
        let mut again = None;
        assert!(eventually(|| {
            again = pool.attach().ok();
            again.is_some()
        }));
        assert_eq!(again.unwrap().slot(), slot);
    });
}
