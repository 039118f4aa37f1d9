//! The reading half.

mod peer;
mod state;
mod waiting;

use core::mem::MaybeUninit;
use core::slice;

use super::ring::Ring;
use crate::counter::Tally;
use crate::cursor::{self, ASLEEP, STOP, STOPPED_HINT};
use crate::error::ReadError;
use crate::layout::{Features, Port};
use crate::mutant::{mutant, unless_mutant};
use crate::ordering;
use crate::park::Park;
use crate::publication::{Fence, Publication};
use crate::size::{at_most, saturating, to_usize};
use crate::sync::LaneByte;
use crate::waiting::alerts;

/// The half that takes bytes out of the peer's lane.
///
/// Nothing here blocks but [`wait`](Consumer::wait). Nothing allocates or panics. If there are bytes, the peer cannot
/// take them back; if there are none, the peer may send some at any moment. What the bytes *are* is up to the peer as
/// long as they lie in its lane: a hostile one may change them while they are read, so that two reads of one byte (by
/// [`peek`](Consumer::peek)) may differ.
///
/// # Invariants
/// 1. No other code stores `received`, `read_park`, `read_wake_method` or the `reads` counters of `mine`.
/// 2. `published()`, which is `received` without the `deferred` bytes, is the cursor in `mine.received`; `stopped` says whether
///    STOP is set there. After STOP neither changes.
/// 3. `received` is at or before the cursor of `word_seen`.
/// 4. `word_seen` is a value of the peer's `sent` that passed the check: `diff(word_seen, published()) ≤ capacity`, its
///    cursor never moved backwards, and never after FIN.
/// 5. The lane's pointer is valid for reads of `capacity` bytes for `'m`.
/// 6. `quick` and `edge` are 0 if the half is corrupt or has stopped, or if bytes are `deferred`, and `edge` if the peer has said FIN.
///    Otherwise `edge` is the capacity, and so many bytes as `quick` says are there from `received` on without reaching the end of
///    the lane.
pub struct Consumer<'m, P> {
    pub(super) mine: &'m Port,
    peer: &'m Port,
    ring: Ring,
    /// Bytes that can be read without a look at anything else.
    quick: u32,
    /// Bytes taken, flushed or not: a cursor.
    received: u32,
    /// Where a read must end before, if all it does is to take exactly what the peer has sent.
    edge: u32,
    word_seen: u32,
    /// Bytes taken and not flushed.
    deferred: u32,
    stopped: bool,
    corrupt: bool,
    fence: Fence,
    /// Whether this party issues barriers when it has announced that it sleeps.
    barriers: bool,
    /// Whether this is party 0, which reports deadlocks.
    reports: bool,
    tally: Tally,
    park: P,
}

// SAFETY: the raw pointer to the lane is only read through, by volatile accesses; all else is references to atomics, plain
// values, and `P`.
unsafe impl<P: Send> Send for Consumer<'_, P> {}
// SAFETY: methods on `&self` read private values and atomics; none touches the lane.
unsafe impl<P: Sync> Sync for Consumer<'_, P> {}

impl<'m, P: Park> Consumer<'m, P> {
    /// The reading half of `party` (0 or 1), whose port is `mine`, as it stands in its own words. `features` are what the
    /// party and the peer do beyond the base protocol.
    ///
    /// The peer's `sent` word is loaded once. It must pass the check against `mine`, else the half is corrupt from the
    /// start.
    ///
    /// # Safety
    /// * `lane` is valid for reads of `capacity` bytes for `'m`, and `capacity` is 0 or a power of two of at most 2²⁹. It
    ///   is never written through.
    /// * For `'m`, no other code stores the words of `mine` that a reading half owns, and the lane's bytes are written only
    ///   by the peer, by atomic or volatile accesses or from outside of this program.
    #[inline(never)] // Its result lies where the caller wants it, instead of being copied about on a small stack.
    pub unsafe fn from_parts(
        party: usize,
        features: [Features; 2],
        mine: &'m Port,
        peer: &'m Port,
        lane: *const LaneByte,
        capacity: u32,
        park: P,
    ) -> Self {
        let [mine_does, peer_does] = features;
        let fence = Fence::towards(peer_does, &park);
        fence.say(&mine.park.received_fence);
        let barriers = mine_does.contains(Features::BARRIER);
        let own = ordering::own(&mine.received.word);
        let seen = ordering::peer_sent(&peer.sent.word);
        let published = own & cursor::CURSOR;
        let beyond = !cursor::accepts_first(seen, published, capacity);
        let refused = unless_mutant!("accept_first_sent_any", beyond, false);
        // Invariant 4 holds for a corrupt half, too.
        let word_seen = if refused { published } else { seen };
        let corrupt = refused && !mutant!("accept_sent_after_all");
        let mut stopped = own & STOP != 0;
        let mut tally = Tally::resume(&mine.reads, mine_does.contains(Features::COUNTERS));
        if refused && !stopped && !mutant!("accept_sent_silently") {
            stopped = true;
            refuse((mine, peer), (capacity, fence), &park, published);
            ordering::announce(&mine.park.read_park, STOPPED_HINT);
            tally.published(&mine.reads, 0);
        }
        let (ring, reports, received) = (Ring::new(lane.cast_mut(), capacity), party == 0, published);
        let (quick, edge, deferred) = (0, 0, 0);
        #[rustfmt::skip]
        let mut half = Consumer {
            mine, peer, ring, quick, received, edge, word_seen, deferred, stopped, corrupt, fence, barriers, reports, tally, park,
        };
        half.settle();
        half
    }

    /// Reads as many bytes as there are, up to the length of `out`, gives their room back, and wakes the peer if that is
    /// what it waits for.
    ///
    /// Returns how many bytes were read; 0 means the end of the stream, or that `out` is empty.
    ///
    /// # Errors
    /// [`ReadError`]; nothing was read then.
    // The usual read is this function and the two after it.
    #[inline(always)]
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let (old, n, at) = (self.received, saturating(out.len()), self.ring.place(self.received));
        // Where no cursor wraps, because the end of the lane is not reached.
        let new = old.wrapping_add(n);
        if out.len().wrapping_sub(1) < to_usize(self.quick) {
            self.quick -= n;
        } else if self.is_all_there_is(at, out.len(), new) {
            self.quick = 0;
        } else {
            return self.read_closely(out);
        }
        // SAFETY: invariant 5; by invariant 6, or as was just found, `n` bytes are there and do not reach the end of the lane.
        // `n` is the length of `out`, a live slice, which cannot overlap a lane.
        unsafe { self.ring.read_run(at, out.as_mut_ptr(), n) };
        self.received = new;
        self.publish_from(old, n, false);
        Ok(out.len())
    }

    /// Whether there is nothing unusual, less than `len` bytes were known, and the peer has sent exactly `len` from the place
    /// `at` on, to the cursor `new`, which do not reach the end of the lane. Then they are known. It is the usual case of a
    /// message that was waited for.
    #[inline(always)]
    fn is_all_there_is(&mut self, at: u32, len: usize, new: u32) -> bool {
        // No overflow: the length of a slice is an `isize`, and a lane has at most 2²⁹ bytes.
        let reaches_end = to_usize(at) + len >= to_usize(self.edge);
        if len == 0 || reaches_end || alerts(self) != 0 || mutant!("alert_after_refresh") {
            return false;
        }
        // Bit 31 of `new` is not set: neither is it in `received`, nor does a cursor wrap but at the end of a lane. So the word is
        // no FIN. And it has moved forward, to where it may be: fewer bytes were known, and `len` are less than the lane holds.
        let word = ordering::peer_sent(&self.peer.sent.word);
        let is = word == new;
        if is {
            self.word_seen = word;
        }
        is
    }

    /// Publishes `received`, which is `n` bytes after `old`, which was published before.
    #[inline(always)]
    fn publish_from(&mut self, old: u32, n: u32, last: bool) {
        if matches!(self.fence, Fence::NO_LOOK) && !last {
            ordering::publish_received(&self.mine.received.word, self.received);
            if self.tally.keeps() {
                self.tally.published(&self.mine.reads, n);
            }
            return;
        }
        let mut publication = publication(self.mine, self.peer, self.ring.capacity(), &mut self.fence);
        let park = publication.publish(old, self.received, last);
        if self.tally.wants(park) {
            self.tally.published(&self.mine.reads, n);
            if park & ASLEEP != 0 && publication.wake_if_crossed(&self.park, park, old, self.received, last) {
                self.tally.woke(&self.mine.reads);
            }
        }
        publication.store_late(self.received, last);
    }

    /// Any [`read`](Consumer::read), also those that are at the end, find nothing, or go round the end of the lane.
    #[inline(never)]
    fn read_closely(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        let n = self.read_deferred(out)?;
        self.flush();
        Ok(n)
    }

    /// Reads like [`read`](Consumer::read) into memory that need not be initialised, so that a buffer is not zeroed in order to be
    /// written over. Returns the bytes that were read: the start of `out`. The rest of `out` is as it was.
    ///
    /// None means the end of the stream, or that `out` is empty.
    ///
    /// ```
    /// use core::mem::MaybeUninit;
    /// use smstream_core::block::{Block, block_len};
    /// use smstream_core::geometry::Config;
    /// use smstream_core::park::Spin;
    ///
    /// const CHANNEL: Config = Config::new([64, 64]);
    /// let mut block = Block::<{ block_len(&CHANNEL) }>::new();
    /// let (mut here, mut there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
    /// here.write(b"hello").unwrap();
    /// let mut out = [MaybeUninit::uninit(); 16];
    /// assert_eq!(there.consumer.read_uninit(&mut out).unwrap(), b"hello");
    /// ```
    ///
    /// # Errors
    /// [`ReadError`]; nothing was read then.
    #[inline]
    pub fn read_uninit<'b>(&mut self, out: &'b mut [MaybeUninit<u8>]) -> Result<&'b mut [u8], ReadError> {
        // SAFETY: a live slice is valid for writes of its length, and cannot overlap a lane.
        let n = unsafe { self.read_deferred_to(out.as_mut_ptr().cast(), out.len()) }?;
        self.flush();
        // SAFETY: so many bytes at its start were just written, at most its length, and they are borrowed as `out` was.
        Ok(unsafe { slice::from_raw_parts_mut(out.as_mut_ptr().cast(), n) })
    }

    /// Reads like [`read`](Consumer::read) without giving the room back: the peer cannot use it until
    /// [`flush`](Consumer::flush).
    ///
    /// # Errors
    /// [`ReadError`]; nothing was read then.
    #[inline]
    pub fn read_deferred(&mut self, out: &mut [u8]) -> Result<usize, ReadError> {
        // SAFETY: a live slice is valid for writes of its length, and cannot overlap a lane.
        unsafe { self.read_deferred_to(out.as_mut_ptr(), out.len()) }
    }

    /// Reads up to `len` bytes, and writes as many as it returns to the start of `out`.
    ///
    /// # Safety
    /// `out` is valid for writes of `len` bytes that no other thread uses meanwhile, and does not overlap a lane.
    #[inline]
    unsafe fn read_deferred_to(&mut self, out: *mut u8, len: usize) -> Result<usize, ReadError> {
        if len == 0 {
            return Ok(0);
        }
        let n = at_most(len, self.bytes_for(len)?);
        if n != 0 {
            // SAFETY: invariant 5; `n` ≤ bytes known ≤ capacity (invariants 3 and 4), and `n` ≤ `len`, for which `out` has room.
            unsafe { self.ring.read(self.received, out, n) };
            self.defer(n);
        }
        Ok(to_usize(n))
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

    /// Takes up to `n` bytes without copying them, gives their room back, and wakes the peer if that is what it waits
    /// for. Returns how many: less than `n` only if [`known_bytes`](Consumer::known_bytes) is.
    pub fn consume(&mut self, n: usize) -> usize {
        let n = if self.stopped { 0 } else { at_most(n, self.bytes()) };
        self.defer(n);
        self.flush();
        to_usize(n)
    }

    /// Gives back the room of all bytes taken, and wakes the peer if that is what it waits for.
    #[inline]
    pub fn flush(&mut self) {
        if self.deferred != 0 && !self.stopped {
            self.publish(false);
        }
    }

    /// Says that no more bytes will be taken, and wakes the peer if it sleeps: its writes fail from now on. Bytes not yet
    /// read are lost, and reading here is at its end. Calling it again does nothing.
    pub fn stop(&mut self) {
        if !self.stopped {
            if mutant!("hint_before_stop") {
                ordering::announce(&self.mine.park.read_park, STOPPED_HINT);
            }
            // Before the wake, which may panic: this half must not go on after STOP.
            self.stopped = true;
            self.publish(true);
            if !mutant!("hint_never") {
                ordering::announce(&self.mine.park.read_park, STOPPED_HINT);
            }
        }
    }

    /// Makes the half corrupt, as if its own check had failed: for an end whose other half found the peer corrupt.
    pub fn fail(&mut self) {
        self.corrupt = unless_mutant!("accept_sent_after_all", true, false);
        self.received = self.published(); // Bytes taken from a corrupt peer give back no room.
        self.deferred = 0;
        self.settle();
        if !mutant!("accept_sent_silently") {
            self.stop();
        }
    }

    /// The cursor in `mine.received`.
    #[inline(always)]
    fn published(&self) -> u32 {
        cursor::diff(self.received, self.deferred)
    }

    /// `n` bytes more were taken.
    #[inline(always)]
    fn defer(&mut self, n: u32) {
        self.received = cursor::add(self.received, n);
        self.deferred += n;
        self.settle();
    }

    /// Sees to invariant 6.
    #[inline(always)]
    fn settle(&mut self) {
        let usual = !self.corrupt && !self.stopped && self.deferred == 0;
        self.quick = if usual { self.ring.before_end(self.received, self.bytes()) } else { 0 };
        self.edge = if usual && !self.is_peer_finished() { self.ring.capacity() } else { 0 };
    }

    #[inline(always)]
    fn bytes(&self) -> u32 {
        cursor::diff(self.word_seen, self.received)
    }

    /// Gives back the room of what is deferred.
    #[inline]
    fn publish(&mut self, last: bool) {
        let (old, n) = (self.published(), core::mem::take(&mut self.deferred));
        self.settle();
        self.publish_from(old, n, last);
    }

    /// For [`Peek`](super::Peek): the lane and where the next byte is.
    pub(super) fn place(&self) -> (Ring, u32) {
        (self.ring, self.received)
    }
}

/// Says STOP at a cursor that has not moved, because the peer's words cannot be believed.
#[cold]
#[inline(never)]
fn refuse<P: Park>((mine, peer): (&Port, &Port), (capacity, mut fence): (u32, Fence), park: &P, at: u32) {
    // Nothing is published after this, so what becomes of `fence` is of no interest.
    publication(mine, peer, capacity, &mut fence).publish_and_wake(park, at);
}

/// The words that giving back room has to do with.
#[inline(always)]
fn publication<'a>(mine: &'a Port, peer: &'a Port, capacity: u32, fence: &'a mut Fence) -> Publication<'a> {
    Publication {
        word: &mine.received.word,
        store: ordering::publish_received,
        peer_park: if mutant!("one_park_word") { &peer.park.read_park } else { &peer.park.write_park },
        peer_wake_method: &peer.park.write_wake_method,
        capacity,
        fence,
        fence_word: Some(&mine.park.received_fence),
    }
}
