//! What a thing does so that one thread can wait for it beside other things.

use crate::liveness::PeerMonitor;
use crate::spin::Habit;
use crate::timed_mutex::Requests;
use smstream_core::park::Watch;
use std::fmt;
use std::time::Duration;

/// Something whose call would not wait, or would: a half, a listener, an attempt to connect.
///
/// The steps of a wait: [`is_ready`](Waitable::is_ready); if it is not, [`prepare`](Waitable::prepare) once, then, as often as
/// the thread sleeps, [`say_asleep`](Waitable::say_asleep), [`arm`](Waitable::arm), the sleep, [`disarm`](Waitable::disarm), and `is_ready` again.
pub(crate) trait Waitable: Requests + fmt::Debug + Send + Sync {
    /// Whether the call that it stands for would return at once.
    fn is_ready(&mut self) -> bool;

    /// The same for one that costs next to nothing to ask, as often as one likes.
    fn is_ready_cheaply(&mut self) -> bool {
        false
    }

    /// How long to ask before sleeping, if that costs next to nothing.
    fn spin_time(&self) -> Option<Duration> {
        None
    }

    /// Whether to ask before sleeping was worth it lately.
    fn habit(&self) -> Option<&Habit> {
        None
    }

    /// What it knows about the life of its peer.
    fn monitor(&self) -> Option<&PeerMonitor> {
        None
    }

    /// Does what is to be done before the first sleep.
    fn prepare(&mut self) {}

    /// Whether the thread that uses it waits. Others look at this that would have to wait for that thread.
    fn set_waiting(&self, _on: bool) {}

    /// Says to the peer that this sleeps, if there is a peer to say it to. Whether a barrier has to come between this and
    /// [`arm`](Waitable::arm).
    fn say_asleep(&mut self) -> bool {
        false
    }

    /// Sees that whatever makes it ready changes a word of `set`, or the event count of the process. `false`: it is ready.
    /// What makes it ready otherwise is looked for after `slice`.
    fn arm<'w>(&'w mut self, set: &mut WaitSet<'w>, slice: Duration) -> bool;

    /// Takes back what [`arm`](Waitable::arm) has done.
    fn disarm(&mut self);
}

/// What a thread is going to sleep on.
#[derive(Debug)]
pub(crate) struct WaitSet<'w> {
    /// The words, each with the value that was seen.
    pub(crate) words: Vec<Watch<'w>>,
    /// How long at most, if something that is waited for wakes no sleeper.
    pub(crate) at_most: Option<Duration>,
}

impl WaitSet<'_> {
    /// Ends the sleep after `time`.
    pub(crate) fn limit(&mut self, time: Duration) {
        self.at_most = Some(self.at_most.map_or(time, |most| most.min(time)));
    }
}
