//! Mapped memory, and the files that hold it.
//!
//! Another process writes a part of this memory, so it is only ever a raw pointer here: a `&[u8]` would promise that
//! the bytes do not change.

mod files;
#[doc(hidden)]
pub mod guard;
mod mapping;
mod page;
mod shared;

#[doc(hidden)]
pub use crate::limit::check_file_size_limit;
#[doc(hidden)]
pub use crate::retry::retry;
#[doc(hidden)]
pub use files::allocate;
pub use files::{memfd, seal, unnamed_file};
#[doc(hidden)]
pub use mapping::Both;
pub(crate) use mapping::map_at;
pub use mapping::{Access, Mapping};
pub use page::{page_size, round_up_to_page};
pub use shared::SharedMemory;
