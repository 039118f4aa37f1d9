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
    check("LAYOUT.md", "fields", &table);
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
    for file in ["README.md", "DESIGN.md", "LAYOUT.md", "SAFETY.md", "MEMORY.md", "SEEDS.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("cannot read {file}: {e}"));
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(root().join(path).exists(), "{file} links to {path}, which does not exist");
        }
    }
}
