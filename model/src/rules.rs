//! The rules of the protocol, one by one, each with a name that planted mistakes refer to.
//!
//! PROTOCOL says how handles, waiters, completers, slots and the dead are dealt with; here each
//! rule that could be dropped by itself has a name. A patch in `model/mutants/` names the rules that it
//! drops. Checked by: `model/tests/lists.rs`: each rule has a patch, and each name in a patch is a
//! rule.

/// A rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name in the patches.
    pub name: &'static str,
    /// What it says.
    pub words: &'static str,
}

const fn rule(name: &'static str, words: &'static str) -> Rule {
    Rule { name, words }
}

/// All of them, in PROTOCOL's order.
pub const ALL: &[Rule] = &[
    // How each transition is written.
    rule("t-hand-out", "HandOut takes an idle handle at the generation that its owner knows"),
    rule("t-release", "Release is a swap that sees WAITERS and wakes; what was given back is over"),
    rule(
        "t-define",
        "Define is an addition, which keeps WAITERS, and comes after the request is written",
    ),
    rule(
        "t-stage",
        "Stage is an addition, and comes after the stage callbacks, last registered first",
    ),
    rule(
        "t-abandon",
        "Abandon names the completer and keeps WAITERS; its IO completes like any other",
    ),
    rule("t-submit", "Submit is an addition; SYNC is part of it where the issuer executes"),
    rule(
        "t-claim",
        "Claim is an exchange that succeeds only where nobody else completes it, SYNC included",
    ),
    rule("t-unclaim", "Unclaim takes back the claim of the dead completer and of nobody else"),
    rule("t-complete-io", "CompleteIo is an exchange at the generation of the result; one wins"),
    rule("t-take-over", "TakeOver names the new completer, and runs the callbacks again, told so"),
    rule("t-publish", "Publish is a swap that sees WAITERS and clears it"),
    rule(
        "t-localise",
        "local callbacks run once, before Localise, and have the last word for the issuer",
    ),
    rule("t-reclaim", "Reclaim is the issuer's, after COMPLETED_SHARED, once"),
    rule("t-bury", "Bury comes after COMPLETED_SHARED too, and skips local callbacks"),
    rule("t-add-waiter", "AddWaiter is an exchange on the very word that was judged"),
    rule(
        "t-recycle",
        "IDLE comes with the next generation, and with completer, SYNC and WAITERS zero",
    ),
    rule("t-illegal", "what the table has no row for is refused, not done"),
    // The issuer.
    rule(
        "i-acquire",
        "acquire: an idle one, else what is over, else submit, else wait for the oldest",
    ),
    rule("i-acquire-again", "after a submission acquire looks for an idle handle again"),
    // That a full batch is submitted, too, is a matter of counting: core/tests/book.rs.
    rule("i-submit-at-once", "without a batch an IO is submitted by its start"),
    rule("i-submit-before-wait", "whoever is about to block submits first what it has staged"),
    rule("i-accept", "what the method does not take stays staged, and is offered again"),
    rule("i-order", "what runs in place waits for those that were staged before it"),
    rule("i-callbacks", "callbacks may not start, wait for or reclaim IO: an error"),
    rule("i-scope-end", "a scope's end releases, abandons or submits, by the state"),
    rule(
        "i-detach",
        "detach submits, waits for all that is in flight, and leaves the slot pristine",
    ),
    rule("i-result", "the result of an IO is delivered once, before its handle is idle"),
    rule(
        "i-token",
        "only the handle that is handed out now, in its present use, is started or released",
    ),
    // The waiter.
    rule("w-recycled", "a generation above the reference's: over"),
    rule("w-stale", "a generation below, or IDLE at the same: read again, then no such IO"),
    rule("w-done", "COMPLETED_SHARED or later: done; before it: not"),
    rule("w-own-staged", "an own staged IO is submitted, not waited for"),
    rule("w-own-handed-out", "an own handed-out IO is an error, not a wait"),
    rule("w-look-after-ticket", "between ticket and sleep the word is read again"),
    rule("w-look-after-sleep", "a wake-up is only a reason to look again"),
    rule("w-announce", "WAITERS is set, or seen set, before the sleep"),
    rule("w-timeout", "who gives up has looked last, and takes nobody's wake-up along"),
    rule("w-probe", "a slice that is over makes the waiter look for deaths of owner and completer"),
    // The completer.
    rule("c-raw-first", "the raw result is stored, with its generation, before CompleteIo"),
    rule(
        "c-callbacks",
        "shared callbacks run after CompleteIo is won, last registered first, once",
    ),
    rule(
        "c-at-once",
        "without callbacks one exchange, which keeps its generation, completes and publishes",
    ),
    rule("c-outcome-first", "the packed result is stored before Publish"),
    rule("c-publish-last", "Publish is the completer's last write to the handle but the wake-up"),
    rule("c-wake", "whoever publishes over WAITERS wakes everybody, afterwards"),
    rule("c-loser", "who does not win runs no callback and publishes nothing"),
    // Viewers.
    rule("v-look-again", "a copy counts only if the word is the same afterwards"),
    rule("v-state", "a copy has what the state promises and nothing more"),
    // Hints and the doorbell.
    rule("h-set-first", "the hint is set before Submit, which is before the ring"),
    rule("h-clear", "the winner of a claim clears the hint, and before CompleteIo"),
    rule("b-ring", "after Submit the doorbell is rung, by a read-modify-write of its word"),
    rule("b-announce", "a worker announces itself, then looks at every hint again, then sleeps"),
    rule("b-ticket", "a worker takes its ticket before its announcement"),
    rule("b-count", "the end of a sleep takes an owed wake-up first, or else a sleeper"),
    rule("b-attempts", "a ringer that others keep from the account wakes without it"),
    rule("b-pass-on", "a worker that leaves passes the ring on"),
    rule("b-duty", "who has won a claim executes and completes the IO"),
    rule("d-1-hint", "a claim of the dead is taken back only after its hint is set"),
    rule("w-stand-in", "after a slice an IO that no worker can take is executed by its waiter"),
    // The lead of a ring, and the bell.
    rule("l-drain-look", "a new leader drains and looks again before it sleeps"),
    rule(
        "l-take",
        "an issuer that nobody needs to wake takes the lead, if it is free, and sleeps in the ring",
    ),
    rule("l-refused", "who is refused the lead announces itself as a waiter before it wants more"),
    rule("l-want", "who finds the lead taken sets WANT by a read-modify-write, also if it is set"),
    rule("l-leave", "an issuer that leaves posts the bell if more is wanted"),
    rule("l-clear", "a reaper that finds more wanted clears that and looks again"),
    rule("l-bell", "a foreign waiter posts the bell of a submitted IO before it sleeps"),
    rule("l-submit-posts", "an issuer whose Submit saw WAITERS posts its bell"),
    rule("l-bell-ticket", "the reaper takes the bell's ticket before it asks or looks"),
    rule("l-copy-first", "a completion entry is copied before it is given back"),
    rule("l-advance-last", "a completion entry is given back after Publish"),
    rule("l-lock", "the reap lock is held from the copy of an entry until it is given back"),
    rule("l-room", "one completion entry more than there are IOs in flight"),
    rule("w-poll", "check_done takes out what is there, or asks the owner's reaper to"),
    // Waiting for any of several.
    rule(
        "a-all",
        "who waits for any of several is announced to all, and sleeps on all counts at once",
    ),
    rule("a-ticket", "each ticket is taken before the look at its word"),
    rule("a-probe", "after a slice it looks for the deaths that concern any of them"),
    rule("a-which", "the one that it reports is one that is over, and none if its time is over"),
    rule("a-late", "who has run out of time has looked at all of them once more"),
    rule("a-own", "who waits for others, too, leaves its own ring to its reaper, and asks for it"),
    // Tasks.
    rule(
        "k-list",
        "a task is listed before it asks the reaper, which it does after its announcement",
    ),
    rule("k-mark", "the slot is marked before WAITERS is set, also where it is set already"),
    rule("k-bell", "who ends an IO over WAITERS posts the marked owner's bell, afterwards"),
    rule("k-ring", "what the issuer ends while its reaper sleeps in the ring rouses the ring"),
    rule(
        "k-visit",
        "the reaper visits the tasks after its ticket, after a drain, and before it leaves",
    ),
    rule("k-probe", "while tasks wait the reaper sleeps in slices, and probes after each"),
    // Slots and leases.
    rule("s-attach", "a slot that is not FREE is recovered before it is used"),
    rule(
        "s-epoch",
        "each attachment has a number of its own, and says who it is before it is ACTIVE",
    ),
    rule("s-free", "FREE is written when every handle is idle, last"),
    rule("f-take", "a lease is taken by an exchange, only if it is free"),
    rule("f-adopt", "an offer is adopted once, by its token"),
    rule("f-lend", "memory that is lent to an IO is nobody's to take"),
    // Death.
    rule("d-lock", "recovery needs the lock of the slot of the dead"),
    rule("d-reread", "with the lock held it is read again whether the slot is still in use"),
    rule("d-1-first", "the dead one's claims and completions come before its own handles"),
    rule("d-1-pool", "they are looked for in the whole pool"),
    rule("d-1-unclaim", "a claim of the dead is taken back"),
    rule("d-1-take-over", "a completion of the dead is finished"),
    rule("d-1-lock", "only with the lock of the completer may its claims be touched"),
    rule("d-2-drain", "completions in the dead one's queue keep their true results"),
    rule("d-3-handed-out", "HANDED_OUT of the dead is released"),
    rule("d-3-abandon", "DEFINED and STAGED of the dead is abandoned"),
    rule(
        "d-3-submitted",
        "SUBMITTED of the dead that nobody has claimed is completed, with the stored result if there is one",
    ),
    rule("d-3-live", "what a live process completes is left to it"),
    rule(
        "d-3-other-dead",
        "what another dead process was completing is taken back with that one's lock",
    ),
    rule("d-3-bury", "what is over is buried"),
    rule("d-4-post", "everybody who sleeps anywhere in the pool is woken"),
    rule(
        "d-5-leases",
        "the leases of the dead are freed before its slot, and only when no handle of it is in use",
    ),
    rule(
        "d-5-free",
        "FREE is written when every handle is idle, after everything else, and not before",
    ),
    rule("d-exchange", "every step of a recovery is an exchange on a word that was judged"),
];

/// The rule of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Rule> {
    ALL.iter().find(|rule| rule.name == name)
}
