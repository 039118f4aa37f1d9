//! Places in a lane that can be kept without borrowing the half that gave them.

use core::marker::PhantomData;

use crate::size::to_usize;
use crate::sync::LaneByte;

/// Contiguous room for a record of up to [`len`](WriteGrant::len) bytes.
///
/// It borrows nothing but the lane's memory. The writer sends nothing else until it has got it back, by
/// [`commit`](super::RecordWriter::commit) or [`abort`](super::RecordWriter::abort); so a grant that is dropped leaves the writer
/// [`Granted`](super::SendError::Granted) for ever.
#[derive(Debug)]
#[must_use = "the writer sends nothing else until the grant is committed or aborted"]
pub struct WriteGrant<'m> {
    pub(super) place: *mut LaneByte,
    pub(super) len: u32,
    pub(super) memory: PhantomData<&'m ()>,
}

// SAFETY: the room is this grant's alone until the writer has it back; any thread may hold it.
unsafe impl Send for WriteGrant<'_> {}

impl WriteGrant<'_> {
    /// The bytes of room.
    pub fn len(&self) -> usize {
        to_usize(self.len)
    }

    /// Whether there is room for an empty record only.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `bytes` to position `at`. Returns how many fitted.
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.len().saturating_sub(at));
        // SAFETY: `at` + `n` ≤ `len` bytes of room, if `n` is not 0; the writer that gave the grant owns the lane, writes nothing
        // there while the grant is out, and gave no other. No slice into a lane exists.
        unsafe { crate::bytes::copy_in(bytes.as_ptr(), self.place.wrapping_add(at), n) };
        n
    }

    /// Where the room is, for DMA or a C library.
    ///
    /// Writing [`len`](WriteGrant::len) bytes through the pointer is sound until the grant is given back, by volatile or atomic
    /// accesses or from outside of the program.
    pub fn as_ptr(&mut self) -> *mut LaneByte {
        self.place
    }
}

/// A record that was received and lies in the lane still.
///
/// It borrows nothing but the lane's memory. The reader receives nothing else until it has got it back, by
/// [`release`](super::RecordReader::release); so a grant that is dropped leaves the reader
/// [`Granted`](super::RecvError::Granted) for ever.
#[derive(Debug)]
#[must_use = "the reader receives nothing else until the grant is released"]
pub struct ReadGrant<'m> {
    pub(super) parts: [(*const LaneByte, usize); 2],
    pub(super) memory: PhantomData<&'m ()>,
}

// SAFETY: the bytes stay where they are until the reader has the grant back; any thread may read them.
unsafe impl Send for ReadGrant<'_> {}

impl ReadGrant<'_> {
    /// The bytes of the record.
    pub fn len(&self) -> usize {
        self.parts[0].1 + self.parts[1].1
    }

    /// Whether it is an empty record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it lies in one piece. A record that was written through a [`WriteGrant`] does.
    pub fn is_contiguous(&self) -> bool {
        self.parts[1].1 == 0
    }

    /// Copies bytes from position `at` on to `out`. Returns how many there were.
    ///
    /// The peer may be hostile and change what it sent: check what you copied, not what lies there.
    pub fn copy_to(&self, at: usize, out: &mut [u8]) -> usize {
        let mut copied = 0;
        let mut skip = at;
        for (place, len) in self.parts {
            let from = skip.min(len);
            let n = (len - from).min(out.len() - copied);
            // SAFETY: `from` + `n` ≤ `len` bytes of this run, which stay readable while the grant is out; `out` has room for
            // `n` more. No slice into a lane exists.
            unsafe { crate::bytes::copy_out(place.wrapping_add(from), out.as_mut_ptr().wrapping_add(copied), n) };
            copied += n;
            skip -= from;
        }
        copied
    }

    /// Where it lies: one or two runs, the second of length 0 if it is one.
    ///
    /// Reading through the pointers is sound until the grant is given back, by volatile or atomic accesses or from outside of
    /// the program.
    pub fn parts(&self) -> [(*const LaneByte, usize); 2] {
        self.parts
    }
}
