//! Operations on files: reading, writing, syncing, in pieces and in batches; and the file itself:
//! closing, re-opening, direct IO, targets of the application's own.

mod common;

use common::{
    Data, FRAME, finished, in_time, local, pattern, read_write, room, small, start_read,
    start_write,
};
use handfast::{
    AlignedBuf, Callback, CallbackId, File, Memory, MemoryError, Outcome, Process, Registry,
    StartError, Target, TargetId,
};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::sync::Arc;

handfast_tests::every_method! {
    what_is_written_is_read_back_through_every_kind_of_memory
    readv_and_writev_go_through_their_pieces_in_order_whatever_they_are
    a_read_at_the_end_is_short_and_beyond_it_empty
    fsync_and_fdatasync_are_ios
    the_errors_of_the_system_keep_their_numbers
    lengths_limit_an_io_to_the_first_bytes
    more_than_one_call_can_carry_is_refused_before_anything_changes
    b10_s16_closing_a_file_submits_what_is_staged_on_it_first
    s16_a_dropped_file_stays_open_for_the_io_staged_on_it
    close_says_whether_a_clone_keeps_the_descriptor_open
    b10_closing_in_the_process_of_another_closes_nothing_that_is_in_use
    a_file_without_an_entry_works_but_cannot_be_found_again
    entries_of_a_detached_process_are_free_again
    direct_io_works_within_its_limits
    a_target_of_the_applications_own_is_described_and_reopened_by_it
    a_target_of_an_unregistered_kind_is_refused
    s16_a_fifo_in_the_place_of_a_file_is_not_opened
}

fn what_is_written_is_read_back_through_every_kind_of_memory() {
    let data = Data::new(b"");
    let pool = small().create().unwrap();
    let shared =
        rustix::fs::memfd_create("handfast-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&shared, 8192).unwrap();
    let region = pool.map_region(3, shared.as_fd()).unwrap();
    let mut me = pool.attach().unwrap();
    let (file, mut frame) = (data.open(&mut me), me.frame().unwrap());
    frame.copy_from_slice(0, &pattern(FRAME)).unwrap();
    region.copy_from_slice(100, b"region").unwrap();
    let mut scope = me.scope();
    let slice = region.slice(100, 6).unwrap();
    let one = scope.acquire().unwrap().write(&file, frame, 0).unwrap();
    let two = scope.acquire().unwrap().write(&file, slice, 5000).unwrap();
    let three = start_write(&mut scope, &file, (b"local", 6000));
    let (bytes, frame) = finished(&mut scope, one);
    let (less, slice) = finished(&mut scope, two);
    assert_eq!((bytes, less, finished(&mut scope, three).0), (4096, 6, 5));
    let content = data.bytes();
    assert_eq!(&content[..FRAME], &pattern(FRAME)[..]);
    assert_eq!((&content[5000..5006], &content[6000..]), (&b"region"[..], &b"local"[..]));
    let one = scope.acquire().unwrap().read(&file, frame, 4096 - 10).unwrap();
    let two = scope.acquire().unwrap().read(&file, slice, 6000).unwrap();
    let (bytes, frame) = finished(&mut scope, one);
    assert_eq!((bytes, finished(&mut scope, two).0), (6005 - 4086, 5));
    let mut tail = [0; 10];
    frame.copy_to_slice(0, &mut tail).unwrap();
    assert_eq!(tail, pattern(FRAME)[FRAME - 10..]);
    region.copy_to_slice(100, &mut tail[..6]).unwrap();
    assert_eq!(&tail[..6], b"localn");
}

fn readv_and_writev_go_through_their_pieces_in_order_whatever_they_are() {
    let data = Data::new(&pattern(10_000));
    let pool = small().create().unwrap();
    let shared =
        rustix::fs::memfd_create("handfast-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&shared, 4096).unwrap();
    let region = pool.map_region(3, shared.as_fd()).unwrap();
    let mut me = pool.attach().unwrap();
    let (file, mut frame) = (data.open(&mut me), me.frame().unwrap());
    frame.set_len(1000).unwrap();
    let list = vec![
        Memory::Local(room(3)),
        Memory::Frame(frame),
        Memory::Region(region.slice(8, 500).unwrap()),
        Memory::Local(room(97)),
    ];
    let mut scope = me.scope();
    let pending = scope.acquire().unwrap().read(&file, list, 50).unwrap();
    let (bytes, list) = finished(&mut scope, pending);
    let mut seen = Vec::new();
    for memory in &list {
        let mut piece = vec![0; memory.len()];
        match memory {
            Memory::Local(buffer) => piece.copy_from_slice(buffer),
            Memory::Frame(frame) => frame.copy_to_slice(0, &mut piece).unwrap(),
            Memory::Region(slice) => slice.whole().copy_to_slice(8, &mut piece).unwrap(),
        }
        seen.extend(piece);
    }
    assert_eq!((bytes, &seen[..]), (1600, &pattern(10_000)[50..1650]));
    let pending = scope.acquire().unwrap().write(&file, list, 20_000).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 1600);
    assert_eq!(&data.bytes()[20_000..], &pattern(10_000)[50..1650]);
}

fn a_read_at_the_end_is_short_and_beyond_it_empty() {
    let data = Data::new(b"0123456789");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    for (offset, expected) in [(0, 8), (2, 8), (3, 7), (9, 1), (10, 0), (1 << 40, 0)] {
        let pending = start_read(&mut scope, &file, (8, offset));
        assert_eq!(finished(&mut scope, pending).0, expected, "at {offset}");
    }
    let pieces = vec![Memory::Local(room(4)), Memory::Local(room(4)), Memory::Local(room(4))];
    let pending = scope.acquire().unwrap().read(&file, pieces, 3).unwrap();
    assert_eq!(finished(&mut scope, pending).0, 7, "short in the middle of a piece");
}

fn fsync_and_fdatasync_are_ios() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let (reader, _writer) = io::pipe().unwrap();
    let pipe = me.file(reader, data.beside("pipe")).unwrap();
    let mut scope = me.scope();
    let good = [
        scope.acquire().unwrap().fsync(&file).unwrap(),
        scope.acquire().unwrap().fdatasync(&file).unwrap(),
    ];
    let bad = [
        scope.acquire().unwrap().fsync(&pipe).unwrap(),
        scope.acquire().unwrap().fdatasync(&pipe).unwrap(),
    ];
    for pending in good {
        assert_eq!(finished(&mut scope, pending).0, 0);
    }
    for (pending, name) in bad.into_iter().zip(["fsync", "fdatasync"]) {
        let error = scope.finish(pending).unwrap().outcome.bytes().unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL));
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

/// Whatever the system says to a write to the wrong end of a pipe.
const NO_WRITER: i32 = 0;

fn the_errors_of_the_system_keep_their_numbers() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let (reader, _writer) = io::pipe().unwrap();
    let cases = [
        (me.open(data.path(), OpenOptions::new().read(true)).unwrap(), libc::EBADF),
        (me.file(reader, data.beside("pipe")).unwrap(), NO_WRITER),
        (me.open("/dev/full", &read_write()).unwrap(), libc::ENOSPC),
    ];
    let mut scope = me.scope();
    for (file, expected) in &cases {
        let pending = start_write(&mut scope, file, (b"x", 0));
        let error = scope.finish(pending).unwrap().outcome.bytes().unwrap_err();
        let errno = error.errno().unwrap();
        if *expected == NO_WRITER {
            // A system call looks for a position first, a ring for the right to write.
            assert!(errno == libc::ESPIPE || errno == libc::EBADF, "{error}");
        } else {
            assert_eq!(errno, *expected, "{error}");
        }
        let told =
            error.to_string().contains("not open for writing; open it with OpenOptions::write");
        assert_eq!(told, errno == libc::EBADF, "{error}");
    }
    assert_eq!(data.bytes(), b"hello");
}

fn lengths_limit_an_io_to_the_first_bytes() {
    let data = Data::new(&pattern(100));
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let (file, mut frame) = (data.open(&mut me), me.frame().unwrap());
    let mut buffer = room(50);
    frame.set_len(7).unwrap();
    buffer.set_len(9).unwrap();
    let mut scope = me.scope();
    let one = scope.acquire().unwrap().read(&file, frame, 0).unwrap();
    let two = scope.acquire().unwrap().read(&file, buffer, 0).unwrap();
    assert_eq!((finished(&mut scope, one).0, finished(&mut scope, two).0), (7, 9));
}

fn more_than_one_call_can_carry_is_refused_before_anything_changes() {
    let data = Data::new(b"hello");
    let pool = small().max_iovecs(40).create().unwrap();
    let shared =
        rustix::fs::memfd_create("handfast-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&shared, 64 << 20).unwrap();
    let region = pool.map_region(3, shared.as_fd()).unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let list = (0..33).map(|_| Memory::Region(region.slice(0, 64 << 20).unwrap())).collect();
    let list: Vec<_> = list;
    let refused = scope.acquire().unwrap().write(&file, list, 0).unwrap_err();
    assert_eq!(refused.error, StartError::Memory(MemoryError::TooLong(33 << 26, 0x7fff_f000)));
    assert_eq!((refused.memory.len(), data.bytes().len()), (33, 5));
    scope.commit().unwrap();
}

fn b10_s16_closing_a_file_submits_what_is_staged_on_it_first() {
    let (data, other) = (Data::new(b"hello"), Data::new(b"OTHER"));
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let number = file.as_fd().as_raw_fd();
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let write = start_write(&mut batch, &file, (b"HE", 0));
    assert!(batch.process().close_fd(file).unwrap());
    let reused = std::fs::File::open(other.path()).unwrap();
    let same_number = reused.as_raw_fd() == number;
    drop(batch);
    assert_eq!(finished(&mut scope, write).0, 2);
    assert_eq!((data.bytes(), other.bytes()), (b"HEllo".to_vec(), b"OTHER".to_vec()));
    // Other tests of this program open files, too, so that the number may go to one of theirs.
    println!("the number of the closed descriptor was used again: {same_number}");
}

fn s16_a_dropped_file_stays_open_for_the_io_staged_on_it() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let write = start_write(&mut batch, &file, (b"HE", 0));
    drop(file);
    let other = Data::new(b"OTHER");
    let reused: Vec<_> =
        (0..4).map(|_| OpenOptions::new().write(true).open(other.path())).collect();
    drop(batch);
    assert_eq!(finished(&mut scope, write).0, 2);
    assert_eq!((data.bytes(), other.bytes()), (b"HEllo".to_vec(), b"OTHER".to_vec()));
    drop(reused);
}

fn close_says_whether_a_clone_keeps_the_descriptor_open() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let clone = file.clone();
    assert!(!me.close_fd(file).unwrap());
    let pending = start_read(&mut me.scope(), &clone, (8, 0));
    assert_eq!(finished(&mut me.scope(), pending).0, 5);
    assert!(me.close_fd(clone).unwrap());
}

fn b10_closing_in_the_process_of_another_closes_nothing_that_is_in_use() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let file = data.open(&mut me);
    let mut scope = me.scope();
    let mut batch = scope.batch();
    let write = start_write(&mut batch, &file, (b"HE", 0));
    assert!(!other.close_fd(file).unwrap(), "the staged IO has a share of it");
    drop(batch);
    assert_eq!(finished(&mut scope, write).0, 2);
    assert_eq!(data.bytes(), b"HEllo");
}

#[test]
fn a_file_is_found_again_by_its_path_only_while_it_is_the_same_file() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let meta = std::fs::metadata(data.path()).unwrap();
    assert_eq!((file.target(), file.is_reopenable()), (TargetId::FILE, true));
    assert_eq!(file.target_data()[1..], [meta.dev(), meta.ino()]);
    for write in [false, true] {
        let again = std::fs::File::from(file.reopen(write).unwrap());
        assert_eq!(again.metadata().unwrap().ino(), meta.ino());
    }
    std::fs::rename(data.path(), data.beside("moved")).unwrap();
    assert_eq!(file.reopen(false).unwrap_err().kind(), io::ErrorKind::NotFound);
    std::fs::write(data.path(), b"an impostor").unwrap();
    assert_eq!(file.reopen(false).unwrap_err().kind(), io::ErrorKind::StaleNetworkFileHandle);
}

fn a_file_without_an_entry_works_but_cannot_be_found_again() {
    let data = Data::new(b"hello");
    let pool = small().max_files(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let first = data.open(&mut me);
    let second = data.open(&mut me);
    assert!(first.is_reopenable() && !second.is_reopenable());
    assert_eq!(second.reopen(false).unwrap_err().kind(), io::ErrorKind::NotFound);
    let pending = start_read(&mut me.scope(), &second, (8, 0));
    assert_eq!(finished(&mut me.scope(), pending).0, 5);
    drop(first);
    assert!(data.open(&mut me).is_reopenable(), "the entry is free again");
    let long = "x/../".repeat(300) + "data";
    let fd = std::fs::File::open(data.path()).unwrap();
    assert!(!me.file(fd, &long).unwrap().is_reopenable(), "too long for the table");
    assert!(me.open(data.beside("absent"), &read_write()).is_err());
}

fn entries_of_a_detached_process_are_free_again() {
    let data = Data::new(b"hello");
    let pool = small().max_files(1).create().unwrap();
    let (mut me, mut other) = (pool.attach().unwrap(), pool.attach().unwrap());
    let kept = data.open(&mut me);
    assert!(!data.open(&mut other).is_reopenable());
    me.detach().unwrap();
    let theirs = data.open(&mut other);
    assert!(theirs.is_reopenable());
    drop(kept);
    assert!(theirs.reopen(false).is_ok(), "a late drop does not free another's entry");
}

fn direct_io_works_within_its_limits() {
    let data = Data::new(&pattern(8192));
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let options = {
        let mut options = read_write();
        options.custom_flags(libc::O_DIRECT);
        options
    };
    let Ok(file) = me.open(data.path(), &options) else {
        eprintln!("SKIPPED: the temporary directory's file system has no direct IO");
        return;
    };
    let (memory, offset) = file.direct_io_limits().unwrap_or((512, 4096));
    let frame = me.frame().unwrap();
    let buffer = AlignedBuf::new(4096, memory.max(512) as usize).unwrap();
    let mut scope = me.scope();
    let one = scope.acquire().unwrap().read(&file, frame, 0).unwrap();
    let two = scope.acquire().unwrap().read(&file, buffer, u64::from(offset)).unwrap();
    assert_eq!(finished(&mut scope, one).0, 4096);
    let (bytes, buffer) = finished(&mut scope, two);
    assert_eq!(&buffer[..bytes as usize], &pattern(8192)[offset as usize..][..bytes as usize]);
}

/// A kind of target: files of one directory, by number.
struct Numbered(std::path::PathBuf);

impl Target for Numbered {
    fn name(&self) -> &'static str {
        "numbered"
    }

    fn describe(&self, data: [u64; 3], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} of table {}", data[1], data[0])
    }

    fn reopen(&self, data: [u64; 3]) -> io::Result<OwnedFd> {
        Ok(std::fs::File::open(self.0.join(data[2].to_string()))?.into())
    }
}

const NUMBERED: TargetId = TargetId(7);

struct Failing;

impl Callback for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn complete_shared(&self, _io: &handfast::IoContext<'_>, _prior: Outcome) -> Outcome {
        Outcome::new(handfast::Status::Error, CallbackId::BUILT_IN, 0, -libc::EIO)
    }
}

fn numbered<'pool>(me: &mut Process<'pool>, data: &Data) -> File<'pool> {
    me.target(NUMBERED, [10, 20, 30], std::fs::File::open(data.path()).unwrap()).unwrap()
}

fn a_target_of_the_applications_own_is_described_and_reopened_by_it() {
    let data = Data::new(b"hello");
    std::fs::write(data.beside("30"), b"thirty").unwrap();
    let directory = data.path().parent().unwrap().to_owned();
    let id = CallbackId::new(1).unwrap();
    let registry = Registry::new().target(NUMBERED, Arc::new(Numbered(directory))).unwrap();
    let registry = registry.callback(id, Arc::new(Failing)).unwrap();
    let pool = small().registry(registry).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = numbered(&mut me, &data);
    assert_eq!((file.target(), file.target_data()), (NUMBERED, [10, 20, 30]));
    let again = std::fs::File::from(file.reopen(false).unwrap());
    assert_eq!(io::read_to_string(again).unwrap(), "thirty");
    let mut scope = me.scope();
    let mut handle = scope.acquire().unwrap();
    let index = handle.id().index();
    handle.register_callback(id, 0).unwrap();
    let pending = handle.read(&file, local(b"....."), 0).unwrap();
    assert_eq!(pool.snapshot()[index].target.as_deref(), Some("segment 20 of table 10"));
    let error = scope.finish(pending).unwrap().outcome.bytes().unwrap_err();
    assert_eq!((error.target(), error.errno()), ("segment 20 of table 10", Some(libc::EIO)));
}

fn a_target_of_an_unregistered_kind_is_refused() {
    let data = Data::new(b"x");
    let pool = handfast_tests::builder().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = std::fs::File::open(data.path()).unwrap();
    let refused = me.target(TargetId(9), [0; 3], file).unwrap_err();
    assert_eq!(refused, handfast::DefineError::UnknownTarget(TargetId(9)));
}

fn s16_a_fifo_in_the_place_of_a_file_is_not_opened() {
    in_time(|| {
        let data = Data::new(b"hello");
        let pool = small().create().unwrap();
        let mut me = pool.attach().unwrap();
        let file = data.open(&mut me);
        std::fs::rename(data.path(), data.beside("moved")).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, data.path(), fifo, mode, 0).unwrap();
        for write in [false, true] {
            let error = file.reopen(write).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StaleNetworkFileHandle);
        }
        // One that was registered itself is not opened either: nobody writes to it.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let fifo = me.open(data.path(), &options).unwrap();
        assert_eq!(fifo.reopen(false).unwrap_err().kind(), io::ErrorKind::Unsupported);
    });
}

#[test]
fn a_reopened_file_can_do_what_was_asked_for() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let (reader, writer) = (file.reopen(false).unwrap(), file.reopen(true).unwrap());
    for fd in [&reader, &writer] {
        assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
    let (reader, writer) = (std::fs::File::from(reader), std::fs::File::from(writer));
    assert!(reader.write_at(b"HE", 0).is_err());
    assert_eq!(writer.write_at(b"HE", 0).unwrap(), 2);
    assert_eq!(io::read_to_string(reader).unwrap(), "HEllo");
    let link = data.beside("link");
    std::os::unix::fs::symlink(data.path(), &link).unwrap();
    let linked = me.open(&link, &read_write()).unwrap();
    assert!(linked.reopen(true).is_ok(), "a link leads to it");
}

#[test]
fn s26_a_path_longer_than_its_entry_is_no_path() {
    let data = Data::new(b"hello");
    let pool = small().max_files(1).create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    let segment = std::fs::File::from(pool.as_fd().try_clone_to_owned().unwrap());
    let mut bytes = vec![0; usize::try_from(pool.segment_len()).unwrap()];
    segment.read_exact_at(&mut bytes, 0).unwrap();
    let [_, device, inode] = file.target_data();
    let identity = [device.to_ne_bytes(), inode.to_ne_bytes()].concat();
    let entry = bytes.windows(16).position(|window| window == identity).unwrap();
    for len in [993, 1000, u64::MAX] {
        segment.write_all_at(&len.to_ne_bytes(), entry as u64 + 16).unwrap();
        assert_eq!(file.reopen(false).unwrap_err().kind(), io::ErrorKind::NotFound, "{len}");
    }
}

#[test]
fn a_file_says_when_its_entry_is_gone() {
    let data = Data::new(b"hello");
    let pool = small().create().unwrap();
    let mut me = pool.attach().unwrap();
    let file = data.open(&mut me);
    assert!(file.is_reopenable());
    me.detach().unwrap();
    assert!(!file.is_reopenable(), "the detach gave its entry up");
    assert_eq!(file.reopen(false).unwrap_err().kind(), io::ErrorKind::NotFound);
}
