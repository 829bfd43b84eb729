//! The core of handfast: PostgreSQL's asynchronous-I/O handles as a pure state machine, and the one
//! protocol that runs it.
//!
//! This crate decides and acts, but owns no memory and makes no system call: it is generic over a
//! [`platform::Platform`]. `handfast` runs it in mapped shared memory; `handfast-model` runs the
//! same source under loom. It is `no_std` (with `alloc`) and has no unsafe code.
//!
//! Read in this order:
//! 1. [`ids`]: handles, generations, slots, wait references;
//! 2. [`state`] and [`edges`]: the word, the transition relation as a function and as data;
//! 3. [`request`], [`outcome`], [`lease`]: what an IO is, what became of it, who holds memory;
//! 4. [`decide`]: the pure machines of waiter, completer, issuer, recoverer, worker and reaper;
//! 5. [`platform`] and [`site`]: what the world must offer; every atomic access by name;
//! 6. [`handle`]: the shared words;
//! 7. [`protocol`]: the only code that touches them.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod decide;
pub mod edges;
pub mod handle;
pub mod ids;
pub mod lease;
pub mod outcome;
pub mod platform;
pub mod protocol;
pub mod request;
pub mod site;
pub mod state;
