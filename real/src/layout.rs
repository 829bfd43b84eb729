//! Where everything lies in a segment: byte offsets that follow from the configuration alone.
//!
//! ```text
//! header         4096 bytes
//! slots           128 bytes for each process
//! handles         128 bytes for each handle of each process
//! iovecs           16 bytes, max_iovecs for each handle
//! handle data       8 bytes, max_handle_data for each handle
//! frame words       8 bytes for each frame
//! files          1024 bytes for each of max_files
//! user words        8 bytes for each
//! staff           256 bytes: the workers' doorbell, and which slots are workers
//! hints           128 bytes for each process: a bit for each of its handles
//! queues              with rings: a completion queue for each process, at a multiple of 4096
//! frame memory        frame_size for each frame, at a multiple of 4096
//! ```
//! Each section starts at a multiple of 128 bytes (two cache lines, which some processors fetch
//! together), frame memory at one of 4096, which is also what the total is a multiple of.
//!
//! Invariants: sections are in order, disjoint and within the total (S17); each handle's side
//! arrays are as long as was reserved and no longer, and never another's (S17). Every product and
//! sum is checked, so that no setting wraps. An opener computes the layout again from the header's
//! numbers and compares its hash; it reads no offset from there.

use std::ops::Range;

use crate::config::PoolConfig;
use crate::method::Method;

/// The version of everything that processes of one pool must agree on in memory.
pub(crate) const FORMAT_VERSION: u64 = 2;
/// The length of the header in bytes.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// The size of a slot in bytes.
pub(crate) const SLOT_BYTES: u64 = 128;
/// The size of a handle in bytes.
pub(crate) const HANDLE_BYTES: u64 = 128;
/// The size of an iovec in bytes.
pub(crate) const IOVEC_BYTES: u64 = 16;
/// The size of a word of handle data, of a frame's word and of a user word, in bytes.
pub(crate) const WORD_BYTES: u64 = 8;
/// The size of an entry of the file table in bytes.
pub(crate) const FILE_BYTES: u64 = 1024;
/// The size of the words that workers share, in bytes.
pub(crate) const STAFF_BYTES: u64 = 256;
/// The size of a slot's hints in bytes: a bit for each handle that a process can have.
pub(crate) const HINTS_BYTES: u64 = 128;
/// What each section's offset is a multiple of, in bytes.
pub(crate) const SECTION_ALIGN: u64 = 128;
/// What the offset of frame memory and the total are multiples of, in bytes.
pub(crate) const PAGE_ALIGN: u64 = 4096;

/// Why a configuration has no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// More elements than a 32-bit index counts.
    #[error(
        "the pool would need {count} {section}, more than {most}; \
         lower processes or what each of them gets"
    )]
    TooMany {
        /// What there would be too many of.
        section: &'static str,
        /// How many there would be.
        count: u64,
        /// The most there may be.
        most: u32,
    },
    /// More bytes than an address space holds.
    #[error(
        "the segment would be larger than an address space with its {section}; \
         lower the number or the size of them"
    )]
    TooLarge {
        /// The section that did not fit.
        section: &'static str,
    },
}

/// A part of the segment, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// Where it starts.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) len: u64,
}

#[cfg(test)]
impl Section {
    /// Where element `index` of `bytes_each` bytes starts, in bytes from the segment's start;
    /// `None` if it is not wholly inside.
    pub(crate) fn element(&self, index: u64, bytes_each: u64) -> Option<u64> {
        let start = index.checked_mul(bytes_each)?;
        let end = start.checked_add(bytes_each)?;
        if end <= self.len { self.offset.checked_add(start) } else { None }
    }
}

/// The offsets of everything in a segment, and how much each handle has of its side arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) header: Section,
    pub(crate) slots: Section,
    pub(crate) handles: Section,
    pub(crate) iovecs: Section,
    pub(crate) handle_data: Section,
    pub(crate) frame_words: Section,
    pub(crate) files: Section,
    pub(crate) user_words: Section,
    pub(crate) staff: Section,
    pub(crate) hints: Section,
    pub(crate) queues: Section,
    pub(crate) frames: Section,
    /// The length of the segment in bytes.
    pub(crate) total: u64,
    /// The number of handles of all processes.
    pub(crate) handle_count: u32,
    /// The length of each process's completion queue in bytes.
    pub(crate) queue_bytes: u64,
    config: PoolConfig,
}

impl Layout {
    /// Lays the sections out, one after the other.
    pub(crate) fn compute(config: &PoolConfig, method: Method) -> Result<Layout, LayoutError> {
        let handle_count = count_of("handles", config.processes(), config.handles_per_process())?;
        let iovec_count = count_of("iovecs", handle_count, config.max_iovecs())?;
        let data_count = count_of("words of handle data", handle_count, config.max_handle_data())?;
        let frame_size = u64::from(config.frame_size());
        let queue_bytes = queue_bytes(config.handles_per_process(), method);
        let mut cursor = Cursor { end: 0 };
        Ok(Layout {
            header: cursor.place("header", 1, HEADER_BYTES)?,
            slots: cursor.place("slots", config.processes(), SLOT_BYTES)?,
            handles: cursor.place("handles", handle_count, HANDLE_BYTES)?,
            iovecs: cursor.place("iovecs", iovec_count, IOVEC_BYTES)?,
            handle_data: cursor.place("words of handle data", data_count, WORD_BYTES)?,
            frame_words: cursor.place("frame words", config.frames(), WORD_BYTES)?,
            files: cursor.place("files", config.max_files(), FILE_BYTES)?,
            user_words: cursor.place("user words", config.user_words(), WORD_BYTES)?,
            staff: cursor.place("staff", 1, STAFF_BYTES)?,
            hints: cursor.place("hints", config.processes(), HINTS_BYTES)?,
            queues: cursor.skip_to_page("queues")?.place(
                "queues",
                config.processes(),
                queue_bytes,
            )?,
            frames: cursor.skip_to_page("frames")?.place("frames", config.frames(), frame_size)?,
            total: cursor.finish()?,
            handle_count,
            queue_bytes,
            config: *config,
        })
    }

    /// Which of the pool's iovecs are `handle`'s; `None` if there is no such handle.
    pub(crate) fn iovec_range(&self, handle: u32) -> Option<Range<u32>> {
        self.side_range(handle, self.config.max_iovecs())
    }

    /// Which of the pool's words of handle data are `handle`'s; `None` if there is no such handle.
    pub(crate) fn data_range(&self, handle: u32) -> Option<Range<u32>> {
        self.side_range(handle, self.config.max_handle_data())
    }

    fn side_range(&self, handle: u32, each: u32) -> Option<Range<u32>> {
        if handle >= self.handle_count {
            return None;
        }
        let start = handle.checked_mul(each)?;
        Some(start..start.checked_add(each)?)
    }

    /// All sections in order.
    pub(crate) fn sections(&self) -> [Section; 12] {
        [
            self.header,
            self.slots,
            self.handles,
            self.iovecs,
            self.handle_data,
            self.frame_words,
            self.files,
            self.user_words,
            self.staff,
            self.hints,
            self.queues,
            self.frames,
        ]
    }

    /// A number that differs, as good as surely, when anything about the layout does: two builds
    /// that agree on it mean the same bytes.
    pub(crate) fn hash(&self) -> u64 {
        let config = &self.config;
        let constants = [
            FORMAT_VERSION,
            HEADER_BYTES,
            SLOT_BYTES,
            HANDLE_BYTES,
            IOVEC_BYTES,
            WORD_BYTES,
            FILE_BYTES,
            STAFF_BYTES,
            HINTS_BYTES,
            SECTION_ALIGN,
            PAGE_ALIGN,
        ];
        let numbers = [
            config.processes(),
            config.handles_per_process(),
            config.frames(),
            config.frame_size(),
            config.max_iovecs(),
            config.max_handle_data(),
            config.max_files(),
            config.user_words(),
            config.common_regions(),
        ];
        let places = self.sections().into_iter().flat_map(|section| [section.offset, section.len]);
        let words =
            constants.into_iter().chain(numbers.map(u64::from)).chain(places).chain([self.total]);
        fnv1a(words)
    }
}

/// Hands out aligned sections, each after the last.
struct Cursor {
    end: u64,
}

impl Cursor {
    fn skip_to_page(&mut self, section: &'static str) -> Result<&mut Cursor, LayoutError> {
        let page = self.end.checked_next_multiple_of(PAGE_ALIGN);
        self.end = page.ok_or(LayoutError::TooLarge { section })?;
        Ok(self)
    }

    fn place(
        &mut self,
        section: &'static str,
        count: u32,
        bytes_each: u64,
    ) -> Result<Section, LayoutError> {
        let too_large = LayoutError::TooLarge { section };
        let offset = self.end.checked_next_multiple_of(SECTION_ALIGN).ok_or(too_large)?;
        let len = bytes_each.checked_mul(u64::from(count)).ok_or(too_large)?;
        self.end = offset.checked_add(len).ok_or(too_large)?;
        Ok(Section { offset, len })
    }

    /// The length of all, which must be one that a file can have and that can be mapped.
    fn finish(self) -> Result<u64, LayoutError> {
        let total = self.end.checked_next_multiple_of(PAGE_ALIGN);
        let mappable =
            |total: &u64| i64::try_from(*total).is_ok() && isize::try_from(*total).is_ok();
        total.filter(mappable).ok_or(LayoutError::TooLarge { section: "frames" })
    }
}

/// How many entries the completion queue of a process with this many handles has: one more for an IO that
/// is over, and submitted again, before its entry is given back, and one for what rouses a sleeper.
pub(crate) const fn queue_entries(handles: u32) -> u32 {
    match handles.saturating_add(2).checked_next_power_of_two() {
        Some(entries) => entries,
        None => u32::MAX,
    }
}

/// The size of the completion queue of a process with this many handles, if it has one: a header of 64
/// bytes, 16 for each entry, whole pages.
fn queue_bytes(handles: u32, method: Method) -> u64 {
    if method != Method::IoUring {
        return 0;
    }
    (64 + 16 * u64::from(queue_entries(handles))).next_multiple_of(PAGE_ALIGN)
}

fn count_of(section: &'static str, owners: u32, each: u32) -> Result<u32, LayoutError> {
    let count = u64::from(owners) * u64::from(each);
    u32::try_from(count).map_err(|_| LayoutError::TooMany { section, count, most: u32::MAX })
}

/// The 64-bit hash FNV-1a over the words' bytes, lowest first.
fn fnv1a(words: impl Iterator<Item = u64>) -> u64 {
    let bytes = words.flat_map(u64::to_le_bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Wanted;
    use proptest::prelude::*;

    fn settings() -> impl Strategy<Value = PoolConfig> {
        let numbers = (1..=1023_u32, 1..=1024_u32, 0..=1_u32 << 24, 1..=32_768_u32);
        let more = (1..=1024_u32, 0..=255_u32, 0..=65_536_u32, 0..=1_u32 << 27);
        (numbers, more).prop_map(
            |((processes, handles, frames, sectors), (iovecs, data, files, user))| {
                PoolConfig::validate(Wanted {
                    processes: Some(processes),
                    handles_per_process: Some(handles),
                    frames: Some(frames),
                    frame_size: Some(sectors * 512),
                    max_iovecs: Some(iovecs),
                    max_handle_data: Some(data),
                    max_files: Some(files),
                    user_words: Some(user),
                    common_regions: Some(user % 63),
                })
                .unwrap()
            },
        )
    }

    /// Any numbers at all, extremes as often as others.
    fn hostile_settings() -> impl Strategy<Value = PoolConfig> {
        let number = prop_oneof![any::<u32>(), Just(0), Just(1), Just(u32::MAX), Just(1 << 16)];
        proptest::array::uniform9(number).prop_map(PoolConfig::unchecked)
    }

    fn assert_sound(config: &PoolConfig, layout: &Layout) {
        let mut end = 0_u128;
        for section in layout.sections() {
            assert_eq!(section.offset % SECTION_ALIGN, 0);
            assert!(u128::from(section.offset) >= end, "sections overlap: {layout:?}");
            end = u128::from(section.offset) + u128::from(section.len);
        }
        assert!(end <= u128::from(layout.total));
        assert_eq!((layout.total % PAGE_ALIGN, layout.frames.offset % PAGE_ALIGN), (0, 0));
        let handles = u128::from(config.processes()) * u128::from(config.handles_per_process());
        assert_eq!(u128::from(layout.handle_count), handles);
        assert_eq!(u128::from(layout.handles.len), handles * 128);
        assert_eq!(u128::from(layout.iovecs.len), handles * u128::from(config.max_iovecs()) * 16);
        assert_eq!(
            u128::from(layout.handle_data.len),
            handles * u128::from(config.max_handle_data()) * 8
        );
        assert_eq!(
            u128::from(layout.frames.len),
            u128::from(config.frames()) * u128::from(config.frame_size())
        );
    }

    proptest! {
        #[test]
        fn s17_sections_are_disjoint_aligned_and_within_the_total(config in settings()) {
            assert_sound(&config, &Layout::compute(&config, Method::IoUring).unwrap());
        }

        #[test]
        fn r18_extreme_settings_are_a_typed_error_or_do_not_wrap(config in hostile_settings()) {
            if let Ok(layout) = Layout::compute(&config, Method::IoUring) {
                assert_sound(&config, &layout);
            }
        }

        #[test]
        fn s17_side_arrays_are_disjoint(
            config in settings(),
            picks in any::<[prop::sample::Index; 2]>(),
        ) {
            let layout = Layout::compute(&config, Method::IoUring).unwrap();
            let count = layout.handle_count as usize;
            let handles = picks.map(|pick| u32::try_from(pick.index(count)).unwrap());
            let iovecs = handles.map(|handle| layout.iovec_range(handle).unwrap());
            let data = handles.map(|handle| layout.data_range(handle).unwrap());
            for (ranges, each, section, bytes) in [
                (iovecs, config.max_iovecs(), layout.iovecs, IOVEC_BYTES),
                (data, config.max_handle_data(), layout.handle_data, WORD_BYTES),
            ] {
                let [first, second] = ranges;
                let same = handles[0] == handles[1];
                // B18 and R17: exactly what was reserved, no more.
                prop_assert_eq!(first.end - first.start, each);
                prop_assert!(u64::from(first.end) * bytes <= section.len);
                prop_assert!(same || first.end <= second.start || second.end <= first.start);
            }
        }

        #[test]
        fn the_hash_tells_configurations_apart(one in settings(), two in settings()) {
            let hashes = [one, two].map(|config| Layout::compute(&config, Method::IoUring).unwrap().hash());
            prop_assert_eq!(one == two, hashes[0] == hashes[1]);
        }

        #[test]
        fn an_element_lies_within_its_section_or_is_none(
            offset: u64,
            len: u64,
            index: u64,
            each in 1..=4096_u64,
        ) {
            let section = Section { offset, len };
            if let Some(start) = section.element(index, each) {
                let [start, offset, len, index, each] =
                    [start, offset, len, index, each].map(u128::from);
                prop_assert!(start + each <= offset + len);
                prop_assert_eq!(start, offset + index * each);
            }
        }
    }

    #[test]
    fn b19_the_largest_configuration_has_room_for_everything() {
        let most =
            PoolConfig::unchecked([1023, 1024, 1 << 24, 16 << 20, 1024, 255, 65_536, 1 << 27, 62]);
        let layout = Layout::compute(&most, Method::IoUring).unwrap();
        assert_sound(&most, &layout);
        let last = layout.handle_count - 1;
        assert_eq!(
            u64::from(layout.iovec_range(last).unwrap().end) * IOVEC_BYTES,
            layout.iovecs.len
        );
        assert_eq!(
            u64::from(layout.data_range(last).unwrap().end) * WORD_BYTES,
            layout.handle_data.len
        );
    }

    #[test]
    fn there_is_nothing_past_the_last_handle() {
        let layout =
            Layout::compute(&PoolConfig::validate(Wanted::default()).unwrap(), Method::IoUring)
                .unwrap();
        assert_eq!(layout.handle_count, 128);
        assert_eq!((layout.iovec_range(128), layout.data_range(u32::MAX)), (None, None));
        assert_eq!(
            layout.handles.element(127, HANDLE_BYTES),
            Some(layout.handles.offset + 127 * 128)
        );
        assert_eq!(layout.handles.element(128, HANDLE_BYTES), None);
    }

    #[test]
    fn too_many_and_too_large_say_what() {
        let many = PoolConfig::unchecked([u32::MAX, 2, 0, 512, 1, 0, 0, 0, 0]);
        let large = PoolConfig::unchecked([1, 1, u32::MAX, u32::MAX, 1, 0, 0, 0, 0]);
        assert!(
            Layout::compute(&many, Method::IoUring)
                .unwrap_err()
                .to_string()
                .contains("8589934590 handles")
        );
        assert!(
            Layout::compute(&large, Method::IoUring).unwrap_err().to_string().contains("frames")
        );
    }

    #[test]
    fn fnv1a_is_fnv1a() {
        // Published values: the empty input, and the byte "a" (here followed by seven zero bytes,
        // computed by hand).
        assert_eq!(fnv1a(std::iter::empty()), 0xcbf2_9ce4_8422_2325);
        let mut expected = (0xcbf2_9ce4_8422_2325_u64 ^ 0x61).wrapping_mul(0x100_0000_01b3);
        assert_eq!(expected, 0xaf63_dc4c_8601_ec8c);
        for _ in 0..7 {
            expected = expected.wrapping_mul(0x100_0000_01b3);
        }
        assert_eq!(fnv1a(std::iter::once(0x61)), expected);
    }
}
