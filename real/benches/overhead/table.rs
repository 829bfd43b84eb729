//! The table at the end, and the machine that it was measured on.

use crate::paired::{Paired, Spread};
use std::fs;

/// One promise, and what was measured.
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Both sides in ns for one operation, where there are two.
    pub sides: Option<(Spread, Spread)>,
    /// The figure that the bar is for.
    pub figure: Spread,
    /// Its unit.
    pub unit: &'static str,
    /// The most that the median may be.
    pub bar: f64,
}

/// A row whose bar is for the difference in nanoseconds.
pub fn overhead(name: String, paired: Paired, bar: f64) -> Row {
    let sides = Some((paired.baseline, paired.candidate));
    Row { name, sides, figure: paired.difference, unit: "ns", bar }
}

/// A row whose bar is for the ratio.
pub fn ratio(name: &str, paired: Paired, bar: f64) -> Row {
    let sides = Some((paired.baseline, paired.candidate));
    Row { name: name.to_owned(), sides, figure: paired.ratio, unit: "x", bar }
}

/// Prints all rows, then one line on the machine.
pub fn print(rows: &[Row]) {
    println!(
        "{:<57} {:>10} {:>10} {:>9} {:>17} {:>7}  verdict",
        "median of paired samples", "raw", "handfast", "figure", "middle half", "bar"
    );
    for row in rows {
        let side = |of: fn(&(Spread, Spread)) -> f64| {
            row.sides.as_ref().map_or_else(String::new, |sides| format!("{:.1} ns", of(sides)))
        };
        let (raw, handfast) = (side(|sides| sides.0.median), side(|sides| sides.1.median));
        let Row { name, figure, unit, bar, .. } = row;
        let digits = if *unit == "x" { 3 } else { 1 };
        let median = format!("{:.digits$} {unit}", figure.median);
        let spread = format!("{:.digits$} to {:.digits$}", figure.lower, figure.upper);
        let most = format!("{bar:.*} {unit}", if *unit == "x" { 2 } else { 0 });
        let verdict = if figure.median <= *bar { "met" } else { "missed" };
        println!(
            "{name:<57} {raw:>10} {handfast:>10} {median:>9} {spread:>17} {most:>7}  {verdict}"
        );
    }
    println!("{}", machine());
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("machine: Linux {}, {model}, {count} CPUs usable", kernel.trim())
}
