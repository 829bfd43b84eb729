//! Who holds a frame or a file entry: the few changes of a [`LeaseWord`].
//!
//! The holder keeps the word it expects in private memory; a lease that does not hold that word any
//! more was recovered, and every exchange of it fails without harm (S24). Lending and taking back are
//! plain stores: the caller's attachment lives, so nobody may recover it meanwhile.

use super::{Context, Embed, Shared};
use crate::ids::{Generation, HandleId, ProcessSlot};
use crate::lease::LeaseWord;
use crate::platform::Atomic64;
use crate::site::Site;

/// Takes a free lease; `None` if it is not free.
pub fn take<A: Atomic64>(at: &A, slot: ProcessSlot, epoch: u32) -> Option<LeaseWord> {
    let free = LeaseWord::from_raw(at.load(Site::LeaseLook));
    let taken = free.taken(slot, epoch)?;
    change(at, Site::LeaseTake, free, taken)
}

/// Lends an owned lease to an IO that is about to be submitted.
#[inline(always)]
pub fn lend<A: Atomic64>(at: &A, owned: LeaseWord, io: (HandleId, Generation)) {
    at.store(Site::LeaseLend, owned.lent(io.0, io.1).raw());
}

/// Takes it back when the IO is over.
#[inline(always)]
pub fn take_back<A: Atomic64>(at: &A, owned: LeaseWord) {
    at.store(Site::LeaseLend, owned.raw());
}

/// Frees an owned lease; false if it was not the caller's any more.
pub fn free<A: Atomic64>(at: &A, owned: LeaseWord) -> bool {
    change(at, Site::LeaseFree, owned, owned.freed()).is_some()
}

/// Offers an owned lease to whoever gets the word: the token. The nonce tells it from all others.
pub fn offer<A: Atomic64>(at: &A, owned: LeaseWord, nonce: u64) -> Option<LeaseWord> {
    change(at, Site::LeaseOffer, owned, owned.offered(nonce)?)
}

/// Adopts what was offered with this token; `None` if it was adopted, freed or recovered since.
pub fn adopt<A: Atomic64>(
    at: &A,
    token: LeaseWord,
    slot: ProcessSlot,
    epoch: u32,
) -> Option<LeaseWord> {
    change(at, Site::LeaseAdopt, token, token.adopted(slot, epoch)?)
}

fn change<A: Atomic64>(at: &A, site: Site, from: LeaseWord, to: LeaseWord) -> Option<LeaseWord> {
    at.compare_exchange(site, from.raw(), to.raw()).ok().map(|_| to)
}

impl<E: Embed> Context<'_, E> {
    /// Frees everything that a slot holds: at its detach, or with its lock held at recovery.
    pub(super) fn free_leases(&self, of: ProcessSlot) {
        let handles = self.shared.owned_by(of);
        for index in 0..self.shared.lease_count() {
            let Some(at) = self.shared.lease(index) else { continue };
            let word = LeaseWord::from_raw(at.load(Site::LeaseLook));
            if word.belongs_to(of, &handles) {
                change(at, Site::LeaseRecover, word, word.freed());
            }
        }
    }
}
