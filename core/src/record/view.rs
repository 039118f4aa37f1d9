//! A record that is looked at where it lies.

use super::{HEADER, frame};
use crate::lane::Peek;
use crate::park::Park;
use crate::size::to_usize;
use crate::sync::LaneByte;

/// A record in the lane, which stays until it is [consumed](Record::consume).
///
/// Looking copies out of the lane, because the peer may be hostile and change what it sent: check what you copied, and not
/// what lies there.
#[derive(Debug)]
#[must_use = "looking takes nothing from the lane"]
pub struct Record<'r, 'm, P: Park> {
    peek: Peek<'r, 'm, P>,
    len: u32,
}

impl<'r, 'm, P: Park> Record<'r, 'm, P> {
    /// `peek` has shown a header of a record of `len` bytes, and all of it.
    pub(super) fn new(peek: Peek<'r, 'm, P>, len: u32) -> Self {
        Record { peek, len }
    }

    /// The bytes of the record.
    pub fn len(&self) -> usize {
        to_usize(self.len)
    }

    /// Whether it is an empty record.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes from position `at` on to `out`. Returns how many there were.
    pub fn copy_to(&self, at: usize, out: &mut [u8]) -> usize {
        let n = out.len().min(self.len().saturating_sub(at));
        if n == 0 { 0 } else { self.peek.copy_to(to_usize(HEADER) + at, &mut out[..n]) }
    }

    /// Where it lies: one or two runs, the second of length 0 if it is one. As for [`Peek::parts`].
    pub fn parts(&self) -> [(*const LaneByte, usize); 2] {
        let [(first, first_len), (second, _)] = self.peek.parts();
        let (at, len) = (to_usize(HEADER), self.len());
        if at < first_len {
            let here = len.min(first_len - at);
            [(first.wrapping_add(at), here), (second, len - here)]
        } else {
            [(second.wrapping_add(at - first_len), len), (second, 0)]
        }
    }

    /// Takes the record, gives its room back and wakes the writer if that is what it waits for.
    pub fn consume(self) {
        self.peek.consume(to_usize(frame(self.len)));
    }
}
