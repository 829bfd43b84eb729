//! Names: links, odd characters, relative paths, and what a name may hide.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::support::{Fixture, assert_same, noise, run};

#[test]
fn an_existing_file_is_replaced_and_its_hard_link_keeps_the_old_content() {
    let fixture = Fixture::new();
    let source = fixture.file("src", b"new");
    fixture.file("dst", b"old content that is longer");
    fs::hard_link(fixture.path("dst"), fixture.path("other")).expect("a link");
    fixture.copy(&["src", "dst"]).succeeds();
    assert_same(&source, &fixture.path("dst"));
    assert_eq!(fs::read(fixture.path("other")).expect("the link"), b"old content that is longer");
}

#[test]
fn a_symbolic_link_is_followed_to_the_file_which_is_replaced() {
    let fixture = Fixture::new();
    let source = fixture.file("src", b"new");
    fs::create_dir(fixture.path("elsewhere")).expect("a directory");
    let target = fixture.file("elsewhere/target", b"old");
    symlink("elsewhere/target", fixture.path("dst")).expect("a link");
    fixture.copy(&["src", "dst"]).succeeds();
    assert!(fs::symlink_metadata(fixture.path("dst")).expect("the link").is_symlink());
    assert_same(&source, &target);
    assert_eq!(fs::read_dir(fixture.path("elsewhere")).expect("a directory").count(), 1);
}

#[test]
fn a_source_behind_a_symbolic_link_is_copied() {
    let fixture = Fixture::new();
    let source = fixture.file("real", b"content");
    symlink("real", fixture.path("src")).expect("a link");
    fixture.copy(&["src", "dst"]).succeeds();
    assert_same(&source, &fixture.path("dst"));
    assert!(!fs::symlink_metadata(fixture.path("dst")).expect("the copy").is_symlink());
}

#[test]
fn odd_names_are_names() {
    let fixture = Fixture::new();
    let content = noise(5000, 4);
    let longest = "n".repeat(255);
    let names = [
        OsStr::new("with space and \"quotes\""),
        OsStr::new("--processes"),
        OsStr::new("\n"),
        OsStr::new("ünïcode"),
        OsStr::from_bytes(b"not \xff UTF-8"),
        OsStr::new(".hidden"),
        OsStr::new(&longest),
    ];
    for name in names {
        fs::write(fixture.path("src"), &content).expect("a file");
        run(fixture.command().args(["copy", "--", "src"]).arg(name)).succeeds();
        fs::remove_file(fixture.path("src")).expect("the source");
        run(fixture.command().args(["copy", "--"]).arg(name).arg("src")).succeeds();
        assert_same(&fixture.path(name), &fixture.path("src"));
        fs::remove_file(fixture.path(name)).expect("the copy");
    }
    assert_eq!(fixture.names(), ["src"]);
}

#[test]
fn the_copy_is_a_new_file_and_readers_keep_the_old_one() {
    let fixture = Fixture::new();
    fixture.file("src", b"new");
    let old = fs::File::open(fixture.file("dst", b"old")).expect("the old file");
    fixture.copy(&["src", "dst"]).succeeds();
    let new = fs::metadata(fixture.path("dst")).expect("the new file");
    assert_ne!(old.metadata().expect("the old file").ino(), new.ino());
    assert_eq!(std::io::read_to_string(old).expect("the old file"), "old");
}

#[test]
fn verbose_tells_what_is_done_and_quiet_tells_nothing() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    let run = fixture.copy(&["src", "dst", "--verbose", "-p", "2"]);
    assert!(run.status.success(), "{run:?}");
    for part in ["7 bytes in 1 block of 65536", "2 copiers [", "writing to ./.dst.handfast-"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    assert_eq!(fixture.copy(&["src", "dst", "--quiet"]).succeeds(), "");
}
