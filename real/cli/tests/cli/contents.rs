//! The copy equals the source: for every size around a block, block size, depth and number of
//! processes.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::support::{Fixture, assert_same, methods, noise};

/// Copies files of the sizes around multiples of a block, by every method.
fn check_sizes(block: usize, block_option: &str, processes: &str, depth: &str) {
    for method in methods() {
        check_sizes_by(method, block, block_option, &[processes, depth]);
    }
}

fn check_sizes_by(method: &str, block: usize, block_option: &str, numbers: &[&str; 2]) {
    let (fixture, [processes, depth]) = (Fixture::new(), numbers);
    for size in [0, 1, block - 1, block, block + 1, 3 * block + 17] {
        let source = fixture.file("src", &noise(size, size as u64));
        let run = fixture.copy(&[
            "src",
            "dst",
            "--method",
            method,
            "--block-size",
            block_option,
            "--processes",
            processes,
            "--queue-depth",
            depth,
        ]);
        let summary = run.succeeds();
        assert!(summary.starts_with(&format!("copied {size} bytes in ")), "{summary}");
        assert!(summary.ends_with(&format!(", method {method}\n")), "{summary}");
        assert_same(&source, &fixture.path("dst"));
    }
}

#[test]
fn every_size_around_a_block_is_copied_with_blocks_of_512_bytes() {
    for processes in ["1", "2", "8"] {
        check_sizes(512, "512", processes, "1");
        check_sizes(512, "512", processes, "64");
    }
}

#[test]
fn every_size_around_a_block_is_copied_with_blocks_of_8_kib() {
    for processes in ["1", "2", "8"] {
        check_sizes(8192, "8192", processes, "1");
        check_sizes(8192, "8K", processes, "64");
    }
}

#[test]
fn every_size_around_a_block_is_copied_with_blocks_of_1_mib() {
    check_sizes(1 << 20, "1M", "1", "64");
    check_sizes(1 << 20, "1048576", "2", "1");
    check_sizes(1 << 20, "1024K", "8", "2");
}

#[test]
fn every_size_around_a_block_is_copied_with_an_odd_block_size() {
    check_sizes(1536, "1536", "3", "5");
}

#[test]
fn many_blocks_are_shared_by_1_2_and_8_processes() {
    let fixture = Fixture::new();
    let source = fixture.file("src", &noise((8 << 20) + 4321, 1));
    for processes in [1, 2, 8] {
        let number = processes.to_string();
        let summary =
            fixture.copy(&["src", "dst", "-p", &number, "-d", "16", "-b", "8K"]).succeeds();
        assert_same(&source, &fixture.path("dst"));
        let ios = ios(&summary);
        assert_eq!(ios.len(), processes);
        assert_eq!(ios.iter().sum::<u64>(), 2 * 1025, "one read and one write a block: {summary}");
        let noun = if processes == 1 { "process" } else { "processes" };
        assert!(summary.contains(&format!(" 2050 IOs by {processes} {noun} [")), "{summary}");
    }
}

/// The numbers between brackets in a summary.
fn ios(summary: &str) -> Vec<u64> {
    let inner = summary.split(['[', ']']).nth(1).expect("brackets");
    inner.split(' ').map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn the_largest_options_work() {
    let fixture = Fixture::new();
    let source = fixture.file("src", &noise(100_000, 2));
    for options in [["-p256", "-d1", "-b512"], ["-p1", "-d1024", "-b512"], ["-p2", "-d4", "-b16M"]]
    {
        fixture.copy(&[&["src", "dst"], &options[..]].concat()).succeeds();
        assert_same(&source, &fixture.path("dst"));
    }
}

#[test]
fn a_sparse_file_is_copied_with_equal_content() {
    let fixture = Fixture::new();
    let source = File::create(fixture.path("src")).expect("a file");
    source.set_len((16 << 20) + 5).expect("a hole");
    source.write_all_at(b"island", 7 << 20).expect("an island");
    fixture.copy(&["src", "dst", "-p", "4"]).succeeds();
    assert_same(&fixture.path("src"), &fixture.path("dst"));
}

#[test]
fn a_source_without_size_is_read_to_its_end() {
    let fixture = Fixture::new();
    for source in ["/proc/version", "/proc/filesystems", "/proc/devices"] {
        assert_eq!(fs::metadata(source).expect("a file of /proc").len(), 0);
        for block in ["512", "64K"] {
            let summary = fixture.copy(&[source, "dst", "-p", "8", "-b", block]).succeeds();
            let expected = fs::read(source).expect("a file of /proc");
            assert!(!expected.is_empty());
            assert_eq!(fs::read(fixture.path("dst")).expect("the copy"), expected, "{source}");
            assert!(summary.contains("by 1 process ["), "{summary}");
            // The copy is write-protected as its source, and would not be replaced.
            fs::remove_file(fixture.path("dst")).expect("the copy");
        }
    }
}

#[test]
fn a_source_that_reports_a_size_it_does_not_have_is_read_to_its_end() {
    let source = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(expected) = fs::read(source) else {
        return crate::support::skipped("a file of sysfs", "there is no sysfs here");
    };
    let fixture = Fixture::new();
    fixture.copy(&[source, "dst"]).succeeds();
    assert_eq!(fs::read(fixture.path("dst")).expect("the copy"), expected);
}

#[test]
fn the_copy_has_the_permission_bits_of_the_source_without_set_id_bits() {
    let fixture = Fixture::new();
    fixture.file("src", b"content");
    for (bits, expected) in [(0o755, 0o755), (0o640, 0o640), (0o400, 0o400), (0o6711, 0o711)] {
        fs::set_permissions(fixture.path("src"), fs::Permissions::from_mode(bits)).expect("chmod");
        fixture.copy(&["src", "dst"]).succeeds();
        let mode = fs::metadata(fixture.path("dst")).expect("the copy").permissions().mode();
        assert_eq!(mode & 0o7777, expected, "{bits:o}");
        fs::remove_file(fixture.path("dst")).expect("the copy");
    }
}

#[test]
fn fsync_and_method_change_nothing_in_the_content() {
    let fixture = Fixture::new();
    let source = fixture.file("src", &noise(300_000, 3));
    for method in methods().chain(["auto"]) {
        fixture.copy(&["src", "dst", "--fsync", "--method", method]).succeeds();
        assert_same(&source, &fixture.path("dst"));
    }
    fixture.copy(&["/proc/version", "dst", "--fsync"]).succeeds();
}

#[test]
fn many_deep_processes_copy_a_file_larger_than_all_their_buffers() {
    let fixture = Fixture::on_disk();
    let source = File::create(fixture.path("src")).expect("a file");
    source.set_len((64 << 20) + 1).expect("a hole");
    let summary = fixture.copy(&["src", "dst", "-p", "8", "-d", "64", "-b", "64K"]).succeeds();
    assert!(summary.starts_with("copied 67108865 bytes in "), "{summary}");
    assert_same(&fixture.path("src"), &fixture.path("dst"));
}
