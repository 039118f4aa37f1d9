//! What can go wrong with records.

use core::fmt;

use crate::error::{ReadError, ReserveError, WriteError};

/// Why a record was not sent, or no room for it given.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room now. There will be when the reader has taken what is there.
    Full,
    /// The lane never has room for so long a record: see [`max_len`](super::RecordWriter::max_len).
    TooLong,
    /// A [`WriteGrant`](super::WriteGrant) of this writer has not been given back.
    Granted,
    /// The peer takes no more, or this half has said that no more will come.
    Closed,
    /// The peer is dead.
    PeerGone,
    /// The peer broke the rules. This stays.
    Corrupt,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full => "the lane has no room for this record now",
            SendError::TooLong => "the record is longer than the lane can ever hold",
            SendError::Granted => "a write grant has not been committed or aborted yet",
            SendError::Closed => "the peer takes no more, or this half has finished",
            SendError::PeerGone => "the peer is gone",
            SendError::Corrupt => "the peer broke the rules of the lane",
        })
    }
}

impl core::error::Error for SendError {}

impl From<WriteError> for SendError {
    fn from(e: WriteError) -> Self {
        match e {
            WriteError::Full => SendError::Full,
            WriteError::Closed => SendError::Closed,
            WriteError::PeerGone => SendError::PeerGone,
            WriteError::Corrupt => SendError::Corrupt,
        }
    }
}

impl From<ReserveError> for SendError {
    fn from(e: ReserveError) -> Self {
        match e {
            ReserveError::TooLong => SendError::TooLong,
            ReserveError::Write(e) => e.into(),
        }
    }
}

/// Why no record was received.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// There is no record now.
    Empty,
    /// The next record is longer than the buffer. It stays.
    TooSmall {
        /// The length of the record, in bytes.
        needed: usize,
    },
    /// A [`ReadGrant`](super::ReadGrant) of this reader has not been given back.
    Granted,
    /// The peer died without saying that no more will come. All records that it had published were received.
    PeerGone,
    /// The peer broke the rules: its cursor, or the length of a record, cannot be. This stays.
    Corrupt,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Empty => f.write_str("there is no record now"),
            RecvError::TooSmall { needed } => write!(f, "the next record has {needed} bytes, more than the buffer"),
            RecvError::Granted => f.write_str("a read grant has not been released yet"),
            RecvError::PeerGone => f.write_str("the peer is gone"),
            RecvError::Corrupt => f.write_str("the peer broke the rules of the lane, or of records"),
        }
    }
}

impl core::error::Error for RecvError {}

impl From<ReadError> for RecvError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::Empty => RecvError::Empty,
            ReadError::PeerGone => RecvError::PeerGone,
            ReadError::Corrupt => RecvError::Corrupt,
        }
    }
}

/// More was to be committed than had been claimed. Nothing was sent.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondClaim {
    /// The bytes that were claimed.
    pub claimed: usize,
}

impl fmt::Display for BeyondClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no more than the {} bytes that were claimed can be committed", self.claimed)
    }
}

impl core::error::Error for BeyondClaim {}

/// Why a grant was not taken back. It comes back to the caller.
#[derive(Debug)]
#[non_exhaustive]
pub enum GrantError<G> {
    /// It was given by another half.
    Foreign(G),
    /// More was to be committed than had been granted.
    Beyond(G),
    /// The lane was closed, or the peer is gone or corrupt: the record cannot be sent. The grant is aborted.
    Send(SendError),
}

impl<G> fmt::Display for GrantError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrantError::Foreign(_) => f.write_str("the grant was given by another half"),
            GrantError::Beyond(_) => f.write_str("no more than was granted can be committed"),
            GrantError::Send(e) => e.fmt(f),
        }
    }
}

impl<G: fmt::Debug> core::error::Error for GrantError<G> {}
