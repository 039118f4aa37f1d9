//! Clean-up at termination: names and System V objects outlive processes, unless a process removes them.
//!
//! From the best way to the last resort:
//!
//! 1. **Memory without a name**: [`memfd`](crate::memory::memfd) and [`unnamed_file`](crate::memory::unnamed_file). The
//!    kernel frees it with its last user, however that one ended. Streams use nothing else once they are connected.
//! 2. **Remove it once all users have it**: [`Guard::remove`],
//!    [`UnlinkOnDrop::unlink_now`](crate::posix::UnlinkOnDrop::unlink_now). What is mapped or attached stays until the
//!    last user is gone; from then on even a SIGKILL leaves nothing. It holds for System V segments on Linux as well.
//! 3. **A [`Guard`]**: removed when it is dropped, at the end of a scope, at a panic.
//! 4. **The table behind it**: every guard has an entry, and what is still in it is removed when the process exits
//!    (`exit`, the end of `main`), and by the handler of the signals chosen with [`on_signals`].
//! 5. **The `Reaper` of `smstream`** removes what a SIGKILL or a crash has left: memory that carries a [`mark`] among it.
//!
//! The table is Cedar's `RegisterUNTHREADEDTerminationCleanupProc`: it runs in the plain Unix process, with system
//! calls only. It has a fixed size, takes no lock and no memory, so that a signal handler may use it at any moment.
//! Each entry carries the process that made it: when a forked child exits, it removes nothing of its parent's.
//!
//! ```
//! use smstream_shm::cleanup::{self, Object};
//! use smstream_shm::posix::SharedObject;
//! # let name = format!("/smstream-doc-cleanup-{}", std::process::id());
//!
//! cleanup::on_signals(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
//! let object = SharedObject::create_sized(&name, 4096)?;
//! let guard = cleanup::register(Object::Shm(&object))?;
//! // From here on it is removed at the end of the scope, at a panic, at exit(), and by the three signals.
//! guard.remove()?; // All users have it: now nothing can leave it behind.
//! # Ok::<(), std::io::Error>(())
//! ```

mod creator;
mod mark;
mod remove;
mod signals;
mod table;

#[doc(hidden)]
pub use creator::Known;
#[doc(hidden)]
pub use creator::began;
pub use mark::{MARK_LEN, mark};
#[doc(hidden)]
pub use mark::{decode, is_mark};
pub use signals::on_signals;

use crate::explain::explain;
use crate::posix::SharedObject;
use remove::Target;
use rustix::fs::{AtFlags, CWD};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use table::Entry;

/// Something that has to be removed in the end.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Object<'a> {
    /// The name of a shared memory object, as long as it is this object's.
    Shm(&'a SharedObject),
    /// The name of a file, as long as it is the file that it is now.
    File(&'a Path),
    /// A System V shared memory segment, by its id.
    SysvShm(i32),
    /// A System V semaphore set, by its id.
    SysvSem(i32),
    /// A System V message queue, by its id.
    SysvMsg(i32),
}

/// Enters an object into the table of what is removed when this process ends, and returns the guard that removes it
/// when it is dropped. It does not block.
///
/// A signal that ends the process between the creation of an object and this call leaves it to the `Reaper` of `smstream`.
///
/// # Errors
/// `NotFound` for a file that is not there, `InvalidInput` for a path of more than 503 bytes, `OutOfMemory` when the
/// table is full (it has 256 entries).
///
/// # References
/// [atexit(3)](https://man7.org/linux/man-pages/man3/atexit.3.html)
pub fn register(object: Object<'_>) -> io::Result<Guard> {
    let target = target(object)?;
    table::run_at_exit()?;
    let entry = table::enter(&target)?;
    Ok(Guard { entry, target, pid: std::process::id() })
}

/// Removes a System V shared memory segment. That it is gone already is no error.
#[doc(hidden)]
pub fn remove_sysv_shm(id: i32) -> rustix::io::Result<()> {
    remove::TargetRef::SysvShm(id).remove()
}

/// What to do in the end, for an object that exists.
fn target(object: Object<'_>) -> io::Result<Target> {
    let (path, stat) = match object {
        Object::Shm(object) => (object.name().path(), rustix::fs::fstat(object)?),
        Object::File(path) => {
            let what = || format!("cannot register {} to be removed", path.display());
            // The working directory may be another one in the end.
            let path = std::path::absolute(path)?;
            let stat = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| explain(e, what()))?;
            (path, stat)
        }
        Object::SysvShm(id) => return Ok(Target::SysvShm(id)),
        Object::SysvSem(id) => return Ok(Target::SysvSem(id)),
        Object::SysvMsg(id) => return Ok(Target::SysvMsg(id)),
    };
    let path = CString::new(path.as_os_str().as_bytes())?;
    if path.as_bytes().len() >= table::LONGEST {
        let text = format!("a path of {} bytes cannot be registered: the most is 503", path.as_bytes().len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(Target::File { path, id: crate::posix::identity(&stat) })
}

/// Removes an object when it is dropped; see [`register`].
///
/// In a forked child it does nothing: the object is the parent's.
#[derive(Debug)]
#[must_use = "it removes the object when it is dropped"]
pub struct Guard {
    entry: Entry,
    target: Target,
    pid: u32,
}

impl Guard {
    /// Removes the object now, and says whether it worked. What is gone already is fine.
    ///
    /// As soon as all users have it open, mapped or attached, do this: they keep it, and nothing can be left over.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(mut self) -> io::Result<()> {
        self.finish()
    }

    /// Leaves the object where it is, for ever.
    pub fn keep(mut self) {
        if std::mem::take(&mut self.pid) == std::process::id() {
            self.entry.leave();
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.pid) != std::process::id() {
            return Ok(());
        }
        // First the object, then the entry: a signal in between finds it in the table, or gone.
        let result = self.target.as_ref().remove();
        self.entry.leave();
        Ok(result?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

#[cfg(test)]
#[path = "cleanup_tests.rs"]
mod tests;
