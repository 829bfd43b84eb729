//! The README's state diagram is the table of edges.

const START: &str = "```mermaid\n";

#[test]
fn the_diagram_of_the_readme_is_generated_from_the_edges() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(path).expect("the README beside the crates");
    let start = readme.find(START).expect("a mermaid block") + START.len();
    let end = start + readme[start..].find("```").expect("its end");
    let generated = handfast_core::edges::diagram();
    if std::env::var_os("HANDFAST_BLESS").is_some() {
        let blessed = format!("{}{generated}{}", &readme[..start], &readme[end..]);
        std::fs::write(path, blessed).expect("a writable README");
        return;
    }
    assert_eq!(
        &readme[start..end],
        generated,
        "run the test with HANDFAST_BLESS=1 to write it anew"
    );
}
