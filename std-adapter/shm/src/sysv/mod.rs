//! System V shared memory, semaphores and message queues: safe, complete, and with errors that say what to do.
//!
//! These are the oldest ways in which processes on Linux share things, and many programs still speak them. An object has
//! an **id**, which the kernel gives it, and perhaps a [`Key`], by which unrelated processes find it. It stays until a
//! process removes it or the machine stops, also when all who used it are gone: see [`RemoveOnDrop`]. It belongs to an IPC
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
//! // SAFETY: attached for writing, 4096 bytes long, and no other process knows the id.
//! unsafe { attached.as_mut_ptr().unwrap().write(7) };
//! guard.release()?;
//! # Ok::<(), smstream_shm::sysv::SysvError>(())
//! ```
//!
//! # A channel in System V memory
//! `geometry::attach` of [smstream-core](https://docs.rs/smstream-core) takes pointers, so a segment can carry a channel. Two
//! parties agree beforehand on the key and on who is which; there is no listener, and the kernel does not say when the
//! other party dies. `Listener` and `Stream` do that better, and need no key.
//!
//! # Signals
//! Every call that waits goes on after a signal. A timeout counts from the call, not from the last signal.
//!
//! # References
//! sysvipc(7); the unit `ipc` of Free Pascal; `UnixShm0` of Cedar.

mod attachment;
mod call;
mod error;
mod guard;
mod handle;
mod key;
mod limits;
mod msg;
mod msg_options;
mod msg_types;
mod options;
mod perm;
mod sem;
mod sem_guard;
mod sem_op;
mod sem_options;
mod sem_record;
mod sem_set_up;
mod shm;
mod shm_options;

pub use attachment::{AttachFlags, Attachment};
pub use error::{Limit, Result, SysvError, SysvKind, SysvObject, SysvReason};
pub use guard::{Remove, RemoveOnDrop};
pub use key::Key;
pub use limits::{Limits, MAX_VALUE, Usage, limits, usage};
pub use msg::Queue;
pub use msg_options::{QueueOptions, QueueSettings};
pub use msg_types::{MessageType, QueueStat, ReceivedMessage, Select};
pub use options::SysvOptions;
pub use perm::{DEFAULT_MODE, Perm};
pub use sem::{SemStat, Semaphores};
pub use sem_guard::SemGuard;
pub use sem_op::Op;
pub use sem_options::{SemOptions, SemSettings};
pub use shm::{Shm, ShmStat};
pub use shm_options::{ShmOptions, ShmSettings};
