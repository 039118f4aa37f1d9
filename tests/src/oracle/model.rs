//! The model: a queue for each lane, and the words that the two parties should have in memory.

use std::collections::VecDeque;

use smstream_core::cursor::{ASLEEP, CURSOR, EXCLUSIVE, FIN, STOP, STOPPED_HINT, THRESHOLD};
use smstream_core::error::{ReadError, WaitError, WriteError};

use super::operation::Half;
use super::recorder::{Event, wake_method_of};

/// Whether a cursor that takes `moved` single steps from `old` passes the threshold of `park`, or, if these steps were its
/// last, would have within another `capacity` steps.
pub(super) fn crossed(park: u32, old: u32, moved: u32, last: bool, capacity: u32) -> bool {
    let steps = if last { moved + capacity } else { moved };
    park & ASLEEP != 0 && (1..=steps).any(|k| old.wrapping_add(k) & THRESHOLD == park & THRESHOLD)
}

/// A lane in the model. `None` stands for a byte that was committed without being filled.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) capacity: u32,
    /// Published, and the room not given back.
    pub(super) flow: VecDeque<Option<u8>>,
    /// So many bytes of `flow` have been taken.
    pub(super) taken: usize,
    /// Written and not published.
    pub(super) pending: VecDeque<Option<u8>>,
    pub(super) sent: u32,
    pub(super) received: u32,
    pub(super) fin: bool,
    pub(super) stop: bool,
}

impl Lane {
    pub(super) fn new(capacity: u32, start: u32) -> Self {
        Lane {
            capacity,
            flow: VecDeque::new(),
            taken: 0,
            pending: VecDeque::new(),
            sent: start,
            received: start,
            fin: capacity == 0,
            stop: capacity == 0,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.capacity as usize - self.flow.len() - self.pending.len()
    }

    pub(super) fn visible(&self) -> usize {
        self.flow.len() - self.taken
    }
}

/// The words of a half in the model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Words {
    pub(super) park: u32,
    pub(super) method: u32,
    pub(super) bytes: u64,
    pub(super) operations: u64,
    pub(super) parks: u64,
    pub(super) wakes_sent: u64,
}

/// How a wait goes in the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) maybes: u8,
    pub(super) exclusive: bool,
}

/// The model: lanes by who writes them, words by party and half.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) lanes: [Lane; 2],
    pub(super) words: [[Words; 2]; 2],
    pub(super) events: Vec<Event>,
}

impl Model {
    pub(super) fn published(&mut self, party: usize, half: Half, bytes: usize, woke: Option<u32>) {
        let words = &mut self.words[party][half as usize];
        words.bytes += bytes as u64;
        words.operations += 1;
        if let Some(method) = woke {
            words.wakes_sent += 1;
            self.events.push(Event::Wake { party, half, method });
        }
    }

    pub(super) fn publish_sent(&mut self, party: usize, last: bool) {
        let sleeper = self.words[1 - party][Half::Read as usize];
        let lane = &mut self.lanes[party];
        let moved = lane.pending.len();
        let woke = crossed(sleeper.park, lane.sent, moved as u32, last, lane.capacity).then_some(sleeper.method);
        lane.sent = (lane.sent + moved as u32) & CURSOR;
        lane.fin |= last;
        lane.flow.append(&mut lane.pending);
        self.published(party, Half::Write, moved, woke);
    }

    pub(super) fn publish_received(&mut self, party: usize, last: bool) {
        let sleeper = self.words[1 - party][Half::Write as usize];
        let lane = &mut self.lanes[1 - party];
        let moved = lane.taken;
        let woke = crossed(sleeper.park, lane.received, moved as u32, last, lane.capacity).then_some(sleeper.method);
        lane.received = (lane.received + moved as u32) & CURSOR;
        lane.stop |= last;
        lane.flow.drain(..moved);
        lane.taken = 0;
        self.published(party, Half::Read, moved, woke);
    }

    pub(super) fn flush(&mut self, party: usize) {
        if !self.lanes[party].pending.is_empty() && !self.lanes[party].fin {
            self.publish_sent(party, false);
        }
    }

    pub(super) fn give_back(&mut self, party: usize) {
        if self.lanes[1 - party].taken != 0 && !self.lanes[1 - party].stop {
            self.publish_received(party, false);
        }
    }

    pub(super) fn open(&self, party: usize) -> Result<(), WriteError> {
        if self.lanes[party].fin || self.lanes[party].stop { Err(WriteError::Closed) } else { Ok(()) }
    }

    pub(super) fn write_deferred(&mut self, party: usize, bytes: &[u8]) -> Result<usize, WriteError> {
        self.open(party)?;
        let lane = &mut self.lanes[party];
        if bytes.is_empty() {
            return Ok(0);
        }
        if lane.room() == 0 {
            return Err(WriteError::Full);
        }
        let n = bytes.len().min(lane.room());
        lane.pending.extend(bytes[..n].iter().map(|&b| Some(b)));
        Ok(n)
    }

    pub(super) fn write_vectored(&mut self, party: usize, buffers: &[&[u8]]) -> Result<usize, WriteError> {
        self.open(party)?;
        let all = buffers.concat();
        let written = self.write_deferred(party, &all)?;
        self.flush(party);
        Ok(written)
    }

    /// What a read of up to `len` bytes finds, and takes.
    pub(super) fn read_deferred(&mut self, party: usize, len: usize) -> Result<Vec<Option<u8>>, ReadError> {
        let lane = &mut self.lanes[1 - party];
        if len == 0 || lane.stop {
            return Ok(Vec::new());
        }
        if lane.visible() == 0 && !lane.fin {
            return Err(ReadError::Empty);
        }
        let n = len.min(lane.visible());
        let bytes = lane.flow.iter().skip(lane.taken).take(n).copied().collect();
        lane.taken += n;
        Ok(bytes)
    }

    pub(super) fn read(&mut self, party: usize, len: usize) -> Result<Vec<Option<u8>>, ReadError> {
        let bytes = self.read_deferred(party, len)?;
        self.give_back(party);
        Ok(bytes)
    }

    pub(super) fn finish(&mut self, party: usize) {
        if !self.lanes[party].fin {
            self.publish_sent(party, true);
        }
    }

    pub(super) fn stop(&mut self, party: usize) {
        if !self.lanes[1 - party].stop {
            self.publish_received(party, true);
            self.words[party][Half::Read as usize].park = STOPPED_HINT;
        }
    }

    /// A half parks until the deadline has passed: once, and once more for each wake without a reason. What its wait ends
    /// with if there is nothing.
    pub(super) fn sleep(&mut self, party: usize, half: Half, ahead: usize, wait: Wait) -> WaitError {
        let awaited = &self.lanes[if half == Half::Write { party } else { 1 - party }];
        let seen = if half == Half::Write { awaited.received } else { awaited.sent };
        // The other lane: there the peer's half that does the same waits for me, unless I have said that I am done.
        let other = &self.lanes[if half == Half::Write { 1 - party } else { party }];
        let (mine, done) = if half == Half::Write { (other.received, other.stop) } else { (other.sent, other.fin) };
        let capacity = other.capacity;
        let exclusive = wait.exclusive && !done;
        let peer = self.words[1 - party][half as usize];
        let stuck = exclusive && peer.park & EXCLUSIVE != 0 && crossed(peer.park, mine, capacity, false, capacity);
        let words = &mut self.words[party][half as usize];
        words.park = 0;
        words.method = wake_method_of(party, half);
        if stuck && party == 0 {
            words.parks += 1;
            self.events.push(Event::Ask { party, half });
            return WaitError::Deadlock;
        }
        let threshold = seen.wrapping_add(ahead as u32) & THRESHOLD;
        let park = ASLEEP | threshold | if exclusive { EXCLUSIVE } else { 0 };
        for _ in 0..=wait.maybes {
            words.parks += 1;
            if stuck {
                words.wakes_sent += 1;
                self.events.push(Event::Ring { party, half, method: peer.method });
            }
            self.events.push(Event::Sleep { party, half, seen, park });
        }
        WaitError::TimedOut
    }

    /// A half announces, and looks again: `None` if it need not sleep, else the cursor that it saw.
    pub(super) fn announce(&mut self, party: usize, half: Half, want: usize) -> Option<u32> {
        let lane = if half == Half::Write { party } else { 1 - party };
        if if half == Half::Write { self.lanes[lane].fin } else { self.lanes[lane].stop } {
            return None;
        }
        match half {
            Half::Write => self.flush(party),
            Half::Read => self.give_back(party),
        }
        let (enough, lane) = (self.enough(party, half, want), &self.lanes[lane]);
        let (seen, there) = match half {
            Half::Write => (lane.received | if lane.stop { STOP } else { 0 }, lane.room()),
            Half::Read => (lane.sent | if lane.fin { FIN } else { 0 }, lane.visible()),
        };
        let want = want.clamp(1, max_wait(lane.capacity));
        let words = &mut self.words[party][half as usize];
        words.parks += 1;
        words.method = wake_method_of(party, half);
        words.park = if enough { 0 } else { ASLEEP | (seen.wrapping_add((want - there) as u32) & THRESHOLD) };
        (!enough).then_some(seen)
    }

    pub(super) fn wait_room(&mut self, party: usize, want: usize, wait: Wait) -> Result<usize, WaitError> {
        self.flush(party);
        let lane = &self.lanes[party];
        if lane.fin || lane.stop {
            return Err(WaitError::Closed);
        }
        let (room, want) = (lane.room(), want.clamp(1, max_wait(lane.capacity)));
        if room < want {
            let e = self.sleep(party, Half::Write, want - room, wait);
            if room == 0 {
                return Err(e);
            }
        }
        Ok(room)
    }

    pub(super) fn wait_bytes(&mut self, party: usize, want: usize, wait: Wait) -> Result<usize, WaitError> {
        self.give_back(party);
        let lane = &self.lanes[1 - party];
        if lane.stop {
            return Ok(0);
        }
        let (bytes, want) = (lane.visible(), want.clamp(1, max_wait(lane.capacity)));
        if bytes < want && !lane.fin {
            let e = self.sleep(party, Half::Read, want - bytes, wait);
            if bytes == 0 {
                return Err(e);
            }
        }
        Ok(bytes)
    }

    /// Whether a wait would not have to sleep.
    pub(super) fn enough(&self, party: usize, half: Half, want: usize) -> bool {
        let lane = &self.lanes[if half == Half::Write { party } else { 1 - party }];
        let want = want.clamp(1, max_wait(lane.capacity));
        match half {
            Half::Write => lane.fin || lane.stop || lane.room() >= want,
            // What was taken is given back before, but that makes no bytes.
            Half::Read => lane.fin || lane.stop || lane.visible() >= want,
        }
    }
}

/// Half of the lane, and at least one byte.
pub(super) fn max_wait(capacity: u32) -> usize {
    (capacity as usize / 2).max(1)
}
