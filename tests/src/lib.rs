//! What the tests of smstream share.

pub mod attacks;
pub mod bad_fds;
pub mod compact;
pub mod cursors;
pub mod flow;
pub mod forks;
pub mod give_up;
pub mod handshake;
pub mod heap;
pub mod kinds;
pub mod kit;
pub mod leftover;
pub mod memory;
pub mod messages;
pub mod oracle;
pub mod party;
pub mod privileges;
pub mod records;
pub mod ring;
pub mod rules;
pub mod texts;
pub mod waits;
pub mod watchdog;
pub mod wire;

/// The programs of the page are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/EMBEDDING.md")]
pub mod embedding {}
