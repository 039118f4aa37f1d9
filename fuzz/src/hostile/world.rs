//! One end and its peer.

use std::rc::Rc;

use smstream_core::layout::LINE;
use smstream_core::stream::End;
use smstream_tests::memory::Heap;

use super::park::Treacherous;
use super::peer::Peer;

/// Words of the identity.
pub(super) const IDENTITY: usize = LINE / 4;

pub(super) struct World {
    pub(super) peer: Rc<Peer>,
    pub(super) segments: [(*mut u8, usize); 2],
    pub(super) end: End<'static, Treacherous>,
    pub(super) capacity: u32,
    pub(super) peer_capacity: u32,
    /// Whether the end is party 0's, which reports deadlocks.
    pub(super) first: bool,
    pub(super) identity: [u32; IDENTITY],
    pub(super) _memory: [Heap; 2],
}
