//! Another process of a pool, driven step by step: the program `participant`
//! (`tests/src/bin/participant.rs`) reads one command a line and answers with one line.
//!
//! A test is told when a step is over and so never sleeps. A [`Participant`] that is dropped kills its
//! own process, by its handle, and reaps it.

use crate::PATIENCE;
use rustix::process::{Pid, Signal, WaitIdOptions};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A process that executes commands.
#[derive(Debug)]
pub struct Participant {
    child: Child,
    commands: ChildStdin,
    lines: Receiver<String>,
}

impl Participant {
    /// Starts `program`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the participant starts");
        let commands = child.stdin.take().expect("it has a pipe");
        let output = BufReader::new(child.stdout.take().expect("it has a pipe"));
        let (sender, lines) = channel();
        // The thread ends with the process, whose end of the pipe is the only one.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, commands, lines }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command and does not wait for its answer.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the participant is alive");
    }

    /// Its next line, as it is.
    ///
    /// # Panics
    /// If there is none in [`PATIENCE`], or the process is gone.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        self.hear_within(PATIENCE)
    }

    /// The same, with more patience.
    ///
    /// # Panics
    /// If there is none in this time, or the process is gone.
    #[track_caller]
    pub fn hear_within(&mut self, time: Duration) -> String {
        match self.lines.recv_timeout(time) {
            Ok(line) => line,
            Err(error) => panic!("process {}: no answer: {error}", self.pid()),
        }
    }

    /// The rest of its next line, which has to say `ok`.
    ///
    /// # Panics
    /// If it says anything else.
    #[track_caller]
    pub fn hear_ok(&mut self) -> String {
        let line = self.hear();
        match line.strip_prefix("ok") {
            Some(rest) => rest.trim_start().to_owned(),
            None => panic!("process {}: {line}", self.pid()),
        }
    }

    /// Executes a command: the answer behind `ok`.
    ///
    /// # Panics
    /// If it answers anything else.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.hear_ok()
    }

    /// Executes a command that has to be refused: what it says behind `error`.
    ///
    /// # Panics
    /// If it is not refused.
    #[track_caller]
    pub fn refuses(&mut self, command: &str) -> String {
        self.tell(command);
        let line = self.hear();
        match line.strip_prefix("error ") {
            Some(message) => message.to_owned(),
            None => panic!("process {}: {command} was not refused: {line}", self.pid()),
        }
    }

    /// Kills it (SIGKILL) and reaps it: afterwards the kernel has closed everything it had open.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn kill(mut self) {
        self.end();
    }

    /// Stops it (SIGSTOP) and returns when it stands still.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn stop(&self) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::STOP).expect("a child can be stopped");
        let stopped = WaitIdOptions::STOPPED;
        let wait = || rustix::process::waitid(rustix::process::WaitId::Pid(pid), stopped);
        rustix::io::retry_on_intr(wait).expect("a child can be waited for");
    }

    /// Interrupts it (SIGINT).
    ///
    /// # Panics
    /// If the system refuses.
    pub fn interrupt(&self) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::INT).expect("a child can be interrupted");
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Panics
    /// If the system refuses.
    pub fn go_on(&self) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::CONT).expect("a child can be continued");
    }

    fn end(&mut self) {
        // It may be gone already; then only the reaping is left to do.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.end();
    }
}
