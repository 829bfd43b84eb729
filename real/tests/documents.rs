//! Documents that name code: the code must be there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Everything between backquotes that looks like `path/file.rs::function`.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|name| name.split_once(".rs::")).collect()
}

#[test]
fn every_test_that_the_features_page_names_exists() {
    let page = fs::read_to_string(root().join("real/src/features.rs")).unwrap();
    let named = named_tests(&page);
    assert!(named.len() > 40, "the page names {} tests", named.len());
    for (file, function) in named {
        let path = root().join(format!("{file}.rs"));
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}.rs: {error}"));
        // A scenario's test is a name in a list.
        let listed = source.lines().any(|line| line.trim() == function);
        let there = listed || source.contains(&format!("fn {function}("));
        assert!(there, "{file}.rs has no test {function}");
    }
}

#[test]
fn every_row_of_the_features_page_has_a_test_or_waits_for_a_method() {
    let page = fs::read_to_string(root().join("real/src/features.rs")).unwrap();
    let rows =
        page.lines().filter(|line| line.starts_with("//! | ") && !line.contains("PostgreSQL |"));
    for row in rows {
        assert!(row.contains(".rs::") || row.contains("with "), "{row}");
    }
}

/// Lines of code without comments and without the blanks that layout needs.
fn code_lines<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<String> {
    let code = lines.map(|line| line.split("// ").next().unwrap_or(""));
    let bare = code.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    bare.filter(|line| !line.is_empty()).collect()
}

#[test]
fn every_line_of_code_in_the_readme_is_in_an_example_that_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let crate_page = fs::read_to_string(root().join("real/src/lib.rs")).unwrap();
    let builder = fs::read_to_string(root().join("real/src/pool.rs")).unwrap();
    let docs = [crate_page, builder].join("\n");
    let documented = docs.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("//! ").or_else(|| line.strip_prefix("/// "))
    });
    let run = code_lines(documented);
    let blocks = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    let shown = code_lines(blocks.flat_map(str::lines));
    assert!(shown.len() > 20, "the README has {} lines of code", shown.len());
    for line in shown {
        assert!(run.contains(&line), "in no example of the documentation: {line}");
    }
}

/// Uses of `unsafe` in the library, by file, its tests not counted.
fn unsafe_uses(folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            unsafe_uses(&path, found);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let tests = ["#[cfg(test)]\nmod ", "#[cfg(test)]\npub(crate) mod "];
        let end = tests.iter().filter_map(|start| source.find(start)).min();
        let shipped = &source[..end.unwrap_or(source.len())];
        let code = shipped.lines().map(|line| line.split("//").next().unwrap_or(""));
        let uses = code.map(|line| line.matches("unsafe ").count()).sum();
        let name = path.strip_prefix(root().join("real/src")).unwrap().display().to_string();
        if uses > 0 {
            found.insert(name, uses);
        }
    }
}

#[test]
fn the_unsafe_page_counts_every_use() {
    let mut found = BTreeMap::new();
    unsafe_uses(&root().join("real/src"), &mut found);
    let page = fs::read_to_string(root().join("real/src/unsafe_code.rs")).unwrap();
    let listed: BTreeMap<String, usize> = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .filter_map(|row| {
            let (file, rest) = row.split_once("` | ")?;
            let (count, _) = rest.split_once(" |")?;
            Some((file.to_owned(), count.trim().parse().ok()?))
        })
        .collect();
    assert_eq!(listed, found, "left: unsafe_code.rs, right: the sources");
    let total = format!("{} uses", found.values().sum::<usize>());
    assert!(page.contains(&total), "the page should say \"{total}\"");
}
