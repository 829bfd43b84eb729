//! What is refused, how it is said, and that nothing has changed afterwards.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::{Fixture, HANDFAST, run};

#[test]
fn a_missing_source_is_named() {
    let fixture = Fixture::new();
    fixture.copy(&["nothing", "dst"]).fails(1, &["nothing", "No such file or directory"]);
    assert!(fixture.names().is_empty());
}

#[test]
fn a_source_that_is_no_regular_file_is_refused_with_its_kind() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("directory")).expect("a directory");
    let _socket = UnixListener::bind(fixture.path("socket")).expect("a socket");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    symlink("directory", fixture.path("link")).expect("a link");
    for (name, kind) in [
        ("directory", "a directory"),
        ("link", "a directory"),
        ("socket", "a socket"),
        ("pipe", "a pipe"),
        ("/dev/zero", "a character device"),
    ] {
        fixture.copy(&[name, "dst"]).fails(1, &[name, kind, "regular file"]);
        assert!(!fixture.path("dst").exists());
    }
}

#[test]
fn source_and_destination_that_are_the_same_file_are_refused_by_whatever_name() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    fs::hard_link(fixture.path("src"), fixture.path("hard")).expect("a link");
    symlink("src", fixture.path("soft")).expect("a link");
    for (from, to) in [
        ("src", "src"),
        ("src", "./src"),
        ("src", "hard"),
        ("hard", "src"),
        ("src", "soft"),
        ("soft", "src"),
    ] {
        fixture.copy(&[from, to]).fails(1, &[to, "same file"]);
        assert_eq!(fs::read(fixture.path("src")).expect("the source"), b"content");
    }
    assert_eq!(fixture.names(), ["hard", "soft", "src"]);
}

#[test]
fn a_destination_that_is_a_directory_is_refused_with_a_hint() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    fs::create_dir(fixture.path("directory")).expect("a directory");
    for name in ["directory", "directory/", "directory/.", "directory//", ".", "..", "/"] {
        fixture.copy(&["src", name]).fails(1, &[name, "is a directory", "NAME"]);
    }
    assert_eq!(fixture.names(), ["directory", "src"]);
}

#[test]
fn a_destination_that_can_only_name_a_directory_is_no_file() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    fixture.file("dst", b"old");
    symlink("dst", fixture.path("link")).expect("a link");
    let inode = || fs::metadata(fixture.path("src")).expect("the source").ino();
    let before = inode();
    for file in ["src", "dst", "./dst", "link"] {
        for end in ["/", "//", "/.", "/..", "/./", "/../"] {
            let name = format!("{file}{end}");
            fixture.copy(&["src", &name]).fails(1, &[&name, "Not a directory", "name the file"]);
        }
    }
    for end in ["/", "/.", "/.."] {
        let name = format!("missing{end}");
        fixture.copy(&["src", &name]).fails(1, &[&name, "No such file", "name the file"]);
    }
    fixture.copy(&["src", ""]).fails(2, &["DST"]);
    assert_eq!(inode(), before, "SRC is what it was");
    assert_eq!(fs::read(fixture.path("dst")).expect("the old file"), b"old");
    assert_eq!(fixture.names(), ["dst", "link", "src"]);
}

#[test]
fn a_device_pipe_or_socket_survives_as_a_destination() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    let _socket = UnixListener::bind(fixture.path("socket")).expect("a socket");
    symlink("/dev/null", fixture.path("link")).expect("a link");
    for (name, kind) in [
        ("/dev/null", "a character device"),
        ("link", "a character device"),
        ("socket", "a socket"),
    ] {
        fixture.copy(&["src", name]).fails(1, &[name, kind, "another name"]);
    }
    assert!(!fs::metadata("/dev/null").expect("/dev/null").is_file());
    assert_eq!(fixture.names(), ["link", "socket", "src"]);
}

#[test]
fn a_link_to_nothing_is_refused() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    symlink("nothing", fixture.path("dst")).expect("a link");
    fixture.copy(&["src", "dst"]).fails(1, &["dst", "symbolic link", "does not exist"]);
    assert_eq!(fixture.names(), ["dst", "src"]);
}

#[test]
fn a_destination_in_a_missing_directory_is_refused() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    fixture
        .copy(&["src", "missing/dst"])
        .fails(1, &["directory missing of DST", "No such file or directory"]);
    fixture.copy(&["src", "src/dst"]).fails(1, &["directory src of DST", "Not a directory"]);
    assert_eq!(fixture.names(), ["src"]);
}

#[test]
fn a_read_error_is_named_with_file_and_offset() {
    let fixture = Fixture::new();
    fixture.file("dst", b"old");
    let run = fixture.copy(&["/proc/self/mem", "dst"]);
    run.fails(1, &["cannot read /proc/self/mem at offset 0", "Input/output error"]);
    assert_eq!(fs::read(fixture.path("dst")).expect("the old file"), b"old");
}

#[test]
fn absurd_values_are_refused_with_the_allowed_range() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    let block = "from 512 to 16777216";
    for (option, value, range) in [
        ("--processes", "0", "1..=256"),
        ("--processes", "257", "1..=256"),
        ("--processes", "-1", "1..=256"),
        ("--processes", "many", "invalid"),
        ("--queue-depth", "0", "1..=1024"),
        ("--queue-depth", "1099511627776", "1..=1024"),
        ("--block-size", "0", block),
        ("--block-size", "511", block),
        ("--block-size", "-512", block),
        ("--block-size", "1000", block),
        ("--block-size", "1G", block),
        ("--block-size", "1073741824", block),
        ("--block-size", "", block),
        ("--method", "magic", "auto, sync, worker, io_uring"),
        ("--workers", "0:4", "the least must be 1 to 32"),
        ("--workers", "5:4", "5 to 4 workers"),
        ("--workers", "1:33", "at most 32"),
        ("--workers", "some", "1 to 32"),
        ("--workers", "-1", "1 to 32"),
    ] {
        fixture.copy(&["src", "dst", option, value]).fails(2, &[option, range]);
    }
    let together = ["-p", "256", "-d", "1024", "-b", "16M"];
    fixture
        .copy(&[&["src", "dst"], &together[..]].concat())
        .fails(2, &["4398046511104 bytes of buffers", "at most 1073741824"]);
    assert_eq!(fixture.names(), ["src"]);
}

#[test]
fn a_command_line_without_files_or_with_contradictions_is_refused() {
    let fixture = Fixture::new();
    fixture.copy(&[]).fails(2, &["SRC", "DST"]);
    fixture.copy(&["src"]).fails(2, &["DST"]);
    fixture.copy(&["a", "b", "c"]).fails(2, &["unexpected"]);
    fixture.copy(&["a", "b", "-q", "-v"]).fails(2, &["cannot be used with"]);
    for method in ["sync", "io_uring"] {
        let run = fixture.copy(&["a", "b", "--workers", "2", "--method", method]);
        let told = format!("--method {method} has no workers");
        run.fails(2, &[&told, "leave out --workers", "--method worker"]);
    }
    run(Command::new(HANDFAST).arg("move")).fails(2, &["move"]);
    assert!(fixture.names().is_empty());
}
