//! Measures two ways of doing the same, in turns.

use statrs::statistics::{Data, OrderStatistics as _};
use std::time::{Duration, Instant};

/// How long one row is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// The time for samples.
    time: Duration,
    /// The fewest samples, whatever the time.
    samples: usize,
}

impl Effort {
    /// For figures that are reported.
    pub const FULL: Self = Self { time: Duration::from_millis(5500), samples: 100 };
    /// For a look.
    pub const QUICK: Self = Self { time: Duration::from_millis(500), samples: 20 };
}

/// A median and how far the middle half of the samples spreads around it.
#[derive(Clone, Copy)]
pub struct Spread {
    /// Half of the samples are below.
    pub median: f64,
    /// A quarter of the samples is below.
    pub lower: f64,
    /// A quarter of the samples is above.
    pub upper: f64,
}

impl Spread {
    /// Of a figure that is counted and does not vary.
    pub fn exact(value: f64) -> Self {
        Self { median: value, lower: value, upper: value }
    }

    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut data = Data::new(values.collect::<Vec<_>>());
        Self { lower: data.lower_quartile(), median: data.median(), upper: data.upper_quartile() }
    }
}

/// What came out: nanoseconds for one operation.
pub struct Paired {
    /// The raw way.
    pub baseline: Spread,
    /// handfast's way.
    pub candidate: Spread,
    /// Candidate less baseline, sample by sample.
    pub difference: Spread,
    /// Candidate over baseline, sample by sample.
    pub ratio: Spread,
}

/// The order of the blocks of one sample (true is the candidate). The sums of times of both sides are
/// equal under a drift that is constant, linear or quadratic.
const TURNS: [bool; 8] = [false, true, true, false, true, false, false, true];

/// Runs both sides in turns, in blocks of `operations`. Each side is called with the number of its
/// block, so that both can use the same offsets.
pub fn measure(
    effort: Effort,
    operations: u32,
    mut baseline: impl FnMut(usize),
    mut candidate: impl FnMut(usize),
) -> Paired {
    let mut sample = |first_block: usize| {
        let mut times = [Duration::ZERO; 2];
        let mut blocks = [first_block; 2];
        for turn in TURNS {
            let side = usize::from(turn);
            let start = Instant::now();
            if turn {
                candidate(blocks[side])
            } else {
                baseline(blocks[side])
            }
            times[side] += start.elapsed();
            blocks[side] += 1;
        }
        let done = f64::from(operations) * (TURNS.len() / 2) as f64;
        times.map(|time| time.as_secs_f64() * 1e9 / done)
    };
    for warm_up in 0..8 {
        sample(warm_up);
    }
    let (start, mut samples) = (Instant::now(), Vec::new());
    while samples.len() < effort.samples || start.elapsed() < effort.time {
        samples.push(sample(samples.len() * TURNS.len() / 2));
    }
    let each = |figure: fn(&[f64; 2]) -> f64| Spread::of(samples.iter().map(figure));
    Paired {
        baseline: each(|[baseline, _]| *baseline),
        candidate: each(|[_, candidate]| *candidate),
        difference: each(|[baseline, candidate]| candidate - baseline),
        ratio: each(|[baseline, candidate]| candidate / baseline),
    }
}
