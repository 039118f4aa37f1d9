//! The conformance kit of `tests/conformance`: images, cases, vectors and messages for peers in all languages, made here.
//!
//! `SMSTREAM_WRITE=1 cargo test -p smstream-tests --test conformance` writes the files; without it they are compared, and
//! the core has to pass them all. `tests/conformance/README.md` has the formats.

pub mod cases;
pub mod image;
pub mod messages;
pub mod run;
pub mod vectors;

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kit lies.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Compares a file of the kit with what this program makes, or writes it.
///
/// # Panics
/// If it is not the same.
pub fn check(name: &str, made: &str) {
    let path = folder().join(name);
    if std::env::var_os("SMSTREAM_WRITE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(&path, made).expect("the file can be written");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    assert!(found == made, "tests/conformance/{name} is not what the code makes; run with SMSTREAM_WRITE=1");
}
