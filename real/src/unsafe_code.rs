//! Where this crate has `unsafe`, and why: 91 uses, tests not counted.
//!
//! `handfast-core`, `handfast-model` and `handfast-cli` forbid it. Each block has a `SAFETY` comment that
//! answers each obligation; clippy refuses one without. `real/tests/documents.rs` counts the uses.
//!
//! | file | uses | reason |
//! |---|---|---|
//! | `aligned.rs` | 6 | allocates local memory with an alignment; lends it as a slice to its one owner |
//! | `method/local.rs` | 5 | hands descriptors and addresses, which the slab owns, to the system calls and to the ring |
//! | `method/ring.rs` | 4 | pushes requests whose memory and files the slab owns |
//! | `method/worker.rs` | 4 | system calls on addresses in mappings of the pool, checked before |
//! | `segment.rs` | 14 | lays arrays of atomics over the mapping: the only references into shared memory |
//! | `sys/io.rs` | 6 | preadv(2), pwritev(2) on raw addresses, through libc |
//! | `sys/lock.rs` | 1 | fcntl(2) with byte ranges, through libc |
//! | `sys/mapping.rs` | 12 | mmap(2), munmap(2), madvise(2); addresses inside of a mapping; its bytes as atomics |
//! | `sys/signals.rs` | 3 | pthread_sigmask(3) around the start of a thread |
//! | `sys/uring/memory.rs` | 12 | mmap(2), munmap(2) of rings; words inside of one's memory as atomics |
//! | `sys/uring/mod.rs` | 2 | tries a ring whose queue is in a mapping, with an entry that names nothing |
//! | `sys/uring/ring.rs` | 3 | io_uring_enter(2), io_uring_register(2) with structures of the call |
//! | `sys/uring/setup.rs` | 7 | io_uring_setup(2) with the ring's memory, io_uring_register(2) with arrays |
//! | `sys/uring/shortcut.rs` | 4 | io_uring_register(2) with one update; a place in a table as an argument |
//! | `sys/uring/submission.rs` | 8 | entries that name memory and files by number, and their submission |
//!
//! What they rest on:
//! - A mapping keeps its length: a memfd is sealed, and layouts are checked against it once.
//! - Shared bytes are reached by atomics of 64 bits (a futex's 32, those of a ring's header too), never borrowed otherwise; any value
//!   of them is some value. The kernel alone reaches them in other ways.
//! - An index or a length from shared memory is loaded once and compared before use.
//! - A buffer lent to an IO is owned by the slab until the IO is over, and does not move.
//! - A ring holds the pages of its memory until it is gone, whoever unmaps them.
