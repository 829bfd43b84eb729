//! A trace for programs: one JSON object a line.
//!
//! Every line has `step`, `actor`, `process` and `kind`; a change of a state word besides `handle`,
//! `generation`, `event`, `site`, `old` and `new`. Words are written as people read them.

use super::{Line, Place, What};
use handfast_core::platform::Change;
use handfast_core::site::Site;
use handfast_core::state::Word;
use serde_json::{Map, Value, json};

/// One object for each line.
#[must_use]
pub fn lines(trace: &[Line]) -> Vec<Value> {
    trace.iter().enumerate().map(|(index, line)| object(index + 1, line)).collect()
}

fn object(step: usize, line: &Line) -> Value {
    let mut object = json!({
        "step": step,
        "actor": line.actor.name,
        "process": line.actor.process,
    });
    if let (Some(into), Value::Object(fields)) = (object.as_object_mut(), fields(&line.what)) {
        into.extend(fields);
    }
    object
}

/// A change of a word alone, by an actor of which no more is known than its name.
#[must_use]
pub fn change(step: usize, actor: &str, change: &Change) -> Value {
    with(with(changed(change), "step", json!(step)), "actor", json!(actor))
}

fn changed(change: &Change) -> Value {
    json!({
        "kind": "changed",
        "handle": change.handle.0,
        "generation": change.old.generation().get(),
        "event": format!("{:?}", change.event),
        "site": change.site.name(),
        "old": format!("{:?}", change.old),
        "new": format!("{:?}", change.new),
    })
}

fn fields(what: &What) -> Value {
    match *what {
        What::Began => json!({ "kind": "began" }),
        What::Ended => json!({ "kind": "ended" }),
        What::Changed(change) => changed(&change),
        What::Wrote(site, place, value) => word("wrote", site, place, value),
        What::Read(site, place, value) => word("read", site, place, value),
        What::Lost(site, place, value) => word("lost", site, place, value),
        What::Ticket(place) => at("ticket", place),
        What::Slept(place) => at("slept", place),
        What::TicketOld(place) => at("ticket old", place),
        What::SliceOver(place) => at("slice over", place),
        What::Woke(place) => at("woke", place),
        What::Posted(place, woken) | What::PostedSome(place, woken) => {
            with(at("posted", place), "woken", json!(woken))
        }
        What::Put => json!({ "kind": "put" }),
        What::Took(found) => json!({ "kind": "took", "found": found }),
        What::AwaitsMail => json!({ "kind": "awaits mail" }),
        What::Locked(place, got) => with(at("locked", place), "got", json!(got)),
        What::Unlocked(place) => at("unlocked", place),
        What::Probed(place, free) => with(at("probed", place), "free", json!(free)),
        What::Application(word, what, value) => json!({
            "kind": "application",
            "word": word,
            "what": what,
            "value": value,
        }),
        What::Died => json!({ "kind": "died" }),
        What::Note(what) => json!({ "kind": "note", "what": what }),
    }
}

fn at(kind: &str, place: Place) -> Value {
    let (key, index) = match place {
        Place::Handle(index) => ("handle", index),
        Place::Slot(index) => ("slot", index),
        Place::Lease(index) => ("lease", index),
        Place::Lock(index) => ("lock", index),
        Place::Hints(index) => ("hints", index),
        Place::Leave(index) => ("leave", index),
        Place::Doorbell => ("doorbell", 0),
        Place::Other => return json!({ "kind": kind }),
    };
    with(json!({ "kind": kind }), key, json!(index))
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    object.as_object_mut().unwrap_or(&mut Map::new()).insert(key.to_owned(), value);
    object
}

fn word(kind: &str, site: Site, place: Place, value: u64) -> Value {
    let shown = match place {
        Place::Handle(_) => json!(format!("{:?}", Word::from_raw(value))),
        Place::Slot(_)
        | Place::Lease(_)
        | Place::Lock(_)
        | Place::Doorbell
        | Place::Hints(_)
        | Place::Leave(_)
        | Place::Other => json!(value),
    };
    with(with(at(kind, place), "site", json!(site.name())), "word", shown)
}
