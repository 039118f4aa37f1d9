//! What the tests of smstream share.

pub mod flow;
pub mod kinds;
pub mod memory;
pub mod oracle;
pub mod party;
pub mod watchdog;
