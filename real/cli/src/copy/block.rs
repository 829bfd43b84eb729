//! Which bytes come next: the pure part of a copier.
//!
//! A block is copied by reads and writes that may each transfer less than was asked for. Every read
//! goes to the start of the frame, and every write from there, so what a short write leaves is read
//! again: a copier needs no second buffer and no offset into a frame. With direct IO all offsets
//! and lengths are multiples of a unit, except for what the last read of a file returns.
//!
//! Keeps: a block is done only when every byte of it was written; every step moves forward or ends.

/// The shape of one copy; the same in every process of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a block; a multiple of `unit`.
    pub block_size: u32,
    /// Offsets and lengths of IOs are multiples of this; 1 without direct IO.
    pub unit: u32,
    /// Bytes to copy; `None` if SRC is read until a read returns nothing.
    pub size: Option<u64>,
}

/// What is left of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the next byte to copy.
    pub at: u64,
    /// Offset behind the last one.
    end: u64,
}

/// What a read leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum AfterRead {
    /// Write `len` bytes, of which `payload` are content and the rest is padding up to a unit.
    Write {
        /// Bytes of content.
        payload: u32,
        /// Bytes of the write.
        len: u32,
    },
    /// SRC had no announced size, and here it ends.
    End,
    /// SRC ends at `found`, before the size it had at the start.
    Shrunk {
        /// Where it ends now.
        found: u64,
    },
}

/// What a write leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum AfterWrite {
    /// Read the rest.
    Continue(Chunk),
    /// The block is complete.
    Done,
    /// The file system took nothing, and would not the next time.
    Stuck,
}

impl Geometry {
    /// Number of blocks; one endless block if the size is not known.
    pub fn blocks(&self) -> u64 {
        self.size.map_or(1, |size| size.div_ceil(u64::from(self.block_size)))
    }

    /// The block with this number, counted from 0.
    pub fn block(&self, number: u64) -> Option<Chunk> {
        if number >= self.blocks() {
            return None;
        }
        let Some(size) = self.size else { return Some(Chunk { at: 0, end: u64::MAX }) };
        let at = number * u64::from(self.block_size);
        Some(Chunk { at, end: size.min(at.saturating_add(u64::from(self.block_size))) })
    }

    /// Bytes to ask the next read for.
    pub fn read_len(&self, chunk: Chunk) -> u32 {
        self.round_up(self.left(chunk))
    }

    /// Judges a read of [`Self::read_len`] bytes that returned `got`.
    pub fn after_read(&self, chunk: Chunk, got: u32) -> AfterRead {
        if got == 0 {
            return match self.size {
                Some(_) => AfterRead::Shrunk { found: chunk.at },
                None => AfterRead::End,
            };
        }
        let left = self.left(chunk);
        if got >= left {
            // What SRC grew behind its end at the start is cut off here.
            return AfterRead::Write { payload: left, len: self.round_up(left) };
        }
        let whole = got - got % self.unit;
        if whole == 0 {
            return AfterRead::Shrunk { found: chunk.at + u64::from(got) };
        }
        AfterRead::Write { payload: whole, len: whole }
    }

    /// Judges a write of `payload` bytes of content (and padding) that transferred `wrote`.
    pub fn after_write(&self, chunk: Chunk, payload: u32, wrote: u32) -> AfterWrite {
        let moved = if wrote >= payload { payload } else { wrote - wrote % self.unit };
        if moved == 0 {
            return AfterWrite::Stuck;
        }
        let at = chunk.at + u64::from(moved);
        if at >= chunk.end { AfterWrite::Done } else { AfterWrite::Continue(Chunk { at, ..chunk }) }
    }

    /// Bytes left of a block, at most a block: the endless one is copied block by block.
    fn left(&self, chunk: Chunk) -> u32 {
        u32::try_from(chunk.end - chunk.at)
            .map_or(self.block_size, |left| left.min(self.block_size))
    }

    /// Never more than a block, which is a multiple of the unit.
    fn round_up(&self, len: u32) -> u32 {
        len.div_ceil(self.unit) * self.unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Copies `source` as a copier would, with transfers cut short as `cuts` say; `None` if it got
    /// stuck.
    fn simulate(geometry: Geometry, source: &[u8], cuts: &[u32]) -> Option<Vec<u8>> {
        let mut copy = Vec::new();
        let mut cuts = cuts.iter().cycle();
        let mut cut = |len: usize| {
            // A cut leaves at least one unit: less means no progress, which has its own tests.
            let unit = geometry.unit as usize;
            let keep = (*cuts.next().expect("cycle") as usize).max(1) * unit;
            len.min(keep)
        };
        for number in 0..geometry.blocks() {
            let mut chunk = geometry.block(number)?;
            loop {
                let at = usize::try_from(chunk.at).ok()?;
                assert_eq!(at % geometry.unit as usize, 0, "reads start at a unit");
                let there = source.len().saturating_sub(at);
                let got = cut(there.min(geometry.read_len(chunk) as usize));
                let (payload, len) = match geometry.after_read(chunk, u32::try_from(got).ok()?) {
                    AfterRead::Write { payload, len } => (payload, len),
                    AfterRead::End => break,
                    AfterRead::Shrunk { .. } => return None,
                };
                assert_eq!(len % geometry.unit, 0, "writes are whole units");
                let wrote = cut(len as usize);
                let content = wrote.min(payload as usize);
                copy.resize(copy.len().max(at + wrote), 0);
                copy[at..at + content].copy_from_slice(&source[at..at + content]);
                match geometry.after_write(chunk, payload, u32::try_from(wrote).ok()?) {
                    AfterWrite::Continue(rest) => chunk = rest,
                    AfterWrite::Done => break,
                    AfterWrite::Stuck => return None,
                }
            }
        }
        Some(copy)
    }

    proptest! {
        #[test]
        fn any_short_transfers_still_copy_every_byte(
            source in proptest::collection::vec(any::<u8>(), 0..300),
            grown in 0_usize..20,
            unit_exponent in 0_u32..4,
            units in 1_u32..6,
            cuts in proptest::collection::vec(0_u32..7, 1..9),
        ) {
            let unit = 1 << unit_exponent;
            let geometry =
                Geometry { block_size: units * unit, unit, size: Some(source.len() as u64) };
            let mut longer = source.clone();
            longer.extend(std::iter::repeat_n(7, grown));
            let mut copy = simulate(geometry, &longer, &cuts).expect("progress");
            prop_assert!(copy.len() >= source.len());
            prop_assert!(copy.len() < source.len() + unit as usize, "padding is less than a unit");
            copy.truncate(source.len());
            prop_assert_eq!(copy, source);
        }

        #[test]
        fn a_source_without_size_is_copied_to_its_end(
            source in proptest::collection::vec(any::<u8>(), 0..300),
            block_size in 1_u32..40,
            cuts in proptest::collection::vec(0_u32..50, 1..9),
        ) {
            let geometry = Geometry { block_size, unit: 1, size: None };
            prop_assert_eq!(simulate(geometry, &source, &cuts), Some(source));
        }
    }

    #[test]
    fn blocks_cover_the_file_and_no_more() {
        let geometry = |size| Geometry { block_size: 8, unit: 1, size: Some(size) };
        assert_eq!(geometry(0).block(0), None);
        assert_eq!(geometry(1).block(0), Some(Chunk { at: 0, end: 1 }));
        assert_eq!(geometry(8).block(1), None);
        assert_eq!(geometry(9).block(1), Some(Chunk { at: 8, end: 9 }));
        assert_eq!(
            geometry(u64::MAX).block(u64::MAX / 8),
            Some(Chunk { at: u64::MAX - 7, end: u64::MAX })
        );
    }

    #[test]
    fn a_source_that_ends_early_is_shrunk_wherever_it_ends() {
        let geometry = Geometry { block_size: 8, unit: 4, size: Some(20) };
        let chunk = geometry.block(1).expect("a block");
        assert_eq!(geometry.after_read(chunk, 0), AfterRead::Shrunk { found: 8 });
        assert_eq!(geometry.after_read(chunk, 3), AfterRead::Shrunk { found: 11 });
        assert_eq!(geometry.after_read(chunk, 7), AfterRead::Write { payload: 4, len: 4 });
    }

    #[test]
    fn a_write_of_nothing_is_stuck_and_not_tried_for_ever() {
        let geometry = Geometry { block_size: 8, unit: 4, size: Some(20) };
        let chunk = geometry.block(0).expect("a block");
        assert_eq!(geometry.after_write(chunk, 8, 0), AfterWrite::Stuck);
        assert_eq!(geometry.after_write(chunk, 8, 3), AfterWrite::Stuck);
        assert_eq!(geometry.after_write(chunk, 8, 8), AfterWrite::Done);
    }
}
