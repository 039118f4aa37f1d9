//! Reading and writing, by `&mut Stream` and by `&Stream`.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};

use super::Stream;
use crate::half::Beside;

impl Read for Stream {
    #[inline]
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        let result = reader.read_beside(out, Beside::Whole(writer));
        self.both_or_neither(result)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        let result = reader.read_vectored_beside(bufs, Beside::Whole(writer));
        self.both_or_neither(result)
    }
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        let (reader, writer) = self.halves_mut();
        let result = reader.read_exact_beside(out, Beside::Whole(writer));
        self.both_or_neither(result)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        let result = writer.write_beside(bytes, Some(reader));
        self.both_or_neither(result)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let (reader, writer) = self.halves_mut();
        let result = writer.write_vectored_beside(bufs, Some(reader));
        self.both_or_neither(result)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (reader, writer) = self.halves_mut();
        let result = writer.write_all_beside(bytes, Some(reader));
        self.both_or_neither(result)
    }
    fn flush(&mut self) -> io::Result<()> {
        let result = self.halves_mut().1.flush();
        self.both_or_neither(result)
    }
}

impl Read for &Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let result = self.reader().read_beside(out, Beside::Shared(&|| self.publish_if_free()));
        self.both_or_neither(result)
    }
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let result = self.reader().read_vectored_beside(bufs, Beside::Shared(&|| self.publish_if_free()));
        self.both_or_neither(result)
    }
    fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        let result = self.reader().read_exact_beside(out, Beside::Shared(&|| self.publish_if_free()));
        self.both_or_neither(result)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.writer().write(bytes);
        self.both_or_neither(result)
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.writer().write_vectored(bufs);
        self.both_or_neither(result)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = self.writer().write_all(bytes);
        self.both_or_neither(result)
    }
    fn flush(&mut self) -> io::Result<()> {
        let result = self.writer().flush();
        self.both_or_neither(result)
    }
}

/// For a peer that is trusted.
impl Stream {
    /// As [`ReadHalf::peek_beside`](crate::ReadHalf::peek_beside), with what is held back published before it waits.
    pub(crate) fn peek(&mut self) -> io::Result<(*const u8, usize)> {
        let (reader, writer) = self.halves_mut();
        let result = reader.peek_beside(Beside::Whole(writer));
        self.both_or_neither(result)
    }

    /// Takes up to `n` bytes that are there.
    pub(crate) fn take_bytes(&mut self, n: usize) {
        self.halves_mut().0.take_bytes(n);
    }
}
