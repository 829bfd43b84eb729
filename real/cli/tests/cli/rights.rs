//! Rights that are missing. As root these tests become an ordinary user first; as that they just
//! run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Fixture, HANDFAST, Run, Started, eventually, is_root, run};

/// An ordinary user on every system.
const NOBODY: u32 = 65534;

/// A directory that everybody may enter and write to, with a copy of the program that everybody may
/// run.
struct Public {
    fixture: Fixture,
    program: PathBuf,
}

impl Public {
    fn new() -> Self {
        let fixture = Fixture::new();
        let program = fixture.path("program");
        // A descriptor that this process writes the program with could live on in the children of
        // other tests, and then it would not start; what copiers write with is gone with them.
        run(Command::new(HANDFAST).args(["copy", HANDFAST]).arg(&program)).succeeds();
        let public = Self { fixture, program };
        public.chmod("program", 0o755);
        public.chmod("", 0o777);
        public
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) {
        self.fixture.file(name, content);
        self.chmod(name, mode);
    }

    fn chmod(&self, name: &str, mode: u32) {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.fixture.path(name), permissions).expect("chmod");
    }

    fn copy_as_ordinary_user(&self, arguments: &[&str]) -> Run {
        let run = self.start_as_ordinary_user(arguments).wait();
        assert!(self.fixture.temporaries().is_empty(), "{run:?}");
        run
    }

    fn start_as_ordinary_user(&self, arguments: &[&str]) -> Started {
        let mut command = Command::new(&self.program);
        command.arg("copy").args(arguments).current_dir(self.fixture.root());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Started::new(&mut command)
    }
}

#[test]
fn an_ordinary_user_can_copy() {
    let public = Public::new();
    public.file("src", b"content", 0o644);
    public.copy_as_ordinary_user(&["src", "dst", "--fsync"]).succeeds();
    assert_eq!(fs::read(public.fixture.path("dst")).expect("the copy"), b"content");
}

#[test]
fn an_unreadable_source_is_refused() {
    let public = Public::new();
    public.file("src", b"content", 0o000);
    public
        .copy_as_ordinary_user(&["src", "dst"])
        .fails(1, &["cannot open src", "Permission denied"]);
    assert!(!public.fixture.path("dst").exists());
}

#[test]
fn a_directory_that_is_not_writable_is_named() {
    let public = Public::new();
    public.file("src", b"content", 0o644);
    fs::create_dir(public.fixture.path("closed")).expect("a directory");
    public.file("closed/dst", b"old", 0o666);
    public.chmod("closed", 0o555);
    for name in ["closed/new", "closed/dst"] {
        public
            .copy_as_ordinary_user(&["src", name])
            .fails(1, &["cannot create a file in closed", "Permission denied"]);
    }
    public.chmod("closed", 0o000);
    public.copy_as_ordinary_user(&["src", "closed/dst"]).fails(1, &["closed", "Permission denied"]);
    public.chmod("closed", 0o755);
    assert_eq!(fs::read(public.fixture.path("closed/dst")).expect("the old file"), b"old");
    assert_eq!(fs::read_dir(public.fixture.path("closed")).expect("a directory").count(), 1);
}

#[test]
fn a_destination_that_is_protected_against_writing_is_refused() {
    let public = Public::new();
    public.file("src", b"content", 0o644);
    public.file("dst", b"old", 0o444);
    public
        .copy_as_ordinary_user(&["src", "dst"])
        .fails(1, &["may not write to dst", "Permission denied", "remove it first"]);
    assert_eq!(fs::read(public.fixture.path("dst")).expect("the old file"), b"old");
}

#[test]
fn a_destination_that_gets_protected_during_the_copy_is_left_alone() {
    let public = Public::new();
    public.file("src", b"", 0o644);
    let source = fs::File::options().write(true).open(public.fixture.path("src"));
    source.expect("the source").set_len(64 << 20).expect("a hole");
    public.file("dst", b"old", 0o666);
    let started = public.start_as_ordinary_user(&["src", "dst", "-b", "512", "-p", "2"]);
    eventually("all copiers run", || started.children().len() == 2);
    started.signal_group(Signal::STOP);
    public.chmod("dst", 0o444);
    started.signal_group(Signal::CONT);
    started.wait().fails(1, &["may not write to ./dst", "Permission denied", "remove it first"]);
    assert_eq!(fs::read(public.fixture.path("dst")).expect("the old file"), b"old");
    assert!(public.fixture.temporaries().is_empty());
}

#[test]
fn an_ordinary_user_without_locked_memory_can_copy_by_auto_and_is_told_what_is_missing() {
    let public = Public::new();
    public.file("src", b"content", 0o644);
    let script = "ulimit -l 0; exec \"$0\" copy src dst --verbose";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(&public.program).current_dir(public.fixture.root());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let run = run(&mut command);
    assert!(run.status.success(), "{run:?}");
    assert_eq!(fs::read(public.fixture.path("dst")).expect("the copy"), b"content");
    // Whether rings count against the limit is the kernel's; if they do, the limit is named.
    let refused = run.stderr.contains("io_uring is not used");
    let named = run.stderr.contains("locked memory is 0 KiB") || !crate::support::has_rings();
    assert!(!refused || named, "{run:?}");
    assert_eq!(!refused, run.stdout.ends_with(", method io_uring\n"), "{run:?}");
}

#[test]
fn an_ordinary_user_can_copy_by_workers_what_only_he_can_read() {
    let public = Public::new();
    public.file("src", b"content", 0o644);
    public.copy_as_ordinary_user(&["src", "own", "--method", "worker"]).succeeds();
    public.chmod("own", 0o600);
    let arguments = ["own", "dst", "--fsync", "--method", "worker", "--workers", "2"];
    public.copy_as_ordinary_user(&arguments).succeeds();
    assert_eq!(fs::read(public.fixture.path("dst")).expect("the copy"), b"content");
}
