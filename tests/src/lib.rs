//! What the tests of smstream share.

pub mod memory;
pub mod oracle;
