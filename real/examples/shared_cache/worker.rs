//! A process that executes the others' reads, and runs their callback: so it is of the application's own,
//! and not `handfast worker`, which has no callbacks.
//!
//! It leaves when its standard input is closed, which happens when the coordinator ends in whatever way.
#![expect(clippy::disallowed_types, reason = "the flag is the example's own")]

use crate::Failure;
use crate::verify::registry;
use handfast::{Pool, WorkOptions};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first argument of a process that the coordinator starts.
pub const ROLE: &str = "--worker";

/// Works until it is told to leave.
pub fn main(arguments: &[String]) -> Result<(), Failure> {
    let [segment] = arguments else {
        return Err(format!("{ROLE} is for the coordinator's use").into());
    };
    let pool = Arc::new(Pool::open(Path::new(segment), registry()?)?);
    let leave = Arc::new(AtomicBool::new(false));
    let (told, roused) = (Arc::clone(&leave), Arc::clone(&pool));
    std::thread::spawn(move || {
        // An error is an end of the input, too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Release);
        roused.rouse_workers();
    });
    let mut me = pool.attach()?;
    println!("ready");
    let _asked = me.work(WorkOptions::default(), &leave)?;
    me.detach()?;
    Ok(())
}
