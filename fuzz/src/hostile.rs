//! One end against a peer that writes what it likes into its own segment, also in the middle of an operation.

mod checks;
mod operations;
mod park;
mod peer;
mod world;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use smstream_core::cursor::{CURSOR, is_exclusive};
use smstream_core::findings::Findings;
use smstream_core::geometry::{self, Config};
use smstream_core::layout::Header;
use smstream_tests::memory::Heap;
use smstream_tests::texts::check_error;

use crate::MAX_OPS;
use crate::bytes::Bytes;
use park::Treacherous;
use peer::{Peer, Scribble, WORDS, image_of, words_of};
use world::{IDENTITY, World};

/// One party with arbitrary or damaged headers and a peer that scribbles on its own segment between and during all
/// operations. Attaching finds what is wrong, or else: nothing panics or runs for ever, no access leaves the segments (a
/// sanitizer sees to that), my words move only by what I did, the peer's segment is only read, no half believes a word
/// that an honest peer could not have written, none is found corrupt whose words were all possible, and corruption is
/// for good.
pub fn hostile(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mode = bytes.u8();
    let config = Config {
        start: bytes.start() & CURSOR,
        align: if mode & 2 == 0 { 128 } else { 1024 },
        ..Config::new([bytes.capacity(9), bytes.capacity(9)])
    };
    let memory = [0, 1].map(|party| Heap::new(config.describe(party).segment_len(), 128));
    for (party, heap) in memory.iter().enumerate() {
        // SAFETY: the heap is as long as it says, and no other code knows it.
        unsafe { geometry::init(heap.base(), heap.len(), &config, party) }.expect("a possible channel");
        let arbitrary = if mode & 1 != 0 { bytes.take(heap.len() / 4) } else { &[] };
        // SAFETY: as above; at most a quarter of the heap's length.
        unsafe { heap.base().copy_from_nonoverlapping(arbitrary.as_ptr(), arbitrary.len()) };
    }
    let headers = memory.each_ref().map(|heap| {
        // SAFETY: long enough for a header, which is atomics only; the memory is dropped after the last use.
        unsafe { &*heap.base().cast::<Header>() }
    });
    if mode & 0x40 != 0 {
        // Counters that are about to carry.
        for line in headers.iter().flat_map(|header| [&header.port.reads, &header.port.writes]) {
            for counter in [&line.bytes, &line.operations, &line.parks, &line.wakes_sent] {
                counter.low.store(u32::MAX - u32::from(mode >> 7), Relaxed);
            }
        }
    }
    for _ in 0..mode >> 2 & 3 {
        let at = bytes.u8();
        let (header, at) = (headers[usize::from(at >> 7)], usize::from(at & 0x7f));
        let at = if at < 32 { at } else { at * 2 % WORDS };
        let value = if bytes.bool() { bytes.u32() } else { 1 << (bytes.u8() % 32) };
        words_of(header)[at].store(value, Relaxed);
    }
    let me = usize::from(mode >> 4 & 1);
    let segments = [me, 1 - me].map(|party| (memory[party].base(), memory[party].len()));
    let its = &headers[1 - me].port.park;
    let peer = Rc::new(Peer {
        me: headers[me],
        it: headers[1 - me],
        lane: segments[1].0.wrapping_add(config.describe(1 - me).lane_offset as usize),
        lane_len: config.capacities[1 - me] as usize,
        sleeve: RefCell::default(),
        sent: RefCell::default(),
        received: RefCell::default(),
        image: RefCell::new(image_of(headers[1 - me])),
        alert: AtomicU32::new(0),
        calls: Cell::new(0),
        said_exclusive: Cell::new(
            [its.read_park.load(Relaxed), its.write_park.load(Relaxed)].into_iter().any(is_exclusive),
        ),
    });
    for (base, len) in segments {
        // SAFETY: the heap is as long as it says.
        if let Err(findings) = Findings::collect(|report| unsafe { geometry::inspect_reporting(base, len, report) }) {
            assert!(!findings.as_slice().is_empty() && !findings.to_string().is_empty());
        }
    }
    let [(mine, mine_len), (it, it_len)] = segments;
    // SAFETY: the memory outlives what is attached, which is given up at once.
    let found = Findings::collect(|report| unsafe {
        geometry::attach_reporting(mine, mine_len, it.cast_const(), it_len, report).map(drop)
    });
    // SAFETY: the memory outlives the end, no references to lanes exist, and this is the only end.
    let attached = unsafe { geometry::attach(segments[0].0, segments[0].1, segments[1].0.cast_const(), segments[1].1) };
    assert_eq!(attached.is_ok(), found.is_ok(), "{found:?}");
    let attached = match attached {
        Ok(attached) => attached,
        Err(first) => {
            check_error(&first);
            return assert_eq!(
                Findings::from(first).as_slice(),
                &found.expect_err("something is wrong").as_slice()[..1]
            );
        }
    };
    let d = *attached.shape();
    // Between the check of the headers and the making of the halves the peer has time, too.
    if mode & 0x20 != 0 {
        peer.scribble(Scribble::parse(&mut bytes));
    }
    let end = attached.into_end(Treacherous(Rc::clone(&peer)), Treacherous(Rc::clone(&peer)));
    let mut world = World {
        segments,
        end,
        capacity: d.capacity,
        peer_capacity: d.peer_capacity,
        first: d.party == 0,
        identity: image_of(peer.me)[..IDENTITY].try_into().expect("a line"),
        peer,
        _memory: memory,
    };
    for _ in 0..MAX_OPS {
        if bytes.is_empty() || !world.step(&mut bytes) {
            break;
        }
    }
}
