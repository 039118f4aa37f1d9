//! Replays the corpora of the fuzz targets.

use std::path::Path;

fn replay(target: &str, body: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|e| panic!("{}: {e}", directory.display()))
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    for file in &files {
        let input = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        if let Err(panic) = std::panic::catch_unwind(|| body(&input)) {
            eprintln!("{target}: {} fails", file.display());
            std::panic::resume_unwind(panic);
        }
    }
    println!("{target}: {} inputs replayed", files.len());
}

#[test]
fn differential() {
    replay("differential", smstream_fuzz::differential);
}

#[test]
fn leftover() {
    replay("leftover", smstream_fuzz::leftover);
}

#[test]
fn hostile() {
    replay("hostile", smstream_fuzz::hostile);
}

#[test]
fn image() {
    replay("image", smstream_fuzz::image);
}

#[test]
fn items() {
    replay("items", smstream_fuzz::items);
}

#[test]
fn local() {
    replay("local", smstream_fuzz::local);
}

#[test]
fn packets() {
    replay("packets", smstream_fuzz::packets);
}

#[test]
fn records() {
    replay("records", smstream_fuzz::records);
}

#[test]
fn text() {
    replay("text", smstream_fuzz::text);
}
