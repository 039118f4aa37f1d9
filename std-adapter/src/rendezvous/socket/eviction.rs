//! Which pending connectors of a listener have to go, and when: those that take too long, and those that crowd it.

use super::handshake::{Handshake, HandshakeError};
use super::listener::{SOCKET, SocketListener};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
use smstream_shm::Deadline;
use std::collections::BTreeMap;
use std::time::Duration;

/// No connector has to go before this time is over, which is enough for an honest one. So long the others wait in the kernel's
/// queue.
pub(super) const GRACE: Duration = Duration::from_millis(100);

impl Handshake {
    /// When it may have to go.
    fn evictable_at(&self) -> Deadline {
        self.came.plus(GRACE)
    }
}

impl SocketListener {
    /// What became of a connector that was not accepted. It is its own affair.
    pub(super) fn note(&mut self, failed: &HandshakeError) {
        let short = failed.shortage();
        self.on_turned_away.report(&self.name, failed, short.is_some());
        self.short = short.or(self.short.take());
    }

    pub(super) fn has_backlog(&self) -> bool {
        poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&Timespec::default())) != Ok(0)
    }

    /// Evicts one connector. `false`: all have only just come, and accepting pauses for a while.
    pub(super) fn make_room(&mut self) -> bool {
        let mut count = BTreeMap::new();
        for connector in self.pending.values() {
            *count.entry(connector.uid).or_insert(0) += 1;
        }
        let most = count.values().max().copied();
        let of_the_crowd = || self.pending.iter().filter(|(_, connector)| count.get(&connector.uid).copied() == most);
        // The oldest come first, so those that may be evicted do.
        let now = Deadline::now();
        let evictable = || of_the_crowd().take_while(|(_, connector)| connector.evictable_at() <= now);
        let silent = evictable().find(|(_, connector)| connector.is_silent());
        if let Some((&token, _)) = silent.or_else(|| evictable().next()) {
            self.evict(token, HandshakeError::Crowded);
            return true;
        }
        let first = of_the_crowd().next().map(|(_, connector)| connector.evictable_at());
        if let Some(time) = first {
            self.pause_accepting(time);
        }
        first.is_none()
    }

    /// Accepts no connector until one leaves, or this time has come.
    pub(super) fn pause_accepting(&mut self, until: Deadline) {
        let data = epoll::EventData::new_u64(SOCKET);
        // It can only fail for want of kernel memory. Then it is tried again at once, for the socket stays readable.
        self.paused = epoll::modify(&self.epoll, &self.socket, data, epoll::EventFlags::empty()).is_ok();
        self.wake_at(until);
    }

    /// Accepts connectors again.
    pub(super) fn resume_accepting(&mut self) {
        if self.paused {
            let data = epoll::EventData::new_u64(SOCKET);
            self.paused = epoll::modify(&self.epoll, &self.socket, data, epoll::EventFlags::IN).is_err();
        }
    }

    /// Evicts the connectors whose time is up.
    pub(super) fn expire(&mut self) {
        self.clear_timer();
        self.resume_accepting();
        let now = Deadline::now();
        // They are in the order in which they came, and all have the same time.
        while let Some((&token, connector)) = self.pending.first_key_value()
            && connector.due <= now
        {
            self.evict(token, HandshakeError::Slow);
        }
        self.set_timer();
    }

    pub(super) fn evict(&mut self, token: u64, why: HandshakeError) {
        if let Some(connector) = self.leave(token) {
            self.note(&connector.end(why));
        }
    }

    /// Sees that the timer goes off when the time of the first connector is up, or before.
    pub(super) fn set_timer(&mut self) {
        if self.timed {
            return;
        }
        if let Some((_, connector)) = self.pending.first_key_value() {
            self.wake_at(connector.due);
        }
    }

    pub(super) fn wake_at(&mut self, time: Deadline) {
        let time = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: *time.timespec() };
        // It can only fail for a time that is none, or a descriptor that is none.
        self.timed = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time).is_ok();
    }

    /// The timer went off: it is read, so that it is silent until it is set again.
    pub(super) fn clear_timer(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.timed = false;
    }
}
