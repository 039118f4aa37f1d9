//! One lane: bytes in one direction, from a [`Producer`] to a [`Consumer`].
//!
//! The two are the halves of different parties. Each stores only the words of its own port, keeps private copies of all
//! it has stored, and checks every word of the peer's before it believes it.

mod announced;
mod consumer;
mod exclusive;
mod peek;
mod producer;
mod reservation;
mod ring;

pub use announced::Announced;
pub use consumer::Consumer;
pub use peek::Peek;
pub use producer::Producer;
pub use reservation::Reservation;
pub(crate) use ring::Ring;

#[cfg(all(test, not(loom)))]
mod tests;
