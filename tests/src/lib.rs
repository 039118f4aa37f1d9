//! What the tests of smstream share.

pub mod cursors;
pub mod flow;
pub mod forks;
pub mod kinds;
pub mod kit;
pub mod leftover;
pub mod lies;
pub mod memory;
pub mod messages;
pub mod oracle;
pub mod party;
pub mod privileges;
pub mod waits;
pub mod watchdog;
pub mod ways;
pub mod wire;
