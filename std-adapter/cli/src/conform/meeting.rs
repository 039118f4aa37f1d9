//! A channel that has come about: this side moves bytes by polling, and checks every word of the peer's that it loads.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use smstream::smstream_core::geometry::Config;

use super::packet::Wire;
use super::region::Region;
use super::segment::{Segment, at, full_fence};
use super::trouble::{Trouble, broke};
use super::words::{ASLEEP, LAST, STOPPED_HINT, add, crossed, diff, wrong_received, wrong_sent};

/// How the two parties are connected, besides the memory.
#[derive(Debug)]
pub enum Link {
    /// The socket over which they met.
    Socket(Wire),
    /// The locks of the file in which they met.
    Region(Region),
}

/// When this side wakes the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waking {
    /// When the rules ask for it, and never else: W4, W5.
    Exactly,
    /// Always: W6.
    Always,
}

/// A channel, and where this side and the peer are.
#[derive(Debug)]
pub struct Meeting {
    /// What was agreed.
    pub config: Config,
    /// Which party this side is.
    pub party: usize,
    /// This side's segment.
    pub own: Segment,
    /// The peer's.
    pub peer: Segment,
    /// Where the peer may be asked whether it lives.
    pub link: Link,
    /// When to wake.
    pub waking: Waking,
    /// My `sent`, as published.
    pub sent: u32,
    /// My `received`, as published.
    pub received: u32,
    /// Their `sent`, as last accepted.
    pub their_sent: u32,
    /// Their `received`, as last accepted.
    pub their_received: u32,
    patience: Duration,
}

impl Meeting {
    /// Begins where both segments are set up.
    pub fn new(config: Config, party: usize, segments: [Segment; 2], link: Link, patience: Duration) -> Self {
        let [mut own, peer] = segments;
        own.set_lane(config.describe(party).lane_offset as usize, config.capacities[party]);
        let [sent, received, their_sent, their_received] =
            [(&own, "sent"), (&own, "received"), (&peer, "sent"), (&peer, "received")]
                .map(|(s, name)| s.load(at(name)));
        // What is closed initially stays so.
        let [their_sent, their_received] = [(their_sent, 1 - party), (their_received, party)]
            .map(|(word, lane)| if config.capacities[lane] == 0 { word } else { config.start });
        Meeting {
            config,
            party,
            own,
            peer,
            link,
            waking: Waking::Always,
            sent,
            received,
            their_sent,
            their_received,
            patience,
        }
    }

    /// The bytes of my lane.
    pub fn capacity(&self) -> u32 {
        self.config.capacities[self.party]
    }

    /// The bytes of their lane.
    pub fn their_capacity(&self) -> u32 {
        self.config.capacities[1 - self.party]
    }

    /// Loads their `sent` and checks it. The bytes that can be read.
    pub fn look_sent(&mut self) -> Result<u32, Trouble> {
        let now = self.peer.load(at("sent"));
        if let Some((clause, text)) = wrong_sent(self.their_sent, now, self.received, self.their_capacity()) {
            return Err(broke(&[clause], text));
        }
        self.their_sent = now;
        Ok(diff(now, self.received))
    }

    /// Loads their `received` and checks it. The room that can be written.
    pub fn look_received(&mut self) -> Result<u32, Trouble> {
        let now = self.peer.load(at("received"));
        if let Some((clause, text)) = wrong_received(self.their_received, now, self.sent) {
            return Err(broke(&[clause], text));
        }
        self.their_received = now;
        Ok(self.capacity() - diff(self.sent, now))
    }

    /// Whether the peer has said FIN, as far as was looked.
    pub fn has_fin(&self) -> bool {
        self.their_sent & LAST != 0
    }

    /// Writes what there is room for.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Trouble> {
        let room = self.look_received()? as usize;
        let n = room.min(bytes.len());
        if n > 0 {
            self.own.copy_in(self.sent, &bytes[..n]);
            self.publish_sent(add(self.sent, n as u32), false);
        }
        Ok(n)
    }

    /// Reads what is there.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Trouble> {
        let n = (self.look_sent()? as usize).min(out.len());
        if n > 0 {
            self.peer.copy_out(self.received, &mut out[..n]);
            self.publish_received(add(self.received, n as u32), false);
        }
        Ok(n)
    }

    /// Stores my `sent`, and wakes.
    pub fn publish_sent(&mut self, now: u32, last: bool) {
        let old = std::mem::replace(&mut self.sent, now);
        self.publish("sent", now | if last { LAST } else { 0 });
        let park = self.peer.load(at("read_park"));
        if self.waking == Waking::Always || crossed(park, old, now, last, self.capacity()) {
            self.wake_reader();
        }
    }

    /// Stores my `received`, and wakes.
    pub fn publish_received(&mut self, now: u32, last: bool) {
        let old = std::mem::replace(&mut self.received, now);
        self.publish("received", now | if last { LAST } else { 0 });
        let park = self.peer.load(at("write_park"));
        if self.waking == Waking::Always || crossed(park, old, now, last, self.their_capacity()) {
            self.wake_writer();
        }
    }

    fn publish(&self, name: &str, word: u32) {
        self.own.store(at(name), word);
        full_fence();
    }

    /// Wakes the peer's reading half.
    pub fn wake_reader(&self) {
        self.wake("sent", "read_wake_method");
    }

    /// Wakes the peer's writing half.
    pub fn wake_writer(&self) {
        self.wake("received", "write_wake_method");
    }

    /// K7.
    fn wake(&self, cursor: &str, method: &str) {
        match &self.link {
            Link::Socket(wire) if self.peer.load(at(method)) == 1 => wire.ring(),
            _ => self.own.wake(at(cursor)),
        }
    }

    /// Says FIN.
    pub fn finish(&mut self) {
        self.publish_sent(self.sent, true);
    }

    /// Says STOP.
    pub fn stop(&mut self) {
        self.publish_received(self.received, true);
        self.own.store(at("read_park"), STOPPED_HINT);
    }

    /// Looks again and again until there is something, for as long as the patience lasts.
    pub fn until<T>(
        &mut self,
        mut look: impl FnMut(&mut Self) -> Result<Option<T>, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        let end = Instant::now() + self.patience;
        loop {
            if let Some(found) = look(self)? {
                return Ok(Some(found));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// The same, of which the time to come is a rule.
    pub fn need<T>(
        &mut self,
        clauses: &[&'static str],
        what: &str,
        look: impl FnMut(&mut Self) -> Result<Option<T>, Trouble>,
    ) -> Result<T, Trouble> {
        let patience = self.patience;
        self.until(look)?.ok_or_else(|| broke(clauses, format!("{what}: not within {patience:?}")))
    }

    /// How long to wait for what the peer has to do.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether the peer is gone: F9, S12.
    pub fn is_peer_gone(&self) -> io::Result<bool> {
        match &self.link {
            Link::Socket(wire) => wire.is_over(),
            Link::Region(region) => region.is_peer_gone(self.party),
        }
    }

    /// Ends as a process does that is killed: without FIN, without STOP, without a wake.
    pub fn die(self) -> io::Result<Ghost> {
        let Meeting { party, sent, peer, link, patience, own, .. } = self;
        match link {
            Link::Socket(wire) => {
                drop((wire, own));
                Ok(Ghost { sent, peer, region: None, party, patience })
            }
            Link::Region(region) => {
                // What this side looks through now is another description: the one that lived is closed, with all its mappings.
                let eye = region.second_description()?;
                let view = eye.segment(1 - party, smstream::memory::Access::ReadOnly)?;
                drop((region, own, peer));
                Ok(Ghost { sent, peer: view, region: Some(eye), party, patience })
            }
        }
    }

    /// Closes in order: X.
    pub fn close(mut self) {
        if self.sent_is_open() {
            self.finish();
        }
        if self.own.load(at("received")) & LAST == 0 {
            self.stop();
        }
        if let Link::Region(region) = &self.link {
            let _ = region.die(self.party);
            self.own.wake(at("sent"));
            self.own.wake(at("received"));
        }
    }

    fn sent_is_open(&self) -> bool {
        self.own.load(at("sent")) & LAST == 0
    }
}

/// What is left of this side after its death: it looks at the peer.
#[derive(Debug)]
pub struct Ghost {
    sent: u32,
    peer: Segment,
    region: Option<Region>,
    party: usize,
    patience: Duration,
}

impl Ghost {
    /// Whether the peer takes all that was sent, in time.
    pub fn all_is_read(&self) -> bool {
        self.until(|| Ok(diff(self.sent, self.peer.load(at("received"))) == 0)).unwrap_or(false)
    }

    /// Whether the peer lets go of its lock in time. Over a socket that does not show after this side's death: then whether it
    /// closes, or does not announce again that it sleeps, as one does that looks in slices and goes on to sleep.
    pub fn is_let_go(&self) -> io::Result<bool> {
        let last = |name| self.peer.load(at(name)) & LAST != 0;
        let awake = Cell::new(0);
        self.until(|| {
            if let Some(region) = &self.region {
                return region.is_peer_gone(self.party);
            }
            awake.set(if self.peer.load(at("read_park")) & ASLEEP == 0 { awake.get() + 1 } else { 0 });
            Ok(last("sent") && last("received") || awake.get() > 100)
        })
    }

    fn until(&self, look: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
        let end = Instant::now() + self.patience;
        loop {
            if look()? {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}
