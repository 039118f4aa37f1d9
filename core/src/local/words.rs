//! The words that the two halves share.

use crate::cursor;
use crate::ordering;
use crate::spsc::Claim;
use crate::sync::AtomicU32;

/// The words of a port that one direction needs, side by side. They mean what those of a [port](crate::layout::Port) mean.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Words {
    /// Bytes that were written, and FIN.
    pub(super) sent: AtomicU32,
    /// Bytes that were read, and STOP.
    pub(super) received: AtomicU32,
    pub(super) read_park: AtomicU32,
    pub(super) write_park: AtomicU32,
    pub(super) read_wake_method: AtomicU32,
    pub(super) write_wake_method: AtomicU32,
    pub(super) claim: Claim,
}

#[cfg(not(loom))]
static_assertions::const_assert!(size_of::<Words>() <= 32);

impl Words {
    /// Words whose cursors are at `start`.
    #[cfg(not(loom))]
    pub(super) const fn starting_at(start: u32) -> Self {
        Words {
            sent: AtomicU32::new(start),
            received: AtomicU32::new(start),
            read_park: AtomicU32::new(0),
            write_park: AtomicU32::new(0),
            read_wake_method: AtomicU32::new(0),
            write_wake_method: AtomicU32::new(0),
            claim: Claim::new(),
        }
    }

    /// Words whose cursors are at `start`.
    #[cfg(loom)]
    pub(super) fn starting_at(start: u32) -> Self {
        let [sent, received] = [start; 2].map(AtomicU32::new);
        let [read_park, write_park, read_wake_method, write_wake_method] = [0; 4].map(AtomicU32::new);
        Words { sent, received, read_park, write_park, read_wake_method, write_wake_method, claim: Claim::new() }
    }

    /// Open both ways, and both halves awake. No half uses the words.
    pub(super) fn open(&mut self) {
        for word in [&self.sent, &self.received] {
            ordering::set_up(word, ordering::own(word) & cursor::CURSOR);
        }
        for word in [&self.read_park, &self.write_park] {
            ordering::set_up(word, 0);
        }
    }
}
