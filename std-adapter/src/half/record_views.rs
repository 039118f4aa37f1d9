//! Records that are built and looked at where they lie, in the lane.

use std::io::{self, Write};
use std::sync::Arc;

use smstream_core::record::{Claim, Record};
use smstream_shm::memory::guard::Cut;

use super::{Shared, is_cut};
use crate::error::{Error, Reason};
use crate::history::Operation;
use crate::parking::Parker;

/// Room for one record that is built in place: made by [`Records::claim`](crate::Records::claim) and
/// [`RecordWriteHalf::claim`](crate::RecordWriteHalf::claim).
///
/// Fill it front to back with [`Write`] or anywhere with [`put`](WriteRecord::put), then [`commit`](WriteRecord::commit): the peer
/// sees the whole record at once. If it is dropped or [aborted](WriteRecord::abort) the peer sees none of it.
///
/// There is no `&mut [u8]` here, because the lane is shared with another process.
#[derive(Debug)]
#[must_use = "a record that is not committed is not sent"]
pub struct WriteRecord<'a> {
    pub(super) claim: Claim<'a, 'static, Parker>,
    pub(super) cut: &'a Option<Arc<Cut>>,
    pub(super) shared: &'a Shared,
}

impl WriteRecord<'_> {
    /// The bytes that were claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.claim.len()
    }

    /// Whether only an empty record was claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claim.is_empty()
    }

    /// The bytes that were filled by [`Write`] so far.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.claim.filled()
    }

    /// Copies `bytes` to position `at`, and says how many fitted. They do not count as [filled](WriteRecord::filled).
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        self.claim.put(at, bytes)
    }

    /// Sends the first `len` bytes as one record. Bytes of them that were not filled are whatever lay in the lane: bytes of
    /// older records, or 0.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`] if fewer were claimed, and nothing is sent; [`Reason::Corrupt`] if the memory was cut short
    /// meanwhile.
    pub fn commit(self, len: usize) -> io::Result<()> {
        if let Err(e) = self.claim.commit_len(len) {
            let text = format!(
                "cannot send a record of {len} bytes: {} were claimed for it; claim more, or send fewer",
                e.claimed
            );
            return Err(self.shared.report(Operation::Write, Error::new(Reason::InvalidInput, text)));
        }
        if is_cut(self.cut) {
            return Err(self.shared.report(Operation::Write, self.shared.corrupt("send a record")));
        }
        Ok(())
    }

    /// Sends what was [filled](WriteRecord::filled).
    ///
    /// # Errors
    /// [`Reason::Corrupt`] if the memory was cut short meanwhile.
    pub fn commit_filled(self) -> io::Result<()> {
        let len = self.filled();
        self.commit(len)
    }

    /// Sends nothing.
    pub fn abort(self) {}
}

/// Fills the room front to back. `Ok(0)`: it is full.
impl Write for WriteRecord<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.claim.write(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next record, in the lane, until it is consumed: made by [`Records::view`](crate::Records::view) and
/// [`RecordReadHalf::view`](crate::RecordReadHalf::view).
///
/// Looking copies out of the lane, because the peer may change what it has sent: check what was copied, and not what a second
/// look might find.
#[derive(Debug)]
#[must_use = "looking takes nothing from the stream"]
pub struct ReadRecord<'a> {
    pub(super) record: Record<'a, 'static, Parker>,
    pub(super) cut: &'a Option<Arc<Cut>>,
    pub(super) shared: &'a Shared,
}

impl ReadRecord<'_> {
    /// The bytes of the record.
    #[must_use]
    pub fn len(&self) -> usize {
        self.record.len()
    }

    /// Whether it is an empty record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record.is_empty()
    }

    /// Copies bytes from position `at` on to `out`, and says how many there were.
    pub fn copy_to(&self, at: usize, out: &mut [u8]) -> usize {
        self.record.copy_to(at, out)
    }

    /// Takes the record, and gives its room back to the peer. Without that it is still the next one.
    ///
    /// # Errors
    /// [`Reason::Corrupt`] if the memory was cut short meanwhile: what was copied may not be what the peer has sent.
    pub fn consume(self) -> io::Result<()> {
        self.record.consume();
        if is_cut(self.cut) {
            return Err(self.shared.report(Operation::Read, self.shared.corrupt("receive a record")));
        }
        Ok(())
    }
}
