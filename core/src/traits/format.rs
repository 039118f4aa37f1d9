//! `core::fmt::Write`: text into a ring of bytes, or into a lane.

use core::fmt;

use crate::lane::Producer;
use crate::park::Park;
use crate::spsc;

/// Text that fits whole is pushed and published at once; else nothing is, and it is an error. Nothing waits.
impl<W: spsc::Words> fmt::Write for spsc::Producer<'_, u8, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.room() < text.len() {
            return Err(fmt::Error);
        }
        self.push_slice(text.as_bytes());
        Ok(())
    }
}

/// Each piece of text that fits whole is published at once; else nothing of it is, and it is an error. Nothing waits.
impl<P: Park> fmt::Write for Producer<'_, P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut room = self.reserve(text.len()).map_err(|_| fmt::Error)?;
        room.write(text.as_bytes());
        room.commit_filled();
        Ok(())
    }
}
