//! `--direct`: odd sizes, the limits of the file system, and the errors about them.

use std::fs;

use crate::support::{Fixture, assert_same, noise, skipped};

/// What the file system of a fixture asks of offsets; `None` if it cannot do direct IO or does not
/// tell.
fn offset_alignment(fixture: &Fixture) -> Option<u32> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let probe = fixture.file("probe", b"x");
    let found = statx(CWD, &probe, AtFlags::empty(), StatxFlags::DIOALIGN).expect("statx");
    fs::remove_file(probe).expect("the probe");
    (found.stx_dio_offset_align > 0).then_some(found.stx_dio_offset_align)
}

/// A fixture that can do direct IO, and its alignment; says so if there is none.
pub fn direct_fixture(test: &str) -> Option<(Fixture, u32)> {
    let fixture = Fixture::on_disk();
    match offset_alignment(&fixture) {
        Some(alignment) => Some((fixture, alignment)),
        None => {
            skipped(test, "the file system of the build directory tells no DIOALIGN");
            None
        }
    }
}

#[test]
fn direct_copies_of_odd_sizes_equal_the_source() {
    let Some((fixture, unit)) = direct_fixture("direct copies of odd sizes") else { return };
    let unit = unit as usize;
    for block in [unit, 4096.max(unit), 64 << 10, 1 << 20] {
        let sizes = [0, 1, unit - 1, unit + 1, block - 1, block, block + 1, 3 * block + 12_345];
        for (number, size) in sizes.into_iter().enumerate() {
            let source = fixture.file("src", &noise(size, size as u64));
            let processes = ["1", "2", "8"][number % 3];
            let block = block.to_string();
            fixture.copy(&["--direct", "src", "dst", "-b", &block, "-p", processes]).succeeds();
            assert_same(&source, &fixture.path("dst"));
        }
    }
}

#[test]
fn direct_copies_can_be_deep_and_synced() {
    let Some((fixture, _)) = direct_fixture("deep direct copies") else { return };
    let source = fixture.file("src", &noise((2 << 20) + 777, 9));
    for depth in ["1", "64"] {
        fixture.copy(&["--direct", "--fsync", "src", "dst", "-d", depth, "-b", "4K"]).succeeds();
        assert_same(&source, &fixture.path("dst"));
    }
}

#[test]
fn a_block_size_below_the_alignment_is_refused_with_both_numbers() {
    let Some((fixture, unit)) = direct_fixture("an unaligned block size") else { return };
    if unit <= 512 {
        return skipped("an unaligned block size", "this file system takes every block size");
    }
    fixture.file("src", b"content");
    let parts = ["--block-size", "512", &unit.to_string()];
    fixture.copy(&["--direct", "src", "dst", "-b", "512"]).fails(1, &parts);
    assert_eq!(fixture.names(), ["src"]);
}

#[test]
fn a_file_system_without_direct_io_is_named_and_the_remedy_too() {
    let fixture = Fixture::new();
    let run = fixture.copy(&["--direct", "/proc/version", "dst"]);
    run.fails(1, &["direct IO", "/proc/version", "without --direct"]);
    assert!(fixture.names().is_empty());
}
