//! How large a pool is: plain numbers, each within its limits. They are fixed when the pool is
//! made.
//!
//! | number | limits | default |
//! |---|---|---|
//! | processes | 1 to 1023 | 8 |
//! | handles per process | 1 to 1024 | frames per process, 1 to 64 |
//! | frames | 0 to 2^24 | 128 |
//! | frame size | 512 bytes to 16 MiB, a multiple of 512 | 8192 |
//! | iovecs per handle | 1 to 1024 | 16 |
//! | handle data words | 0 to 255 | 16 |
//! | files | 0 to 65,536 | 256 |
//! | user words | 0 to 2^27 | 0 |
//! | common regions | 0 to 62 | 0 |
//!
//! Numbers from another process's header pass through the same check as a builder's.

use crate::region::MAX_REGIONS;

/// Why a pool of this shape cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number lies outside its limits.
    #[error("{setting} is {value}, but must lie between {least} and {most}; {advice}")]
    OutOfRange {
        /// Which number.
        setting: &'static str,
        /// What it was set to.
        value: u32,
        /// The least it may be.
        least: u32,
        /// The most it may be.
        most: u32,
        /// What to do instead.
        advice: &'static str,
    },
    /// The frame size is not a multiple of 512 bytes, so direct IO into frames would fail.
    #[error("frame_size is {value}, but must be a multiple of 512 bytes; choose one such as 8192")]
    UnevenFrameSize {
        /// What it was set to.
        value: u32,
    },
}

/// A number's limits, and what to do when one is exceeded.
struct Limits {
    setting: &'static str,
    least: u32,
    most: u32,
    advice: &'static str,
}

const PROCESSES: Limits = Limits {
    setting: "processes",
    least: 1,
    most: 1023,
    advice: "count one for each process or thread that attaches, and use several pools for more",
};
const HANDLES_PER_PROCESS: Limits = Limits {
    setting: "handles_per_process",
    least: 1,
    most: 1024,
    advice: "leave it unset for a number that suits the frames",
};
const FRAMES: Limits = Limits {
    setting: "frames",
    least: 0,
    most: 1 << 24,
    advice: "use larger frames, or regions of your own",
};
const FRAME_SIZE: Limits = Limits {
    setting: "frame_size",
    least: 512,
    most: 16 << 20,
    advice: "choose a multiple of 512 bytes such as 8192, and vectored IO for more",
};
const MAX_IOVECS: Limits = Limits {
    setting: "max_iovecs",
    least: 1,
    most: 1024,
    advice: "split longer requests, as the kernel takes no more",
};
const MAX_HANDLE_DATA: Limits = Limits {
    setting: "max_handle_data",
    least: 0,
    most: 255,
    advice: "keep larger data in user words",
};
const MAX_FILES: Limits = Limits {
    setting: "max_files",
    least: 0,
    most: 65_536,
    advice: "count files that are open at the same time",
};
const USER_WORDS: Limits = Limits {
    setting: "user_words",
    least: 0,
    most: 1 << 27,
    advice: "keep larger data in shared memory of your own",
};
const COMMON_REGIONS: Limits = Limits {
    setting: "common_regions",
    least: 0,
    most: MAX_REGIONS,
    advice: "make fewer and larger regions",
};

/// As many processes as there may be by default.
pub(crate) const DEFAULT_PROCESSES: u32 = 8;
/// As many frames as there are by default.
pub(crate) const DEFAULT_FRAMES: u32 = 128;
/// The most handles per process that are chosen by default.
const MOST_DEFAULT_HANDLES: u32 = 64;

impl Limits {
    fn check(&self, value: u32) -> Result<u32, ConfigError> {
        if (self.least..=self.most).contains(&value) {
            return Ok(value);
        }
        let Limits { setting, least, most, advice } = *self;
        Err(ConfigError::OutOfRange { setting, value, least, most, advice })
    }
}

/// What somebody asked for; `None` means the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) processes: Option<u32>,
    pub(crate) handles_per_process: Option<u32>,
    pub(crate) frames: Option<u32>,
    pub(crate) frame_size: Option<u32>,
    pub(crate) max_iovecs: Option<u32>,
    pub(crate) max_handle_data: Option<u32>,
    pub(crate) max_files: Option<u32>,
    pub(crate) user_words: Option<u32>,
    pub(crate) common_regions: Option<u32>,
}

/// The numbers a pool was made with. All are within their limits; there is no other way to get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolConfig {
    processes: u32,
    handles_per_process: u32,
    frames: u32,
    frame_size: u32,
    max_iovecs: u32,
    max_handle_data: u32,
    max_files: u32,
    user_words: u32,
    common_regions: u32,
}

impl PoolConfig {
    /// Fills in the defaults and checks every number.
    pub(crate) fn validate(raw: Wanted) -> Result<PoolConfig, ConfigError> {
        let processes = PROCESSES.check(raw.processes.unwrap_or(DEFAULT_PROCESSES))?;
        let frames = FRAMES.check(raw.frames.unwrap_or(DEFAULT_FRAMES))?;
        let handles = raw.handles_per_process.unwrap_or_else(|| default_handles(processes, frames));
        let frame_size = FRAME_SIZE.check(raw.frame_size.unwrap_or(8192))?;
        if frame_size % 512 != 0 {
            return Err(ConfigError::UnevenFrameSize { value: frame_size });
        }
        Ok(PoolConfig {
            processes,
            handles_per_process: HANDLES_PER_PROCESS.check(handles)?,
            frames,
            frame_size,
            max_iovecs: MAX_IOVECS.check(raw.max_iovecs.unwrap_or(16))?,
            max_handle_data: MAX_HANDLE_DATA.check(raw.max_handle_data.unwrap_or(16))?,
            max_files: MAX_FILES.check(raw.max_files.unwrap_or(256))?,
            user_words: USER_WORDS.check(raw.user_words.unwrap_or(0))?,
            common_regions: COMMON_REGIONS.check(raw.common_regions.unwrap_or(0))?,
        })
    }

    /// A configuration that was never checked, to show that what follows the check does not trust
    /// it.
    #[cfg(test)]
    pub(crate) fn unchecked(raw: [u32; 9]) -> PoolConfig {
        let [
            processes,
            handles_per_process,
            frames,
            frame_size,
            max_iovecs,
            max_handle_data,
            max_files,
            user_words,
            common_regions,
        ] = raw;
        PoolConfig {
            processes,
            handles_per_process,
            frames,
            frame_size,
            max_iovecs,
            max_handle_data,
            max_files,
            user_words,
            common_regions,
        }
    }

    /// How many attachments there can be at a time, workers included (PostgreSQL: `MaxBackends` and
    /// auxiliaries).
    #[must_use]
    pub fn processes(&self) -> u32 {
        self.processes
    }

    /// How many IOs one attachment can have at a time (PostgreSQL: `io_max_concurrency`).
    #[must_use]
    pub fn handles_per_process(&self) -> u32 {
        self.handles_per_process
    }

    /// How many frames of memory the segment has (PostgreSQL: `shared_buffers`).
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// The size of a frame in bytes, a multiple of 512 (PostgreSQL: `BLCKSZ`).
    #[must_use]
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }

    /// The most pieces of memory one IO can have (PostgreSQL: `io_max_combine_limit`).
    #[must_use]
    pub fn max_iovecs(&self) -> u32 {
        self.max_iovecs
    }

    /// The most words of handle data one IO can have (PostgreSQL: `pgaio_io_set_handle_data_64`).
    #[must_use]
    pub fn max_handle_data(&self) -> u32 {
        self.max_handle_data
    }

    /// The number of entries in the shared table of files.
    #[must_use]
    pub fn max_files(&self) -> u32 {
        self.max_files
    }

    /// The number of 64-bit words for the application's own use.
    #[must_use]
    pub fn user_words(&self) -> u32 {
        self.user_words
    }

    /// How many regions, from [`crate::FIRST_REGION`] on, every process maps, workers included: IO into
    /// others is not given to workers.
    #[must_use]
    pub fn common_regions(&self) -> u32 {
        self.common_regions
    }
}

/// PostgreSQL's `AioChooseMaxConcurrency`: no more IOs than frames that fall to a process, no more
/// than 64, at least one.
pub(crate) fn default_handles(processes: u32, frames: u32) -> u32 {
    frames.checked_div(processes).unwrap_or(0).clamp(1, MOST_DEFAULT_HANDLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Set = fn(&mut Wanted, u32);

    fn with(change: impl FnOnce(&mut Wanted)) -> Result<PoolConfig, ConfigError> {
        let mut wanted = Wanted::default();
        change(&mut wanted);
        PoolConfig::validate(wanted)
    }

    #[test]
    fn the_defaults_are_valid() {
        let config = with(|_| {}).unwrap();
        assert_eq!(config, PoolConfig::unchecked([8, 16, 128, 8192, 16, 16, 256, 0, 0]));
    }

    #[test]
    fn default_concurrency_is_postgresqls() {
        let rule = |processes, frames| {
            with(|wanted| (wanted.processes, wanted.frames) = (Some(processes), Some(frames)))
                .unwrap()
                .handles_per_process()
        };
        assert_eq!([rule(10, 100), rule(10, 1_000_000), rule(10, 9), rule(10, 0)], [10, 64, 1, 1]);
    }

    #[test]
    fn both_ends_of_every_range_are_allowed_and_what_lies_beyond_is_not() {
        let settings: [(&Limits, Set); 9] = [
            (&PROCESSES, |wanted, value| wanted.processes = Some(value)),
            (&HANDLES_PER_PROCESS, |wanted, value| wanted.handles_per_process = Some(value)),
            (&FRAMES, |wanted, value| wanted.frames = Some(value)),
            (&FRAME_SIZE, |wanted, value| wanted.frame_size = Some(value)),
            (&MAX_IOVECS, |wanted, value| wanted.max_iovecs = Some(value)),
            (&MAX_HANDLE_DATA, |wanted, value| wanted.max_handle_data = Some(value)),
            (&MAX_FILES, |wanted, value| wanted.max_files = Some(value)),
            (&USER_WORDS, |wanted, value| wanted.user_words = Some(value)),
            (&COMMON_REGIONS, |wanted, value| wanted.common_regions = Some(value)),
        ];
        for (limits, set) in settings {
            for good in [limits.least, limits.most] {
                with(|wanted| set(wanted, good)).unwrap();
            }
            for bad in [limits.least.checked_sub(1), Some(limits.most + 1), Some(u32::MAX)]
                .into_iter()
                .flatten()
            {
                let error = with(|wanted| set(wanted, bad)).unwrap_err();
                let text = error.to_string();
                assert!(matches!(error, ConfigError::OutOfRange { value, .. } if value == bad));
                assert!(text.contains(limits.setting) && text.contains(&bad.to_string()), "{text}");
                assert!(
                    text.contains(&limits.most.to_string()) && text.contains(limits.advice),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn b21_no_handles_are_refused() {
        let error = with(|wanted| wanted.handles_per_process = Some(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "handles_per_process is 0, but must lie between 1 and 1024; \
             leave it unset for a number that suits the frames"
        );
    }

    #[test]
    fn an_uneven_frame_size_is_refused() {
        let error = with(|wanted| wanted.frame_size = Some(8191)).unwrap_err();
        assert_eq!(error, ConfigError::UnevenFrameSize { value: 8191 });
    }
}
