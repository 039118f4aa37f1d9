//! What must come of packets, by the rules S1–S14 and A1–A14 of `docs/LAYOUT.md`. It shares no code with the adapter.

use smstream_core::geometry::Config;

use crate::kit::image::offset;
use crate::rules::{Segment, WORDS, fit_together};
use crate::wire::{LEN, Message, feature, kind, word};

/// A message that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it is.
    pub kind: u32,
    /// The reason of a REFUSED, otherwise 0.
    pub reason: u32,
    /// How many descriptors come with it.
    pub fds: usize,
}

/// How a rendezvous stands after all packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It waits for more.
    Waiting,
    /// There is a stream.
    Established,
    /// It has failed, and the socket is closed. Whether the other side had refused.
    Failed {
        /// By REFUSED.
        refused: bool,
    },
}

/// A packet as it comes: its bytes, and the header of the segment that is its only descriptor, with the length of that memory.
pub type Came<'a> = (&'a [u8], Option<&'a Segment>);

const REFUSED: fn(u32) -> Reply = |reason| Reply { kind: kind::REFUSED, reason, fds: 0 };
const NO_VERSION: u32 = 1;
const TOO_LARGE: u32 = 3;
const NOT_FIT: u32 = 4;
const WRONG: u32 = 5;

/// The message in a packet, if it is one (S2).
fn message(bytes: &[u8]) -> Option<Message> {
    let message = Message::read(bytes).filter(|_| bytes.len() == LEN)?;
    let honest = Message::new(kind::HELLO);
    let same = [word::MAGIC, word::MAGIC + 1, word::BYTE_ORDER].iter().all(|&at| message.0[at] == honest.0[at]);
    (same && (kind::HELLO..=kind::REFUSED).contains(&message.kind())).then_some(message)
}

/// What a listener says for this channel whose own user connects, and how it ends.
#[must_use]
pub fn of_listener(packets: &[Came<'_>], channel: &Config) -> (Vec<Reply>, End) {
    let mut replies = Vec::new();
    let mut welcomed = false;
    for (bytes, header) in packets {
        let refuse = |reason| (REFUSED(reason), End::Failed { refused: false });
        let (reply, end) = match message(bytes) {
            None => refuse(WRONG),
            Some(hello) if hello.kind() == kind::HELLO && !welcomed => {
                let [lowest, highest, most] = [word::LOWEST, word::HIGHEST, word::CAPACITIES[0]].map(|at| hello.0[at]);
                let fit = header.is_some_and(|header| is_fit(header, channel, 1));
                if !(lowest..=highest).contains(&1) {
                    refuse(NO_VERSION)
                } else if channel.capacities.iter().any(|&capacity| capacity > most) {
                    refuse(TOO_LARGE)
                } else if !proposes(&hello, channel) {
                    welcomed = true;
                    (Reply { kind: kind::WELCOME, reason: 0, fds: 1 }, End::Waiting)
                } else if fit {
                    (Reply { kind: kind::ACCEPTED, reason: 0, fds: 1 }, End::Established)
                } else {
                    refuse(NOT_FIT)
                }
            }
            Some(segment) if segment.kind() == kind::SEGMENT && welcomed => {
                if header.is_some_and(|header| is_fit(header, channel, 1)) {
                    (Reply { kind: kind::ACCEPTED, reason: 0, fds: 0 }, End::Established)
                } else {
                    refuse(NOT_FIT)
                }
            }
            Some(_) => refuse(WRONG),
        };
        replies.push(reply);
        if end != End::Waiting {
            return (replies, end);
        }
    }
    (replies, End::Waiting)
}

/// Whether a HELLO proposes this very channel, with a number, and wants no signals (S9).
fn proposes(hello: &Message, channel: &Config) -> bool {
    let features = hello.0[word::FEATURES];
    let asks = features & feature::PROPOSES != 0 && features & feature::WANTS_SIGNAL == 0;
    let numbered = word::CHANNEL.iter().any(|&at| hello.0[at] != 0);
    let same = [
        (word::VERSION, 1),
        (word::ALIGN, channel.align),
        (word::START, channel.start),
        (word::PROPOSED[0], channel.capacities[0]),
        (word::PROPOSED[1], channel.capacities[1]),
    ];
    asks && numbered && same.iter().all(|&(at, value)| hello.0[at] == value)
}

/// What a connector says that accepts lanes of `most` bytes, after its HELLO, and how it ends. `proposed`: the channel that it has
/// proposed.
#[must_use]
pub fn of_connector(packets: &[Came<'_>], proposed: Option<&Config>, most: u32) -> (Vec<Reply>, End) {
    let mut replies = Vec::new();
    let mut answered = false;
    for (bytes, header) in packets {
        let failed = |refused| (replies.clone(), End::Failed { refused });
        let Some(message) = message(bytes) else { return failed(false) };
        let fit = |channel: &Config| header.is_some_and(|header| is_fit(header, channel, 0));
        match message.kind() {
            kind::REFUSED => return failed(true),
            kind::ACCEPTED if answered => return (replies, End::Established),
            kind::ACCEPTED if !proposed.is_some_and(fit) => return failed(false),
            kind::ACCEPTED => return (replies, End::Established),
            kind::WELCOME if !answered => {
                let channel = message.config();
                if message.0[word::VERSION] != 1 || !is_possible(&channel, most) || !fit(&channel) {
                    return failed(false);
                }
                answered = true;
                replies.push(Reply { kind: kind::SEGMENT, reason: 0, fds: 1 });
            }
            _ => return failed(false),
        }
    }
    (replies, End::Waiting)
}

/// The same if the listener has hung up after the last packet: what was said is heard, and nothing can be answered.
#[must_use]
pub fn of_connector_left_alone(packets: &[Came<'_>], proposed: Option<&Config>, most: u32) -> End {
    for n in 1..=packets.len() {
        let (replies, end) = of_connector(&packets[..n], proposed, most);
        if end != End::Waiting {
            return end;
        }
        // A SEGMENT that cannot be sent. A listener that has hung up has perhaps said why.
        if !replies.is_empty() {
            let refused =
                packets.get(n).and_then(|(bytes, _)| message(bytes)).is_some_and(|m| m.kind() == kind::REFUSED);
            return End::Failed { refused };
        }
    }
    End::Failed { refused: false }
}

/// Whether a channel can be, in segments that are mapped apart, with lanes of at most so many bytes.
fn is_possible(channel: &Config, most: u32) -> bool {
    let capacity = |n: u32| n == 0 || (n.is_power_of_two() && n <= 1 << 29 && n <= most);
    let align = channel.align.is_power_of_two() && (page()..=1 << 26).contains(&channel.align);
    align && channel.capacities.iter().all(|&n| capacity(n)) && channel.capacities != [0, 0] && channel.start < 1 << 31
}

fn page() -> u32 {
    smstream::memory::page_size() as u32
}

/// Whether this is a segment of `party` for the channel, beside one that has just been set up.
fn is_fit(segment: &Segment, channel: &Config, party: usize) -> bool {
    let other = 1 - party;
    let mut own = ([0; WORDS], usize::MAX);
    let honest = Message::new(kind::HELLO).0;
    own.0[..3].copy_from_slice(&honest[..3]);
    let closed = if channel.capacities[other] == 0 { 1 << 31 } else { 0 };
    let words = [
        ("version", 1),
        ("party", other as u32),
        ("align", channel.align),
        ("lane_offset", 768),
        ("capacity", channel.capacities[other]),
        ("peer_capacity", channel.capacities[party]),
        ("start", channel.start),
        ("sent", channel.start | closed),
        ("received", channel.start),
    ];
    for (name, value) in words {
        own.0[offset(name) / 4] = value;
    }
    fit_together(&own, segment)
}
