//! How a message queue is found or made.

use super::error::Object;
use super::limits::limit;
use super::{Error, Key, Kind, Making, Queue, Result, check};

/// How to find or make a message queue, in the manner of [`std::fs::OpenOptions`].
///
/// ```
/// use smstream_shm::sysv::{Key, Queue, RemoveOnDrop};
///
/// let queue = RemoveOnDrop::new(Queue::options().create(true).mode(0o660).open(Key::PRIVATE)?);
/// assert_eq!(queue.stat()?.perm.mode, 0o660);
/// # Ok::<(), smstream_shm::sysv::Error>(())
/// ```
///
/// # References
/// msgget(2); Free Pascal `msgget`.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    making: Making,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl QueueOptions {
    /// Opens what exists.
    #[must_use]
    pub const fn new() -> Self {
        Self { making: Making::new() }
    }

    /// Makes a queue if there is none with this key.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.making.create = create;
        self
    }

    /// Makes a queue, and fails if there is one with this key.
    #[must_use]
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.making.create_new = create_new;
        self
    }

    /// Who may use a new queue: [`DEFAULT_MODE`](super::DEFAULT_MODE) if nothing is said. No umask applies.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
        self
    }

    /// Finds or makes the queue. With [`Key::PRIVATE`] it is always a new one. Does not block.
    ///
    /// # Errors
    /// [`Reason::Exists`](super::Reason::Exists), [`Reason::NotFound`](super::Reason::NotFound),
    /// [`Reason::Limit`](super::Reason::Limit) for MSGMNI, [`Reason::NoMemory`](super::Reason::NoMemory),
    /// [`Reason::Denied`](super::Reason::Denied).
    pub fn open(&self, key: Key) -> Result<Queue> {
        let object = Object { kind: Kind::Msg, key: Some(key), id: None };
        let flags = self.making.flags(key, object)?;
        // SAFETY: msgget takes numbers only.
        match check(unsafe { libc::msgget(key.raw(), flags) }) {
            Ok(id) => Ok(Queue::new(id, Some(key))),
            Err(errno) => {
                let error = Error::system(errno, object, self.making.tried(key));
                let full = errno == libc::ENOSPC;
                Err(if full {
                    error.limited(limit("MSGMNI", "kernel.msgmni", |limits| limits.msg_queues))
                } else {
                    error
                })
            }
        }
    }
}
