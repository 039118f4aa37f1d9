//! Listening.
use crate::addr::Addr;
use crate::deadline::Deadline;
use crate::error::{Error, Reason, Result};
use crate::stream::Stream;
use smstream_core::geometry::Config;
use std::time::Duration;

/// A listener.
#[derive(Debug)]
pub struct Listener;
/// Incoming.
#[derive(Debug)]
pub struct Incoming;
impl Listener {
    pub(crate) fn bind_with(_: Addr, _: &Config, _: Duration) -> Result<Listener> {
        Err(Error::new(Reason::NotReady, "later"))
    }
}
pub(crate) fn connect(_: &Addr, _: Duration, _: Option<Deadline>) -> Result<Stream> {
    Err(Error::new(Reason::NotReady, "later"))
}
