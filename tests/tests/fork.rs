//! A child that was forked from an attached process and has not exec'ed: it is refused everywhere and
//! changes nothing of its parent's.

mod common;

use common::{Data, forked, free_frames, small, start_read};
use handfast::{AttachError, MemoryError, ScopeWarning, State, UseError};
use std::mem::forget;

handfast_tests::every_method! {
    a_forked_child_may_not_attach
    a_forked_child_may_make_a_pool_of_its_own_and_look_at_the_old_one
    every_entry_point_of_a_process_refuses_a_forked_child
    a_forked_child_that_inherits_a_handle_cannot_use_it
    what_a_forked_child_drops_stays_its_parents
}

/// Reaches the end of the child only if every check held.
const GOOD: u8 = 42;

fn a_forked_child_may_not_attach() {
    let pool = small().create().unwrap();
    let code = forked(|| match pool.attach() {
        Err(AttachError::Forked) => GOOD,
        _ => 1,
    });
    assert_eq!(code, Some(i32::from(GOOD)));
    assert!(pool.attach().is_ok());
}

fn a_forked_child_may_make_a_pool_of_its_own_and_look_at_the_old_one() {
    let pool = small().create().unwrap();
    let code = forked(|| {
        let own = small().create().unwrap();
        own.attach().unwrap().detach().unwrap();
        assert_eq!(pool.snapshot().len(), pool.config().processes() as usize * 4);
        GOOD
    });
    assert_eq!(code, Some(i32::from(GOOD)));
}

fn every_entry_point_of_a_process_refuses_a_forked_child() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let pending = start_read(&mut me.scope(), &file, (8, 0));
    let reference = pending.wait_ref();
    let token = me.frame().unwrap().hand_over().unwrap();
    assert!(me.wait(reference).is_ok(), "nothing changes by itself any more");
    let before = format!("{:?}", pool.snapshot());
    let code = forked(|| {
        let forked = Err(UseError::Forked);
        assert_eq!(me.wait(reference).map(drop), forked);
        assert_eq!(me.wait_timeout(reference, common::PATIENCE).map(drop), forked);
        assert_eq!(me.check_done(reference).map(drop), forked);
        assert_eq!(me.foreign_outcome(reference).map(drop), forked);
        assert_eq!(me.submit_staged(), forked);
        assert_eq!(me.recover_dead().map(drop), forked);
        assert_eq!(me.adopt(token).unwrap_err(), MemoryError::Lost(token.frame().0));
        assert!(me.frame().is_none());
        assert!(me.open(data.path(), &common::read_write()).is_err());
        let mut scope = me.scope();
        assert_eq!(scope.acquire().map(drop), forked);
        assert_eq!(scope.try_acquire().map(drop), forked);
        assert_eq!(scope.finish(pending).unwrap_err().error, UseError::Forked);
        assert_eq!(scope.batch().submit(), forked);
        assert_eq!(scope.commit(), Err(ScopeWarning::Failed(UseError::Forked)));
        assert_eq!(me.close_fd(file).map(drop), forked);
        assert_eq!(me.detach(), forked);
        GOOD
    });
    assert_eq!(code, Some(i32::from(GOOD)));
    assert_eq!(format!("{:?}", pool.snapshot()), before);
}

fn a_forked_child_that_inherits_a_handle_cannot_use_it() {
    let data = Data::new(b"hello");
    let pool = small().max_handle_data(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    let index = handle.id().index();
    let code = forked(|| {
        assert!(handle.set_data_64(&[7]).is_err() && handle.set_data_32(&[7]).is_err());
        assert_eq!(handle.submit_staged(), Err(UseError::Forked));
        let refused = handle.write(&file, common::local(b"HE"), 0).unwrap_err();
        assert!(refused.error.to_string().contains("forked"));
        GOOD
    });
    assert_eq!(code, Some(i32::from(GOOD)));
    assert_eq!(pool.snapshot()[index].state, State::HandedOut, "the child's drop released nothing");
    assert_eq!(data.bytes(), b"hello");
    assert!(scope.commit().is_err(), "the parent has leaked it to its child");
    assert!(me.scope().acquire().is_ok());
}

fn what_a_forked_child_drops_stays_its_parents() {
    let data = Data::new(b"hello");
    let pool = small().max_files(1).create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let (file, kept, given) = (data.open(&mut me), me.frame().unwrap(), me.frame().unwrap());
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let staged = batch.acquire().unwrap().write(&file, common::local(b"HE"), 0).unwrap();
    let before = format!("{:?}", pool.snapshot());
    let in_batch = forked(|| {
        drop(batch);
        GOOD
    });
    forget(scope);
    let outside = forked(|| {
        assert!(given.hand_over().is_err());
        drop((kept, staged));
        drop(me);
        drop(file);
        GOOD
    });
    assert_eq!((in_batch, outside), (Some(i32::from(GOOD)), Some(i32::from(GOOD))));
    assert_eq!(format!("{:?}", pool.snapshot()), before);
    assert_eq!(free_frames(&mut other), 2, "both frames are still the parent's");
    assert!(!data.open(&mut other).is_reopenable(), "and so is the entry of its file");
}
