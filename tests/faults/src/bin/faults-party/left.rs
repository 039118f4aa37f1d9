//! What this process has open: to be the same whatever has failed.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long it waits for what the library closes in the background.
pub const LONG: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);
/// What the library calls the threads that close what takes long.
const CLOSER: &str = "smstream-close";
/// So many looks that give the same are believed, where it is not known what is expected.
const BELIEVED: u32 = 25;

/// What is open, when that has become what is expected, or after so long. Where nothing is expected, when no thread closes
/// anything any more and it does not change.
pub fn behind(expected: Option<&str>, patience: Duration) -> String {
    let until = Instant::now() + patience;
    let (mut last, mut same) = (look(), 0);
    while expected.map_or(same < BELIEVED, |expected| expected != last) && Instant::now() < until {
        thread::sleep(PAUSE);
        let now = look();
        same = if now == last && !is_closing() { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Whether a thread of the library's closes something, or may be about to: one that has just begun has the name of the thread
/// that began it.
fn is_closing() -> bool {
    let name = |path: &Path| fs::read_to_string(path.join("comm")).unwrap_or_default();
    let own = name(Path::new("/proc/self"));
    let main = std::process::id().to_string();
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut others = threads.filter(|thread| thread.file_name().to_str() != Some(main.as_str()));
    others.any(|thread| {
        let name = name(&thread.path());
        name == own || name.trim_end() == CLOSER
    })
}

/// Its descriptors and mappings of files, by what they are; without what stands for a descriptor whose closing failed.
fn look() -> String {
    let mut open: Vec<String> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        // Sockets and pipes have numbers of their own.
        let text = target.to_string_lossy().split(':').next().unwrap_or("").to_owned();
        // The standard library's, where getrandom is not there.
        if text != "/dev/null" && text != "/dev/urandom" && !text.starts_with("/proc") {
            open.push(text);
        }
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let shared = maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|flags| flags.ends_with('s')));
    open.extend(shared.map(|_| "mapping".to_owned()));
    open.sort();
    open.join(" ")
}
