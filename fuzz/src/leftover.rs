//! Files that are dead regions, or nearly: whatever is none must stay as it is.

use smstream_tests::leftover::{Change, Content, try_name};

use crate::bytes::Bytes;

/// The most changes of a region that an input can ask for.
const MAX_CHANGES: usize = 32;

/// Puts a file under a name, and lets a connector, a cleaner and a listener come by. See [`try_name`].
pub fn leftover(data: &[u8]) {
    try_name(&content(data));
}

fn content(data: &[u8]) -> Content {
    let Some((&kind, rest)) = data.split_first() else { return Content::Bytes(Vec::new()) };
    match kind % 8 {
        0 => Content::Bytes(rest.to_vec()),
        1 => Content::Magic(rest.to_vec()),
        2 => Content::Copy,
        _ => {
            let mut bytes = Bytes::new(rest);
            let mut changes = Vec::new();
            while !bytes.is_empty() && changes.len() < MAX_CHANGES {
                changes.push(change(&mut bytes));
            }
            Content::Region(changes)
        }
    }
}

fn change(bytes: &mut Bytes<'_>) -> Change {
    let code = bytes.u8();
    let (second, at) = (code & 0x80 != 0, usize::from(bytes.u8()) | usize::from(bytes.u8()) << 8);
    match code & 7 {
        0 => Change::Byte(at, bytes.u8()),
        1..=2 => Change::Bit { second, bit: at },
        3..=5 => Change::Word { second, word: at, value: bytes.u32() },
        6 => Change::Cut { word: at, before: second },
        _ => Change::Length(i16::from_le_bytes((at as u16).to_le_bytes())),
    }
}
