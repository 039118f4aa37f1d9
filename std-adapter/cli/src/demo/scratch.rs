//! Names for the demo's streams, which are gone however the demo ends. They lie where `smstream gc` looks: even a demo that
//! was killed leaves nothing for good.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use super::workload::now;
use crate::failure::say;

/// The name of the moment, which is removed at an exit that runs no destructors.
static NAME: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Where names are made: in memory if the system has a place for that, so that no disk has part in the figures.
pub struct Scratch {
    directory: PathBuf,
    /// The kind of the addresses.
    kind: &'static str,
}

impl Scratch {
    /// Finds a place for names of this kind.
    pub fn create(kind: &'static str) -> Self {
        let memory = Path::new("/dev/shm");
        let writable = rustix::fs::access(memory, rustix::fs::Access::WRITE_OK).is_ok();
        Self { directory: if writable { memory.to_owned() } else { std::env::temp_dir() }, kind }
    }

    /// A new address of a stream.
    pub fn address(&self, name: &str) -> io::Result<String> {
        let path = self.directory.join(format!("smstream-demo-{}-{}-{name}", process::id(), now()));
        let text = std::str::from_utf8(path.as_os_str().as_bytes());
        let text = text.map_err(|_| io::Error::other("the temporary directory's name is not UTF-8"))?;
        let address = format!("{}:{text}", self.kind);
        *NAME.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
        Ok(address)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes what has the name of the moment, if anything does. To be called before any exit that runs no destructors.
pub fn remove() {
    let name = NAME.lock().unwrap_or_else(PoisonError::into_inner).take();
    for suffix in ["", ".new", ".lock"] {
        if let Some(name) = &name {
            let mut path = name.clone().into_os_string();
            path.push(suffix);
            // Most often the listener has removed it.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    say(format_args!(
                        "could not remove {}: {error}; `smstream gc` removes it",
                        Path::new(&path).display()
                    ));
                }
                _ => {}
            }
        }
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove the name before they end the process. To be called before any other thread is
/// started.
pub fn remove_on_signals() -> io::Result<()> {
    crate::signals::on_end(|signal| {
        remove();
        process::exit(128 + signal);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc;

    #[test]
    fn names_lie_where_leftovers_are_looked_for() {
        for kind in ["file", "unix"] {
            let address = Scratch::create(kind).address("stream").expect("an address");
            let path = Path::new(address.strip_prefix(kind).expect("its kind").trim_start_matches(':')).to_owned();
            let parent = path.parent().expect("a directory").canonicalize().expect("it is there");
            let places = gc::directories(&[]);
            assert!(
                places.iter().any(|place| place.canonicalize().is_ok_and(|it| it == parent)),
                "{path:?}: {places:?}"
            );
        }
    }
}
