//! Messages, how to choose one, and what the kernel knows of their queue.

use std::time::SystemTime;

use super::perm::{self, Perm};

/// The kind of a message, a number from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageType(pub(super) libc::c_long);

impl MessageType {
    /// The first type there is.
    pub const ONE: Self = Self(1);

    /// A type by its number: `None` if it is not positive, or does not fit into a C long.
    #[must_use]
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "a C long differs by target"
    )]
    pub fn new(number: i64) -> Option<Self> {
        libc::c_long::try_from(number).ok().filter(|&number| number > 0).map(Self)
    }

    /// Its number.
    #[must_use]
    #[allow(clippy::useless_conversion, reason = "a C long differs by target")]
    pub fn raw(self) -> i64 {
        self.0.into()
    }
}

/// Which message to receive. Among those that fit, it is the oldest, but for [`Select::AtMost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Whichever is first.
    Any,
    /// The first of this type.
    Type(MessageType),
    /// The first of the lowest type that is not above this one: so lower types go first.
    AtMost(MessageType),
    /// The first of any other type.
    Except(MessageType),
}

impl Select {
    pub(super) fn raw(self) -> (libc::c_long, libc::c_int) {
        match self {
            Select::Any => (0, 0),
            Select::Type(t) => (t.0, 0),
            Select::AtMost(t) => (-t.0, 0),
            Select::Except(t) => (t.0, libc::MSG_EXCEPT),
        }
    }
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedMessage {
    /// The type of the message.
    pub ty: MessageType,
    /// How many bytes of the buffer it fills.
    pub len: usize,
}

/// What the kernel knows of a queue.
///
/// # References
/// msgctl(2); Free Pascal `TMSQid_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStat {
    /// Owner and mode.
    pub perm: Perm,
    /// How many messages are in it.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many bytes it can hold. It holds no more messages than that, either.
    pub max_bytes: u64,
    /// The process that sent last; for display only.
    pub last_sender: i32,
    /// The process that received last, or the thread if it had to wait; for display only.
    pub last_receiver: i32,
    /// When a process sent last. All times are in whole seconds.
    pub sent_at: Option<SystemTime>,
    /// When a process received last.
    pub received_at: Option<SystemTime>,
    /// When it was created, or changed by `set_perm` or `set_max_bytes`.
    pub changed_at: Option<SystemTime>,
}

impl QueueStat {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the types differ by target")]
    pub(super) fn from_raw(raw: &libc::msqid_ds) -> Self {
        Self {
            perm: Perm::from_raw(&raw.msg_perm),
            messages: raw.msg_qnum as u64,
            bytes: raw.__msg_cbytes as u64,
            max_bytes: raw.msg_qbytes as u64,
            last_sender: raw.msg_lspid,
            last_receiver: raw.msg_lrpid,
            sent_at: perm::time(raw.msg_stime),
            received_at: perm::time(raw.msg_rtime),
            changed_at: perm::time(raw.msg_ctime),
        }
    }
}
