//! The segment's first page: what an opener must know, as a table of 64-bit words.
//!
//! | word | who writes | when |
//! |---|---|---|
//! | all but READY | the creator | before READY |
//! | READY | the creator | last, after the whole segment is initialised |
//!
//! The creator's store of READY is a Release and an opener's load of it an Acquire, so that an
//! opener that finds the pool ready finds everything else initialised. Afterwards nobody writes the
//! header and nobody reads it again: its facts are copied to private memory. Each word is loaded
//! once and believed only after a check, since the file may be anybody's; hostile words are a typed
//! error, never a panic (`hostile_words_never_panic`).
//!
//! Not protected against: a peer of the same user that makes a header which is valid but untrue.
#![expect(
    clippy::disallowed_types,
    reason = "the header is written once, before any handle exists, and is not part of the protocol"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{ConfigError, PoolConfig, Wanted};
use crate::layout::{FORMAT_VERSION, Layout, LayoutError};
use crate::method::Chosen;

/// Says that this is a pool: the bytes `handfast`.
pub(crate) const MAGIC: usize = 0;
/// The version of the format, [`FORMAT_VERSION`].
pub(crate) const VERSION: usize = 1;
/// [`Layout::hash`].
pub(crate) const LAYOUT_HASH: usize = 2;
/// The fingerprint of the callbacks and targets that every process must share.
pub(crate) const FINGERPRINT: usize = 3;
/// The number that tells wait references of this pool from those of others; 32 bits.
pub(crate) const POOL_TAG: usize = 4;
/// [`PoolConfig::processes`].
pub(crate) const PROCESSES: usize = 5;
/// [`PoolConfig::handles_per_process`].
pub(crate) const HANDLES_PER_PROCESS: usize = 6;
/// [`PoolConfig::frames`].
pub(crate) const FRAMES: usize = 7;
/// [`PoolConfig::frame_size`].
pub(crate) const FRAME_SIZE: usize = 8;
/// [`PoolConfig::max_iovecs`].
pub(crate) const MAX_IOVECS: usize = 9;
/// [`PoolConfig::max_handle_data`].
pub(crate) const MAX_HANDLE_DATA: usize = 10;
/// [`PoolConfig::max_files`].
pub(crate) const MAX_FILES: usize = 11;
/// [`PoolConfig::user_words`].
pub(crate) const USER_WORDS: usize = 12;
/// [`PoolConfig::common_regions`].
pub(crate) const COMMON_REGIONS: usize = 13;
/// [`Chosen`] as a number.
pub(crate) const METHOD: usize = 14;
/// [`Layout::total`].
pub(crate) const TOTAL: usize = 15;
/// One once the segment may be used.
pub(crate) const READY: usize = 16;
/// How many words the table has.
pub(crate) const WORDS: usize = 17;

const MAGIC_VALUE: u64 = u64::from_ne_bytes(*b"handfast");
const READY_VALUE: u64 = 1;

/// Why a segment cannot be used as a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It does not say that it is a pool.
    #[error(
        "the segment is not a handfast pool; open the file or descriptor that a pool was created as"
    )]
    NotAPool,
    /// It was made by another version of this library.
    #[error(
        "the pool has format {found}, but this program uses {expected}; \
         build both with the same version of handfast"
    )]
    WrongVersion {
        /// The format of the segment.
        found: u64,
        /// The format of this program.
        expected: u64,
    },
    /// Its creator has not finished, or died before it did.
    #[error(
        "the pool is not ready; open it again in a moment, or remove it if its creator is gone"
    )]
    NotReady,
    /// The segment's numbers mean another layout to this program.
    #[error(
        "the pool's layout is {found:016x}, but this program computes {computed:016x}; \
         build both the same way"
    )]
    LayoutMismatch {
        /// The hash in the segment.
        found: u64,
        /// The hash of what this program would make of the same numbers.
        computed: u64,
    },
    /// The processes do not agree on callbacks and targets.
    #[error(
        "the pool's callbacks are {found:016x}, but this program registers {registered:016x}; \
         register the same callbacks and targets, same numbers and same names, in every process"
    )]
    CallbacksDiffer {
        /// The fingerprint in the segment.
        found: u64,
        /// The fingerprint of this program's registry.
        registered: u64,
    },
    /// A word holds more than its 32 bits.
    #[error(
        "word {word} of the pool's header holds {value}, more than 32 bits; \
         the segment is damaged, make a new one"
    )]
    BadWord {
        /// The word's index.
        word: usize,
        /// What it holds.
        value: u64,
    },
    /// The method is none that this program knows.
    #[error("the pool's header names method {number}, which does not exist; make a new pool")]
    UnknownMethod {
        /// What it holds.
        number: u64,
    },
    /// A number of the configuration is outside its limits.
    #[error("the pool's header is damaged, make a new pool: {0}")]
    BadConfig(#[from] ConfigError),
    /// The numbers of the configuration have no layout.
    #[error("the pool's header is damaged, make a new pool: {0}")]
    BadLayout(#[from] LayoutError),
    /// The segment is longer or shorter than its configuration says.
    #[error(
        "the segment has {segment} bytes, its header says {header}, its numbers need {needed}; \
         make a new pool"
    )]
    WrongLength {
        /// The length of the file or memfd in bytes.
        segment: u64,
        /// The length in the header in bytes.
        header: u64,
        /// The length that follows from the configuration in bytes.
        needed: u64,
    },
    /// There is no room for a header.
    #[error(
        "the segment has room for {words} words of a header that has {needed}; \
         it is not a handfast pool, open another"
    )]
    TooShort {
        /// The number of words there are.
        words: usize,
        /// The number of words a header has.
        needed: usize,
    },
}

/// What a header tells about its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderFacts {
    /// The numbers the pool was made with.
    pub(crate) config: PoolConfig,
    /// Where everything lies.
    pub(crate) layout: Layout,
    /// How its IO is executed.
    pub(crate) method: Chosen,
    /// What tells this pool's wait references from those of others.
    pub(crate) pool_tag: u32,
}

/// Writes the header of a new pool, READY last with Release: call it when everything else is
/// initialised.
pub(crate) fn write(
    words: &[AtomicU64],
    facts: &HeaderFacts,
    fingerprint: u64,
) -> Result<(), HeaderError> {
    let words = table(words)?;
    let HeaderFacts { config, layout, method, pool_tag } = facts;
    let values = [
        (MAGIC, MAGIC_VALUE),
        (VERSION, FORMAT_VERSION),
        (LAYOUT_HASH, layout.hash()),
        (FINGERPRINT, fingerprint),
        (POOL_TAG, u64::from(*pool_tag)),
        (PROCESSES, u64::from(config.processes())),
        (HANDLES_PER_PROCESS, u64::from(config.handles_per_process())),
        (FRAMES, u64::from(config.frames())),
        (FRAME_SIZE, u64::from(config.frame_size())),
        (MAX_IOVECS, u64::from(config.max_iovecs())),
        (MAX_HANDLE_DATA, u64::from(config.max_handle_data())),
        (MAX_FILES, u64::from(config.max_files())),
        (USER_WORDS, u64::from(config.user_words())),
        (COMMON_REGIONS, u64::from(config.common_regions())),
        (METHOD, method.number()),
        (TOTAL, layout.total),
    ];
    for (index, value) in values {
        words[index].store(value, Ordering::Relaxed);
    }
    // Partner: the Acquire load in `load_once`.
    words[READY].store(READY_VALUE, Ordering::Release);
    Ok(())
}

/// Whether this memory begins as a pool does.
pub(crate) fn is_pool(words: &[AtomicU64]) -> bool {
    words.get(MAGIC).is_some_and(|magic| magic.load(Ordering::Relaxed) == MAGIC_VALUE)
}

/// Reads a header of unknown origin: loads every word once, and checks it against the segment and
/// this program.
pub(crate) fn read_and_validate(
    words: &[AtomicU64],
    segment_len: u64,
    fingerprint: u64,
) -> Result<HeaderFacts, HeaderError> {
    let words = load_once(table(words)?);
    check_origin(&words)?;
    let number = |word: usize| {
        u32::try_from(words[word]).map_err(|_| HeaderError::BadWord { word, value: words[word] })
    };
    let config = PoolConfig::validate(Wanted {
        processes: Some(number(PROCESSES)?),
        handles_per_process: Some(number(HANDLES_PER_PROCESS)?),
        frames: Some(number(FRAMES)?),
        frame_size: Some(number(FRAME_SIZE)?),
        max_iovecs: Some(number(MAX_IOVECS)?),
        max_handle_data: Some(number(MAX_HANDLE_DATA)?),
        max_files: Some(number(MAX_FILES)?),
        user_words: Some(number(USER_WORDS)?),
        common_regions: Some(number(COMMON_REGIONS)?),
    })?;
    let method = Chosen::from_number(words[METHOD])
        .ok_or(HeaderError::UnknownMethod { number: words[METHOD] })?;
    let layout = Layout::compute(&config, method.method)?;
    let (found, computed) = (words[LAYOUT_HASH], layout.hash());
    if found != computed {
        return Err(HeaderError::LayoutMismatch { found, computed });
    }
    let (header, needed) = (words[TOTAL], layout.total);
    if header != needed || segment_len != needed {
        return Err(HeaderError::WrongLength { segment: segment_len, header, needed });
    }
    if words[FINGERPRINT] != fingerprint {
        return Err(HeaderError::CallbacksDiffer {
            found: words[FINGERPRINT],
            registered: fingerprint,
        });
    }
    Ok(HeaderFacts { config, layout, method, pool_tag: number(POOL_TAG)? })
}

/// Whether this is a pool of this version that its creator has finished.
fn check_origin(words: &[u64; WORDS]) -> Result<(), HeaderError> {
    let ready = words[READY] == READY_VALUE;
    match words[MAGIC] {
        MAGIC_VALUE if words[VERSION] != FORMAT_VERSION && ready => {
            Err(HeaderError::WrongVersion { found: words[VERSION], expected: FORMAT_VERSION })
        }
        MAGIC_VALUE if ready => Ok(()),
        // A segment whose creator has not come to the header is still empty.
        MAGIC_VALUE | 0 if !ready => Err(HeaderError::NotReady),
        _ => Err(HeaderError::NotAPool),
    }
}

fn table(words: &[AtomicU64]) -> Result<&[AtomicU64; WORDS], HeaderError> {
    words.first_chunk().ok_or(HeaderError::TooShort { words: words.len(), needed: WORDS })
}

/// A private copy of the header. READY first, with Acquire: what it says holds for all that is
/// loaded afterwards.
fn load_once(words: &[AtomicU64; WORDS]) -> [u64; WORDS] {
    // Partner: the Release store in `write`.
    let ready = words[READY].load(Ordering::Acquire);
    std::array::from_fn(
        |index| if index == READY { ready } else { words[index].load(Ordering::Relaxed) },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FINGERPRINT_HERE: u64 = 0x1234_5678_9abc_def0;

    fn facts() -> HeaderFacts {
        let wanted = Wanted { processes: Some(3), frames: Some(20), ..Wanted::default() };
        let config = PoolConfig::validate(wanted).unwrap();
        HeaderFacts {
            config,
            layout: Layout::compute(&config, Chosen::SYNC.method).unwrap(),
            method: Chosen::SYNC,
            pool_tag: 77,
        }
    }

    fn written() -> [AtomicU64; 512] {
        let words = std::array::from_fn(|_| AtomicU64::new(0));
        write(&words, &facts(), FINGERPRINT_HERE).unwrap();
        words
    }

    fn read(words: &[AtomicU64]) -> Result<HeaderFacts, HeaderError> {
        read_and_validate(words, facts().layout.total, FINGERPRINT_HERE)
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(read(&written()), Ok(facts()));
    }

    #[test]
    fn any_changed_word_is_noticed() {
        for index in 0..WORDS {
            let words = written();
            words[index].fetch_xor(1, Ordering::Relaxed);
            assert_eq!(read(&words).is_err(), index != POOL_TAG, "word {index}");
            words[index].store(u64::MAX, Ordering::Relaxed);
            assert!(read(&words).is_err(), "word {index}");
        }
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let with = |index: usize, value| {
            let words = written();
            words[index].store(value, Ordering::Relaxed);
            read(&words).unwrap_err()
        };
        let total = facts().layout.total;
        assert_eq!(with(MAGIC, 5), HeaderError::NotAPool);
        assert_eq!(with(MAGIC, 0), HeaderError::NotAPool);
        assert_eq!(
            with(VERSION, 9),
            HeaderError::WrongVersion { found: 9, expected: FORMAT_VERSION }
        );
        assert_eq!(with(READY, 0), HeaderError::NotReady);
        assert!(matches!(with(LAYOUT_HASH, 5), HeaderError::LayoutMismatch { found: 5, .. }));
        assert!(matches!(with(FINGERPRINT, 5), HeaderError::CallbacksDiffer { found: 5, .. }));
        assert!(matches!(with(HANDLES_PER_PROCESS, 0), HeaderError::BadConfig(_)));
        assert!(matches!(with(FRAMES, 1 << 40), HeaderError::BadWord { word: FRAMES, .. }));
        assert_eq!(
            with(TOTAL, 5),
            HeaderError::WrongLength { segment: total, header: 5, needed: total }
        );
    }

    #[test]
    fn a_segment_of_another_length_is_refused() {
        let total = facts().layout.total;
        for segment in [0, total - 4096, total + 4096, u64::MAX] {
            let answer = read_and_validate(&written(), segment, FINGERPRINT_HERE);
            assert_eq!(
                answer,
                Err(HeaderError::WrongLength { segment, header: total, needed: total })
            );
        }
    }

    #[test]
    fn an_empty_segment_is_not_ready_and_a_tiny_one_too_short() {
        let words: [AtomicU64; 512] = std::array::from_fn(|_| AtomicU64::new(0));
        assert_eq!(read(&words), Err(HeaderError::NotReady));
        let needed = WORDS;
        assert_eq!(read(&words[..3]), Err(HeaderError::TooShort { words: 3, needed }));
        assert_eq!(
            write(&words[..3], &facts(), 0),
            Err(HeaderError::TooShort { words: 3, needed })
        );
    }

    proptest! {
        #[test]
        fn hostile_words_never_panic(values in proptest::array::uniform17(any::<u64>()), len: u64) {
            let words = values.map(AtomicU64::new);
            prop_assert!(read_and_validate(&words, len, FINGERPRINT_HERE).is_err());
        }

        /// Random words seldom get past the magic; these do, and reach every later check.
        #[test]
        fn hostile_numbers_never_panic(numbers in proptest::array::uniform9(prop_oneof![
            any::<u64>(),
            any::<u32>().prop_map(u64::from),
            0..=1024_u64,
            Just(512),
            Just(u64::from(u32::MAX)),
        ]), len: u64) {
            let words = written();
            for (index, value) in (PROCESSES..).zip(numbers) {
                words[index].store(value, Ordering::Relaxed);
            }
            prop_assert!(read_and_validate(&words, len, FINGERPRINT_HERE).is_err());
        }
    }
}
