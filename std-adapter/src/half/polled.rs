//! The halves, for a thread that waits for them with `poll`, `epoll` or an executor: they announce themselves without sleeping.

use super::{ReadHalf, WriteHalf};
use smstream_core::lane::Announced;

/// A half that is waited for elsewhere.
pub(crate) trait Polled {
    /// Whether an attempt would not have to wait: there is something to read, or room, or an end, or an error.
    fn is_ready(&mut self) -> bool;
    /// Says to the peer that this half sleeps until it is ready, and looks again. `false`: it is ready, and awake.
    fn announce(&mut self) -> bool;
    /// Takes that back.
    fn withdraw(&mut self);
}

impl Polled for ReadHalf {
    #[inline]
    fn is_ready(&mut self) -> bool {
        self.consumer_mut().is_ready(1)
    }
    fn announce(&mut self) -> bool {
        matches!(self.consumer_mut().announce(1), Announced::Asleep { .. })
    }
    fn withdraw(&mut self) {
        self.consumer_mut().withdraw();
    }
}

impl Polled for WriteHalf {
    #[inline]
    fn is_ready(&mut self) -> bool {
        self.producer_mut().is_ready(1)
    }
    fn announce(&mut self) -> bool {
        matches!(self.producer_mut().announce(1), Announced::Asleep { .. })
    }
    fn withdraw(&mut self) {
        self.producer_mut().withdraw();
    }
}

/// A writing half that waits for room for a record of so many bytes.
#[cfg(feature = "tokio")]
pub(crate) struct ForRecord<'h>(pub(crate) &'h mut WriteHalf, pub(crate) usize);

#[cfg(feature = "tokio")]
impl Polled for ForRecord<'_> {
    #[inline]
    fn is_ready(&mut self) -> bool {
        self.0.producer_mut().is_ready_for_record(self.1)
    }
    fn announce(&mut self) -> bool {
        matches!(self.0.producer_mut().announce_for_record(self.1), Announced::Asleep { .. })
    }
    fn withdraw(&mut self) {
        self.0.producer_mut().withdraw();
    }
}
