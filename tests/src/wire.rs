//! The rendezvous of a `unix:` address message by message, for parties that do not keep to it. `docs/LAYOUT.md` has the
//! messages.

mod message;
mod rig;
mod segment;
mod socket;
mod stage;

pub use message::{LEN, Message, feature, kind, word};
pub use rig::Rig;
pub use segment::{SEALS, config, segment};
pub use socket::{Wire, door, door_for};
pub use stage::Stage;
