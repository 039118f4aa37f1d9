//! The words of a segment's header, as they were at one look. Nothing of them is believed.

use smstream_core::counter::Counts;
use smstream_core::layout::{self, BYTE_ORDER, FIELDS, Field, HEADER_LEN, MAGIC};
use std::mem::offset_of;

/// The bytes that are looked at.
pub const LEN: usize = HEADER_LEN as usize;

/// In which byte order a header was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// In this machine's.
    Native,
    /// In the other one. All words are shown byte-swapped.
    Swapped,
    /// The word that says so is damaged. The words are shown as they stand.
    Unknown,
}

/// A copy of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderCopy {
    bytes: [u8; LEN],
    present: usize,
    order: ByteOrder,
}

/// Three words of a counter: its value, or nothing if they do not fit together, because it was just carrying.
fn count([high, low, again]: [u32; 3]) -> Option<u64> {
    (high == again).then_some(u64::from(high) << 32 | u64::from(low))
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident $($path:ident).+;)+) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> u32 {
            self.word(offset_of!(layout::Header, $($path).+))
        })+
    };
}

impl HeaderCopy {
    /// From the bytes at the start of a segment. Those that are not there count as 0; see [`present`](Self::present).
    #[must_use]
    pub fn of(found: &[u8]) -> Self {
        let mut bytes = [0; LEN];
        let present = found.len().min(LEN);
        bytes[..present].copy_from_slice(&found[..present]);
        let mut header = Self { bytes, present, order: ByteOrder::Native };
        header.order = match header.byte_order() {
            BYTE_ORDER => ByteOrder::Native,
            word if word.swap_bytes() == BYTE_ORDER => ByteOrder::Swapped,
            _ => ByteOrder::Unknown,
        };
        header
    }

    /// How many bytes of it were there.
    #[must_use]
    pub fn present(&self) -> usize {
        self.present
    }

    /// In which byte order it is.
    #[must_use]
    pub fn order(&self) -> ByteOrder {
        self.order
    }

    /// The bytes it begins with.
    #[must_use]
    pub fn magic(&self) -> [u8; 8] {
        let mut magic = [0; 8];
        magic.copy_from_slice(&self.bytes[..8]);
        magic
    }

    /// Whether it begins as a segment does.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.magic() == MAGIC
    }

    /// Whether all of it is there, and nothing but zeros.
    pub(crate) fn is_blank(&self) -> bool {
        self.present == LEN && self.bytes == [0; LEN]
    }

    /// The word at an offset of the header, in this machine's byte order.
    pub(crate) fn word(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        if let Some(found) = self.bytes.get(offset..offset + 4) {
            word.copy_from_slice(found);
        }
        let word = u32::from_ne_bytes(word);
        // The word that tells the order is shown as it stands.
        let order = offset_of!(layout::Header, identity.byte_order);
        if self.order == ByteOrder::Swapped && offset != order { word.swap_bytes() } else { word }
    }

    words! {
        /// The word that tells the byte order, as it stands.
        byte_order identity.byte_order;
        /// The version of the layout; 0 while it is being set up.
        version identity.version;
        /// What the owner does beyond the base protocol.
        features identity.features;
        /// 0 for the listener, 1 for the connector.
        party identity.party;
        /// The alignment of segments in one file.
        align identity.align;
        /// Where the lane begins.
        lane_offset identity.lane_offset;
        /// The bytes of the owner's lane.
        capacity identity.capacity;
        /// The bytes of the other lane.
        peer_capacity identity.peer_capacity;
        /// Where all cursors began.
        start identity.start;
        /// The process that made it, in its own PID namespace.
        pid identity.pid;
        /// The cursor of what was put into the lane, and FIN.
        sent port.sent.word;
        /// The cursor of what was taken from the other lane, and STOP.
        received port.received.word;
        /// How the reading half sleeps.
        read_park port.park.read_park;
        /// How the writing half sleeps.
        write_park port.park.write_park;
        /// How the reading half wants to be woken.
        read_wake_method port.park.read_wake_method;
        /// How the writing half wants to be woken.
        write_wake_method port.park.write_wake_method;
        /// The step of the rendezvous.
        state port.park.state;
        /// Whether the writing half fences each publication: 0 or 1.
        sent_fence port.park.sent_fence;
        /// Whether the reading half fences each publication: 0 or 1.
        received_fence port.park.received_fence;
    }

    fn pair(&self, low: usize) -> u64 {
        u64::from(self.word(low + 4)) << 32 | u64::from(self.word(low))
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.pair(offset_of!(layout::Header, identity.made_low))
    }

    /// The number that both segments of a channel share, or 0.
    #[must_use]
    pub fn channel(&self) -> u64 {
        self.pair(offset_of!(layout::Header, identity.channel_low))
    }

    /// The counters of the writing half; nothing if one was just carrying.
    #[must_use]
    pub fn writes(&self) -> Option<Counts> {
        self.counts(offset_of!(layout::Header, port.writes))
    }

    /// The counters of the reading half; nothing if one was just carrying.
    #[must_use]
    pub fn reads(&self) -> Option<Counts> {
        self.counts(offset_of!(layout::Header, port.reads))
    }

    fn counts(&self, line: usize) -> Option<Counts> {
        let at = |offset| count([0, 4, 8].map(|word| self.word(line + offset + word)));
        let mut counts = Counts::default();
        counts.bytes = at(offset_of!(layout::CounterLine, bytes))?;
        counts.operations = at(offset_of!(layout::CounterLine, operations))?;
        counts.parks = at(offset_of!(layout::CounterLine, parks))?;
        counts.wakes_sent = at(offset_of!(layout::CounterLine, wakes_sent))?;
        Some(counts)
    }

    /// Every named word and what it says, for a list of all.
    pub fn fields(&self) -> impl Iterator<Item = (&'static Field, String)> {
        FIELDS.iter().map(|field| (field, self.show(field)))
    }

    fn show(&self, field: &Field) -> String {
        let word = |n: usize| self.word(field.offset + 4 * n);
        match field.len {
            _ if field.name == "magic" => format!("\"{}\"", self.magic().escape_ascii()),
            4 if matches!(field.writer, "writing half" | "reading half") || field.name == "byte_order" => {
                format!("{:#010x}", word(0))
            }
            4 => word(0).to_string(),
            8 => self.pair(field.offset).to_string(),
            12 => count([word(0), word(1), word(2)]).map_or_else(|| "carrying".into(), |count| count.to_string()),
            _ => "?".into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header with some words changed: their names and values.
    pub(crate) fn with(header: &HeaderCopy, changes: &[(&str, u32)]) -> HeaderCopy {
        let mut bytes = header.bytes;
        for (name, value) in changes {
            let field = FIELDS.iter().find(|field| field.name == *name).expect("a field");
            let value = if header.order == ByteOrder::Swapped { value.swap_bytes() } else { *value };
            bytes[field.offset..field.offset + 4].copy_from_slice(&value.to_ne_bytes());
        }
        HeaderCopy::of(&bytes[..header.present])
    }

    /// A header with the word at an offset changed.
    pub(crate) fn with_word(header: &HeaderCopy, offset: usize, value: u32) -> HeaderCopy {
        let mut bytes = header.bytes;
        bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        HeaderCopy::of(&bytes[..header.present])
    }

    /// The same, as the other kind of machine writes it.
    pub(crate) fn swapped(header: &HeaderCopy) -> HeaderCopy {
        let mut bytes = header.bytes;
        for word in bytes[8..].chunks_exact_mut(4) {
            word.reverse();
        }
        HeaderCopy::of(&bytes)
    }

    #[test]
    fn every_field_is_read_where_it_stands() {
        // The word at each offset is the offset.
        let mut bytes = [0; LEN];
        for (n, word) in bytes.chunks_exact_mut(4).enumerate() {
            word.copy_from_slice(&(4 * n as u32).to_ne_bytes());
        }
        let header = HeaderCopy::of(&bytes);
        assert_eq!(header.order(), ByteOrder::Unknown);
        let find = |name: &str| FIELDS.iter().find(|f| f.name == name).expect("a field").offset as u32;
        assert_eq!(header.sent(), find("sent"));
        assert_eq!(header.received(), find("received"));
        assert_eq!(header.read_park(), find("read_park"));
        assert_eq!(header.write_park(), find("write_park"));
        assert_eq!(header.state(), find("state"));
        assert_eq!(header.made(), u64::from(find("made") + 4) << 32 | u64::from(find("made")));
        assert_eq!(header.channel() as u32, find("channel"));
        assert_eq!(header.writes(), None, "these counters are all carrying");
        assert_eq!(header.fields().count(), FIELDS.len());
    }

    #[test]
    fn the_other_byte_order_is_turned_round() {
        let native = with(&HeaderCopy::of(&[0; LEN]), &[("byte_order", BYTE_ORDER), ("sent", 0x8000_0005)]);
        assert_eq!((native.order(), native.sent()), (ByteOrder::Native, 0x8000_0005));
        let other = swapped(&native);
        assert_eq!((other.order(), other.sent()), (ByteOrder::Swapped, 0x8000_0005));
        assert_eq!(other.byte_order(), BYTE_ORDER.swap_bytes());
    }

    /// A count has its high half twice, and is believed if both are the same.
    #[test]
    fn counters_are_read_whole_or_not_at_all() {
        let line = |at: usize, first: u32| {
            let words = [at, at + 12, at + 24, at + 36].into_iter().zip(first..);
            words.fold(HeaderCopy::of(&[0; LEN]), |header, (at, n)| {
                let header = with_word(&header, at, n + 100);
                with_word(&with_word(&header, at + 4, n), at + 8, n + 100)
            })
        };
        let counted = |first: u64| {
            let mut counts = Counts::default();
            let count = |n: u64| (first + n + 100) << 32 | (first + n);
            (counts.bytes, counts.operations, counts.parks, counts.wakes_sent) =
                (count(0), count(1), count(2), count(3));
            Some(counts)
        };
        let at = |name: &str| FIELDS.iter().find(|field| field.name == name).expect("a field").offset;
        // A line of 128 bytes each: docs/LAYOUT.md.
        let (writes, reads) = (line(0x200, 5), line(0x280, 50));
        assert_eq!((writes.writes(), writes.reads()), (counted(5), Some(Counts::default())));
        assert_eq!((reads.reads(), reads.writes()), (counted(50), Some(Counts::default())));
        for carrying in [0x200, 0x20c + 8, 0x218, 0x224 + 8] {
            assert_eq!(with_word(&writes, carrying, 1).writes(), None);
        }
        let show = |header: &HeaderCopy, offset: usize| {
            header.fields().find(|(field, _)| field.offset == offset).expect("a field").1
        };
        assert_eq!(show(&writes, 0x200), ((105u64 << 32) | 5).to_string());
        assert_eq!(show(&with_word(&writes, 0x200, 1), 0x200), "carrying");
        assert_eq!(show(&with_word(&writes, at("sent"), 0x8000_0005), at("sent")), "0x80000005");
        assert_eq!(show(&with_word(&writes, at("received"), 5), at("received")), "0x00000005");
        assert_eq!(show(&with_word(&writes, at("byte_order"), 5), at("byte_order")), "0x00000005");
        assert_eq!(show(&with_word(&writes, at("align"), 4096), at("align")), "4096");
        let channel = with_word(&with_word(&writes, at("channel"), 7), at("channel") + 4, 1);
        assert_eq!(show(&channel, at("channel")), ((1u64 << 32) + 7).to_string());
        assert_eq!(show(&HeaderCopy::of(&MAGIC), 0), "\"\\x89SMS\\r\\n\\x1a\\n\"");
    }

    #[test]
    fn a_blank_header_is_whole_and_zero() {
        assert!(HeaderCopy::of(&[0; LEN]).is_blank());
        assert!(!HeaderCopy::of(&[0; LEN - 1]).is_blank() && !with_word(&HeaderCopy::of(&[0; LEN]), 764, 1).is_blank());
    }

    #[test]
    fn what_is_cut_off_is_zero() {
        let header = HeaderCopy::of(&MAGIC);
        assert!(header.is_ours() && header.present() == 8 && header.version() == 0 && header.sent() == 0);
        assert!(HeaderCopy::of(&[]).present() == 0 && !HeaderCopy::of(&MAGIC[..7]).is_ours());
        assert_eq!(HeaderCopy::of(&[1; 4000]).present(), LEN);
    }
}
