//! How a message queue is found or made.

use super::call::check;
use super::error::{Result, SysvError, SysvKind, SysvObject};
use super::key::Key;
use super::limits::limit;
use super::options::{Making, SysvOptions};

/// How to find or make a message queue, in the manner of [`std::fs::OpenOptions`].
///
/// ```
/// use smstream_shm::sysv::{Key, Queue, RemoveOnDrop};
///
/// let queue = RemoveOnDrop::new(Queue::options().create(true).mode(0o660).open(Key::PRIVATE)?);
/// assert_eq!(queue.stat()?.perm.mode, 0o660);
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
///
/// # References
/// msgget(2); Free Pascal `msgget`.
pub type QueueOptions = SysvOptions<QueueSettings>;

/// What [`QueueOptions`] have beside the mode: nothing.
#[derive(Clone, Copy, Debug)]
pub struct QueueSettings(());

impl QueueSettings {
    pub(super) const NONE: Self = Self(());

    /// The id of the queue.
    pub(super) fn find(self, making: Making, key: Key) -> Result<libc::c_int> {
        let object = SysvObject { kind: SysvKind::Msg, key: Some(key), id: None };
        let flags = making.flags(key, object)?;
        // SAFETY: msgget takes numbers only.
        check(unsafe { libc::msgget(key.raw(), flags) }).map_err(|errno| {
            let error = SysvError::system(errno, object, making.tried(key));
            match errno {
                libc::ENOSPC => error.limited(limit("MSGMNI", "kernel.msgmni", |limits| limits.msg_queues)),
                _ => error,
            }
        })
    }
}
