//! Numbers out of bytes.

use smstream_core::cursor::CURSOR;

/// The rest of an input.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Bytes(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A word: mostly one that is small, one bit or all, seldom any.
    pub(crate) fn word(&mut self) -> u32 {
        match self.u8() {
            code @ 0..=63 => 1 << (code % 32),
            code @ 64..=95 => u32::from(code - 64),
            code @ 96..=127 => u32::MAX - u32::from(code - 96),
            _ => self.u32(),
        }
    }

    /// Everything that is left, up to `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number of bytes: mostly small, seldom beyond every lane.
    pub(crate) fn len(&mut self) -> u16 {
        match self.u8() {
            small @ 0..=199 => u16::from(small % 40),
            _ => self.u16() % 5000,
        }
    }

    /// 0, or a power of two below 2 to the power of `powers`.
    pub(crate) fn capacity(&mut self, powers: u8) -> u32 {
        match self.u8() % (powers + 1) {
            0 => 0,
            n => 1 << (n - 1),
        }
    }

    /// A cursor: mostly a little before all bits, or those of a threshold, wrap.
    pub(crate) fn start(&mut self) -> u32 {
        match self.u8() % 4 {
            0..=1 => CURSOR - u32::from(self.u8()),
            2 => (CURSOR >> 1).wrapping_sub(self.u16().into()),
            _ => self.u32(),
        }
    }
}
