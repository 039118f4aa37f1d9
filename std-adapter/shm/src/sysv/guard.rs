//! Objects that go with their owner.

use super::error::Result;
use super::msg::Queue;
use super::sem::Semaphores;
use super::shm::Shm;
use std::fmt;
use std::ops::Deref;
use std::process;

/// A System V object that can be removed: [`Shm`], [`Semaphores`], [`Queue`].
pub trait Remove: sealed::Sealed {
    /// Removes the object. See the method of the same name of each kind.
    ///
    /// # Errors
    /// [`SysvReason::Denied`](super::SysvReason::Denied), [`SysvReason::Removed`](super::SysvReason::Removed).
    fn remove(&self) -> Result<()>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Shm {}
    impl Sealed for super::Semaphores {}
    impl Sealed for super::Queue {}
}

impl Remove for Shm {
    fn remove(&self) -> Result<()> {
        Shm::remove(self)
    }
}

impl Remove for Semaphores {
    fn remove(&self) -> Result<()> {
        Semaphores::remove(self)
    }
}

impl Remove for Queue {
    fn remove(&self) -> Result<()> {
        Queue::remove(self)
    }
}

/// Removes the object when it is dropped.
///
/// System V objects outlive the processes that use them, so a process has to remove them. This does it at the end of a
/// scope, also in a panic; not when the process is killed. In a child made by `fork` its drop removes nothing.
///
/// ```
/// use smstream_shm::sysv::{Key, Queue, RemoveOnDrop};
///
/// let queue = RemoveOnDrop::new(Queue::create(Key::PRIVATE)?);
/// assert_eq!(queue.stat()?.messages, 0);
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
pub struct RemoveOnDrop<T: Remove> {
    object: Option<T>,
    process: u32,
}

impl<T: Remove> RemoveOnDrop<T> {
    /// Takes over the duty to remove `object`.
    #[must_use]
    pub fn new(object: T) -> Self {
        Self { object: Some(object), process: process::id() }
    }

    /// Gives the object back; it stays.
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "it is there until `self` is consumed")]
    pub fn keep(mut self) -> T {
        self.object.take().expect("the object is there until it is given away")
    }
}

impl<T: Remove> Deref for RemoveOnDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object.as_ref().expect("the object is there until it is given away")
    }
}

impl<T: Remove> Drop for RemoveOnDrop<T> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take().filter(|_| process::id() == self.process) {
            // Another process may have removed it, which is as good.
            let _ = object.remove();
        }
    }
}

impl<T: Remove + fmt::Debug> fmt::Debug for RemoveOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoveOnDrop").field(&self.object).finish()
    }
}
