//! Callbacks: their order, what they are shown, what their answers become, and what they may not do.

mod common;

use common::callback::{Turns, id};
use common::{Data, FRAME, PATIENCE, finished, free_frames, memory, small};
use handfast::{
    File, Finished, Frame, Memory, Operation, Outcome, Pending, Registry, Scope, StageRefused,
    State, Status, WaitRef, Waited,
};
use std::sync::{Arc, Mutex};

handfast_tests::every_method! {
    s1_the_last_registered_runs_first_at_each_turn_and_once
    a_callback_is_shown_the_whole_io
    b4_the_local_result_reaches_the_issuer_and_nobody_else
    b17_each_of_the_five_statuses_arrives_and_unknown_changes_nothing
    an_error_says_what_the_callback_reports
    r2_a_refused_stage_completes_with_an_error_and_leaks_nothing
    r2_the_stage_callbacks_after_a_refusal_do_not_run
    b7_a_panicking_callback_is_an_error_of_its_io_and_no_more
    b7_a_report_that_panics_or_fails_does_not_poison_the_handle
}

/// Starts a read of eight bytes with callback 1, data byte 0.
fn start<'pool>(scope: &mut Scope<'_, 'pool>, file: &File<'pool>) -> Pending<'pool, Memory<'pool>> {
    let memory = memory(scope.process().pool(), 8);
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(1), 0).unwrap();
    handle.read(file, memory, 0).unwrap()
}

/// A write from a frame that callback 1 refuses.
fn refused_write<'pool>(
    scope: &mut Scope<'_, 'pool>,
    file: &File<'pool>,
) -> (Pending<'pool, Frame<'pool>>, WaitRef) {
    let frame = scope.frame().expect("the frames come back");
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(1), 0).unwrap();
    let reference = handle.wait_ref();
    (handle.write(file, frame, 0).unwrap(), reference)
}

/// The outcome of one read of `hello` with this callback.
fn outcome_with(turns: Turns) -> handfast::IoOutcome {
    let data = Data::new(b"hello");
    let pool = small().registry(turns.alone()).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = start(&mut scope, &file);
    let outcome = scope.finish(pending).unwrap().outcome;
    assert!(pool.snapshot().iter().all(|row| row.state == State::Idle));
    outcome
}

type Log = Arc<Mutex<Vec<(u8, &'static str)>>>;

fn logging(number: u8, log: &Log) -> Turns {
    let (stage, shared, local) = (log.clone(), log.clone(), log.clone());
    Turns::default()
        .stage(move |_| {
            stage.lock().unwrap().push((number, "stage"));
            Ok(())
        })
        .shared(move |_, prior| {
            shared.lock().unwrap().push((number, "shared"));
            prior
        })
        .local(move |_, prior| {
            local.lock().unwrap().push((number, "local"));
            prior
        })
}

fn s1_the_last_registered_runs_first_at_each_turn_and_once() {
    let log = Log::default();
    let registry = [1, 2, 3].into_iter().fold(Registry::new(), |registry, number| {
        registry.callback(id(number), Arc::new(logging(number, &log))).unwrap()
    });
    let data = Data::new(b"hello");
    let pool = small().registry(registry).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    for number in [3, 1, 2] {
        handle.register_callback(id(number), 0).unwrap();
    }
    let pending = handle.read(&file, memory(&pool, 8), 0).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 5);
    let turn = |name| [(2, name), (1, name), (3, name)];
    let expected: Vec<_> = ["stage", "shared", "local"].into_iter().flat_map(turn).collect();
    assert_eq!(*log.lock().unwrap(), expected);
}

fn a_callback_is_shown_the_whole_io() {
    let data = Data::new(b"hello");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let turns = Turns::default().shared(move |io, prior| {
        let mut bytes = [0; 5];
        io.buffers().copy_to_slice(0, 0, &mut bytes).unwrap();
        let buffers = io.buffers();
        sink.lock().unwrap().push((io.handle(), io.owner(), *io.request(), io.raw_result().0));
        assert_eq!((&bytes, buffers.len(), io.callback_data()), (b"hello", 2, 77));
        assert_eq!(buffers.frame(0).map(|(_, len)| len), Some(FRAME));
        assert_eq!((buffers.frame(1), buffers.frame(2)), (None, None), "1 is local memory");
        assert!(buffers.copy_to_slice(1, 0, &mut bytes).is_err());
        assert!(buffers.copy_to_slice(0, FRAME - 4, &mut bytes).is_err());
        assert_eq!((io.user_words().len(), io.is_repeat()), (3, false));
        assert_eq!(io.data().collect::<Vec<_>>(), [4, 5]);
        prior
    });
    let pool = small().user_words(3).registry(turns.alone()).create().unwrap();
    let mut me = pool.attach().unwrap();
    let (file, frame, slot) = (data.open(&mut me), me.frame().unwrap(), me.slot());
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    let number = handle.id();
    handle.register_callback(id(1), 77).unwrap();
    handle.set_data_32(&[4, 5]).unwrap();
    let memory = vec![handfast::Memory::Frame(frame), handfast::Memory::Local(common::room(8))];
    let pending = handle.read(&file, memory, 0).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 5);
    let (handle, owner, request, raw) = seen.lock().unwrap()[0];
    assert_eq!((handle, owner, raw), (number, slot, 5));
    assert_eq!((request.operation, request.offset, request.length), (Operation::Readv, 0, 4104));
}

fn b4_the_local_result_reaches_the_issuer_and_nobody_else() {
    let data = Data::new(b"hello");
    let verdict = Outcome::new(Status::Error, id(1), 42, -7);
    let turns = Turns::default().local(move |_, prior| {
        assert_eq!(prior.result(), 5, "it maps what the shared callbacks left");
        verdict
    });
    let pool = small().registry(turns.alone()).create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let pending = start(&mut scope, &file);
    assert_eq!(other.wait(pending.wait_ref()), Ok(Waited::Done));
    let foreign = other.foreign_outcome(pending.wait_ref()).unwrap().unwrap();
    assert_eq!((foreign.status(), foreign.result()), (Status::Ok, 5));
    let outcome = scope.finish(pending).unwrap().outcome;
    assert_eq!(outcome.packed(), verdict);
    assert!(outcome.bytes().is_err());
}

fn b17_each_of_the_five_statuses_arrives_and_unknown_changes_nothing() {
    for status in [Status::Ok, Status::Partial, Status::Warning, Status::Error] {
        let answer = Outcome::new(status, id(1), Outcome::MAX_ERROR_DATA, 3);
        let seen = outcome_with(Turns::default().shared(move |_, _| answer));
        assert_eq!((seen.status(), seen.packed()), (status, answer));
        assert_eq!(seen.bytes().ok(), (status != Status::Error).then_some(3));
    }
    let unknown = Outcome::new(Status::Unknown, id(1), 1, 1);
    let seen =
        outcome_with(Turns::default().shared(move |_, _| unknown).local(move |_, _| unknown));
    assert_eq!((seen.status(), seen.bytes().unwrap()), (Status::Ok, 5));
}

fn an_error_says_what_the_callback_reports() {
    let bad = Outcome::new(Status::Error, id(1), 3, -1);
    let turns = Turns::default()
        .shared(move |_, _| bad)
        .report(|outcome, f| write!(f, "checksum of block {} is wrong", outcome.error_data()));
    let error = outcome_with(turns).bytes().unwrap_err();
    assert_eq!((error.outcome(), error.errno()), (bad, None));
    let text = error.to_string();
    assert!(text.ends_with(": checksum of block 3 is wrong"), "{text}");
    assert!(text.contains("readv of 8 bytes at offset 0 of file "), "{text}");
}

fn r2_a_refused_stage_completes_with_an_error_and_leaks_nothing() {
    let data = Data::new(b"hello");
    let turns = Turns::default().stage(|_| Err(StageRefused));
    let pool = small().registry(turns.alone()).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    for batched in [false, true].repeat(10) {
        let (pending, reference) = if batched {
            refused_write(&mut scope.batch(), &file)
        } else {
            refused_write(&mut scope, &file)
        };
        assert_eq!(scope.wait_timeout(reference, PATIENCE), Ok(Some(Waited::Done)));
        let Finished { outcome, .. } = scope.finish(pending).unwrap();
        let text = outcome.bytes().unwrap_err().to_string();
        assert!(text.contains("stage callback refused"), "{text}");
    }
    assert_eq!(data.bytes(), b"hello", "a refused IO is never executed");
    assert!(pool.snapshot().iter().all(|row| row.state == State::Idle));
    scope.commit().unwrap();
    assert_eq!(free_frames(&mut me), 4);
}

fn r2_the_stage_callbacks_after_a_refusal_do_not_run() {
    let log = Log::default();
    let registry = Registry::new().callback(id(1), Arc::new(logging(1, &log))).unwrap();
    let refusing = Arc::new(Turns::default().stage(|_| Err(StageRefused)));
    let registry = registry.callback(id(2), refusing).unwrap();
    let data = Data::new(b"hello");
    let pool = small().registry(registry).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    handle.register_callback(id(1), 0).unwrap();
    handle.register_callback(id(2), 0).unwrap();
    let pending = handle.read(&file, memory(&pool, 8), 0).unwrap();
    assert!(scope.finish(pending).unwrap().outcome.bytes().is_err());
    assert_eq!(*log.lock().unwrap(), [(1, "shared"), (1, "local")]);
}

fn b7_a_panicking_callback_is_an_error_of_its_io_and_no_more() {
    let panicking = [
        ("stage callback refused", Turns::default().stage(|_| panic!("in stage"))),
        ("completion callback panicked", Turns::default().shared(|_, _| panic!("in shared"))),
        ("completion callback panicked", Turns::default().local(|_, _| panic!("in local"))),
    ];
    for (expected, turns) in panicking {
        let error = outcome_with(turns).bytes().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn b7_a_report_that_panics_or_fails_does_not_poison_the_handle() {
    let bad = Outcome::new(Status::Error, id(1), 3, -1);
    let reports: [fn() -> Turns; 2] = [
        || Turns::default().report(|_, _| panic!("in report")),
        || Turns::default().report(|_, _| Err(std::fmt::Error)),
    ];
    for report in reports {
        let outcome = outcome_with(report().shared(move |_, _| bad));
        assert_eq!(outcome.packed(), bad);
        assert!(outcome.bytes().is_err_and(|error| !error.to_string().is_empty()));
    }
}
