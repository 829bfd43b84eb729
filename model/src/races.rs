//! What must hold, what must come about, and every window in which it could fail: ids and words of
//! this project, after RACES.
//!
//! | ids | what they are |
//! |---|---|
//! | S1 … S26 | what must hold in every state |
//! | L1 … L10 | what must come about, if everybody who can go on does |
//! | RC1 … RC44 | windows: who meets whom, and what could go wrong |
//!
//! Each is covered by scenarios, which name it in [`crate::scenario::Scenario::COVERS`], or closed by
//! a sentence that says why it cannot occur or what else shows it. Checked by: `model/tests/lists.rs`,
//! which counts the ids. Not checked: that a scenario covers what it claims; its mutants show that.

/// An invariant, a promise of progress, or a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its number in RACES.
    pub id: &'static str,
    /// What it is about.
    pub words: &'static str,
    /// Why no scenario is needed.
    pub closed: Option<&'static str>,
}

const fn item(id: &'static str, words: &'static str) -> Item {
    Item { id, words, closed: None }
}

const fn closed(id: &'static str, words: &'static str, sentence: &'static str) -> Item {
    Item { id, words, closed: Some(sentence) }
}

/// What must hold in every state.
pub const SAFETY: &[Item] = &[
    item(
        "S1",
        "each IO is completed by one actor, and its shared callbacks run once (again only after a death, and told so)",
    ),
    item(
        "S2",
        "the owner's states are written by the owner, the completer's by the completer; each IO is reclaimed once",
    ),
    item(
        "S3",
        "each handle is in exactly one of its owner's lists, and a submission moves as many as it says",
    ),
    item("S4", "from its definition to its reclaim the request of an IO does not change"),
    item(
        "S5",
        "saying that the IO is over for everybody is the completer's last write to the handle, the wake-up excepted",
    ),
    item("S6", "whoever reads the word under a reference reads a state of that very IO"),
    item("S7", "whoever learns that an IO is over sees everything that it did"),
    item("S8", "a completion is copied before its place in the queue is given back"),
    item("S9", "a copy of a handle that counts is of one state of one IO"),
    item("S10", "an IO that is said to be over was over, and stays so"),
    item(
        "S11",
        "a reference is whole, names an IO that was at least handed out, and is checked before memory is touched",
    ),
    item(
        "S12",
        "no entry point is entered again by the same process between two changes of one handle",
    ),
    item("S13", "callbacks neither start nor wait for nor reclaim IO"),
    item("S14", "the issuer is told what the local callbacks made of the shared result, whole"),
    item("S15", "the result of an IO is delivered once, to the scope that owns it"),
    closed(
        "S16",
        "from staging to its last use the file of an IO is the one that was meant",
        "the protocol knows no files: an IO holds the file of its target from its start until it is over, and its executor for the whole call; tests/tests/files.rs shows both",
    ),
    closed(
        "S17",
        "the arrays beside the handles do not overlap",
        "where they lie is no matter of interleaving: real/src/layout.rs computes it and its tests s17_sections_are_disjoint_aligned_and_within_the_total and s17_side_arrays_are_disjoint check it",
    ),
    item("S18", "who is marked as an idle worker is a live worker"),
    item("S19", "a slot changes hands with every handle idle and nothing left behind"),
    item("S20", "the handle that became free last is used first"),
    item("S21", "the IO that was submitted first is waited for first"),
    item(
        "S22",
        "a process has one handle handed out at most, and no more staged than a batch holds",
    ),
    item("S23", "the generation of a handle goes up by one with each use, and none comes twice"),
    item(
        "S24",
        "memory that the kernel or a worker may still write is given to nobody else, whoever died",
    ),
    item(
        "S25",
        "one survivor recovers a dead process at a time, and if it dies another one finishes",
    ),
    closed(
        "S26",
        "what a peer writes never leads a process outside of the segment or its own buffers",
        "the model's peers run the protocol; hostile bytes are given to the real library by tests/tests/hostile.rs, and indexes are checked once, where core/src/protocol/mod.rs takes them",
    ),
];

/// What must come about.
pub const PROGRESS: &[Item] = &[
    item("L1", "acquire returns if nothing is handed out"),
    item("L2", "a submitted IO becomes over even if its issuer does nothing more"),
    item("L3", "what is staged is submitted before its process waits for others, and at every end"),
    item("L4", "a wait returns after its IO is over, and nobody who sleeps is forgotten"),
    item("L5", "an IO that waits for a worker is found by one, whichever workers leave"),
    item("L6", "asking again and again whether an IO is over is answered with yes in the end"),
    item("L7", "detaching ends, and leaves nobody asleep on an IO of the process"),
    item("L8", "the word of one generation changes a limited number of times"),
    item("L9", "a process killed at any step leaves nobody asleep"),
    item("L10", "after recovery the slot of the dead process and its handles are usable again"),
];

/// The windows.
pub const RACES: &[Item] = &[
    item("RC1", "a completer publishes a result while the issuer looks for it"),
    item("RC2", "the same, while the issuer looks through all that it has in flight"),
    item("RC3", "the issuer uses a handle again while its completer has not returned yet"),
    item("RC4", "a handle changes its generation while a waiter reads it"),
    item("RC5", "an IO is over and its handle in use again while a waiter is about to sleep"),
    item(
        "RC6",
        "a waiter learns by the generation alone that an IO is over, and reads what it did",
    ),
    item("RC7", "a wake-up between a waiter's look and its sleep"),
    item("RC8", "a wake-up that was meant for the next use of the handle"),
    item("RC9", "somebody waits for an IO that is staged, and nobody wakes when it is submitted"),
    closed(
        "RC10",
        "a resource is marked as busy before the reference to its IO is there",
        "the reference exists from acquire on, so that it is stored in the step that marks the resource; whoever finds it sleeps on the handle and not on the resource",
    ),
    item("RC11", "somebody waits for an IO that is only handed out"),
    closed(
        "RC12",
        "a reference is copied while another one is written over it",
        "a reference is a value, and its copies in shared memory are the application's, under the lock of what they belong to; bytes that are no reference are refused (core/src/ids.rs, s11_invalid_bytes_are_no_reference)",
    ),
    item("RC13", "somebody waits for an IO that its issuer executes in place"),
    item(
        "RC14",
        "an IO is submitted in its word before the system call, and somebody waits for it in the queue",
    ),
    item("RC15", "two reap one completion queue"),
    item("RC16", "a place in the completion queue is given back while its entry is read"),
    item("RC17", "somebody sleeps for its own IO while it holds the queue for others"),
    item("RC18", "somebody else completes an IO while its issuer waits for it"),
    item("RC19", "an entry point is entered from a callback of the same process"),
    item("RC20", "a stage callback fails"),
    item("RC21", "every handle is staged, and submitting executes them all in place"),
    item("RC22", "one handle, acquired again and again"),
    item("RC23", "the oldest IO is over between the issuer's look and its wait"),
    item("RC24", "a scope ends while its IO is being completed"),
    item("RC25", "a scope's end submits, which reclaims other handles of the same list"),
    item("RC26", "a scope ends with handles in each state, in good order or not"),
    item("RC27", "two processes stage, then wait for each other's IO"),
    item(
        "RC28",
        "a process fails with an open batch while somebody waits for what is staged in it",
    ),
    item("RC29", "a process detaches with IO staged, submitted and over"),
    item("RC30", "a slot is used by another process while somebody has a reference of the former"),
    closed(
        "RC31",
        "a file is closed under an IO",
        "the protocol knows no files: an IO holds the file of its target from its start until it is over, and its executor for the whole call; tests/tests/files.rs shows both",
    ),
    closed(
        "RC32",
        "a worker's file is closed between its opening and its use",
        "the protocol knows no files: an IO holds the file of its target from its start until it is over, and its executor for the whole call; tests/tests/files.rs shows both",
    ),
    item("RC33", "a worker goes to sleep while IO is submitted"),
    item("RC34", "the worker that was woken leaves before it has looked"),
    item("RC35", "a worker dies after it has taken an IO"),
    item("RC36", "the queue is full in the middle of a batch"),
    item("RC37", "workers come and go while there is work"),
    item("RC38", "a copy of a handle is made while it changes"),
    item("RC39", "a completer dies between the result and its publication"),
    item("RC40", "an owner dies with a handle in each of the states"),
    item("RC41", "a waiter gives up while others wait"),
    item("RC42", "a process does nothing but ask whether its IO is over"),
    item("RC43", "a request is changed after its start"),
    item("RC44", "a handle is released a second time, or used after its start"),
];

/// All of them: S, L, RC.
pub fn all() -> impl Iterator<Item = &'static Item> {
    SAFETY.iter().chain(PROGRESS).chain(RACES)
}

/// The one with this id.
#[must_use]
pub fn named(id: &str) -> Option<&'static Item> {
    all().find(|item| item.id == id)
}

/// The scenarios that name this id.
#[must_use]
pub fn covered_by(id: &str) -> Vec<&'static str> {
    let entries = crate::scenario::ALL.iter();
    entries.filter(|entry| entry.covers.contains(&id)).map(|entry| entry.name).collect()
}
