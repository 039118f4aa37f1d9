//! What a caller has beside the half that it calls.

use smstream_shm::Deadline;

/// What a caller of one half has beside it, for the time that the call waits. `Other` is what the whole stream has.
pub(crate) enum Caller<'a, Other> {
    /// Nothing: a half that was split off.
    Half,
    /// All of the stream: no other thread can use it meanwhile.
    Whole(&'a mut Other),
    /// A stream that other threads may be using.
    Shared {
        /// Publishes what the other half has buffered, or asks the thread that uses it to.
        flush: &'a dyn Fn(),
        /// Ends the call, if it has waited for another thread already: the timeout covers both.
        deadline: Option<Deadline>,
    },
}

impl<Other> Caller<'_, Other> {
    /// When a wait ends that may last for `timeout`.
    pub(super) fn deadline(&self, timeout: Option<std::time::Duration>) -> Option<Deadline> {
        match self {
            Caller::Shared { deadline: Some(deadline), .. } => Some(*deadline),
            _ => timeout.map(Deadline::after),
        }
    }
}
