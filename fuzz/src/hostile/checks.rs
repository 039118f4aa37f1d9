//! What must hold after an operation.

use std::sync::atomic::Ordering::Relaxed;

use smstream_core::cursor::{CURSOR, FIN, STOP, STOPPED_HINT, diff};

use super::peer::image_of;
use super::world::{IDENTITY, World};

/// What must hold between operations, from what could be seen before.
pub(super) struct Before {
    /// The last word of the peer's that each half is known to have believed.
    sent_seen: u32,
    received_seen: u32,
    my_sent: u32,
    my_received: u32,
    unflushed: [u32; 2],
    corrupt: bool,
    pub(super) finished: bool,
    pub(super) stopped: bool,
    pub(super) calm: bool,
}

/// A wait looks at the peer's word first of all: which one?
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Looks {
    Maybe,
    AtSent,
    AtReceived,
}

impl World {
    pub(super) fn before(&self, calm: bool) -> Before {
        let (p, c) = (&self.end.producer, &self.end.consumer);
        let (my_sent, my_received) =
            (self.peer.me.port.sent.word.load(Relaxed), self.peer.me.port.received.word.load(Relaxed));
        let unflushed = [c.unflushed() as u32, p.unflushed() as u32];
        let last = |yes, bit| if yes { bit } else { 0 };
        Before {
            sent_seen: my_received.wrapping_add(unflushed[0]).wrapping_add(c.known_bytes() as u32) & CURSOR
                | last(c.is_peer_finished(), FIN),
            received_seen: my_sent.wrapping_sub(p.in_flight() as u32) & CURSOR | last(p.is_peer_stopped(), STOP),
            my_sent,
            my_received,
            unflushed,
            corrupt: p.is_corrupt() || c.is_corrupt(),
            finished: p.is_finished(),
            stopped: c.is_stopped(),
            calm,
        }
    }

    pub(super) fn check(&self, before: &Before, written: u32, taken: u32, looks: Looks) {
        let (p, c) = (&self.end.producer, &self.end.consumer);
        let after = self.before(true);
        // Nothing is beyond a lane.
        assert!(p.known_room() as u32 + p.unflushed() as u32 + p.in_flight() as u32 <= self.capacity, "{p:?}");
        assert!(c.known_bytes() as u32 + c.unflushed() as u32 <= self.peer_capacity || c.is_stopped(), "{c:?}");
        // My words move by what I did, until they move no more.
        let moved = diff(after.my_sent, before.my_sent);
        if before.my_sent & FIN != 0 {
            assert_eq!(after.my_sent, before.my_sent, "moved after FIN");
        } else if p.is_corrupt() {
            assert!(moved <= before.unflushed[1] + written && after.my_sent & FIN != 0);
        } else {
            assert_eq!(moved + after.unflushed[1], before.unflushed[1] + written);
            assert_eq!(after.my_sent & FIN != 0, p.is_finished());
        }
        let moved = diff(after.my_received, before.my_received);
        if before.my_received & STOP != 0 {
            assert_eq!(after.my_received, before.my_received, "moved after STOP");
            assert_eq!(taken, 0, "took bytes after STOP");
        } else if c.is_corrupt() {
            assert!(moved <= before.unflushed[0] + taken && after.my_received & STOP != 0);
            assert_eq!(self.peer.me.port.park.read_park.load(Relaxed), STOPPED_HINT, "says STOP and not where");
        } else {
            assert_eq!(moved + after.unflushed[0], before.unflushed[0] + taken);
            assert_eq!(after.my_received & STOP != 0, c.is_stopped());
        }
        assert_eq!(image_of(self.peer.me)[..IDENTITY], self.identity, "my identity changed");
        assert_eq!(image_of(self.peer.it), *self.peer.image.borrow(), "the peer's header changed");
        assert!(!before.corrupt || p.is_corrupt() || c.is_corrupt());
        // A half that saw nothing but what an honest peer can say is not corrupt; its own words at the start bound that.
        let mut possible = self.peer.alert.load(Relaxed) & smstream_core::park::ALERT_CORRUPT == 0;
        let mut seen = before.sent_seen;
        // A half that has stopped or finished looks at nothing.
        for &word in self.peer.sent.borrow().iter().filter(|_| !before.stopped) {
            let ahead = diff(word, before.my_received);
            possible &= word == seen
                || seen & FIN == 0 && ahead >= diff(seen, before.my_received) && ahead <= self.peer_capacity;
            seen = word;
        }
        let mut seen = before.received_seen;
        for &word in self.peer.received.borrow().iter().filter(|_| !before.finished) {
            let behind = diff(before.my_sent, word);
            possible &= word == seen || seen & STOP == 0 && behind <= diff(before.my_sent, seen);
            seen = word;
        }
        let corrupt = p.is_corrupt() || c.is_corrupt();
        assert!(before.corrupt || !corrupt || !possible, "an honest peer was called corrupt: {p:?} {c:?}");
        // And who looked at an impossible word is.
        if before.calm && !before.corrupt {
            let sent = self.peer.sent.borrow()[0];
            let given_back = before.my_received.wrapping_add(before.unflushed[0]);
            let fits = before.sent_seen & FIN == 0
                && diff(sent, given_back) >= diff(before.sent_seen, given_back)
                && diff(sent, given_back) <= self.peer_capacity;
            assert!(looks != Looks::AtSent || sent == before.sent_seen || fits || corrupt, "believed {sent:#x}: {c:?}");
            let received = self.peer.received.borrow()[0];
            let flushed = before.my_sent.wrapping_add(before.unflushed[1]);
            let fits =
                before.received_seen & STOP == 0 && diff(flushed, received) <= diff(flushed, before.received_seen);
            let believed = looks == Looks::AtReceived && received != before.received_seen && !fits;
            assert!(!believed || corrupt, "believed {received:#x}: {p:?}");
        }
        // Whatever is believed now was said, and is where an honest peer could have gone from what was believed before.
        if !c.is_stopped() {
            assert!(after.sent_seen == before.sent_seen || self.peer.sent.borrow().contains(&after.sent_seen));
            let from = before.my_received;
            assert!(diff(after.sent_seen, from) >= diff(before.sent_seen, from), "{c:?}");
        }
        if !p.is_corrupt() {
            assert!(
                after.received_seen == before.received_seen
                    || self.peer.received.borrow().contains(&after.received_seen)
            );
            let from = before.received_seen;
            assert!(diff(after.received_seen, from) <= diff(after.my_sent, from), "{p:?}");
        }
    }
}
