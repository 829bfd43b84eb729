//! Every atomic access of the protocol, by name: what it is, its ordering, what it publishes or
//! acquires, and its partner.
//!
//! An access that is not in this list does not exist: [`crate::platform`] takes a [`Site`] and
//! nothing else, and clippy refuses the type `Ordering` outside of this module and the platforms.
//! The model weakens the sites one at a time to Relaxed; a site that survives is Relaxed already,
//! with the reason given here. No access is SeqCst: every handshake of a store with a later load
//! is a read-modify-write on one word.

#![expect(clippy::disallowed_types, reason = "this is the one place where orderings are chosen")]

use core::sync::atomic::Ordering;

/// What kind of access a site is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Load,
    /// A store.
    Store,
    /// A swap, an addition, or a compare-exchange.
    Update,
    /// A fence.
    Fence,
}

macro_rules! sites {
    ($($(#[doc = $meaning:literal])+ $name:ident: $access:ident $ordering:ident, partner $partner:literal;)+) => {
        /// The name of one atomic access of the protocol.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Site {
            $($(#[doc = $meaning])+ #[doc = concat!("\n\n", stringify!($access), ", ", stringify!($ordering), ". Partner: ", $partner, ".")] $name,)+
        }

        impl Site {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The ordering of this access in production.
            #[inline(always)]
            #[must_use]
            pub const fn ordering(self) -> Ordering {
                match self { $(Self::$name => Ordering::$ordering,)+ }
            }

            /// What kind of access it is.
            #[must_use]
            pub const fn access(self) -> Access {
                match self { $(Self::$name => Access::$access,)+ }
            }

            /// What it publishes or acquires; for a Relaxed site, why that is enough.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($meaning,)+),)+ }
            }

            /// The access it pairs with.
            #[must_use]
            pub const fn partner(self) -> &'static str {
                match self { $(Self::$name => $partner,)+ }
            }

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

sites! {
    /// IDLE at the first generation, in a segment that nobody else has opened yet. Relaxed: the
    /// pool is published by other means, after it.
    Initialise: Store Relaxed, partner "none";
    /// IDLE → HANDED_OUT. Passes on what the reclaim before it had acquired, so that a waiter of
    /// the previous generation who sees this word sees that IO's effects (S7, R8).
    HandOut: Store Release, partner "WaitLook, CheckLook (recycled)";
    /// Before the first payload store of a new generation, after HandOut: a viewer that sees such a
    /// store also sees the new word at its second look (S9).
    FieldsFence: Fence Release, partner "ViewFence";
    /// HANDED_OUT → IDLE. Publishes what the issuer did before it gave the IO up. Acquires the same as Publish.
    ReleaseHandle: Update AcqRel, partner "WaitLook, CheckLook (recycled); AddWaiter";
    /// HANDED_OUT → DEFINED, or at once to STAGED where no stage callback wants to see the state in
    /// between. Publishes the request to viewers, executors and recoverers.
    Define: Update Release, partner "ViewLook, CompleteLook, RecoverLook";
    /// DEFINED → STAGED. Publishes what the stage callbacks did to the executor, and to a recoverer: if the
    /// issuer dies before Submit, the recoverer runs the shared callbacks of an IO that was staged.
    Stage: Update Release, partner "CompleteLook, RecoverLook";
    /// DEFINED or STAGED → COMPLETED_IO. Publishes the raw result to whoever takes over.
    Abandon: Update Release, partner "RecoverLook";
    /// STAGED → SUBMITTED. Relaxed: the request and what stage callbacks did were published by Define and
    /// Stage, whose release sequence it continues; the issuer writes nothing of the IO in between.
    Submit: Update Relaxed, partner "none";
    /// HANDED_OUT → SUBMITTED in one step. Publishes the request to executors and viewers.
    Start: Update Release, partner "CompleteLook, ViewLook";
    /// A worker's claim. Relaxed: CompleteLook has acquired the request.
    Claim: Update Relaxed, partner "none";
    /// Takes back a dead claimer's claim. Relaxed: the hint bit set before it is announced by the
    /// doorbell, and the release sequence of Stage or Start goes on.
    Unclaim: Update Relaxed, partner "none";
    /// Before a completer's store of the packed result, after its look at the word, or its change of it: the
    /// issuer's FieldsFence does not order another thread's stores. Whoever sees the result of a
    /// generation while peeking for the one before also sees the new word at the second look (S9).
    OutcomeFence: Fence Release, partner "ViewFence";
    /// A look at the word by who is about to claim or to complete the IO. Acquires the request.
    CompleteLook: Load Acquire, partner "Define, Stage, Start";
    /// SUBMITTED → COMPLETED_IO. Publishes the raw result to whoever takes over.
    CompleteIo: Update Release, partner "RecoverLook";
    /// A recoverer becomes the completer. Relaxed: request and raw result were acquired by its look at this
    /// very word, to which only WAITERS can have been added since.
    TakeOver: Update Relaxed, partner "none";
    /// COMPLETED_IO → COMPLETED_SHARED, the completer's last access to the handle but the post
    /// (S5). Publishes the packed result and all that the shared callbacks did (S7). Acquires whether the
    /// waiter that it sees wants the slot's bell posted.
    Publish: Update AcqRel, partner "WaitLook, CheckLook, ScanLook; AddWaiter";
    /// SUBMITTED → COMPLETED_SHARED in one step, where no callback wants to see the state in between.
    /// Publishes and acquires the same as Publish.
    Finish: Update AcqRel, partner "WaitLook, CheckLook, ScanLook; AddWaiter";
    /// The same in place.
    FinishInPlace: Update AcqRel, partner "WaitLook, CheckLook, ScanLook; AddWaiter";
    /// COMPLETED_SHARED → COMPLETED_LOCAL. A plain store would end Publish's release sequence;
    /// Release passes on what the issuer acquired at its look.
    Localise: Store Release, partner "WaitLook, CheckLook";
    /// COMPLETED_LOCAL → IDLE, generation + 1. As Localise, for waiters who see recycled.
    Reclaim: Store Release, partner "WaitLook, CheckLook (recycled)";
    /// COMPLETED_SHARED → IDLE, generation + 1, in one step. As Reclaim.
    Retire: Store Release, partner "WaitLook, CheckLook (recycled)";
    /// A recoverer's reclaim for a dead issuer. Relaxed: a read-modify-write that continues the
    /// release sequence of Publish; it has nothing of its own to publish.
    Bury: Update Relaxed, partner "none";
    /// A waiter announces itself: Publish sees the bit on the same word or the waiter's exchange fails; the
    /// data is acquired by the look after the sleep. Publishes NoticeSet, where it is a task's.
    AddWaiter: Update Release, partner "Publish, Finish, FinishInPlace, ReleaseHandle";
    /// Tasks wait for the slot's IOs. Relaxed: published by the AddWaiter after it.
    NoticeSet: Store Relaxed, partner "none";
    /// A newcomer's slot, for which no task waits. Relaxed: an old value costs a post.
    NoticeReset: Store Relaxed, partner "none";
    /// A completer that saw WAITERS looks whether to post the slot's bell. Relaxed: Publish, or what stands
    /// for it, has acquired what AddWaiter published.
    NoticeLook: Load Relaxed, partner "none";
    /// A waiter looks. Acquires the effects of the IO when it is over or recycled (S7).
    WaitLook: Load Acquire, partner "Publish, Finish, FinishInPlace, Localise, Reclaim, Retire, HandOut";
    /// check_done looks. Acquires the same as WaitLook.
    CheckLook: Load Acquire, partner "Publish, Finish, FinishInPlace, Localise, Reclaim, Retire, HandOut";
    /// The issuer looks for completed IO in its in-flight list. Acquires the packed result (B1).
    ScanLook: Load Acquire, partner "Publish, Finish, FinishInPlace";
    /// A recoverer looks, or a newcomer at its slot's handles. Acquires what the dead had published. An
    /// update that changes nothing, so that it sees the last word of the dead, whose lock orders nothing.
    RecoverLook: Update Acquire, partner "every Release site of the word";
    /// A viewer's first look. Acquires the payload of the state it sees (S9).
    ViewLook: Load Acquire, partner "Define, Start, Publish, Finish, FinishInPlace";
    /// Between a viewer's payload reads and its second look.
    ViewFence: Fence Acquire, partner "FieldsFence, OutcomeFence";
    /// A viewer's second look. Relaxed: ordered by ViewFence.
    ViewAgain: Load Relaxed, partner "none (ViewFence)";
    /// A sleeper's ticket. If it sees a post, the look after it must see what was posted for.
    CountTicket: Load Acquire, partner "CountPost";
    /// A post. After the change it announces.
    CountPost: Update Release, partner "CountTicket";
    /// A handle becomes findable for workers. Relaxed: the worker that must see it has seen the ring
    /// after it, or the recoverer's.
    HintSet: Update Relaxed, partner "none";
    /// A claimed handle need not be found. Relaxed: Claim comes after the setting, and what
    /// completes the IO passes it on to the next one.
    HintClear: Update Relaxed, partner "none";
    /// A worker looks for bits. Relaxed: a guess that the claim verifies; the look before a sleep is
    /// ordered by DoorbellAnnounce.
    HintLook: Load Relaxed, partner "none";
    /// A ring: after Submit. A worker that announces itself later sees hint and word.
    DoorbellRing: Update Release, partner "DoorbellAnnounce";
    /// Sleepers become owed a wake-up. Relaxed: the post after it orders what follows the wake-up, and
    /// the release sequence of DoorbellRing goes on.
    DoorbellTake: Update Relaxed, partner "none";
    /// A worker is about to sleep. The ring sees it, or it sees what was rung for.
    DoorbellAnnounce: Update Acquire, partner "DoorbellRing";
    /// A worker does not sleep any more. Relaxed: it counts, and publishes nothing.
    DoorbellWithdraw: Update Relaxed, partner "none";
    /// The lead of a ring is free, and taken. Relaxed: the new leader drains first, and the reap lock
    /// orders its look behind everything that the one before has completed.
    LeadTake: Update Relaxed, partner "none";
    /// The lead is taken, and more is wanted. After AddWaiter: the leader's next look sees that.
    LeadWant: Update Release, partner "LeadClear";
    /// The issuer leaves. Relaxed: as LeadTake; it is the reaper who wants more, and knows for whom.
    LeadLeave: Update Relaxed, partner "none";
    /// The reaper leaves, nothing being wanted. Relaxed: as LeadTake.
    LeadYield: Update Relaxed, partner "none";
    /// The reaper stays, because more is wanted. Its look after it sees who waits.
    LeadClear: Update Acquire, partner "LeadWant";
    /// An issuer that has drained looks whether the reaper leads. Relaxed: ordered by the reap lock.
    LeadGlance: Load Relaxed, partner "none";
    /// A leader looks at its IO before it sleeps in the ring. Relaxed: ordered by the reap lock of the
    /// drain before it.
    LeadLook: Load Relaxed, partner "none";
    /// The reaper looks who waits. Relaxed: ordered by the bell's ticket, by LeadClear, or by the reap
    /// lock of the drain before it.
    ReapLook: Load Relaxed, partner "none";
    /// A look at a slot's word with its lock held. Acquires what the last owner, or its recoverer, did
    /// before it gave the lock back. An update that changes nothing, for the same reason as RecoverLook.
    SlotUnderLock: Update Acquire, partner "SlotActivate, SlotFree";
    /// A look at a slot's word. Acquires the identity of an active slot.
    SlotLook: Load Acquire, partner "SlotActivate, SlotFree";
    /// A slot becomes active. Publishes the identity of its process.
    SlotActivate: Store Release, partner "SlotLook";
    /// A slot becomes free, pristine. Publishes that all its handles are idle (S19).
    SlotFree: Store Release, partner "SlotLook";
    /// A look at a lease word. Relaxed: a guess that the exchange verifies.
    LeaseLook: Load Relaxed, partner "none";
    /// Free → Owned. Acquires that the former holder is done with it.
    LeaseTake: Update Acquire, partner "LeaseFree, LeaseRecover";
    /// Owned → InIo and back, by the owner. Relaxed: the hand-over to the executor is the state
    /// word's.
    LeaseLend: Store Relaxed, partner "none";
    /// Owned → Offered: the token is made. Publishes the bytes.
    LeaseOffer: Update Release, partner "LeaseAdopt";
    /// Offered → Owned by the adopter. Acquires the bytes.
    LeaseAdopt: Update Acquire, partner "LeaseOffer";
    /// Owned → Free. Publishes that the owner is done with it.
    LeaseFree: Update Release, partner "LeaseTake";
    /// A dead owner's lease → Free. Publishes that recovery is done with it.
    LeaseRecover: Update Release, partner "LeaseTake";
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn every_ordered_site_names_a_partner_and_every_relaxed_one_a_reason() {
        for &site in Site::ALL {
            let relaxed = site.ordering() == Ordering::Relaxed;
            assert_ne!(site.ordering(), Ordering::SeqCst, "{}", site.name());
            assert_eq!(relaxed, site.partner().starts_with("none"), "{}", site.name());
            assert_eq!(relaxed, site.meaning().to_string().contains("Relaxed:"), "{}", site.name());
        }
    }
}
