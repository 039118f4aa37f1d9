//! POSIX shared memory objects, and a semaphore to synchronize their users.
//!
//! A [`SharedObject`] is memory with a name like `/numbers`, which any process that may open it can map. It stays until
//! it is unlinked and the last process has unmapped it, and it is all gone after a reboot. On Linux it is a file in
//! `/dev/shm`; the names of C's `shm_open` and Python's `posix_ipc` are the same names.
//!
//! # Two processes, one number
//! Vicare's example: a child writes 123, its parent reads 123. There the parent sleeps for a second, to be sure that
//! the memory is there. Here the memory gets its name when it is ready, and a [`Semaphore`] says when the number is.
//!
//! ```
//! use smstream_shm::memory::SharedMemory;
//! use smstream_shm::posix::{Semaphore, SharedObject};
//! # let name = format!("/smstream-doc-{}", std::process::id());
//!
//! // The parent, before it starts the child:
//! let object = SharedObject::create_sized(&name, 4096)?;
//! let gone_in_the_end = object.unlink_on_drop();
//! let memory = object.map()?;
//! let ready = Semaphore::at(&memory, 0)?;
//!
//! // The child (here: a thread):
//! # let other = name.clone();
//! # std::thread::spawn(move || {
//! let memory = SharedObject::options().read(true).write(true).open(&other)?.map()?;
//! memory.copy_in(64, &123_u32.to_ne_bytes())?;
//! Semaphore::at(&memory, 0)?.post()?;
//! # Ok::<(), std::io::Error>(())
//! # });
//!
//! // The parent again:
//! ready.wait();
//! assert_eq!(memory.load_u32(64), Some(123));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # References
//! [shm_overview(7)](https://man7.org/linux/man-pages/man7/shm_overview.7.html),
//! [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html)

mod advice;
mod name;
mod object;
mod options;
mod semaphore;

#[doc(hidden)]
pub use name::DIRECTORY;
pub use name::{BadShmName, ShmName};
#[doc(hidden)]
pub use object::identity;
pub use object::{SharedObject, UnlinkOnDrop, is_supported};
pub use options::SharedObjectOptions;
pub use semaphore::Semaphore;
