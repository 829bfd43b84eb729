//! The progress bar: on a terminal, and nowhere else.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Fixture, noise};

/// Copies with a terminal as standard error, and returns what it showed.
fn shown_on_terminal(options: &[&str]) -> String {
    let fixture = Fixture::new();
    fixture.file("src", &noise(3_000_000, 10));
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&controller).expect("the terminal's rights");
    unlockpt(&controller).expect("the terminal's lock");
    let name = ptsname(&controller, Vec::new()).expect("the terminal's name");
    let path = std::ffi::OsStr::from_bytes(name.to_bytes());
    let terminal = OpenOptions::new().read(true).write(true).open(path).expect("the terminal");

    let mut command = fixture.command();
    command.args(["copy", "src", "dst", "-p", "2"]).args(options).env("TERM", "xterm");
    let mut child = command.stdout(Stdio::null()).stderr(terminal).spawn().expect("a start");
    // The last copy of the terminal in this process goes with the command; then the end of the
    // child ends the stream.
    drop(command);
    let mut shown = Vec::new();
    // A terminal that nobody has open any more says so with an error, after all that was written to
    // it.
    let _ = File::from(controller).read_to_end(&mut shown);
    assert!(child.wait().expect("an end").success());
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn a_terminal_shows_progress() {
    let shown = shown_on_terminal(&[]);
    assert!(shown.contains("2.86 MiB"), "{shown:?}");
}

#[test]
fn a_terminal_shows_nothing_of_a_quiet_copy() {
    assert_eq!(shown_on_terminal(&["--quiet"]), "");
}
