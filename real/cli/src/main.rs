//! The program `handfast`: copies a file with several processes through one pool of IO handles, runs
//! workers for pools, and tells what the machine it runs on can do.
//!
//! Reading order: [`args`] (what can be asked for), [`copy`] (plan, destination, copiers,
//! coordinator), [`worker`] (supervisor and workers), [`doctor`] (the probes), [`signals`] and
//! [`system`] (what all need of the operating system).
#![forbid(unsafe_code)]

mod args;
mod copy;
mod doctor;
mod signals;
mod system;
mod worker;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};

use args::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Copy(options) => match options.check() {
            Ok(()) => copy::run(&options),
            Err(message) => refuse("copy", message),
        },
        Command::Doctor => doctor::run(),
        Command::Worker(options) => match options.limits() {
            Ok(limits) => worker::run(&options, limits),
            Err(error) => refuse("worker", error),
        },
        Command::OneWorker(orders) => worker::run_one(&orders),
        Command::Copier(orders) => copy::run_copier(&orders),
        Command::DoctorPeer(orders) => doctor::run_peer(&orders),
    }
}

/// Ends the program as a command line that is not understood does, with the usage of its command.
fn refuse(command: &str, message: impl Display) -> ! {
    let mut program = Cli::command();
    program.build();
    let found = program.find_subcommand_mut(command).cloned();
    found.unwrap_or(program).error(ErrorKind::ValueValidation, message).exit()
}
