//! What a channel is to look like.

use crate::cursor::{self, is_capacity};
use crate::identity::{Description, Problem, is_align, usual_lane_offset};
use crate::layout::{Features, LINE};
use crate::size::saturating;

/// What a channel is to look like: the same for both of its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The bytes of each party's lane: 0 (that party only reads) or a power of two of at most 2²⁹.
    pub capacities: [u32; 2],
    /// The alignment of segments in one block: a page where they are mapped apart, [`LINE`] in plain memory.
    pub align: u32,
    /// Where all cursors begin, below 2³¹. Any value will do; tests take one near the end, so that it wraps.
    pub start: u32,
    /// What this party does beyond the base protocol.
    pub features: Features,
    /// The process that makes the segment; for display only.
    pub pid: u32,
    /// Seconds since 1970; for display only.
    pub made: u64,
    /// A number for the channel, the same in both segments, so that an inspector finds what belongs together; 0: none.
    /// For display only.
    pub channel: u64,
}

impl Config {
    /// A channel with these capacities in plain memory, its cursors at 0.
    pub const fn new(capacities: [u32; 2]) -> Self {
        Config {
            capacities,
            align: saturating(LINE),
            start: 0,
            features: Features::COUNTERS,
            pid: 0,
            made: 0,
            channel: 0,
        }
    }

    /// Whether such a channel can be: what is wrong with it otherwise.
    ///
    /// # Errors
    /// The first [`Problem`] found.
    pub const fn check(&self) -> Result<(), Problem> {
        let [first, second] = self.capacities;
        if !is_capacity(first) {
            return Err(Problem::Capacity(first));
        }
        if !is_capacity(second) {
            return Err(Problem::Capacity(second));
        }
        if !is_align(self.align) {
            return Err(Problem::Align(self.align));
        }
        if self.start & !cursor::CURSOR != 0 {
            return Err(Problem::Start(self.start));
        }
        Ok(())
    }

    /// What the header of `party`'s segment is to say. `self` has passed [`check`](Config::check); `party` is 0, or 1, as
    /// which all other values are taken.
    pub const fn describe(&self, party: usize) -> Description {
        let [first, second] = self.capacities;
        let (party, capacity, peer_capacity) = if party == 0 { (0, first, second) } else { (1, second, first) };
        Description {
            features: self.features,
            party,
            align: self.align,
            lane_offset: usual_lane_offset(self.align),
            capacity,
            peer_capacity,
            start: self.start,
            pid: self.pid,
            made: self.made,
            channel: self.channel,
        }
    }

    /// Where each segment begins in one block, and the length of the block. `self` has passed [`check`](Config::check).
    pub const fn block(&self) -> ([usize; 2], usize) {
        let second = self.describe(0).next_segment();
        ([0, second], second.wrapping_add(self.describe(1).segment_len()))
    }
}
