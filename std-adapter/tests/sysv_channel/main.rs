//! Streams in System V memory: the core's channel, and the adapter's way to sleep.

mod channel;
#[path = "../../shm/tests/sysv/roles.rs"]
#[allow(dead_code, reason = "the tests of smstream-shm use the rest")]
mod roles;
