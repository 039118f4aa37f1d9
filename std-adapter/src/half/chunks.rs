//! Messages that are built and looked at where they lie, in the lane.

use std::io::{self, Write};
use std::sync::Arc;

use smstream_core::cursor::max_wait;
use smstream_core::error::{ReadError, ReserveError, WriteError};
use smstream_core::lane::{Peek, Reservation};
use smstream_shm::memory::guard::Cut;

use super::writer::{ReadingEnd, Room};
use super::{Caller, ReadHalf, Shared, WriteHalf, is_cut};
use crate::error::{Error, Reason};
use crate::history::Operation;
use crate::parking::Parker;

/// Room in the lane for a message that is built in place: made by [`Stream::reserve`](crate::Stream::reserve) and
/// [`WriteHalf::reserve`].
///
/// Fill it front to back with [`Write`] or anywhere with [`put`](WriteChunk::put), then [`commit`](WriteChunk::commit): the peer
/// sees the whole message at once. If it is dropped or [aborted](WriteChunk::abort) the peer sees none of it.
///
/// There is no `&mut [u8]` here, because the lane is shared with another process.
#[derive(Debug)]
#[must_use = "a chunk that is not committed is not sent"]
pub struct WriteChunk<'a> {
    room: Reservation<'a, 'static, Parker>,
    cut: &'a Option<Arc<Cut>>,
    shared: &'a Shared,
}

impl WriteChunk<'_> {
    /// The bytes that were reserved.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.len()
    }

    /// Whether no bytes were reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room.is_empty()
    }

    /// The bytes that were filled by [`Write`] so far.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.room.filled()
    }

    /// Copies `bytes` to position `at`, and says how many fitted. They do not count as [filled](WriteChunk::filled): for a
    /// length that is known only when the rest is there.
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        self.room.put(at, bytes)
    }

    /// Sends the first `n` bytes, at most all, and gives up the rest. What was buffered before goes out with them.
    ///
    /// # Errors
    /// [`Reason::Corrupt`] if the memory was cut short meanwhile.
    pub fn commit(self, n: usize) -> io::Result<usize> {
        let n = self.room.commit(n);
        if is_cut(self.cut) {
            return Err(self.shared.report(Operation::Write, self.shared.corrupt("write")));
        }
        Ok(n)
    }

    /// Sends what was [filled](WriteChunk::filled).
    ///
    /// # Errors
    /// As for [`commit`](WriteChunk::commit).
    pub fn commit_filled(self) -> io::Result<usize> {
        let n = self.filled();
        self.commit(n)
    }

    /// Sends nothing.
    pub fn abort(self) {}
}

/// Fills the room front to back. `Ok(0)`: it is full.
impl Write for WriteChunk<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.room.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes that are there to be read, and stay until they are consumed: made by [`Stream::peek`](crate::Stream::peek) and
/// [`ReadHalf::peek`].
///
/// Looking copies out of the lane, because the peer may change what it has sent: check what was copied, and not what a second
/// look might find.
#[derive(Debug)]
#[must_use = "looking takes nothing from the stream"]
pub struct ReadChunk<'a> {
    bytes: Peek<'a, 'static, Parker>,
    cut: &'a Option<Arc<Cut>>,
    shared: &'a Shared,
}

impl ReadChunk<'_> {
    /// The bytes that are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none: the stream is at its end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies bytes from position `at` on to `out`, and says how many there were.
    pub fn copy_to(&self, at: usize, out: &mut [u8]) -> usize {
        self.bytes.copy_to(at, out)
    }

    /// Takes the first `n` bytes, at most all, and gives their room back to the peer. Says how many were taken.
    ///
    /// # Errors
    /// [`Reason::Corrupt`] if the memory was cut short meanwhile: what was copied may not be what the peer has sent.
    pub fn consume(self, n: usize) -> io::Result<usize> {
        let n = self.bytes.consume(n);
        if is_cut(self.cut) {
            return Err(self.shared.report(Operation::Read, self.shared.corrupt("read")));
        }
        Ok(n)
    }
}

impl WriteHalf {
    /// Waits until there is room for `len` bytes, and reserves it: see [`Stream::reserve`](crate::Stream::reserve).
    ///
    /// # Errors
    /// As there.
    pub fn reserve(&mut self, len: usize) -> io::Result<WriteChunk<'_>> {
        self.reserve_for(len, Caller::Half)
    }

    pub(crate) fn reserve_for(&mut self, len: usize, mut caller: Caller<'_, ReadingEnd>) -> io::Result<WriteChunk<'_>> {
        let most = max_wait(self.shared.capacities[0] as u32) as usize;
        if len > most {
            let e = too_much("reserve", len, most);
            return Err(self.shared.report(Operation::Write, e));
        }
        let mut waited = false;
        loop {
            let e = match self.producer_mut().reserve(len) {
                Ok(room) => {
                    room.abort();
                    break;
                }
                Err(ReserveError::Write(WriteError::Full)) if waited => {
                    let e = self.gave_up_waiting();
                    return Err(self.shared.report(Operation::Write, e));
                }
                Err(ReserveError::Write(e)) => e,
                // It is at most half of the lane.
                Err(_) => WriteError::Full,
            };
            self.resolve(Some(e), Room::Bytes(len), &mut caller)?;
            waited = true;
        }
        let (producer, cut, shared) = self.parts();
        match producer.reserve(len) {
            Ok(room) => Ok(WriteChunk { room, cut, shared }),
            Err(ReserveError::Write(e)) => Err(shared.report(Operation::Write, shared.lost_room(e, "write"))),
            Err(_) => Err(shared.report(Operation::Write, shared.corrupt("write"))),
        }
    }

    /// A wait has ended although there is not as much room as was wanted: why.
    pub(super) fn gave_up_waiting(&mut self) -> Error {
        match self.producer_mut().write(&[]) {
            Err(e) => self.error(e),
            Ok(_) if self.shared.is_aborted() => self.shared.given_up("write"),
            Ok(_) if self.shared.write.is_shut() => {
                self.shutdown();
                self.shared.closed(true)
            }
            Ok(_) if self.shared.write.timeout().is_some() => self.shared.write_timed_out(self.shared.write.timeout()),
            Ok(_) => self.shared.write_deadlock(),
        }
    }
}

impl ReadHalf {
    /// Waits until there are `want` bytes, and shows what is there: see [`Stream::peek`](crate::Stream::peek).
    ///
    /// # Errors
    /// As there.
    pub fn peek(&mut self, want: usize) -> io::Result<ReadChunk<'_>> {
        self.peek_for(want, Caller::Half)
    }

    pub(crate) fn peek_for(&mut self, want: usize, mut caller: Caller<'_, WriteHalf>) -> io::Result<ReadChunk<'_>> {
        let most = max_wait(self.shared.capacities[1] as u32) as usize;
        if want > most {
            let e = too_much("wait for", want, most);
            return Err(self.shared.report(Operation::Read, e));
        }
        let mut waited = false;
        loop {
            let nonblocking = self.shared.read.is_nonblocking();
            let e = match self.consumer_mut().peek() {
                // Fewer than wanted are shown if there will not be more, or waiting has ended.
                Ok(peek) if peek.is_empty() || peek.len() >= want || waited => break,
                Ok(_) if nonblocking => break,
                Ok(_) => ReadError::Empty,
                Err(e) => e,
            };
            waited = self.resolve(Some(e), want, &mut caller)?;
            if !waited {
                break;
            }
        }
        let (consumer, cut, shared) = self.parts();
        match consumer.peek() {
            Ok(_) if is_cut(cut) => Err(shared.report(Operation::Read, shared.corrupt("read"))),
            Ok(bytes) => Ok(ReadChunk { bytes, cut, shared }),
            // There was something just now, or the end.
            Err(_) => Err(shared.report(Operation::Read, shared.corrupt("read"))),
        }
    }
}

fn too_much(doing: &str, asked: usize, most: usize) -> Error {
    let text = format!(
        "cannot {doing} {asked} bytes at once: {most}, half of the lane, is the most; take larger lanes \
         (`Builder::capacity`), or smaller messages"
    );
    Error::new(Reason::InvalidInput, text)
}

/// What a chunk of a message is made of.
#[allow(clippy::type_complexity, reason = "three parts of one half, borrowed apart")]
impl WriteHalf {
    pub(super) fn parts(
        &mut self,
    ) -> (&mut smstream_core::lane::Producer<'static, Parker>, &Option<Arc<Cut>>, &Shared) {
        (&mut self.producer, &self.cut, &self.shared)
    }
}

#[allow(clippy::type_complexity, reason = "three parts of one half, borrowed apart")]
impl ReadHalf {
    pub(super) fn parts(
        &mut self,
    ) -> (&mut smstream_core::lane::Consumer<'static, Parker>, &Option<Arc<Cut>>, &Shared) {
        (&mut self.consumer, &self.cut, &self.shared)
    }
}
