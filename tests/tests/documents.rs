//! Tables in the documents that are made from code. `SMSTREAM_WRITE=1` writes them; without it they are compared.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use smstream_core::layout::FIELDS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares, or replaces, what stands between the line that begins with `<!-- NAME:` and the next `<!-- end -->`.
fn check(file: &str, name: &str, made: &str) {
    let path = root().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {file}: {e}"));
    let marker = format!("<!-- {name}:");
    let start = text.find(&marker).unwrap_or_else(|| panic!("{file} has no line that begins with {marker}"));
    let start = start + text[start..].find('\n').expect("a marker ends its line") + 1;
    let end = start + text[start..].find("<!-- end -->").unwrap_or_else(|| panic!("{file}: no end of {name}"));
    if std::env::var_os("SMSTREAM_WRITE").is_some() {
        fs::write(&path, format!("{}{made}{}", &text[..start], &text[end..])).expect("the document can be written");
        return;
    }
    assert_eq!(
        &text[start..end],
        made,
        "{file}: the table {name} is not what the code says; run with SMSTREAM_WRITE=1"
    );
}

#[test]
fn layout_fields() {
    let mut table = String::from("| offset | bytes | name | written by | meaning |\n|---|---|---|---|---|\n");
    for f in FIELDS {
        let short = f.name.rsplit('.').next().unwrap_or(f.name);
        let name = if f.name == short { format!("`{short}`") } else { format!("`{}`", f.name) };
        writeln!(table, "| {:#05x} | {} | {name} | {} | {} |", f.offset, f.len, f.writer, f.meaning).unwrap();
    }
    check("docs/LAYOUT.md", "fields", &table);
}

/// What `security.rs` tries, and what comes of it.
#[test]
fn ways_to_write_to_a_segment() {
    check("docs/SAFETY.md", "ways", &smstream_tests::attacks::table());
}

/// Offsets rise, fields do not overlap, and the lane comes after all of them.
#[test]
fn layout_fields_do_not_overlap() {
    let mut end = 0;
    for f in FIELDS {
        assert!(f.offset >= end, "{} begins at {:#x}, before {end:#x}", f.name, f.offset);
        end = f.offset + f.len;
    }
    assert!(end <= smstream_core::layout::HEADER_LEN as usize);
}

/// What a document says about code that is easy to leave behind.
#[test]
fn documents_name_what_exists() {
    for file in [
        "README.md",
        "docs/DESIGN.md",
        "docs/LAYOUT.md",
        "docs/WRITE-A-PEER.md",
        "peers/c/README.md",
        "peers/python/README.md",
        "peers/go/README.md",
        "tests/conformance/README.md",
        "docs/SAFETY.md",
        "docs/COMPARE.md",
        "docs/EMBEDDING.md",
        "docs/MEMORY.md",
        "docs/PREDECESSORS.md",
        "CHANGELOG.md",
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("cannot read {file}: {e}"));
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let from = root().join(file);
            let from = from.parent().expect("a file has a folder");
            assert!(from.join(path).exists(), "{file} links to {path}, which does not exist");
        }
    }
}

/// All Rust files under a folder.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
            found.push((path, text));
        }
    }
}

/// `docs/PREDECESSORS.md` names tests as `file::test`, and functions as `module::function`: each is there.
#[test]
fn predecessors_name_what_exists() {
    let text = fs::read_to_string(root().join("docs/PREDECESSORS.md")).expect("docs/PREDECESSORS.md can be read");
    let (mut tests, mut library) = (Vec::new(), Vec::new());
    for folder in ["tests/tests", "std-adapter/tests", "std-adapter/shm/tests", "std-adapter/cli/tests"] {
        sources(&root().join(folder), &mut tests);
    }
    for folder in ["std-adapter/src", "std-adapter/shm/src", "std-adapter/cli/src"] {
        sources(&root().join(folder), &mut library);
    }
    let mut found = 0;
    // Every other piece stands between backticks.
    for name in text.lines().filter(|l| l.starts_with('|')).flat_map(|l| l.split('`').skip(1).step_by(2)) {
        let Some((file, function)) = name.trim_end_matches("()").split_once("::") else { continue };
        // Types and their methods begin with a capital.
        if name.contains(|c: char| c.is_ascii_uppercase()) {
            continue;
        }
        let begin = [format!("fn {function}("), format!("fn {function}<")];
        let has = |text: &String| begin.iter().any(|b| text.contains(b.as_str()));
        if tests.iter().any(|(path, text)| path.file_stem().is_some_and(|stem| stem == file) && has(text)) {
            found += 1;
            continue;
        }
        assert!(
            library.iter().any(|(_, text)| has(text)),
            "docs/PREDECESSORS.md names {name}: there is no such test or function"
        );
    }
    assert!(found > 50, "only {found} tests are named");
}
