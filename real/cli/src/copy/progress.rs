//! The progress bar: on standard error, and only if that is a terminal.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const KNOWN: &str = "{bytes:>11} of {total_bytes} {wide_bar} {binary_bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{spinner} {bytes} {binary_bytes_per_sec}";
/// How often the bar is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How long the coordinator sleeps when nothing needs to be drawn: signals wake it, so this is a
/// safety net only.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// A bar, or nothing. It disappears when it is dropped, so that messages stand on a clean line.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar for a copy of `size` bytes.
    pub fn new(size: Option<u64>, quiet: bool) -> Self {
        if quiet || !stderr().is_terminal() {
            return Self { bar: None };
        }
        let (bar, template) = match size {
            Some(size) => (ProgressBar::new(size), KNOWN),
            None => (ProgressBar::new_spinner(), UNKNOWN),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.tick();
        Self { bar: Some(bar) }
    }

    /// Shows that so many bytes are done.
    pub fn show(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.tick();
        }
    }

    /// How long to sleep until the next [`Self::show`].
    pub fn interval(&self) -> Duration {
        if self.bar.is_some() { DRAW_INTERVAL } else { IDLE_INTERVAL }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
