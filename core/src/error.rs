//! What can go wrong, one small enum per operation, and the seven codes of the libraries that this replaces.

use core::fmt;

/// The codes that SMStreams gave its errors, with their numbers.
///
/// References: Ulm's Oberon Library, `SMStreams`, `error` and `errormsg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The first lane cannot be made or used: its capacity is wrong.
    MRing = 0,
    /// The second lane cannot be made or used: its capacity is wrong.
    SRing = 1,
    /// The peer died.
    PartnerNotAlive = 2,
    /// A write to a stream whose peer takes no more.
    WriteAfterClose = 3,
    /// Both parties wait for each other.
    Deadlock = 4,
    /// Another process has this end already.
    NotAlone = 5,
    /// No listener is there.
    ConnectionNotReady = 6,
}

impl ErrorCode {
    /// All seven, in the order of their numbers.
    pub const ALL: [ErrorCode; 7] = [
        ErrorCode::MRing,
        ErrorCode::SRing,
        ErrorCode::PartnerNotAlive,
        ErrorCode::WriteAfterClose,
        ErrorCode::Deadlock,
        ErrorCode::NotAlone,
        ErrorCode::ConnectionNotReady,
    ];

    /// Its number, from 0 to 6.
    ///
    /// ```
    /// use smstream_core::error::ErrorCode;
    ///
    /// assert_eq!(ErrorCode::NotAlone.number(), 5);
    /// assert_eq!(ErrorCode::from_number(5), Some(ErrorCode::NotAlone));
    /// assert_eq!(ErrorCode::from_number(7), None);
    /// ```
    #[allow(clippy::as_conversions)] // The numbers are given above, and fit.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<ErrorCode> {
        match number {
            0 => Some(ErrorCode::MRing),
            1 => Some(ErrorCode::SRing),
            2 => Some(ErrorCode::PartnerNotAlive),
            3 => Some(ErrorCode::WriteAfterClose),
            4 => Some(ErrorCode::Deadlock),
            5 => Some(ErrorCode::NotAlone),
            6 => Some(ErrorCode::ConnectionNotReady),
            _ => None,
        }
    }

    /// The name that SMStreams has for it.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorCode::MRing => "MRingError",
            ErrorCode::SRing => "SRingError",
            ErrorCode::PartnerNotAlive => "PartnerNotAliveError",
            ErrorCode::WriteAfterClose => "WriteAfterCloseError",
            ErrorCode::Deadlock => "DeadlockError",
            ErrorCode::NotAlone => "NotAloneError",
            ErrorCode::ConnectionNotReady => "ConnectionNotReadyError",
        }
    }
}

/// Why nothing was written.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The lane has no room now.
    Full,
    /// The peer takes no more, or this half has said that no more will come.
    Closed,
    /// The peer is dead.
    PeerGone,
    /// The peer's words broke the rules. This stays.
    Corrupt,
}

/// Why nothing was read.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The lane is empty now.
    Empty,
    /// The peer died without saying that no more will come. All it had published has been read.
    PeerGone,
    /// The peer's words broke the rules. This stays.
    Corrupt,
}

/// Why room could not be reserved.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// More than the lane can ever hold.
    TooLong,
    /// As for writing.
    Write(WriteError),
}

/// Why a wait ended with nothing to do.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The deadline passed.
    TimedOut,
    /// Another thread made this half stop waiting.
    Cancelled,
    /// There will never be room: the peer takes no more, or this half has finished.
    Closed,
    /// The peer is dead.
    PeerGone,
    /// The peer's words broke the rules. This stays.
    Corrupt,
    /// Both parties wait for each other. Only a wait for the whole party reports this, and only to party 0; the wait of
    /// party 1 goes on. It does not stay: write, read or close, and the peer wakes.
    Deadlock,
}

impl WriteError {
    /// Its code in the libraries that this replaces, if they had one.
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            WriteError::Closed => Some(ErrorCode::WriteAfterClose),
            WriteError::PeerGone => Some(ErrorCode::PartnerNotAlive),
            _ => None,
        }
    }
}

impl ReadError {
    /// Its code in the libraries that this replaces, if they had one.
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            ReadError::PeerGone => Some(ErrorCode::PartnerNotAlive),
            _ => None,
        }
    }
}

impl WaitError {
    /// Its code in the libraries that this replaces, if they had one.
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            WaitError::Closed => Some(ErrorCode::WriteAfterClose),
            WaitError::PeerGone => Some(ErrorCode::PartnerNotAlive),
            WaitError::Deadlock => Some(ErrorCode::Deadlock),
            _ => None,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorCode::MRing => "the listener's lane cannot be used",
            ErrorCode::SRing => "the connector's lane cannot be used",
            ErrorCode::PartnerNotAlive => "the peer is not alive",
            ErrorCode::WriteAfterClose => "write to a stream whose peer takes no more",
            ErrorCode::Deadlock => "both parties wait for each other",
            ErrorCode::NotAlone => "another process has this end already",
            ErrorCode::ConnectionNotReady => "no process listens there",
        })
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::Full => "the lane is full",
            WriteError::Closed => "the peer takes no more bytes",
            WriteError::PeerGone => "the peer died",
            WriteError::Corrupt => "the peer's cursor words are corrupt",
        })
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReadError::Empty => "the lane is empty",
            ReadError::PeerGone => "the peer died",
            ReadError::Corrupt => "the peer's cursor words are corrupt",
        })
    }
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReserveError::TooLong => f.write_str("more than the lane can hold"),
            ReserveError::Write(e) => e.fmt(f),
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitError::TimedOut => "the deadline passed",
            WaitError::Cancelled => "the wait was cancelled",
            WaitError::Closed => "the peer takes no more bytes",
            WaitError::PeerGone => "the peer died",
            WaitError::Corrupt => "the peer's cursor words are corrupt",
            WaitError::Deadlock => "both parties wait for each other",
        })
    }
}

impl core::error::Error for WriteError {}
impl core::error::Error for ReadError {}
impl core::error::Error for ReserveError {}
impl core::error::Error for WaitError {}

impl From<WriteError> for ReserveError {
    fn from(e: WriteError) -> Self {
        ReserveError::Write(e)
    }
}
