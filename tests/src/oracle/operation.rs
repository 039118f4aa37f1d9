//! What can be done to a channel: the operations that tests and fuzzers make up.

/// The largest capacity that a [`Setup`] has.
pub const MAX_CAPACITY: u32 = 4096;

/// The channel that operations run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The capacity of each party's lane: 0 or a power of two.
    pub capacities: [u32; 2],
    /// Where all cursors begin; taken modulo 2³¹.
    pub start: u32,
    /// The alignment of the segments: 128 or more.
    pub align: u32,
    /// Both segments in one allocation, as in a file; or in two, as over memfds.
    pub one_block: bool,
}

/// A half of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The reading half.
    Read = 0,
    /// The writing half.
    Write = 1,
}

/// Something done to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// `write` of so many bytes.
    Append(u16),
    /// `put` at a position.
    Put {
        /// The position.
        at: u16,
        /// How many bytes.
        len: u16,
    },
}

/// How a reservation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `commit(n)`.
    Commit(u16),
    /// `commit_filled()`.
    Filled,
    /// `abort()`.
    Abort,
    /// Dropped.
    Drop,
}

/// How a wait goes, if it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Looks before parking.
    pub spins: u8,
    /// Sleeps that end for no reason before one ends by the deadline.
    pub maybes: u8,
}

/// One operation, by one party (0 or 1; taken modulo 2). Lengths are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `Producer::write`, or `End::write`.
    Write {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
        /// Through the end rather than its half.
        by_end: bool,
    },
    /// `Producer::write_deferred`.
    WriteDeferred {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
    },
    /// `Producer::write_vectored`.
    WriteVectored {
        /// Who.
        party: u8,
        /// How many bytes in each buffer.
        lens: [u16; 3],
    },
    /// `Producer::flush`.
    Flush {
        /// Who.
        party: u8,
    },
    /// `Producer::reserve`, and what is done with it.
    Reserve {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
        /// What is put into it.
        fills: [Fill; 2],
        /// How it ends.
        outcome: Outcome,
    },
    /// `Consumer::read`, or `End::read`.
    Read {
        /// Who.
        party: u8,
        /// The length of the buffer.
        len: u16,
        /// Through the end rather than its half.
        by_end: bool,
    },
    /// `Consumer::read_uninit`, or `End::read_uninit`.
    ReadUninit {
        /// Who.
        party: u8,
        /// The length of the buffer.
        len: u16,
        /// Through the end rather than its half.
        by_end: bool,
    },
    /// `Consumer::read_deferred`.
    ReadDeferred {
        /// Who.
        party: u8,
        /// The length of the buffer.
        len: u16,
    },
    /// `Consumer::read_vectored`.
    ReadVectored {
        /// Who.
        party: u8,
        /// The lengths of the buffers.
        lens: [u16; 3],
    },
    /// `Consumer::flush`.
    GiveBack {
        /// Who.
        party: u8,
    },
    /// `Consumer::peek`, `Peek::copy_to` and, if asked for, `Peek::consume`.
    Peek {
        /// Who.
        party: u8,
        /// The position copied from.
        at: u16,
        /// The length of the buffer.
        len: u16,
        /// How many bytes are then taken.
        take: Option<u16>,
    },
    /// `Consumer::consume`.
    Consume {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
    },
    /// `Producer::finish`.
    Finish {
        /// Who.
        party: u8,
    },
    /// `Consumer::stop`.
    Stop {
        /// Who.
        party: u8,
    },
    /// `End::close`.
    Close {
        /// Who.
        party: u8,
    },
    /// `Producer::wait`, or `End::wait_room`, with a deadline that has passed.
    WaitRoom {
        /// Who.
        party: u8,
        /// How many bytes of room.
        want: u16,
        /// How it goes.
        patience: Patience,
        /// Through the end rather than its half.
        by_end: bool,
        /// For the whole party, without a deadline: `wait_exclusive`, or `wait_room_exclusive` and `wait_bytes_exclusive`.
        exclusive: bool,
    },
    /// `Consumer::wait`, or `End::wait_bytes`, with a deadline that has passed.
    WaitBytes {
        /// Who.
        party: u8,
        /// How many bytes.
        want: u16,
        /// How it goes.
        patience: Patience,
        /// Through the end rather than its half.
        by_end: bool,
        /// For the whole party, without a deadline: `wait_exclusive`, or `wait_room_exclusive` and `wait_bytes_exclusive`.
        exclusive: bool,
    },
    /// `announce` of a half, or the same in its three steps, and, if asked for, `withdraw`. A half that does not withdraw stays announced.
    Announce {
        /// Who.
        party: u8,
        /// Which half.
        half: Half,
        /// How many bytes, or how much room.
        want: u16,
        /// In three steps.
        in_steps: bool,
        /// Whether it withdraws.
        withdraw: bool,
    },
    /// `Producer` as `core::fmt::Write`: a text that goes whole, or not at all.
    Text {
        /// Who.
        party: u8,
        /// How many bytes.
        len: u16,
    },
    /// Drops the end and attaches again. The words in memory are all that is left: bytes written and not flushed are
    /// gone, bytes taken and not given back will be read once more, and everything else goes on where it was.
    Reattach {
        /// Who.
        party: u8,
    },
    /// Writes the words of a half as if it slept in another thread: its threshold lies so far ahead of the cursor it waits
    /// for. Does nothing to a reading half that has stopped, which never sleeps again.
    Asleep {
        /// Who sleeps.
        party: u8,
        /// With which half.
        half: Half,
        /// How far ahead the threshold lies. An honest one is in 1..=capacity; others must do no harm.
        ahead: u16,
        /// Whether `EXCLUSIVE` is set.
        exclusive: bool,
        /// How it wants to be rung.
        method: u8,
    },
    /// Writes 0, or bits that mean nothing, into the park word of a half: awake.
    Awake {
        /// Who.
        party: u8,
        /// Which half.
        half: Half,
        /// The bits; `ASLEEP` is left out, and *look* is taken as 0.
        bits: u32,
    },
}
