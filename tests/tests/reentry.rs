//! S12, S13: the pool refuses to be used from inside a callback, through any of its entry points.

mod common;

use common::callback::{Turns, id};
use common::{Data, finished, memory, small};
use handfast::{Pending, Pool, Process, ProtocolError, UseError, WaitRef, Waited};
use std::mem::forget;
use std::sync::{Arc, Mutex};

handfast_tests::every_method! {
    s13_nothing_is_acquired_waited_for_or_finished_in_a_callback
    r13_nothing_is_submitted_in_a_callback
    r13_a_process_that_ends_in_a_callback_leaves_its_slot_to_recovery
    r12_a_callback_that_waits_for_its_own_io_is_refused
}

const REFUSED: UseError = UseError::Protocol(ProtocolError::InCallback);

/// A process of a pool of its own, in a batch that is never ended, with one read staged.
struct Inner {
    me: Process<'static>,
    pending: Option<Pending<'static, handfast::Memory<'static>>>,
    file: Option<handfast::File<'static>>,
    reference: WaitRef,
}

impl Inner {
    /// The pool lives as long as the program, as callbacks do.
    fn new(data: &Data) -> (&'static Pool, Self) {
        let pool: &'static Pool = Box::leak(Box::new(small().processes(1).create().unwrap()));
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let mut batch = scope.batch();
        let pending = batch.acquire().unwrap().read(&file, memory(pool, 8), 0).unwrap();
        forget(batch);
        forget(scope);
        let reference = pending.wait_ref();
        (pool, Self { me, pending: Some(pending), file: Some(file), reference })
    }
}

/// Runs one turn with a process inside of a callback, and returns what is left of it afterwards.
fn inside_a_callback(
    data: &Data,
    inner: Inner,
    turn: impl Fn(&mut Option<Inner>) + Send + Sync + 'static,
) -> Option<Inner> {
    let inner = Arc::new(Mutex::new(Some(inner)));
    let (turn, shared) = (Arc::new(turn), inner.clone());
    let turns = Turns::default().shared(move |_, prior| {
        turn(&mut shared.lock().unwrap());
        prior
    });
    let pool = small().registry(turns.alone()).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(1), 0).unwrap();
    let pending = handle.read(&file, memory(&pool, 8), 0).unwrap();
    let (bytes, _) = finished(&mut scope, pending);
    assert_eq!(bytes, 5, "the callback must not have panicked");
    inner.lock().unwrap().take()
}

fn s13_nothing_is_acquired_waited_for_or_finished_in_a_callback() {
    let data = Data::new(b"hello");
    let (_, inner) = Inner::new(&data);
    let left = inside_a_callback(&data, inner, |inner| {
        let Inner { me, pending, reference, .. } = inner.as_mut().unwrap();
        assert_eq!(me.scope().acquire().map(drop), Err(REFUSED));
        assert_eq!(me.scope().try_acquire().map(drop), Err(REFUSED));
        assert_eq!(me.wait(*reference), Err(REFUSED));
        assert_eq!(me.wait_timeout(*reference, std::time::Duration::ZERO), Err(REFUSED));
        assert_eq!(me.check_done(*reference), Err(REFUSED));
        let refused = me.scope().finish(pending.take().unwrap()).unwrap_err();
        assert_eq!(refused.error, REFUSED);
        *pending = Some(refused.pending);
    });
    let Inner { mut me, pending, reference, .. } = left.unwrap();
    assert_eq!(me.wait(reference), Ok(Waited::Done), "outside of it all is as before");
    assert_eq!(finished(&mut me.scope(), pending.unwrap()).0, 5);
}

fn r13_nothing_is_submitted_in_a_callback() {
    let data = Data::new(b"hello");
    let (_, inner) = Inner::new(&data);
    let left = inside_a_callback(&data, inner, |inner| {
        let Inner { me, file, .. } = inner.as_mut().unwrap();
        assert_eq!(me.submit_staged(), Err(REFUSED));
        assert!(me.scope().commit().is_err());
        me.scope().abort();
        assert_eq!(me.scope().batch().submit(), Err(REFUSED));
        assert_eq!(me.close_fd(file.take().unwrap()), Err(REFUSED));
        assert!(me.has_staged());
    });
    let Inner { mut me, pending, .. } = left.unwrap();
    assert!(me.has_staged());
    assert_eq!(finished(&mut me.scope(), pending.unwrap()).0, 5);
}

fn r13_a_process_that_ends_in_a_callback_leaves_its_slot_to_recovery() {
    let data = Data::new(b"hello");
    let (pool, inner) = Inner::new(&data);
    let reference = inner.reference;
    let left = inside_a_callback(&data, inner, |inner| {
        assert_eq!(inner.take().unwrap().me.detach(), Err(REFUSED));
    });
    assert!(left.is_none());
    // A ring keeps its slot until the kernel has let it go.
    let mut next = None;
    assert!(common::eventually(|| {
        next = pool.attach().ok();
        next.is_some()
    }));
    let mut next = next.unwrap();
    assert_eq!(next.wait(reference), Ok(Waited::Recycled));
    assert!(next.scope().acquire().is_ok());
}

fn r12_a_callback_that_waits_for_its_own_io_is_refused() {
    let data = Data::new(b"hello");
    for local in [false, true] {
        let waiter: Arc<Mutex<Option<(Process<'static>, WaitRef)>>> = Arc::default();
        let (tried, shared) = (Arc::new(Mutex::new(Vec::new())), waiter.clone());
        let log = tried.clone();
        let attempt = move |_: &handfast::IoContext<'_>, prior| {
            if let Some((process, reference)) = shared.lock().unwrap().as_mut() {
                let waited = process.wait_timeout(*reference, common::PATIENCE);
                log.lock().unwrap().push(waited);
            }
            prior
        };
        let turns = Turns::default();
        let turns = if local { turns.local(attempt) } else { turns.shared(attempt) };
        let pool: &'static Pool =
            Box::leak(Box::new(small().registry(turns.alone()).create().unwrap()));
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        let mut scope = me.scope();
        let mut handle = scope.acquire().unwrap();
        handle.register_callback(id(1), 0).unwrap();
        *waiter.lock().unwrap() = Some((pool.attach().unwrap(), handle.wait_ref()));
        let pending = handle.read(&file, memory(pool, 8), 0).unwrap();
        assert_eq!(finished(&mut scope, pending).0, 5);
        // Local callbacks run when the IO is over for everybody else: that much may be seen.
        let expected = if local { Ok(Some(Waited::Done)) } else { Err(REFUSED) };
        assert_eq!(*tried.lock().unwrap(), [expected]);
        drop(waiter.lock().unwrap().take());
    }
}
