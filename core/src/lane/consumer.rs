//! The reading half.

use super::{Peek, Producer, Ring};
use crate::counter::{Counts, Tally};
use crate::cursor::{self, FIN, LOOK, STOP};
use crate::deadlock::Whole;
use crate::error::{ReadError, WaitError};
use crate::layout::{CounterLine, Port};
use crate::mutant::{mutant, unless_mutant};
use crate::ordering;
use crate::park::{ALERT_CORRUPT, ALERT_GONE, Look, Park, Publication, Sleeper, Stopped, alerts, wait};
use crate::sync::{AtomicU32, LaneByte};

/// The half that takes bytes out of the peer's lane.
///
/// Nothing here blocks but [`wait`](Consumer::wait). Nothing allocates or panics. If there are bytes, the peer cannot
/// take them back; if there are none, the peer may send some at any moment. What the bytes *are* is up to the peer as
/// long as they lie in its lane: a hostile one may change them while they are read, so that two reads of one byte (by
/// [`peek`](Consumer::peek)) may differ.
///
/// # Invariants
/// 1. Nobody else stores `received`, `read_park`, `read_bell` or the `reads` counters of `mine`.
/// 2. `published` is the cursor in `mine.received`; `stopped` says whether STOP is set there. After STOP neither changes.
/// 3. `received` is at or after `published`, by the bytes that are not flushed, and at or before the cursor of
///    `word_seen`.
/// 4. `word_seen` is a value of the peer's `sent` that passed the check: `diff(word_seen, published) ≤ capacity`, its
///    cursor never moved backwards, and never after FIN.
/// 5. The lane's pointer is valid for reads of `capacity` bytes for `'m`.
pub struct Consumer<'m, P> {
    mine: &'m Port,
    peer: &'m Port,
    ring: Ring,
    /// Bytes taken, flushed or not: a cursor.
    received: u32,
    published: u32,
    stopped: bool,
    word_seen: u32,
    corrupt: bool,
    /// Whether this is party 0, which tells deadlocks.
    tells: bool,
    tally: Tally<'m>,
    park: P,
}

// SAFETY: the raw pointer to the lane is only read through, by volatile accesses; all else is references to atomics, plain
// values, and `P`.
unsafe impl<P: Send> Send for Consumer<'_, P> {}
// SAFETY: methods on `&self` read private values and atomics; none touches the lane.
unsafe impl<P: Sync> Sync for Consumer<'_, P> {}

impl<'m, P: Park> Consumer<'m, P> {
    /// The reading half of `party` (0 or 1), whose port is `mine`, as it stands in its own words.
    ///
    /// The peer's `sent` word is loaded once. It must pass the check against `mine`, else the half is corrupt from the
    /// start.
    ///
    /// # Safety
    /// * `lane` is valid for reads of `capacity` bytes for `'m`, and `capacity` is 0 or a power of two of at most 2²⁹. It
    ///   is never written through.
    /// * For `'m`, nobody else stores the words of `mine` that a reading half owns, and the lane's bytes are written only
    ///   by the peer, by atomic or volatile accesses or from outside of this program.
    pub unsafe fn from_parts(
        party: usize,
        mine: &'m Port,
        peer: &'m Port,
        lane: *const LaneByte,
        capacity: u32,
        park: P,
    ) -> Self {
        let own = ordering::own(&mine.received.word);
        let word_seen = ordering::peer_sent(&peer.sent.word);
        let mut half = Consumer {
            mine,
            peer,
            ring: Ring::new(lane.cast_mut(), capacity),
            received: own & cursor::CURSOR,
            published: own & cursor::CURSOR,
            stopped: own & STOP != 0,
            word_seen,
            corrupt: false,
            tells: party == 0,
            tally: Tally::resume(&mine.reads),
            park,
        };
        if unless_mutant!("accept_first_sent_any", cursor::diff(word_seen, half.published) > capacity, false) {
            half.word_seen = half.published; // Invariant 4 holds for a corrupt half, too.
            half.fail();
        }
        half
    }

    /// The bytes the peer's lane holds.
    pub fn capacity(&self) -> usize {
        self.ring.capacity() as usize
    }

    /// Bytes known to be there without looking at the peer's words. There may be more; there are not less. None once
    /// this half has stopped.
    #[inline]
    pub fn known_bytes(&self) -> usize {
        if self.stopped { 0 } else { self.bytes() as usize }
    }

    /// Bytes taken whose room has not been given back.
    pub fn unflushed(&self) -> usize {
        cursor::diff(self.received, self.published) as usize
    }

    /// How this half sleeps and wakes.
    pub fn park(&self) -> &P {
        &self.park
    }

    /// Where this half counts what it does: for other threads, which may [sample](CounterLine::sample) it at any time.
    pub fn counters(&self) -> &'m CounterLine {
        &self.mine.reads
    }

    /// What this half has done so far.
    pub fn counts(&self) -> Counts {
        self.mine.reads.sample()
    }

    /// Reads as many bytes as there are, up to the length of `out`, gives their room back, and wakes the peer if that is
    /// what it waits for.
    ///
    /// Returns how many bytes were read; 0 means the end of the stream, or that `out` is empty.
    ///
    /// # Errors
    /// [`ReadError`]; nothing was read then.
    #[inline]
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let n = self.read_deferred(out)?;
        self.flush();
        Ok(n)
    }

    /// Reads like [`read`](Consumer::read) without giving the room back: the peer cannot use it until
    /// [`flush`](Consumer::flush).
    ///
    /// # Errors
    /// [`ReadError`]; nothing was read then.
    #[inline]
    pub fn read_deferred(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        if out.is_empty() {
            return Ok(0);
        }
        let n = self.bytes_for(out.len())?.min(out.len() as u32);
        if n != 0 {
            // SAFETY: invariant 5; `n` ≤ bytes known ≤ capacity (invariants 3 and 4), and `out` has room for them.
            unsafe { self.ring.read(self.received, out.as_mut_ptr(), n) };
            self.received = cursor::add(self.received, n);
        }
        Ok(n as usize)
    }

    /// Reads into several buffers in order, as many bytes as there are, and publishes once.
    ///
    /// Returns how many bytes were read in all; 0 means the end of the stream, or that the buffers are empty.
    ///
    /// # Errors
    /// [`ReadError`]; nothing was read then.
    pub fn read_vectored<'b>(&mut self, buffers: impl IntoIterator<Item = &'b mut [u8]>) -> Result<usize, ReadError> {
        let mut read = 0;
        for out in buffers {
            match self.read_deferred(out) {
                Ok(n) => {
                    read += n;
                    if n < out.len() {
                        break;
                    }
                }
                Err(e) if read == 0 => return Err(e),
                Err(_) => break,
            }
        }
        self.flush();
        Ok(read)
    }

    /// A look at the bytes that are there, without taking them. Empty at the end of the stream.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn peek(&mut self) -> Result<Peek<'_, 'm, P>, ReadError> {
        let len = self.bytes_for(usize::MAX)?;
        Ok(Peek::new(self, len))
    }

    /// Takes up to `n` bytes without copying them, gives their room back, and wakes the peer if that is what it waits
    /// for. Returns how many: less than `n` only if [`known_bytes`](Consumer::known_bytes) is.
    pub fn consume(&mut self, n: usize) -> usize {
        let n = n.min(self.known_bytes());
        self.received = cursor::add(self.received, n as u32);
        self.flush();
        n
    }

    /// Gives back the room of all bytes taken, and wakes the peer if that is what it waits for.
    #[inline]
    pub fn flush(&mut self) {
        if self.received != self.published && !self.stopped {
            self.publish(false);
        }
    }

    /// Says that no more bytes will be taken, and wakes the peer if it sleeps: its writes fail from now on. Bytes not yet
    /// read are lost, and reading here is at its end. Calling it again does nothing.
    pub fn stop(&mut self) {
        if !self.stopped {
            if mutant!("look_before_stop") {
                ordering::announce(&self.mine.park.read_park, LOOK);
            }
            self.publish(true);
            self.stopped = true;
            if !mutant!("look_never") {
                ordering::announce(&self.mine.park.read_park, LOOK);
            }
        }
    }

    /// Whether this half has said that it takes no more.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the peer was seen to have sent its last byte. There may still be bytes to read.
    pub fn is_peer_finished(&self) -> bool {
        self.word_seen & FIN != 0
    }

    /// Whether the peer's words broke the rules.
    pub fn is_corrupt(&self) -> bool {
        self.corrupt
    }

    /// Waits until there are `want` bytes, or as many as there will ever be: looks, spins, then sleeps, as its [`Park`]
    /// does.
    ///
    /// `want` is taken as at least 1 and at most half the capacity (but at least 1); more could make both parties sleep
    /// for ever. The room of bytes taken is given back first. Returns the bytes there are. They can be less than `want`
    /// if the deadline passed, the peer died or it has finished; 0 is the end of the stream.
    ///
    /// # Errors
    /// [`WaitError`], never [`WaitError::Closed`]. There were no bytes then.
    pub fn wait(&mut self, want: usize, deadline: Option<P::Deadline>) -> Result<usize, WaitError> {
        self.wait_in(want, deadline, None)
    }

    /// Waits like [`wait`](Consumer::wait), without a deadline, for the whole party: `other` is the writing half of the
    /// same end, and nobody can use it meanwhile. Its unflushed bytes are published first.
    ///
    /// If the peer waits in the same way, and each for bytes of the other, neither can ever go on. Then party 0 gets
    /// [`WaitError::Deadlock`], and party 1 goes on waiting. It is told only if it is so: not while the peer is slow or
    /// stopped, waits with a deadline or with one half, or is about to be woken. It is *not* told if the peer never
    /// parks for its whole party, if either [`Park`] spins for ever, or if `other` has finished or is of another end. If there
    /// are fewer bytes than `want`, those are returned instead; the next wait, with none, tells it.
    ///
    /// # Errors
    /// [`WaitError`], never [`WaitError::Closed`]. There were no bytes then.
    pub fn wait_whole(&mut self, want: usize, other: &mut Producer<'m, P>) -> Result<usize, WaitError> {
        if !mutant!("whole_parks_unflushed") {
            other.flush();
        }
        let whole = other.whole(self.mine);
        self.wait_in(want, None, whole.as_ref())
    }

    fn wait_in(
        &mut self,
        want: usize,
        deadline: Option<P::Deadline>,
        whole: Option<&Whole<'_>>,
    ) -> Result<usize, WaitError> {
        if !mutant!("reader_parks_unflushed") {
            self.flush();
        }
        if self.stopped && !self.corrupt {
            return Ok(0);
        }
        let want = want.clamp(1, cursor::most_wanted(self.ring.capacity()) as usize) as u32;
        match wait(self, want, deadline, whole) {
            Ok(()) => Ok(self.known_bytes()),
            Err(Stopped::Corrupt) => {
                self.fail();
                // Found while parked, the wait has withdrawn what `stop` announced.
                ordering::announce(&self.mine.park.read_park, LOOK);
                Err(WaitError::Corrupt)
            }
            Err(_) if self.bytes() > 0 => Ok(self.known_bytes()),
            Err(Stopped::TimedOut) => Err(WaitError::TimedOut),
            Err(Stopped::Cancelled) => Err(WaitError::Cancelled),
            Err(Stopped::Gone) => Err(WaitError::PeerGone),
            Err(Stopped::Deadlock) => Err(WaitError::Deadlock),
        }
    }

    /// Makes the half corrupt, as if its own check had failed: for an end whose other half found the peer corrupt.
    pub fn fail(&mut self) {
        self.corrupt = unless_mutant!("accept_sent_after_all", true, false);
        self.received = self.published; // Bytes taken from a corrupt peer give back no room.
        if !mutant!("accept_sent_silently") {
            self.stop();
        }
    }

    #[inline]
    fn bytes(&self) -> u32 {
        cursor::diff(self.word_seen, self.received)
    }

    /// Bytes after looking at the peer's cursor, if what is known is short of `len`. `Ok(0)` is the end of the stream.
    #[inline]
    fn bytes_for(&mut self, len: usize) -> Result<u32, ReadError> {
        if self.corrupt {
            return Err(ReadError::Corrupt);
        }
        if self.stopped {
            return Ok(0);
        }
        if (self.bytes() as usize) < len && !self.is_peer_finished() {
            // The alert first, then the cursor: after the peer's death what the cursor says is final.
            let before = mutant!("alert_after_refresh").then(|| self.refresh());
            let alerted = alerts(self);
            if before.unwrap_or_else(|| self.refresh()).is_err() || alerted & ALERT_CORRUPT != 0 {
                self.fail();
                return Err(ReadError::Corrupt);
            }
            if self.bytes() == 0 && !self.is_peer_finished() {
                return Err(if alerted & ALERT_GONE != 0 { ReadError::PeerGone } else { ReadError::Empty });
            }
        }
        Ok(self.bytes())
    }

    /// Loads the peer's `sent` once and checks it.
    #[inline]
    fn refresh(&mut self) -> Result<u32, Stopped> {
        if self.corrupt {
            return Err(Stopped::Corrupt);
        }
        let word = ordering::peer_sent(&self.peer.sent.word);
        if word != self.word_seen {
            let used = cursor::diff(self.word_seen, self.published);
            let used_now = cursor::diff(word, self.published);
            let most = self.ring.capacity() + unless_mutant!("accept_sent_one_beyond", 0, 1);
            let changed_after_fin = unless_mutant!("accept_sent_after_fin", self.is_peer_finished(), false);
            let backwards = unless_mutant!("accept_sent_backwards", used_now < used, false);
            let beyond = unless_mutant!("accept_sent_beyond", used_now > most, false);
            if changed_after_fin || backwards || beyond {
                self.fail();
                return Err(Stopped::Corrupt);
            }
            self.word_seen = word;
        }
        Ok(word)
    }

    fn publish(&mut self, last: bool) {
        let woke = Publication {
            word: &self.mine.received.word,
            peer_park: if mutant!("one_park_word") { &self.peer.park.read_park } else { &self.peer.park.write_park },
            peer_bell: &self.peer.park.write_bell,
            capacity: self.ring.capacity(),
        }
        .publish(&self.park, ordering::publish_received, self.published, self.received, last);
        self.tally.published(cursor::diff(self.received, self.published), woke);
        self.published = self.received;
    }

    /// For a writing half that waits for the whole party: what this half has to do with that. `None` if there can be no
    /// deadlock because the peer waits for nothing from here.
    pub(super) fn whole(&self, mine: &Port) -> Option<Whole<'m>> {
        let stopped = self.stopped && !mutant!("whole_after_last");
        (!stopped && core::ptr::eq(self.mine, mine)).then_some(Whole {
            tells: self.tells,
            peer_park: &self.peer.park.write_park,
            peer_bell: &self.peer.park.write_bell,
            word: &self.mine.received.word,
            published: self.published,
            capacity: self.ring.capacity(),
        })
    }

    /// For [`Peek`]: the lane and where the next byte is.
    pub(super) fn place(&self) -> (Ring, u32) {
        (self.ring, self.received)
    }
}

impl<P: Park> Sleeper for Consumer<'_, P> {
    type Park = P;
    fn park(&self) -> &P {
        &self.park
    }
    fn park_word(&self) -> &AtomicU32 {
        &self.mine.park.read_park
    }
    fn bell_word(&self) -> &AtomicU32 {
        &self.mine.park.read_bell
    }
    fn peer_cursor(&self) -> &AtomicU32 {
        &self.peer.sent.word
    }
    fn asleep_until(&self, want: u32) -> u32 {
        cursor::asleep_at(self.received, want)
    }
    fn look(&mut self) -> Result<Look, Stopped> {
        let seen = self.refresh()?;
        Ok(Look { seen, available: self.bytes(), last: seen & FIN != 0 })
    }
    fn parked(&mut self) {
        self.tally.parked();
    }
    fn rang(&mut self) {
        self.tally.rang();
    }
}

impl<P> core::fmt::Debug for Consumer<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &self.ring.capacity())
            .field("received", &self.received)
            .field("published", &self.published)
            .field("word_seen", &format_args!("{:#x}", self.word_seen))
            .field("stopped", &self.stopped)
            .field("corrupt", &self.corrupt)
            .finish_non_exhaustive()
    }
}
