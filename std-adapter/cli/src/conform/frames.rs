//! Records in a lane, as they lie there: R.

use super::meeting::Meeting;
use super::trouble::{Trouble, broke, need};

/// Bit 31 of a header: padding.
pub const PADDING: u32 = 1 << 31;

/// A header.
pub fn header(word: u32) -> [u8; 4] {
    word.to_ne_bytes()
}

/// What a record of these bytes is in the lane: its header, and filled up to a multiple of four.
pub fn frame(record: &[u8]) -> Vec<u8> {
    let mut frame = [&header(record.len() as u32)[..], record].concat();
    frame.resize(frame.len().next_multiple_of(4), 0);
    frame
}

/// What came of the peer's lane, record by record.
#[derive(Debug, Default)]
pub struct Frames {
    came: Vec<u8>,
}

impl Frames {
    /// Takes all that the peer has published, and needs it to end where a record or padding ends: R1.
    fn take(&mut self, meeting: &mut Meeting) -> Result<(), Trouble> {
        let there = meeting.look_sent()? as usize;
        let mut bytes = vec![0; there];
        let n = meeting.read(&mut bytes)?;
        self.came.extend_from_slice(&bytes[..n]);
        let mut rest = &self.came[..];
        while !rest.is_empty() {
            let Some((word, behind)) = rest.split_first_chunk() else {
                return Err(broke(&["R1"], format!("it has published {} bytes of a header", rest.len())));
            };
            let len = (u32::from_ne_bytes(*word) & !PADDING) as usize;
            let filled = len.next_multiple_of(4);
            need(filled <= behind.len(), &["R1"], || {
                format!("it has published {} bytes of a record of {len} bytes, which takes {filled}", behind.len())
            })?;
            rest = &behind[filled..];
        }
        Ok(())
    }

    /// The next record, if one is there. Padding is skipped.
    pub fn next(&mut self, meeting: &mut Meeting) -> Result<Option<Vec<u8>>, Trouble> {
        self.take(meeting)?;
        while let Some((word, behind)) = self.came.split_first_chunk() {
            let word = u32::from_ne_bytes(*word);
            let len = (word & !PADDING) as usize;
            let record = behind[..len].to_vec();
            self.came.drain(..4 + len.next_multiple_of(4));
            if word & PADDING == 0 {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Needs that no record is there.
    pub fn nothing(&mut self, meeting: &mut Meeting) -> Result<(), Trouble> {
        let came = self.next(meeting)?;
        need(came.is_none(), &["R2"], || {
            format!("a record of {} bytes came, and none was sent", came.map_or(0, |record| record.len()))
        })
    }
}
