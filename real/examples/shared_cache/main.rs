//! Several processes share the frames of a pool as a page cache of one file: each block is read once,
//! by whoever comes first, and everybody else joins that read or hits what it brought.
//!
//! Read in this order: [`blocks`] (the header of a block, the whole idea), [`verify`] (the callback
//! that claims a block and marks it valid), [`reader`] (one process), [`worker`] (one that executes reads for
//! the others, with that method), [`coordinator`] (starts them and adds up), [`options`].
//!
//! A process never dies holding up the others: a read whose reader died is over, as far as any
//! waiter can see, without having marked its block valid, and the next who wants the block reads it.

mod blocks;
mod coordinator;
mod options;
mod reader;
mod verify;
mod worker;

use options::{HELP, Options};
use std::process::ExitCode;

/// Any error ends a process with a message and exit code 1; a command line that is not understood, with 2.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(reader::ROLE) => reader::main(&arguments[1..]),
        Some(worker::ROLE) => worker::main(&arguments[1..]),
        _ => match Options::parse(&arguments) {
            Ok(options) => coordinator::main(&options),
            Err(error) => {
                eprintln!("shared_cache: {error}");
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shared_cache: {error}");
            ExitCode::FAILURE
        }
    }
}
