//! Files that started IO keeps open beyond its caller's borrow (S16).
//!
//! The uses of a file are counted here, in memory of one attachment: a batch of IO on one file takes
//! one share of it, instead of one for each IO, which would be two locked operations each.

use crate::target::File;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

/// The files, each with how many IOs use it. Seldom more than one.
#[derive(Default)]
pub(super) struct KeptFiles<'pool>(Vec<Kept<'pool>>);

struct Kept<'pool> {
    /// Keeps the descriptor open, so that its number is this file's alone.
    _share: File<'pool>,
    fd: RawFd,
    uses: u32,
}

impl<'pool> KeptFiles<'pool> {
    /// One more IO uses it.
    #[inline]
    pub fn keep(&mut self, file: &File<'pool>) {
        let fd = file.as_fd().as_raw_fd();
        match self.0.iter_mut().find(|kept| kept.fd == fd) {
            Some(kept) => kept.uses += 1,
            None => self.0.push(Kept { _share: file.clone(), fd, uses: 1 }),
        }
    }

    /// One less IO uses it; the last one gives the share up.
    #[inline]
    pub fn let_go(&mut self, fd: RawFd) {
        let Some(index) = self.0.iter().position(|kept| kept.fd == fd) else { return };
        self.0[index].uses -= 1;
        if self.0[index].uses == 0 {
            self.0.swap_remove(index);
        }
    }
}
