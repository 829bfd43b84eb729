//! A trace for people: one line a step, one column an actor, the word of the handle at the right.
//!
//! Columns are of fixed width, so that traces can be laid side by side. A word that was read is
//! marked if it is not the newest one: that is how weak memory shows.

use super::{Line, Place, What};
use crate::mutant;
use handfast_core::handle::SlotWord;
use handfast_core::lease::LeaseWord;
use handfast_core::protocol::doorbell::DoorbellWord;
use handfast_core::site::Site;
use handfast_core::state::Word;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How wide an actor's column is.
const WIDTH: usize = 24;

/// How to read the table.
pub const LEGEND: &str = "\
Each line is one step, in the order in which the steps happened. Each column is one thread, named
after its part; [p0] is the process that it belongs to. At the right: h0 is handle 0, #1 its first
use (the generation), then what its state word holds after the step, or what the step read.
 SYNC      the issuer executes this IO itself      WAITERS  somebody sleeps, or is about to
 by p1     process 1 completes it                  (old)    memory gave an outdated value, as it
 <==       the ordering of this step is weakened            may unless an ordering forbids it
To sleep on h0 (or on the bell of p0), a thread takes a ticket of its event count first; a post makes all
tickets old and wakes who sleeps; a sleep with an old ticket ends at once. Lines with * are said by
the scenario, a callback or the simulated kernel. S7, L4, RC3 and so on: see model/src/races.rs.";

/// The actors' names in the order in which they appear.
fn actors(trace: &[Line]) -> Vec<(&'static str, u32)> {
    let mut actors = Vec::new();
    for Line { actor, .. } in trace {
        if !actors.contains(&(actor.name, actor.process)) {
            actors.push((actor.name, actor.process));
        }
    }
    actors
}

/// The table.
#[must_use]
pub fn table(trace: &[Line]) -> String {
    let actors = actors(trace);
    let mut text = format!("{:>4}  ", "step");
    for (name, process) in &actors {
        let _ = write!(text, "{:WIDTH$}", format!("{name} [p{process}]"));
    }
    text.push_str("state word\n");
    let (mut words, mut own, weakened) = (BTreeMap::new(), Vec::new(), mutant::weakened());
    for (index, line) in trace.iter().enumerate() {
        let who = actors.iter().position(|actor| *actor == (line.actor.name, line.actor.process));
        let column = who.unwrap_or_default() * WIDTH;
        let rest = actors.len() * WIDTH - column;
        let word = word(&line.what, &mut words);
        let said = says(&line.what, &mut own);
        let weak = weakened.is_some() && line.what.site() == weakened;
        let mark = if weak { "  <==" } else { "" };
        let row = format!("{:4}  {:column$}{said:rest$}{word}{mark}", index + 1, "");
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// What an actor's column says.
fn says(what: &What, own: &mut Vec<usize>) -> String {
    match *what {
        What::Began => "begins".to_owned(),
        What::Ended => "ends".to_owned(),
        What::Changed(change) => change.site.name().to_owned(),
        What::Wrote(site, ..) => site.name().to_owned(),
        What::Read(site, ..) => format!("reads ({})", site.name()),
        What::Lost(site, ..) => format!("{} fails", site.name()),
        What::Ticket(place) => format!("takes ticket{}", on(place)),
        What::Slept(place) => format!("SLEEPS{}", on(place)),
        What::TicketOld(_) => "ticket is old: no sleep".to_owned(),
        What::SliceOver(_) => "its time is over".to_owned(),
        What::Woke(_) => "wakes up".to_owned(),
        What::Posted(place, 0) | What::PostedSome(place, 0) => {
            format!("posts{}: nobody", on(place))
        }
        What::Posted(place, woken) | What::PostedSome(place, woken) => {
            format!("posts{}: wakes {woken}", on(place))
        }
        What::Put => "puts IO in the mailbox".to_owned(),
        What::Took(true) => "takes IO from mailbox".to_owned(),
        What::Took(false) => "finds mailbox empty".to_owned(),
        What::AwaitsMail => "SLEEPS until there is IO".to_owned(),
        What::Locked(place, true) => format!("takes{}", on(place)),
        What::Locked(place, false) => format!("does not get{}", on(place)),
        What::Unlocked(place) => format!("gives back{}", on(place)),
        What::Probed(place, true) => format!("finds{} free", on(place)),
        What::Probed(place, false) => format!("finds{} held", on(place)),
        What::Application(word, what, value) => {
            format!("own word {}: {what} {value:#x}", number(word, own))
        }
        What::Died => "IS KILLED".to_owned(),
        What::Note(what) => format!("* {what}"),
    }
}

/// The application's words are numbered as they appear.
fn number(word: usize, own: &mut Vec<usize>) -> usize {
    let known = own.iter().position(|known| *known == word);
    1 + known.unwrap_or_else(|| {
        own.push(word);
        own.len() - 1
    })
}

/// Whose part something is.
#[must_use]
pub fn of(place: Place) -> String {
    match place {
        Place::Other => "a buffer's or a frame's bytes, or an application's".to_owned(),
        Place::Handle(_)
        | Place::Slot(_)
        | Place::Lease(_)
        | Place::Lock(_)
        | Place::Doorbell
        | Place::Hints(_)
        | Place::Leave(_) => {
            format!("of{}", on(place))
        }
    }
}

fn on(place: Place) -> String {
    match place {
        Place::Handle(index) => format!(" h{index}"),
        Place::Slot(index) => format!(" bell p{index}"),
        Place::Lock(index) => format!(" lock p{index}"),
        Place::Lease(index) => format!(" lease {index}"),
        Place::Doorbell => " doorbell".to_owned(),
        Place::Hints(index) => format!(" hints p{index}"),
        Place::Leave(index) => format!(" leave flag p{index}"),
        Place::Other => String::new(),
    }
}

/// What stands at the right.
fn word(what: &What, newest: &mut BTreeMap<Place, u64>) -> String {
    match *what {
        What::Changed(change) => {
            let place = Place::Handle(change.handle.0);
            newest.insert(place, change.new.raw());
            shown(place, change.new.raw())
        }
        What::Wrote(Site::NoticeSet | Site::NoticeReset, Place::Slot(index), value)
        | What::Read(Site::NoticeLook, Place::Slot(index), value) => {
            format!("slot {index} is {}", if value == 0 { "not marked" } else { "marked" })
        }
        What::Wrote(_, place, value) => {
            newest.insert(place, value);
            shown(place, value)
        }
        What::Read(_, place, value) | What::Lost(_, place, value) => {
            let now = newest.get(&place).copied().filter(|_| place != Place::Other);
            let old = now.is_some_and(|now| now != value);
            format!("{}{}", shown(place, value), if old { " (old)" } else { "" })
        }
        What::Began
        | What::Ended
        | What::Ticket(_)
        | What::Slept(_)
        | What::TicketOld(_)
        | What::SliceOver(_)
        | What::Woke(_)
        | What::Posted(..)
        | What::PostedSome(..)
        | What::Put
        | What::Took(_)
        | What::AwaitsMail
        | What::Locked(..)
        | What::Unlocked(_)
        | What::Probed(..)
        | What::Died
        | What::Application(..)
        | What::Note(_) => String::new(),
    }
}

fn shown(place: Place, value: u64) -> String {
    match place {
        Place::Handle(index) => {
            let word = Word::from_raw(value);
            let generation = word.generation().get();
            let mut text = format!("h{index} #{generation} {}", word.state());
            if let Some(completer) = word.completer() {
                let _ = write!(text, " by p{}", completer.get());
            }
            for (set, name) in [(word.is_sync(), " SYNC"), (word.has_waiters(), " WAITERS")] {
                text.push_str(if set { name } else { "" });
            }
            text
        }
        Place::Slot(index) => {
            let word = SlotWord::from_raw(value);
            let state = if word.is_active() { "ACTIVE" } else { "FREE" };
            format!("slot {index} {state}, attachment {}", word.epoch())
        }
        Place::Lease(index) => match LeaseWord::from_raw(value).holding() {
            Some(holding) => format!("lease {index} {holding:?}"),
            None => format!("lease {index} {value:#x}"),
        },
        Place::Doorbell => {
            let word = DoorbellWord::from_raw(value);
            format!("doorbell {} sleep, {} are owed", word.sleepers(), word.owed())
        }
        Place::Hints(index) => format!("hints p{index} {value:#b}"),
        Place::Lock(_) | Place::Leave(_) | Place::Other => format!("{value:#x}"),
    }
}

/// What somebody does whose last step was no sleep.
const WAITS: &str = "waits for the other threads to end";

/// Where each actor is at the end, for a failure in which nobody can go on.
#[must_use]
pub fn ends(trace: &[Line]) -> String {
    let mut text = String::new();
    for (name, process) in actors(trace) {
        let last = trace
            .iter()
            .enumerate()
            .rfind(|(_, line)| (line.actor.name, line.actor.process) == (name, process));
        let Some((index, Line { what, .. })) = last else { continue };
        let state = match what {
            What::Ended | What::Died => continue,
            What::Slept(place) => {
                format!(
                    "has slept on{} since step {}, and nobody is left to wake it",
                    on(*place),
                    index + 1
                )
            }
            What::AwaitsMail => {
                "sleeps until there is IO, and nobody is left to start any".to_owned()
            }
            What::Began
            | What::Changed(_)
            | What::Wrote(..)
            | What::Read(..)
            | What::Lost(..)
            | What::Ticket(_)
            | What::TicketOld(_)
            | What::SliceOver(_)
            | What::Woke(_)
            | What::Posted(..)
            | What::PostedSome(..)
            | What::Put
            | What::Took(_)
            | What::Locked(..)
            | What::Unlocked(_)
            | What::Probed(..)
            | What::Application(..) => WAITS.to_owned(),
            What::Note(what) if what.contains("until") => (*what).to_owned(),
            What::Note(_) => WAITS.to_owned(),
        };
        let _ = writeln!(text, "  {name} {state}");
    }
    text
}
