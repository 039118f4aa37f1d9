//! The rendezvous of a `unix:` address against a hostile party: any packets, with any descriptors, and what must come of them by
//! the words of `docs/LAYOUT.md`, section S. A fuzzer and the property tests share it.

mod model;
mod packet;
mod run;

pub use model::{End, Reply, of_connector, of_connector_left_alone, of_listener};
pub use packet::{Gift, Packet, Wrapped};
pub use run::{Manner, attack_connector, attack_listener, attack_parent, attack_sleeping_connector, channel};
