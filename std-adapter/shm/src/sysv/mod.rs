//! System V shared memory, semaphores and message queues: safe, complete, and with errors that say what to do.
//!
//! These are the oldest ways in which processes on Linux share things, and many programs still speak them. An object has
//! an **id**, which the kernel gives it, and perhaps a [`Key`], by which strangers find it. It stays until somebody
//! removes it or the machine stops, also when all who used it are gone: see [`RemoveOnDrop`]. It belongs to an IPC
//! namespace, so containers do not see each other's.
//!
//! | | |
//! |---|---|
//! | [`Shm`] | segments of memory: create, attach, lock, remove |
//! | [`Semaphores`] | sets of counters: several operations at once, undone when a process dies |
//! | [`Queue`] | queues of messages that have a type and keep their length |
//! | [`limits`], [`usage`] | what the system allows, and what is used of it |
//!
//! ```
//! use smstream_shm::sysv::{Key, RemoveOnDrop, Semaphores, Shm};
//!
//! let memory = RemoveOnDrop::new(Shm::create(Key::PRIVATE, 4096)?);
//! let mutex = RemoveOnDrop::new(Semaphores::create(Key::PRIVATE, &[1])?);
//! let attached = memory.attach()?;
//! let guard = mutex.lock(0)?;
//! // SAFETY: attached for writing, 4096 bytes long, and nobody else has been told the id.
//! unsafe { attached.as_mut_ptr().unwrap().write(7) };
//! guard.release()?;
//! # Ok::<(), smstream_shm::sysv::Error>(())
//! ```
//!
//! # A channel in System V memory
//! `geometry::attach` of [smstream-core](https://docs.rs/smstream-core) takes pointers, so a segment can carry a channel. Two
//! parties agree beforehand on the key and on who is which; nobody listens or connects, and nobody is told when the other
//! dies. `Listener` and `Stream` do that better, and need no key.
//!
//! # Signals
//! Every call that waits goes on after a signal. A timeout counts from the call, not from the last signal.
//!
//! # References
//! sysvipc(7); the unit `ipc` of Free Pascal; `UnixShm0` of Cedar.

mod error;
mod guard;
mod key;
mod limits;
mod msg;
mod msg_options;
mod msg_types;
mod perm;
mod sem;
mod sem_guard;
mod sem_op;
mod sem_options;
mod sem_record;
mod shm;
mod shm_options;

pub use error::{Error, Kind, Limit, Object, Reason, Result};
pub use guard::{Remove, RemoveOnDrop};
pub use key::Key;
pub use limits::{Limits, MAX_VALUE, Usage, limits, usage};
pub use msg::Queue;
pub use msg_options::QueueOptions;
pub use msg_types::{QueueStat, Received, Select, Type};
pub use perm::{DEFAULT_MODE, Perm};
pub use sem::Semaphores;
pub use sem_guard::{SemGuard, SemStat};
pub use sem_op::Op;
pub use sem_options::SemOptions;
pub use shm::{AttachFlags, Attachment, Shm, ShmStat};
pub use shm_options::ShmOptions;

use std::io;

/// How an object is looked for or made: what the three kinds have in common.
#[derive(Clone, Copy, Debug)]
struct Making {
    create: bool,
    create_new: bool,
    mode: u32,
}

impl Making {
    const fn new() -> Self {
        Self { create: false, create_new: false, mode: DEFAULT_MODE }
    }

    /// Whether the call may make an object of this key. With [`Key::PRIVATE`], it always does.
    fn creates(self, key: Key) -> bool {
        self.create || self.create_new || key.is_private()
    }

    /// What was tried, for errors.
    fn tried(self, key: Key) -> &'static str {
        match (self.create_new || key.is_private(), self.create) {
            (true, _) => "create",
            (false, true) => "open or create",
            (false, false) => "open",
        }
    }

    /// The flags of a `get` call.
    fn flags(self, key: Key, object: Object) -> Result<libc::c_int> {
        if self.mode & !perm::MODE_BITS != 0 {
            let advice = format!("the mode {:#o} has more than the nine bits rwxrwxrwx", self.mode);
            return Err(Error::refuse(Reason::InvalidInput, object, self.tried(key), advice));
        }
        // An open without a mode is allowed to everyone; the calls that follow check what they need.
        let mode = if self.creates(key) { self.mode.cast_signed() } else { 0 };
        let create = if self.create || self.create_new { libc::IPC_CREAT } else { 0 };
        let exclusive = if self.create_new { libc::IPC_EXCL } else { 0 };
        Ok(mode | create | exclusive)
    }
}

/// The result of a system call: its value, or the errno.
fn check(result: libc::c_int) -> Result<libc::c_int, i32> {
    if result == -1 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}
