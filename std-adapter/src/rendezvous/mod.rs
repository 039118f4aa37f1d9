//! How two parties find each other.

mod error;
pub mod file;
mod name;
mod region;

use crate::liveness::Life;
use crate::memory::Mapping;
use std::sync::Arc;

pub use error::{Error, Reason};

/// Two parties that have found each other, seen from one of them.
///
/// As long as any part of this exists, the peer takes this party for alive.
#[derive(Debug)]
pub struct Connected {
    /// My segment.
    pub my: Mapping,
    /// The peer's segment, read-only.
    pub peer: Mapping,
    /// 0 for the listener, 1 for the connector.
    pub party: u32,
    /// Whether the peer lives.
    pub life: Arc<Life>,
}
