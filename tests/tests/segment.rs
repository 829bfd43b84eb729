//! The segment: how it is made, what is refused at the door, and bytes that somebody has changed.

mod common;

use common::callback::Turns;
use common::{opened_again, small};
use handfast::{ConfigError, CreateError, HeaderError, OpenError, Pool, PoolBuilder, Registry};
use proptest::prelude::*;
use rustix::fs::SealFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A directory in memory, where there is one.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A named pool, changed before it is opened again.
fn opened_after(change: impl FnOnce(&Path)) -> Result<(), OpenError> {
    let dir = directory();
    let path = dir.path().join("pool");
    drop(small().plain().create_named(&path).unwrap());
    change(&path);
    Pool::open(&path, Registry::new()).map(drop)
}

/// Overwrites one 64-bit word of the header.
fn with_word(index: u64, value: u64) -> Result<(), OpenError> {
    opened_after(|path| {
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&value.to_ne_bytes(), index * 8).unwrap();
    })
}

#[test]
fn a_memfd_is_sealed_private_allocated_and_closed_on_exec() {
    let pool = small().plain().create().unwrap();
    let seals = rustix::fs::fcntl_get_seals(&pool).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
    let stat = rustix::fs::fstat(&pool).unwrap();
    assert_eq!(stat.st_mode & 0o777, 0o600);
    assert_eq!(u64::try_from(stat.st_size).unwrap(), pool.segment_len());
    assert_eq!(u64::try_from(stat.st_blocks).unwrap() * 512, pool.segment_len());
    assert!(rustix::fs::ftruncate(&pool, 0).is_err());
    let flags = rustix::io::fcntl_getfd(&pool).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn a_named_pool_is_private_and_can_be_opened_by_its_name() {
    let dir = directory();
    let path = dir.path().join("pool");
    let pool = small().plain().create_named(&path).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    let again = Pool::open(&path, Registry::new()).unwrap();
    assert_eq!((again.tag(), again.config()), (pool.tag(), pool.config()));
    std::fs::remove_file(&path).unwrap();
    assert!(again.attach().is_ok(), "the name is not needed any more");
}

#[test]
fn a_memfd_is_opened_through_proc() {
    let pool = small().plain().create().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", pool.as_fd().as_raw_fd()));
    let again = Pool::open(&path, Registry::new()).unwrap();
    assert_eq!(again.tag(), pool.tag());
}

#[test]
fn an_existing_file_is_neither_used_nor_removed() {
    let dir = directory();
    let path = dir.path().join("precious");
    std::fs::write(&path, b"precious").unwrap();
    let refused = small().plain().create_named(&path).unwrap_err();
    let CreateError::Segment { source, .. } = refused else { panic!("{refused}") };
    assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert!(small().plain().create_named(dir.path().join("no/such")).is_err());
}

#[test]
fn what_is_no_pool_is_refused() {
    let header = |result: Result<(), OpenError>| match result {
        Err(OpenError::Header(error)) => error,
        other => panic!("{other:?}"),
    };
    let content = |bytes: &[u8]| header(opened_after(|path| std::fs::write(path, bytes).unwrap()));
    assert!(matches!(content(b"hello"), HeaderError::TooShort { words: 0, .. }));
    assert!(matches!(content(&[7; 100]), HeaderError::TooShort { words: 12, .. }));
    assert_eq!(content(&[7; 10_000]), HeaderError::NotAPool);
    assert_eq!(content(&[0; 10_000]), HeaderError::NotReady);
    let io_error = |result: Result<(), OpenError>| matches!(result, Err(OpenError::Segment(_)));
    assert!(io_error(opened_after(|path| std::fs::remove_file(path).unwrap())));
    assert!(io_error(Pool::open("/", Registry::new()).map(drop)));
    assert_eq!(content(b""), HeaderError::NotAPool);
    for path in ["/dev/null", "/proc/self/mem"] {
        let refused = header(Pool::open(path, Registry::new()).map(drop));
        assert_eq!(refused, HeaderError::NotAPool, "{path}");
    }
    let (reader, _writer) = io::pipe().unwrap();
    let refused = header(Pool::from_fd(reader.into(), Registry::new()).map(drop));
    assert_eq!(refused, HeaderError::NotAPool);
}

#[test]
fn each_fault_of_a_header_has_its_own_error() {
    let header = |result: Result<(), OpenError>| match result {
        Err(OpenError::Header(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(header(with_word(0, 1)), HeaderError::NotAPool);
    let wrong = header(with_word(1, 99));
    assert!(matches!(wrong, HeaderError::WrongVersion { found: 99, .. }), "{wrong}");
    assert!(matches!(header(with_word(2, 1)), HeaderError::LayoutMismatch { found: 1, .. }));
    assert!(matches!(header(with_word(3, 1)), HeaderError::CallbacksDiffer { found: 1, .. }));
    assert!(matches!(header(with_word(5, 0)), HeaderError::BadConfig(_)));
    assert!(matches!(header(with_word(6, 1 << 40)), HeaderError::BadWord { word: 6, .. }));
    assert!(matches!(header(with_word(15, 1)), HeaderError::WrongLength { header: 1, .. }));
    assert_eq!(header(with_word(14, 1)), HeaderError::UnknownMethod { number: 1 });
    assert_eq!(header(with_word(16, 0)), HeaderError::NotReady);
    for wrong in [8192, 1 << 20] {
        let resized = opened_after(|path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(wrong).unwrap();
        });
        let error = header(resized);
        assert!(matches!(error, HeaderError::WrongLength { segment, .. } if segment == wrong));
    }
}

#[test]
fn who_registers_other_callbacks_is_refused() {
    let pool = small().plain().registry(Turns::default().alone()).create().unwrap();
    let reopen =
        |registry| Pool::from_fd(pool.as_fd().try_clone_to_owned().unwrap(), registry).map(drop);
    assert!(matches!(
        reopen(Registry::new()),
        Err(OpenError::Header(HeaderError::CallbacksDiffer { .. }))
    ));
    assert!(reopen(Turns::default().alone()).is_ok());
}

#[test]
fn what_others_could_change_is_refused() {
    for mode in [0o644, 0o660, 0o602, 0o610] {
        let permissions = std::fs::Permissions::from_mode(mode);
        let opened = opened_after(|path| std::fs::set_permissions(path, permissions).unwrap());
        assert!(matches!(opened, Err(OpenError::OpenToOthers { mode: found }) if found == mode));
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED in part: only root can give a segment to another user");
        return;
    }
    let opened = opened_after(|path| std::os::unix::fs::chown(path, Some(12_345), None).unwrap());
    assert!(matches!(opened, Err(OpenError::OtherUser { owner: 12_345, me: 0 })));
}

#[test]
fn b21_each_setting_has_its_limits() {
    type Set = fn(PoolBuilder, u32) -> PoolBuilder;
    let settings: [(&str, Set, &[u32]); 8] = [
        ("processes", PoolBuilder::processes, &[0, 1024]),
        ("handles_per_process", PoolBuilder::handles_per_process, &[0, 1025]),
        ("frames", PoolBuilder::frames, &[(1 << 24) + 1]),
        ("frame_size", PoolBuilder::frame_size, &[0, 511, (16 << 20) + 512]),
        ("max_iovecs", PoolBuilder::max_iovecs, &[0, 1025]),
        ("max_handle_data", PoolBuilder::max_handle_data, &[256]),
        ("max_files", PoolBuilder::max_files, &[65_537]),
        ("user_words", PoolBuilder::user_words, &[(1 << 27) + 1]),
    ];
    for (name, set, wrong) in settings {
        for &wrong in wrong.iter().chain([&u32::MAX]) {
            let CreateError::Config(error) = set(small().plain(), wrong).create().unwrap_err()
            else {
                panic!("{name} {wrong}")
            };
            let ConfigError::OutOfRange { setting, value, .. } = error else { panic!("{error}") };
            assert_eq!((setting, value), (name, wrong));
        }
    }
    let uneven = small().plain().frame_size(1000).create().unwrap_err();
    assert!(matches!(uneven, CreateError::Config(ConfigError::UnevenFrameSize { value: 1000 })));
}

#[test]
fn r18_settings_that_are_too_large_together_are_refused_before_memory_is_taken() {
    let most = || small().plain().processes(1023).handles_per_process(1024).max_iovecs(1024);
    let absurd = || most().max_handle_data(255).frames(1 << 24).frame_size(16 << 20);
    let dir = directory();
    let path = dir.path().join("pool");
    for refused in [absurd().create(), absurd().create_named(&path)] {
        let error = refused.unwrap_err();
        let CreateError::Segment { bytes, source } = &error else { panic!("{error}") };
        assert!(*bytes > 1 << 48);
        assert!(
            [io::ErrorKind::OutOfMemory, io::ErrorKind::StorageFull].contains(&source.kind()),
            "{error}"
        );
    }
    assert!(!path.exists());
}

#[test]
fn default_concurrency_is_postgresqls() {
    let handles = |processes, frames| {
        let pool =
            handfast_tests::builder().plain().processes(processes).frames(frames).frame_size(512);
        pool.create().unwrap().config().handles_per_process()
    };
    assert_eq!([handles(2, 20), handles(2, 1000), handles(10, 9), handles(4, 0)], [10, 64, 1, 1]);
}

#[test]
fn user_words_are_shared_and_begin_as_zero() {
    let pool = small().plain().user_words(5).create().unwrap();
    let again = opened_again(&pool, Registry::new());
    assert!(again.user_words().iter().all(|word| word.as_ptr().is_aligned()));
    assert_eq!((pool.user_words().len(), again.user_words().len()), (5, 5));
    assert_ne!(pool.user_words().as_ptr(), again.user_words().as_ptr());
    let word = [1, 2, 3, 4, 5, 6, 7, 8];
    let at = pool.user_words()[4].as_ptr() as usize - pool.user_words()[0].as_ptr() as usize;
    assert_eq!((at, word.len()), (32, 8));
    assert_eq!(format!("{:?}", again.user_words()), "[0, 0, 0, 0, 0]");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn s26_a_header_with_flipped_words_is_refused_or_works(
        flips in prop::collection::vec((0..15_u64, prop_oneof![
            any::<u64>(), (0..64_u32).prop_map(|bit| 1 << bit), 0..2048_u64,
        ]), 1..4),
    ) {
        let pool = small().plain().create().unwrap();
        let file = File::from(pool.as_fd().try_clone_to_owned().unwrap());
        for (index, flip) in flips {
            let mut word = [0; 8];
            file.read_exact_at(&mut word, index * 8).unwrap();
            let word = u64::from_ne_bytes(word) ^ flip;
            file.write_all_at(&word.to_ne_bytes(), index * 8).unwrap();
        }
        if let Ok(opened) = Pool::from_fd(file.into(), Registry::new()) {
            let mut me = opened.attach().unwrap();
            prop_assert!(me.scope().acquire().is_ok());
        }
    }
}
