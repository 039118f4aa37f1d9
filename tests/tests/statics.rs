//! What a forked child inherits.

use std::fs;
use std::path::Path;

/// A lock of the library that some other thread holds at a fork is held in the child for ever. So no static is one that a child
/// could find held: a `ProcessLock` knows its process, and the rest are atomics.
#[test]
fn no_static_of_the_library_can_be_inherited_held() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut statics = 0;
    for part in ["core/src", "std-adapter/src", "std-adapter/shm/src"] {
        look(&root.join(part), &mut statics);
    }
    assert!(statics >= 8, "these are not the sources of the library: {statics} statics");
}

fn look(directory: &Path, statics: &mut usize) {
    for entry in fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            look(&path, statics);
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        // These are for tests only.
        if !name.ends_with(".rs") || name.ends_with("tests.rs") || matches!(name, "testing.rs" | "mutant.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        let text = text.split("#[cfg(test)]\nmod tests").next().expect("the part that is no test");
        for line in text.lines().map(str::trim_start) {
            let is_static = ["static ", "pub static ", "pub(crate) static ", "pub(super) static "]
                .iter()
                .any(|it| line.starts_with(it));
            if !is_static && !line.contains("thread_local!") {
                continue;
            }
            *statics += 1;
            for lock in ["Mutex", "RwLock", "Once", "LazyLock", "LazyCell", "Condvar", "Barrier", "mpsc"] {
                assert!(!line.contains(lock), "{}: {line}", path.display());
            }
        }
    }
}
