//! Runs one scenario of one program in a process of its own, and says how that ended.
//!
//! loom's deadlock may end in an abort, and a mistake may hang: so each run is a process, with a
//! time limit. It tells what broke by a report in a file (see [`crate::report`]), not by its text.

use super::mistake::Tool;
use crate::mutant::{PLANTED, WEAKEN};
use crate::report::{self, Failure, REPORT};
use crate::scenario;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What is wrong with the program that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted<'a> {
    /// A site is weakened: the name of that mutant.
    Site(&'a str),
    /// A patch was applied; what it is about.
    Patch(&'a str),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The program: a `handfast-model`.
    pub program: &'a Path,
    /// What is wrong with it.
    pub planted: Planted<'a>,
    /// The tool.
    pub tool: Tool,
    /// The scenario.
    pub scenario: &'a str,
    /// How long it may take.
    pub limit: Duration,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Every execution passed.
    Passed,
    /// An execution failed; what the process printed.
    Broke(Failure, String),
    /// It failed outside of an execution; what it printed.
    Otherwise(String),
    /// It took too long.
    TooLong,
}

impl Run<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// If no process can be started, or its report cannot be read.
    pub fn run(&self, trace: &Path) -> io::Result<Ended> {
        let mut command = Command::new(self.program);
        command
            .arg(self.tool.name())
            .arg(self.scenario)
            .env_remove(WEAKEN)
            .env_remove(PLANTED)
            .env_remove(crate::pins::BLESS)
            .env(REPORT, trace)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        match self.planted {
            Planted::Site(mutant) => command.env(WEAKEN, mutant),
            Planted::Patch(about) => command.env(PLANTED, about),
        };
        self.as_far_as_planned(&mut command);
        let mut child = command.spawn()?;
        let Some(said) = wait(&mut child, self.limit)? else { return Ok(Ended::TooLong) };
        let status = child.wait()?;
        if status.success() {
            return Ok(Ended::Passed);
        }
        match report::read(trace) {
            Ok(failure) => Ok(Ended::Broke(failure, said)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ended::Otherwise(said)),
            Err(error) => Err(error),
        }
    }

    /// The bound that the scenario's quick run has, or how far its search goes.
    fn as_far_as_planned(&self, command: &mut Command) {
        let Some(plan) = scenario::named(self.scenario).map(|entry| entry.plan) else { return };
        match self.tool {
            Tool::Loom => {
                if let Some([Some(bound), _]) = plan.loom {
                    command.args(["--preemptions", &bound.to_string()]);
                }
            }
            Tool::Search => {
                let Some(reach) = plan.search else { return };
                command.args(["--deaths", &reach.deaths.to_string()]);
                command.args(["--spurious", &reach.spurious.to_string()]);
            }
            Tool::Shuttle => {}
        }
    }
}

/// What the child prints until it ends; `None` if it does not end in time.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<String>> {
    let (done, both) = mpsc::channel();
    let mut readers = Vec::new();
    let out = child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>);
    let err = child.stderr.take().map(|err| Box::new(err) as Box<dyn Read + Send>);
    for mut pipe in [out, err].into_iter().flatten() {
        let done = done.clone();
        readers.push(thread::spawn(move || {
            let mut said = Vec::new();
            let _rest_is_lost = pipe.read_to_end(&mut said);
            let _nobody_waits = done.send(());
            String::from_utf8_lossy(&said).into_owned()
        }));
    }
    let (mut over, deadline) = (true, Instant::now() + limit);
    for _ in &readers {
        let left = deadline.saturating_duration_since(Instant::now());
        over &= both.recv_timeout(left).is_ok();
    }
    if !over {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    Ok(Some(readers.into_iter().filter_map(|reader| reader.join().ok()).collect()))
}

/// Where the trace of this run goes.
#[must_use]
pub fn trace_of(name: &str) -> PathBuf {
    let folder = super::copy::place().join("traces");
    let _shown_when_it_is_written = fs::create_dir_all(&folder);
    folder.join(name).with_extension("ndjson")
}
