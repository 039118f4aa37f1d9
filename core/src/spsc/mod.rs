//! A ring of items for one producer and one consumer in one process: threads, or an interrupt and the main loop.
//!
//! [`Ring`] has room for `N` items of any type. It needs no allocation, no compare-and-swap and no operating system, and
//! [`Ring::new`] is `const`, so it can be a plain `static`:
//!
//! ```
//! use smstream_core::spsc::Ring;
//!
//! static SAMPLES: Ring<u32, 64> = Ring::new();
//!
//! let (mut producer, mut consumer) = SAMPLES.try_split().expect("this is the only split");
//! producer.push(7).unwrap();
//! assert_eq!(consumer.pop(), Some(7));
//! assert_eq!(consumer.pop(), None);
//! assert!(SAMPLES.try_split().is_err()); // one producer, one consumer
//! ```
//!
//! | to do | producer | consumer |
//! |---|---|---|
//! | one item | [`push`](Producer::push) | [`pop`](Consumer::pop), [`peek`](Consumer::peek) |
//! | many, copied, published once | [`push_slice`](Producer::push_slice) | [`pop_slice`](Consumer::pop_slice) |
//! | many, moved, published once | [`push_iter`](Producer::push_iter) | [`pop_all`](Consumer::pop_all) |
//! | many, in place, published once | [`write_chunk`](Producer::write_chunk) | [`read_chunk`](Consumer::read_chunk) |
//! | one after the other | | [`pop_iter`](Consumer::pop_iter), [`iter`](Consumer::iter) |
//!
//! [`SliceRing`] is the same over memory that the caller brings. For plain data between processes see
//! the module `items` (feature `zerocopy`).
//!
//! # What it promises
//! * Items arrive in order, each once. Items that are left when the ring is dropped are dropped then.
//! * A call takes bounded time, never blocks and does not panic by itself. (Closures, iterators and destructors of the
//!   caller may panic: then each item was still dropped at most once.)
//! * If the ring is not full for its producer, the consumer cannot make it full. If it is not empty for its consumer, the
//!   producer cannot make it empty.
//!
//! # What it does not promise
//! * Neither half learns that the other is gone, and neither sleeps: see [`wait`](crate::wait) for ways to sleep.
//! * Both halves trust each other. Memory that another process can write is not for this ring.
//!
//! # Memory
//! On 64-bit targets
//! the two cursors lie on cache lines of their own ([`Spaced`], 256 bytes), and each half loads the other's cursor only when the
//! ring looks full, or empty. Elsewhere they lie side by side ([`Compact`], 12 bytes, 16 without compare-and-swap). The third
//! parameter of [`Ring`] chooses one of them. A half of a `Compact` ring has at most 32 bytes. One of a `Spaced` ring has lines of its
//! own, 128 bytes, because it changes with each item: two halves in one struct or one stack frame must not share a line either.
//!
//! Capacities are powers of two. Others do not compile:
//!
//! ```compile_fail
//! static SAMPLES: smstream_core::spsc::Ring<u32, 48> = smstream_core::spsc::Ring::new();
//! ```

#[cfg(not(loom))]
mod chunk;
mod consumer;
mod distance;
mod error;
#[cfg(not(loom))]
mod iter;
mod producer;
mod ring;
#[cfg(not(loom))]
mod slice_ring;
mod slots;
mod words;

#[cfg(not(loom))]
pub use chunk::{ReadChunk, WriteChunk};
pub use consumer::Consumer;
pub use error::{AlreadySplit, BadCapacity, Full, TooFew};
#[cfg(not(loom))]
pub use iter::PopIter;
pub use producer::Producer;
pub use ring::Ring;
#[cfg(not(loom))]
pub use slice_ring::SliceRing;
#[cfg(loom)]
pub use words::Claim;
#[cfg(not(loom))]
pub(crate) use words::Claim;
pub use words::{Compact, Machine, Spaced, Words};

/// Both halves of a ring.
pub type Halves<'r, T, W = Machine> = (Producer<'r, T, W>, Consumer<'r, T, W>);
