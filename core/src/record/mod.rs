//! Whole messages on a lane: never split, never torn, never mixed.
//!
//! A [`RecordWriter`] and a [`RecordReader`] wrap the two halves of a lane, at both of its ends. Code that cannot give its halves
//! away calls [`Producer::send_record`](crate::lane::Producer::send_record), [`Consumer::recv_record`](crate::lane::Consumer::recv_record)
//! and their like.
//!
//! ```
//! use smstream_core::block::{Block, block_len};
//! use smstream_core::geometry::Config;
//! use smstream_core::park::Spin;
//! use smstream_core::record::{RecordReader, RecordWriter};
//!
//! const CHANNEL: Config = Config::new([64, 0]);
//! let mut block = Block::<{ block_len(&CHANNEL) }>::new();
//! let (here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
//! let mut writer = RecordWriter::new(here.producer);
//! let mut reader = RecordReader::new(there.consumer);
//!
//! writer.send(b"one").unwrap();
//! let mut claim = writer.claim(10).unwrap(); // to be filled in place
//! claim.write(b"two");
//! claim.commit_filled().unwrap();
//!
//! let mut out = [0; 60];
//! assert_eq!(reader.recv(&mut out), Ok(Some(3)));
//! assert_eq!(&out[..3], b"one");
//! assert_eq!(reader.recv(&mut out), Ok(Some(3)));
//! assert_eq!(&out[..3], b"two");
//! ```
//!
//! # The framing
//! A record is a header of four bytes and its bytes, filled up to a multiple of four. The header is the number of bytes, in
//! the byte order of the machine; bit 31 set means padding, which readers skip. `sent` moves past whole records only, so a
//! reader that sees a header sees all of its record. A header that says otherwise makes the reader `Corrupt`. `LAYOUT.md` has
//! this for peers in other languages.
//!
//! # The largest record
//! The capacity of the lane less four bytes, contiguous or not. A lane of less than four bytes takes none.
//!
//! # In place, and contiguous
//! [`claim`](RecordWriter::claim) borrows the writer and may wrap round the end of the lane. A [`WriteGrant`] and a
//! [`ReadGrant`] borrow nothing, so they can lie in a static while a DMA transfer runs, and be given back from an interrupt. A
//! half has at most one of them at a time. A `WriteGrant` is contiguous; the room before the end of the lane is then filled
//! with padding. A record that was not written through a grant can wrap, and a `ReadGrant` says so.

mod claim;
mod error;
mod grant;
mod half;
mod reader;
mod view;
mod writer;

pub use claim::Claim;
pub use error::{BeyondClaim, GrantError, RecvError, SendError};
pub use grant::{ReadGrant, WriteGrant};
pub use reader::RecordReader;
pub use view::Record;
pub use writer::RecordWriter;

/// Bytes of a header, and what records are filled up to a multiple of.
const HEADER: u32 = 4;
/// Bit of a header: this is padding.
const PADDING: u32 = 1 << 31;

/// The bytes that a record of `len` bytes takes. `len` is at most a capacity, so this does not overflow.
const fn frame(len: u32) -> u32 {
    HEADER + len.next_multiple_of(HEADER)
}
