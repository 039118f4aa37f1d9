//! The bytes of a segment: what stands where, and who writes it. `docs/LAYOUT.md` is made from this.
//!
//! Every word is a `u32` in the byte order of the machine, on a fixed line of 128 bytes. The size of a line is part of
//! the layout; it does not follow the cache of the machine the code was compiled for. Words not named are reserved: the
//! owner leaves them 0, the peer does not look at them.

use crate::size::{halves, saturating};
use crate::sync::AtomicU32;

/// The bytes at the start of every segment. No text begins with them: the first is outside ASCII and begins no character of
/// UTF-8, and the two kinds of line ends and the end-of-file character of old systems would not survive a conversion. (PNG
/// does the same.)
pub const MAGIC: [u8; 8] = *b"\x89SMS\r\n\x1a\n";
/// The value of [`Identity::byte_order`] for a reader that has the byte order of the writer.
pub const BYTE_ORDER: u32 = 0x0102_0304;
/// The version of this layout. It has nothing to do with the version of the crate.
pub const VERSION: u32 = 1;
/// The bytes of a line.
pub const LINE: usize = 128;
/// The bytes before the lane that this version uses: identity and port.
pub const HEADER_LEN: u32 = 6 * saturating(LINE);

/// Values of the `state` word. Party 0 writes [`ARMED`](state::ARMED) and [`ACCEPTED`](state::ACCEPTED) in its segment,
/// party 1 writes [`HELLO`](state::HELLO) in its own.
pub mod state {
    /// Nothing has been said yet.
    pub const NONE: u32 = 0;
    /// Party 0: this region waits for a connector.
    pub const ARMED: u32 = 1;
    /// Party 0: the connector is accepted.
    pub const ACCEPTED: u32 = 2;
    /// Party 0: the connector is refused, in bits 0–7. Bits 8–15 say why: the number of a refusal over a socket.
    pub const REFUSED: u32 = 3;
    /// Party 1: I hold the claim and want to be accepted.
    pub const HELLO: u32 = 1;
}

bitflags::bitflags! {
    /// What a segment's owner does beyond the base protocol.
    ///
    /// A peer that does not know a bit of [`MUST_KNOW`](Features::MUST_KNOW) must not attach; the others may be ignored.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// The owner keeps its counters. May be ignored.
        const COUNTERS = 1 << 16;
        /// The owner sends and reads whole messages: see [`record`](crate::record). May be ignored: it says how to read the bytes.
        const RECORDS = 1 << 17;
        /// Between announcing that it sleeps and looking again, each half of the owner issues a
        /// [barrier](crate::park::Park::barrier), unless the publisher says that it fences. May be ignored: it spares publishers that
        /// can rely on it their full fence.
        const BARRIER = 1 << 18;
        /// The owner's halves never sleep, so that the peer need not look whether they do. May be ignored.
        const AWAKE = 1 << 19;
    }
}

impl Features {
    /// The bits whose meaning a peer must know.
    pub const MUST_KNOW: u32 = 0x0000_ffff;
}

/// Who the owner is and where its lane lies. Written once, before anyone else attaches.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Identity {
    /// [`MAGIC`], as two words.
    pub magic: [AtomicU32; 2],
    /// [`BYTE_ORDER`].
    pub byte_order: AtomicU32,
    /// [`VERSION`], stored last: 0 until the rest is there.
    pub version: AtomicU32,
    /// [`Features`].
    pub features: AtomicU32,
    /// 0 for the listener, 1 for the connector.
    pub party: AtomicU32,
    /// The alignment of segments that share a block: a power of two, at least [`LINE`].
    pub align: AtomicU32,
    /// Where the lane begins, in bytes from the start of the segment: a multiple of [`LINE`], at least [`HEADER_LEN`].
    pub lane_offset: AtomicU32,
    /// The bytes of my lane: 0, or a power of two of at most 2²⁹.
    pub capacity: AtomicU32,
    /// The bytes of the peer's lane, as agreed. It must be what the peer says of itself.
    pub peer_capacity: AtomicU32,
    /// Where both cursors of both lanes begin.
    pub start: AtomicU32,
    /// The process that made this end, for display only: in another PID namespace the number is another process's.
    pub pid: AtomicU32,
    /// When, in seconds since 1970, low half. For display only.
    pub made_low: AtomicU32,
    /// When, high half.
    pub made_high: AtomicU32,
    /// Which channel, low half: the same in both segments, or 0. For display only; of a `file:` region it is the inode number
    /// of the file, which distinguishes a leftover from a copy of one.
    pub channel_low: AtomicU32,
    /// Which channel, high half.
    pub channel_high: AtomicU32,
    reserved: [AtomicU32; reserved(16)],
}

/// A cursor on a line of its own.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct CursorLine {
    /// Bits 0–30: the cursor. Bit 31: it will not move again.
    pub word: AtomicU32,
    reserved: [AtomicU32; reserved(31)],
}

/// The words of sleeping and meeting: seldom written, and looked at for every publication. They do not share a line with
/// a cursor, whose every store would take it away from the peer that looks.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct ParkLine {
    /// My reading half: 0 awake, or asleep for bytes of the peer's lane, or *look at `received`*.
    pub read_park: AtomicU32,
    /// My writing half: 0 awake, or asleep for room in my lane.
    pub write_park: AtomicU32,
    /// How my reading half wants to be woken.
    pub read_wake_method: AtomicU32,
    /// How my writing half wants to be woken.
    pub write_wake_method: AtomicU32,
    /// The rendezvous: see [`state`].
    pub state: AtomicU32,
    /// My writing half: 1 while it has a full fence after each store of `sent`, 0 when it perhaps has none.
    pub sent_fence: AtomicU32,
    /// My reading half: the same for `received`.
    pub received_fence: AtomicU32,
    reserved: [AtomicU32; reserved(25)],
}

/// Three words that hold a count: see [`counter`](crate::counter).
#[derive(Debug)]
#[repr(C)]
pub struct CounterWords {
    /// The high half; stored last.
    pub high: AtomicU32,
    /// The low half.
    pub low: AtomicU32,
    /// The high half again; stored first.
    pub high_again: AtomicU32,
}

/// Counters of one half, for inspectors.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct CounterLine {
    /// Bytes published.
    pub bytes: CounterWords,
    /// Publications of the cursor.
    pub operations: CounterWords,
    /// Times this half announced that it sleeps.
    pub parks: CounterWords,
    /// Times this half woke the peer.
    pub wakes_sent: CounterWords,
    reserved: [AtomicU32; reserved(20)],
}

/// The few words a party publishes.
#[derive(Debug)]
#[repr(C)]
pub struct Port {
    /// My writing half: bytes put into my lane, and FIN.
    pub sent: CursorLine,
    /// My reading half: bytes taken from the peer's lane, and STOP.
    pub received: CursorLine,
    /// Both halves, a word each: parking; and the rendezvous.
    pub park: ParkLine,
    /// My writing half: counters.
    pub writes: CounterLine,
    /// My reading half: counters.
    pub reads: CounterLine,
}

/// What stands before the lane.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    /// Who I am. Written once.
    pub identity: Identity,
    /// What I have to say. Written while the stream lives.
    pub port: Port,
}

/// How many words are reserved. None for the model checker: each would cost it time, and it has a layout of its own.
const fn reserved(words: usize) -> usize {
    if cfg!(loom) { 0 } else { words }
}

fn zeros<const N: usize>() -> [AtomicU32; N] {
    core::array::from_fn(|_| AtomicU32::new(0))
}

impl Identity {
    /// All words 0: not yet an identity.
    pub fn blank() -> Self {
        Identity {
            magic: zeros(),
            byte_order: AtomicU32::new(0),
            version: AtomicU32::new(0),
            features: AtomicU32::new(0),
            party: AtomicU32::new(0),
            align: AtomicU32::new(0),
            lane_offset: AtomicU32::new(0),
            capacity: AtomicU32::new(0),
            peer_capacity: AtomicU32::new(0),
            start: AtomicU32::new(0),
            pid: AtomicU32::new(0),
            made_low: AtomicU32::new(0),
            made_high: AtomicU32::new(0),
            channel_low: AtomicU32::new(0),
            channel_high: AtomicU32::new(0),
            reserved: zeros(),
        }
    }
}

impl CounterWords {
    /// A counter at `count`.
    pub fn new(count: u64) -> Self {
        let (low, high) = halves(count);
        CounterWords { high: AtomicU32::new(high), low: AtomicU32::new(low), high_again: AtomicU32::new(high) }
    }
}

impl CounterLine {
    pub(crate) fn zero() -> Self {
        CounterLine {
            bytes: CounterWords::new(0),
            operations: CounterWords::new(0),
            parks: CounterWords::new(0),
            wakes_sent: CounterWords::new(0),
            reserved: zeros(),
        }
    }
}

impl Port {
    /// The port of a party whose cursor words begin with these values.
    pub fn new(sent: u32, received: u32) -> Self {
        Port {
            sent: CursorLine { word: AtomicU32::new(sent), reserved: zeros() },
            received: CursorLine { word: AtomicU32::new(received), reserved: zeros() },
            park: ParkLine {
                read_park: AtomicU32::new(0),
                write_park: AtomicU32::new(0),
                read_wake_method: AtomicU32::new(0),
                write_wake_method: AtomicU32::new(0),
                state: AtomicU32::new(0),
                sent_fence: AtomicU32::new(0),
                received_fence: AtomicU32::new(0),
                reserved: zeros(),
            },
            writes: CounterLine::zero(),
            reads: CounterLine::zero(),
        }
    }
}

/// A named word (or run of words) of a segment, for documents, inspectors and peers in other languages.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Bytes from the start of the segment.
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
    /// Who writes it, and when.
    pub writer: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

#[cfg(not(loom))]
macro_rules! fields {
    ($($name:literal, $($path:ident).+, $len:literal, $writer:literal, $meaning:literal;)+) => {
        /// Every word of the header, in order of its offset. `docs/LAYOUT.md`'s table is made from this.
        pub const FIELDS: &[Field] = &[$(Field {
            name: $name,
            offset: core::mem::offset_of!(Header, $($path).+),
            len: $len,
            writer: $writer,
            meaning: $meaning,
        }),+];
    };
}

#[cfg(not(loom))]
fields! {
    "magic", identity.magic, 8, "setup", "the bytes 89 53 4d 53 0d 0a 1a 0a: `SMS` with bytes around it that no text has";
    "byte_order", identity.byte_order, 4, "setup", "0x01020304 in the owner's byte order";
    "version", identity.version, 4, "setup, last", "1; 0 means: not ready";
    "features", identity.features, 4, "setup", "bits 0–15 must be known, bits 16–31 may be ignored";
    "party", identity.party, 4, "setup", "0 listener, 1 connector";
    "align", identity.align, 4, "setup", "alignment of segments in one block; power of two ≥ 128";
    "lane_offset", identity.lane_offset, 4, "setup", "start of the lane; multiple of 128, ≥ 768";
    "capacity", identity.capacity, 4, "setup", "bytes of my lane: 0 or a power of two ≤ 2²⁹";
    "peer_capacity", identity.peer_capacity, 4, "setup", "bytes of the other lane";
    "start", identity.start, 4, "setup", "where all cursors begin, < 2³¹";
    "pid", identity.pid, 4, "setup", "process of this end; display only";
    "made", identity.made_low, 8, "setup", "seconds since 1970, low word first; display only";
    "channel", identity.channel_low, 8, "setup", "a number both segments share, low word first, or 0; display only, but in a `file:` region the inode number of the file";
    "sent", port.sent.word, 4, "writing half", "bits 0–30 bytes put into my lane mod 2³¹; bit 31 FIN";
    "received", port.received.word, 4, "reading half", "bits 0–30 bytes taken from your lane mod 2³¹; bit 31 STOP";
    "read_park", port.park.read_park, 4, "reading half", "0 awake; bit 31 ASLEEP, bit 30 EXCLUSIVE, bits 0–29 threshold; 1 STOPPED_HINT: look at `received`";
    "write_park", port.park.write_park, 4, "writing half", "0 awake; bit 31 ASLEEP, bit 30 EXCLUSIVE, bits 0–29 threshold";
    "read_wake_method", port.park.read_wake_method, 4, "reading half", "how to wake my reading half: 0 futex on your `sent`, 1 a byte on the socket";
    "write_wake_method", port.park.write_wake_method, 4, "writing half", "how to wake my writing half: 0 futex on your `received`, 1 a byte on the socket";
    "state", port.park.state, 4, "rendezvous", "party 0: 1 ARMED, 2 ACCEPTED, 3 REFUSED; party 1: 1 HELLO";
    "sent_fence", port.park.sent_fence, 4, "writing half", "1: a full fence follows each store of `sent`; 0: perhaps not";
    "received_fence", port.park.received_fence, 4, "reading half", "1: a full fence follows each store of `received`; 0: perhaps not";
    "writes.bytes", port.writes.bytes, 12, "writing half", "counter: bytes published";
    "writes.operations", port.writes.operations, 12, "writing half", "counter: publications";
    "writes.parks", port.writes.parks, 12, "writing half", "counter: times announced asleep";
    "writes.wakes_sent", port.writes.wakes_sent, 12, "writing half", "counter: wakes sent";
    "reads.bytes", port.reads.bytes, 12, "reading half", "counter: bytes given back";
    "reads.operations", port.reads.operations, 12, "reading half", "counter: publications";
    "reads.parks", port.reads.parks, 12, "reading half", "counter: times announced asleep";
    "reads.wakes_sent", port.reads.wakes_sent, 12, "reading half", "counter: wakes sent";
}

#[cfg(not(loom))]
mod pinned {
    use super::{AtomicU32, CounterLine, CursorLine, HEADER_LEN, Header, Identity, LINE, ParkLine, Port};
    use crate::size::to_usize;
    use core::mem::{align_of, offset_of, size_of};
    use static_assertions::const_assert_eq;

    const_assert_eq!(size_of::<Identity>(), LINE);
    const_assert_eq!(size_of::<CursorLine>(), LINE);
    const_assert_eq!(size_of::<ParkLine>(), LINE);
    const_assert_eq!(size_of::<CounterLine>(), LINE);
    const_assert_eq!(size_of::<Port>(), 5 * LINE);
    const_assert_eq!(size_of::<Header>(), to_usize(HEADER_LEN));
    const_assert_eq!(align_of::<Header>(), LINE);

    /// The bytes of the reserved words of a line.
    const fn reserved<T, const N: usize>(_: fn(&T) -> &[AtomicU32; N]) -> usize {
        4 * N
    }
    // All bytes of a line are words, so that none of them is left as it was.
    const_assert_eq!(offset_of!(Identity, reserved) + reserved(|line: &Identity| &line.reserved), LINE);
    const_assert_eq!(offset_of!(CursorLine, reserved) + reserved(|line: &CursorLine| &line.reserved), LINE);
    const_assert_eq!(offset_of!(ParkLine, reserved) + reserved(|line: &ParkLine| &line.reserved), LINE);
    const_assert_eq!(offset_of!(CounterLine, reserved) + reserved(|line: &CounterLine| &line.reserved), LINE);

    const_assert_eq!(offset_of!(Header, identity.magic), 0x000);
    const_assert_eq!(offset_of!(Header, identity.byte_order), 0x008);
    const_assert_eq!(offset_of!(Header, identity.version), 0x00c);
    const_assert_eq!(offset_of!(Header, identity.features), 0x010);
    const_assert_eq!(offset_of!(Header, identity.party), 0x014);
    const_assert_eq!(offset_of!(Header, identity.align), 0x018);
    const_assert_eq!(offset_of!(Header, identity.lane_offset), 0x01c);
    const_assert_eq!(offset_of!(Header, identity.capacity), 0x020);
    const_assert_eq!(offset_of!(Header, identity.peer_capacity), 0x024);
    const_assert_eq!(offset_of!(Header, identity.start), 0x028);
    const_assert_eq!(offset_of!(Header, identity.pid), 0x02c);
    const_assert_eq!(offset_of!(Header, identity.made_low), 0x030);
    const_assert_eq!(offset_of!(Header, identity.made_high), 0x034);
    const_assert_eq!(offset_of!(Header, identity.channel_low), 0x038);
    const_assert_eq!(offset_of!(Header, identity.channel_high), 0x03c);
    const_assert_eq!(offset_of!(Header, port.sent.word), 0x080);
    const_assert_eq!(offset_of!(Header, port.received.word), 0x100);
    const_assert_eq!(offset_of!(Header, port.park.read_park), 0x180);
    const_assert_eq!(offset_of!(Header, port.park.write_park), 0x184);
    const_assert_eq!(offset_of!(Header, port.park.read_wake_method), 0x188);
    const_assert_eq!(offset_of!(Header, port.park.write_wake_method), 0x18c);
    const_assert_eq!(offset_of!(Header, port.park.state), 0x190);
    const_assert_eq!(offset_of!(Header, port.park.sent_fence), 0x194);
    const_assert_eq!(offset_of!(Header, port.park.received_fence), 0x198);
    const_assert_eq!(offset_of!(Header, port.writes.bytes), 0x200);
    const_assert_eq!(offset_of!(Header, port.writes.operations), 0x20c);
    const_assert_eq!(offset_of!(Header, port.writes.parks), 0x218);
    const_assert_eq!(offset_of!(Header, port.writes.wakes_sent), 0x224);
    const_assert_eq!(offset_of!(Header, port.reads.bytes), 0x280);
    const_assert_eq!(offset_of!(Header, port.reads.operations), 0x28c);
    const_assert_eq!(offset_of!(Header, port.reads.parks), 0x298);
    const_assert_eq!(offset_of!(Header, port.reads.wakes_sent), 0x2a4);
}
