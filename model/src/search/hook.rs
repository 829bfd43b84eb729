//! Keeps the panics of a search to itself: each is a finding, told as a story, not a crash.
//!
//! The process's panic hook is replaced once by one that is silent on a thread that searches, and
//! does what the earlier hook did on all others.

use std::any::Any;
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::Once;

thread_local! {
    /// What the last panic of a searching thread said; `None` on a thread that does not search.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// While it lives, panics of this thread are silent.
pub(crate) struct Quiet(());

/// Begins a search on this thread.
pub(crate) fn quiet() -> Quiet {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !kept(info) {
                before(info);
            }
        }));
    });
    LAST.set(Some(String::new()));
    Quiet(())
}

impl Drop for Quiet {
    fn drop(&mut self) {
        LAST.set(None);
    }
}

fn kept(info: &PanicHookInfo<'_>) -> bool {
    LAST.with_borrow_mut(|last| match last {
        Some(said) => {
            let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line()));
            *said = format!("{}{}", message(info.payload()), place.unwrap_or_default());
            true
        }
        None => false,
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// What a caught panic said, with its place.
pub(crate) fn said(payload: &(dyn Any + Send)) -> String {
    let kept = LAST.with_borrow_mut(|last| last.as_mut().map(std::mem::take));
    kept.filter(|said| !said.is_empty()).unwrap_or_else(|| message(payload))
}
