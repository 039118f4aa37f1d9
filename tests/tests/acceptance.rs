//! The acceptance rule: what a half believes of its peer, in every state of small lanes. A word that no honest peer could
//! have said makes it corrupt for good.

use std::sync::atomic::Ordering::Relaxed;

use smstream_core::cursor::{CURSOR, FIN, STOP, STOPPED_HINT, add, diff};
use smstream_core::error::{ReadError, ReserveError, WaitError, WriteError};
use smstream_core::lane::{Consumer, Producer};
use smstream_core::layout::{Features, Port};
use smstream_core::park::{Park, Wake, Watch};
use smstream_core::word::SharedWord;
use smstream_tests::cursors::words;

/// Gives up at once; before that, does what its commands say.
struct GiveUp<F: Fn()>(F);

impl<F: Fn()> Park for GiveUp<F> {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        Wake::TimedOut
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {}
    // Asked after the first look and before the half announces that it sleeps.
    fn wake_method(&self) -> u32 {
        (self.0)();
        0
    }
}

const CAPACITIES: [u32; 5] = [0, 1, 2, 4, 8];
const BASES: [u32; 5] = [0, 5, CURSOR, CURSOR - 6, (1 << 30) - 1];

fn only_corrupt<T, E: PartialEq>(result: Result<T, E>, corrupt: E) -> Result<(), WaitError> {
    if result.is_err_and(|e| e == corrupt) { Err(WaitError::Corrupt) } else { Ok(()) }
}

/// Every state of a small lane's reader, every word its peer might say next: it is believed if an honest peer could have
/// said it, and otherwise the half is corrupt for good and says STOP.
#[test]
fn a_consumer_believes_exactly_what_an_honest_peer_can_say() {
    let mut tried = 0u64;
    for capacity in CAPACITIES {
        for base in BASES {
            for used in 0..=capacity {
                for taken in 0..=used {
                    for fin in [0, FIN] {
                        for word in words(add(base, used), capacity) {
                            consumer_state(capacity, base, used, taken, fin, word);
                            tried += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 100_000, "{tried}");
}

fn consumer_state(capacity: u32, base: u32, used: u32, taken: u32, fin: u32, word: u32) {
    let seen = add(base, used) | fin;
    let lane: Vec<u8> = (0..capacity as u8).collect();
    // Looks by waiting; by waiting, and the word comes in the moment before parking; by peeking; by reading.
    for way in 0..4 {
        // Who knows that there is no more, or has enough, need not look.
        let looks = match way {
            0 => true,
            1 => fin == 0 && used - taken < (capacity / 2).max(1),
            _ => fin == 0,
        };
        if !looks {
            continue;
        }
        // A wait gives back first what was taken: from then on the peer may send that much more.
        let given_back = if way < 2 { taken } else { 0 };
        let legal = word == seen || (fin == 0 && (used..=capacity + given_back).any(|k| word & CURSOR == add(base, k)));
        let context =
            || format!("way {way}, capacity {capacity}, from {base:#x}, seen {seen:#x}, taken {taken}, word {word:#x}");
        let (mine, peer) = (Port::new(0, base), Port::new(seen, 0));
        let late = || {
            if way == 1 {
                peer.sent.word.store(word, Relaxed);
            }
        };
        // SAFETY: the lane has `capacity` bytes, and everything outlives the half and is used by it alone.
        let mut half = unsafe {
            Consumer::from_parts(1, [Features::COUNTERS; 2], &mine, &peer, lane.as_ptr(), capacity, GiveUp(late))
        };
        assert!(!half.is_corrupt(), "{}", context());
        if taken > 0 {
            assert_eq!(half.read_deferred(&mut vec![0; taken as usize]), Ok(taken as usize), "{}", context());
        }
        if way != 1 {
            peer.sent.word.store(word, Relaxed);
        }
        let result = match way {
            0 | 1 => only_corrupt(half.wait(usize::MAX, Some(())), WaitError::Corrupt),
            2 => only_corrupt(half.peek().map(drop), ReadError::Corrupt),
            _ => only_corrupt(half.read(&mut [0; 64]), ReadError::Corrupt),
        };
        if legal {
            assert_eq!(result, Ok(()), "{}", context());
            assert!(!half.is_corrupt(), "{}", context());
            let left = if way == 3 { 0 } else { diff(word, base) - taken };
            assert_eq!(half.known_bytes() as u32, left, "{}", context());
            assert_eq!(half.is_peer_finished(), word & FIN != 0, "{}", context());
            continue;
        }
        assert_eq!(result, Err(WaitError::Corrupt), "{}", context());
        // It stays, even if the peer takes it back.
        for again in [word, seen] {
            peer.sent.word.store(again, Relaxed);
            assert!(half.is_corrupt(), "{}", context());
            assert_eq!(half.read(&mut [0; 9]), Err(ReadError::Corrupt), "{}", context());
            assert_eq!(half.peek().map(|peek| peek.len()), Err(ReadError::Corrupt), "{}", context());
            assert_eq!(half.wait(1, Some(())), Err(WaitError::Corrupt), "{}", context());
            assert_eq!(half.consume(9), 0, "{}", context());
            assert_eq!(mine.received.word.load(Relaxed), add(base, given_back) | STOP, "{}", context());
            assert_eq!(mine.park.read_park.load(Relaxed), STOPPED_HINT, "{}", context());
        }
    }
}

/// The same for a writer: `flight` bytes published and not received, `unflushed` more in the lane.
#[test]
fn a_producer_believes_exactly_what_an_honest_peer_can_say() {
    let mut tried = 0u64;
    for capacity in CAPACITIES {
        for base in BASES {
            for flight in 0..=capacity {
                for unflushed in 0..=capacity - flight {
                    for stop in [0, STOP] {
                        for word in words(base, capacity) {
                            producer_state(capacity, base, flight, unflushed, stop, word);
                            tried += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 100_000, "{tried}");
}

fn producer_state(capacity: u32, base: u32, flight: u32, unflushed: u32, stop: u32, word: u32) {
    let seen = base | stop;
    let mut lane = vec![0u8; capacity as usize];
    // Looks by waiting; by waiting, and the word comes in the moment before parking; by reserving all of the lane.
    for way in 0..3 {
        let looks = match way {
            // What is not flushed was written before the peer was seen to stop.
            0 => stop == 0 || unflushed == 0,
            // Who has enough does not come to park.
            1 => stop == 0 && capacity - flight - unflushed < (capacity / 2).max(1),
            _ => stop == 0 && flight + unflushed > 0,
        };
        if !looks {
            continue;
        }
        // A wait publishes first: from then on the peer may receive that, too.
        let published = if way < 2 { flight + unflushed } else { flight };
        let legal = word == seen || (stop == 0 && (0..=published).any(|k| word & CURSOR == add(base, k)));
        let context =
            || format!("way {way}, capacity {capacity}, seen {seen:#x}, flight {flight} + {unflushed}, word {word:#x}");
        let (mine, peer) = (Port::new(add(base, flight), 0), Port::new(0, seen));
        let late = || {
            if way == 1 {
                peer.received.word.store(word, Relaxed);
            }
        };
        // SAFETY: the lane has `capacity` bytes, and everything outlives the half and is used by it alone.
        let mut half = unsafe {
            Producer::from_parts(0, [Features::COUNTERS; 2], &mine, &peer, lane.as_mut_ptr(), capacity, GiveUp(late))
        };
        assert!(!half.is_corrupt(), "{}", context());
        if unflushed > 0 {
            let written = half.write_deferred(&vec![7; unflushed as usize]);
            assert_eq!(written, Ok(unflushed as usize), "{}", context());
        }
        if way != 1 {
            peer.received.word.store(word, Relaxed);
        }
        let result = match way {
            2 => half.reserve(capacity as usize).map(|room| room.len()).map_err(|e| match e {
                ReserveError::Write(WriteError::Corrupt) => WaitError::Corrupt,
                ReserveError::Write(WriteError::Closed) => WaitError::Closed,
                ReserveError::Write(WriteError::Full) => WaitError::TimedOut,
                other => panic!("{}: {other:?}", context()),
            }),
            _ => half.wait(usize::MAX, Some(())),
        };
        if legal {
            assert_ne!(result, Err(WaitError::Corrupt), "{}", context());
            assert_eq!(result == Err(WaitError::Closed), word & STOP != 0, "{}", context());
            assert!(!half.is_corrupt(), "{}", context());
            let room = capacity - flight - unflushed + diff(word, base);
            assert_eq!(half.known_room() as u32, room, "{}", context());
            continue;
        }
        assert_eq!(result, Err(WaitError::Corrupt), "{}", context());
        for again in [word, seen] {
            peer.received.word.store(again, Relaxed);
            assert!(half.is_corrupt(), "{}", context());
            assert_eq!(half.write(&[1]), Err(WriteError::Corrupt), "{}", context());
            assert_eq!(half.write_vectored([&[1u8][..]]), Err(WriteError::Corrupt), "{}", context());
            let refused = half.reserve(0).map(|room| room.len());
            assert_eq!(refused, Err(ReserveError::Write(WriteError::Corrupt)), "{}", context());
            assert_eq!(half.wait(1, Some(())), Err(WaitError::Corrupt), "{}", context());
            assert_eq!(mine.sent.word.load(Relaxed), add(base, published) | FIN, "{}", context());
            assert_eq!(mine.park.write_park.load(Relaxed), 0, "{}", context());
        }
    }
}

/// Who attaches believes the peer's word if it is within the lane, and else is corrupt from the start.
#[test]
fn halves_begin_corrupt_unless_the_peers_word_is_within_the_lane() {
    for capacity in CAPACITIES {
        let mut lane = vec![0u8; capacity as usize];
        for base in BASES {
            for word in words(base, capacity) {
                let ahead = (0..=capacity).any(|k| add(base, k) == word & CURSOR);
                let behind = (0..=capacity).any(|k| add(word, k) == base);
                let (mine, peer) = (Port::new(base, base), Port::new(word, word));
                // SAFETY: the lane has `capacity` bytes, and everything outlives the half and is used by it alone.
                let reader = unsafe {
                    Consumer::from_parts(
                        1,
                        [Features::COUNTERS; 2],
                        &mine,
                        &peer,
                        lane.as_ptr(),
                        capacity,
                        GiveUp(|| {}),
                    )
                };
                // SAFETY: as above.
                let writer = unsafe {
                    Producer::from_parts(
                        0,
                        [Features::COUNTERS; 2],
                        &mine,
                        &peer,
                        lane.as_mut_ptr(),
                        capacity,
                        GiveUp(|| {}),
                    )
                };
                assert_eq!(reader.is_corrupt(), !ahead, "{capacity} {base:#x} {word:#x}");
                assert_eq!(writer.is_corrupt(), !behind, "{capacity} {base:#x} {word:#x}");
                let (stop, fin) = (if ahead { 0 } else { STOP }, if behind { 0 } else { FIN });
                assert_eq!(mine.received.word.load(Relaxed), base | stop, "{capacity} {base:#x} {word:#x}");
                assert_eq!(mine.sent.word.load(Relaxed), base | fin, "{capacity} {base:#x} {word:#x}");
                assert!(reader.known_bytes() <= capacity as usize && writer.known_room() <= capacity as usize);
            }
        }
    }
}
