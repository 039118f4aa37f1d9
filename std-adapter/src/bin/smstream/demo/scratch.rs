//! A private temporary directory that is gone however the demo ends.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fs::Mode;

/// The directory to remove, while there is one.
static DIRECTORY: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Removes the directory when it goes out of scope.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory, in memory if the system has a place for that: no disk has part in the figures.
    pub fn create() -> io::Result<Self> {
        let places = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (attempt, place) in places.iter().flat_map(|place| (0..8).map(move |attempt| (attempt, place))) {
            let path = place.join(format!("smstream-demo-{}-{}-{attempt}", process::id(), super::trade::now()));
            // The lock is held across making and noting it, so that a signal finds either none or all.
            let mut directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner);
            match DirBuilder::new().mode(Mode::RWXU.bits()).create(&path) {
                Ok(()) => {
                    *directory = Some(path.clone());
                    return Ok(Self(path));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address of a stream in the directory.
    pub fn address(&self, name: &str) -> io::Result<String> {
        let path = self.0.join(name);
        let path = path.to_str().ok_or_else(|| io::Error::other("the temporary directory's name is no UTF-8"))?;
        Ok(format!("file:{path}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove();
    }
}

/// Removes the directory, if there is one. To be called before any exit that runs no destructors.
pub fn remove() {
    let directory = DIRECTORY.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(directory) = directory {
        let _ = fs::remove_dir_all(directory);
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove the directory before they end the process.
///
/// To be called before any other thread is started: they inherit that these signals are blocked, and a thread of its
/// own waits for them.
pub fn remove_on_signals() -> io::Result<()> {
    let mut set = empty_set();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: `set` is an initialised signal set and the signal numbers are valid.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: `set` is an initialised signal set; a null pointer means that the old mask is not wanted.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signal = 0;
        // SAFETY: `set` is an initialised signal set and `signal` is a place for an int.
        if unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 {
            remove();
            process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// A signal set with nothing in it.
fn empty_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `set` is a place for a signal set; the call fills it and cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: `sigemptyset` initialised it.
    unsafe { set.assume_init() }
}
