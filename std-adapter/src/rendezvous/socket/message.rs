//! What the parties say on the socket before the first byte: five kinds of message of 64 bytes each.
//!
//! ```text
//! connector                                      listener
//! HELLO     versions, features, limit;     ────►
//!           a proposal: geometry, its segment
//!                                          ◄──── ACCEPTED  the listener's segment
//! ```
//!
//! or, without a proposal, or if the listener wants another geometry:
//!
//! ```text
//! HELLO     versions, features, limit      ────►
//!                                          ◄──── WELCOME   version, features, geometry; the listener's segment
//! SEGMENT   features; its segment          ────►
//!                                          ◄──── ACCEPTED  (or REFUSED: why)
//! ```
//!
//! Every message is sixteen words of 32 bits in the byte order of the machine, and one packet of a `SOCK_SEQPACKET`
//! socket. `docs/LAYOUT.md` has the table.

use smstream_core::geometry::Config;
use smstream_core::layout::{BYTE_ORDER, Features, MAGIC, VERSION};

/// The words of a message.
const WORDS: usize = 16;
/// The bytes of a message.
pub(super) const LEN: usize = WORDS * 4;
/// Bit of a message's features: its sender wants a signal beside each wake, see
/// [`Builder::wake_signal`](crate::Builder::wake_signal).
pub(super) const WANTS_SIGNAL: u32 = 1 << 31;

/// Bit of HELLO's features: it proposes a geometry, and brings the connector's segment.
pub(super) const PROPOSES: u32 = 1 << 30;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    Hello = 1,
    Welcome = 2,
    Segment = 3,
    Accepted = 4,
    Refused = 5,
}

/// Why a party refuses the other: a number on the socket, a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No layout version that both know.
    Version = 1,
    /// The user is not allowed.
    User = 2,
    /// A lane is larger than the receiver accepts.
    TooLarge = 3,
    /// The memory is not sealed, has another size, or is of another kind than it must be.
    Memory = 4,
    /// A message that cannot be understood, or that is not due.
    Protocol = 5,
    /// The other side has no memory or no descriptors left.
    Resources = 6,
    /// A limit of the other side's process forbids the memory that is needed.
    Limited = 7,
    /// The user has no id in the other side's user namespace.
    UnknownUser = 8,
}

impl Refusal {
    pub(in crate::rendezvous) fn from_word(word: u32) -> Self {
        match word {
            1 => Refusal::Version,
            2 => Refusal::User,
            3 => Refusal::TooLarge,
            4 => Refusal::Memory,
            6 => Refusal::Resources,
            7 => Refusal::Limited,
            8 => Refusal::UnknownUser,
            _ => Refusal::Protocol,
        }
    }
}

/// One message, read or to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: MessageKind,
    /// The lowest and the highest layout version that the sender knows.
    pub(super) versions: [u32; 2],
    /// The sender's features, [`WANTS_SIGNAL`] and [`PROPOSES`].
    pub(super) features: u32,
    /// WELCOME and a proposal: the version to use.
    pub(super) version: u32,
    /// WELCOME: the bytes of both lanes. HELLO: the most that the connector accepts, twice.
    pub(super) capacities: [u32; 2],
    /// WELCOME and a proposal: the alignment, and where the cursors begin.
    pub(super) align: u32,
    pub(super) start: u32,
    /// WELCOME and a proposal: the number of the channel.
    pub(super) channel: u64,
    /// A proposal: the bytes of both lanes. REFUSED: why, and 0.
    pub(super) last: [u32; 2],
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Garbled {
    Length(usize),
    Magic,
    ByteOrder,
    Kind(u32),
}

impl std::fmt::Display for Garbled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Garbled::Length(n) => write!(f, "a message has {n} bytes and not {LEN}"),
            Garbled::Magic => f.write_str("a message does not begin as those of this protocol do"),
            Garbled::ByteOrder => f.write_str("a message has the other byte order"),
            Garbled::Kind(kind) => write!(f, "a message is of the unknown kind {kind}"),
        }
    }
}

impl Message {
    /// A message that says nothing but what it is, and which versions this program knows.
    pub(super) fn new(kind: MessageKind, features: u32) -> Self {
        Message {
            kind,
            versions: [VERSION, VERSION],
            features,
            version: 0,
            capacities: [0; 2],
            align: 0,
            start: 0,
            channel: 0,
            last: [0; 2],
        }
    }

    /// HELLO of one who accepts lanes of `most` bytes, and perhaps proposes a channel.
    pub(super) fn hello(most: u32, features: u32, proposal: Option<&Config>) -> Self {
        let hello = Message { capacities: [most; 2], ..Message::new(MessageKind::Hello, features) };
        let Some(config) = proposal else { return hello };
        Message {
            features: features | PROPOSES,
            version: VERSION,
            align: config.align,
            start: config.start,
            channel: config.channel,
            last: config.capacities,
            ..hello
        }
    }

    /// The channel that a HELLO proposes, if this program knows its layout.
    pub(super) fn proposal(&self) -> Option<Config> {
        let proposes = self.kind == MessageKind::Hello && self.features & PROPOSES != 0 && self.version == VERSION;
        proposes.then(|| Message { capacities: self.last, ..*self }.config())
    }

    /// REFUSED, and why.
    pub(super) fn refused(why: Refusal) -> Self {
        Message { last: [why as u32, 0], ..Message::new(MessageKind::Refused, 0) }
    }

    /// WELCOME to a channel.
    pub(super) fn welcome(config: &Config, features: u32) -> Self {
        Message {
            version: VERSION,
            capacities: config.capacities,
            align: config.align,
            start: config.start,
            channel: config.channel,
            ..Message::new(MessageKind::Welcome, features)
        }
    }

    /// The channel that a WELCOME describes, without what the parties add.
    pub(super) fn config(&self) -> Config {
        Config { align: self.align, start: self.start, channel: self.channel, ..Config::new(self.capacities) }
    }

    /// The layout version to use with a party that knows `versions`: the highest that both know.
    pub(super) fn common_version(versions: [u32; 2]) -> Option<u32> {
        (versions[0]..=versions[1]).contains(&VERSION).then_some(VERSION)
    }

    /// Why the other side refused.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::from_word(self.last[0])
    }

    /// The bytes to send.
    pub(super) fn to_bytes(self) -> [u8; LEN] {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = MAGIC;
        let words: [u32; WORDS] = [
            u32::from_ne_bytes([m0, m1, m2, m3]),
            u32::from_ne_bytes([m4, m5, m6, m7]),
            BYTE_ORDER,
            self.kind as u32,
            self.versions[0],
            self.versions[1],
            self.features,
            self.version,
            self.capacities[0],
            self.capacities[1],
            self.align,
            self.start,
            self.channel as u32,
            (self.channel >> 32) as u32,
            self.last[0],
            self.last[1],
        ];
        let mut bytes = [0; LEN];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Reads what has come. What the numbers mean is not checked here.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Garbled> {
        if bytes.len() != LEN {
            return Err(Garbled::Length(bytes.len()));
        }
        if bytes[..8] != MAGIC {
            return Err(Garbled::Magic);
        }
        let word = |n: usize| {
            let mut four = [0; 4];
            four.copy_from_slice(&bytes[n * 4..n * 4 + 4]);
            u32::from_ne_bytes(four)
        };
        if word(2) != BYTE_ORDER {
            return Err(Garbled::ByteOrder);
        }
        let kind = match word(3) {
            1 => MessageKind::Hello,
            2 => MessageKind::Welcome,
            3 => MessageKind::Segment,
            4 => MessageKind::Accepted,
            5 => MessageKind::Refused,
            other => return Err(Garbled::Kind(other)),
        };
        Ok(Message {
            kind,
            versions: [word(4), word(5)],
            features: word(6),
            version: word(7),
            capacities: [word(8), word(9)],
            align: word(10),
            start: word(11),
            channel: u64::from(word(13)) << 32 | u64::from(word(12)),
            last: [word(14), word(15)],
        })
    }
}

/// The features of a segment, without what is said on the socket only.
pub(super) fn segment_features(features: Features, wants_signal: bool) -> u32 {
    features.bits() | if wants_signal { WANTS_SIGNAL } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_read() {
        let config = Config { align: 4096, start: 0x7fff_fff0, channel: 0x1234_5678_9abc_def0, ..Config::new([16, 0]) };
        let messages = [
            Message::hello(1 << 20, WANTS_SIGNAL, None),
            Message::hello(1 << 20, 0, Some(&config)),
            Message::welcome(&config, Features::COUNTERS.bits()),
            Message::new(MessageKind::Segment, 0),
            Message::new(MessageKind::Accepted, 0),
            Message::refused(Refusal::TooLarge),
        ];
        for message in messages {
            assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
        }
        assert_eq!(messages[0].proposal(), None);
        assert_eq!(messages[1].proposal(), Some(config));
        assert_eq!(Message { version: VERSION + 1, ..messages[1] }.proposal(), None);
        assert_eq!(messages[1].capacities, [1 << 20; 2]);
        assert_eq!(messages[2].proposal(), None);
        assert_eq!((messages[2].config(), messages[2].version), (config, VERSION));
        assert_eq!(messages[5].refusal(), Refusal::TooLarge);
    }

    /// The table of the message's words in docs/LAYOUT.md.
    #[test]
    fn the_words_stand_where_the_layout_says() {
        let message = Message {
            kind: MessageKind::Welcome,
            versions: [4, 5],
            features: 6,
            version: 7,
            capacities: [8, 9],
            align: 10,
            start: 11,
            channel: 13 << 32 | 12,
            last: [14, 15],
        };
        let bytes = message.to_bytes();
        let word = |n: usize| u32::from_ne_bytes(bytes[4 * n..4 * n + 4].try_into().unwrap());
        assert_eq!(bytes[..8], [0x89, 0x53, 0x4d, 0x53, 0x0d, 0x0a, 0x1a, 0x0a]);
        assert_eq!((word(2), word(3)), (0x0102_0304, 2));
        for n in 4..16 {
            assert_eq!(word(n), n as u32);
        }
        for (number, kind) in [
            MessageKind::Hello,
            MessageKind::Welcome,
            MessageKind::Segment,
            MessageKind::Accepted,
            MessageKind::Refused,
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(*kind as usize, number + 1);
        }
    }

    /// The numbers of word 14 and the bits of word 6, as docs/LAYOUT.md has them.
    #[test]
    fn numbers_of_the_layout_are_read_as_it_has_them() {
        let named = [
            Refusal::Version,
            Refusal::User,
            Refusal::TooLarge,
            Refusal::Memory,
            Refusal::Protocol,
            Refusal::Resources,
            Refusal::Limited,
            Refusal::UnknownUser,
        ];
        for (number, refusal) in (1..).zip(named) {
            let sent = Message::refused(refusal);
            assert_eq!((sent.last, sent.refusal()), ([number, 0], refusal));
        }
        for unknown in [0, 9, 0x101, u32::MAX] {
            assert_eq!(Refusal::from_word(unknown), Refusal::Protocol);
        }
        assert_eq!(segment_features(Features::COUNTERS, true), 0x8001_0000);
        assert_eq!(segment_features(Features::COUNTERS, false), 0x0001_0000);
        let config = Config::new([4096; 2]);
        assert_eq!(Message::hello(16, 0x8000_0000, Some(&config)).features, 0xc000_0000);
        assert_eq!(Message::hello(16, 0x8000_0000, None).features, 0x8000_0000);
    }

    /// A proposal is a HELLO with the bit and a version that is known. The other words are there in each of these.
    #[test]
    fn nothing_else_proposes() {
        let hello = Message::hello(1 << 20, 0, Some(&Config::new([4096; 2])));
        let proposes = |message: Message| message.proposal().is_some();
        assert!(proposes(hello) && proposes(Message { features: u32::MAX, ..hello }));
        assert!(!proposes(Message { features: !PROPOSES, ..hello }));
        assert!(!proposes(Message { version: 0, ..hello }));
        for kind in [MessageKind::Welcome, MessageKind::Segment, MessageKind::Accepted, MessageKind::Refused] {
            assert!(!proposes(Message { kind, ..hello }), "{kind:?}");
        }
    }

    #[test]
    fn kinds_of_garbage_are_distinguished() {
        let good = Message::new(MessageKind::Hello, 0).to_bytes();
        assert_eq!(Message::parse(&good[1..]), Err(Garbled::Length(LEN - 1)));
        assert_eq!(Message::parse(b""), Err(Garbled::Length(0)));
        let changed = |at: usize| {
            let mut bytes = good;
            bytes[at] ^= 0xff;
            Message::parse(&bytes)
        };
        assert_eq!(changed(0), Err(Garbled::Magic));
        assert_eq!(changed(8), Err(Garbled::ByteOrder));
        assert!(matches!(changed(12), Err(Garbled::Kind(_))));
        let texts = [Garbled::Length(63), Garbled::Magic, Garbled::ByteOrder, Garbled::Kind(9)].map(|g| g.to_string());
        for (text, word) in texts.iter().zip(["63 bytes", "begin", "byte order", "kind 9"]) {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_version_must_be_common() {
        assert_eq!(Message::common_version([0, VERSION]), Some(VERSION));
        assert_eq!(Message::common_version([VERSION, u32::MAX]), Some(VERSION));
        assert_eq!(Message::common_version([VERSION + 1, VERSION + 2]), None);
        assert_eq!(Message::common_version([VERSION, VERSION - 1]), None);
    }
}
