//! What one thread can see of a lane: how halves announce and withdraw, and the cases that are too rare for operations at random.
//! `tests/tests/properties.rs` has those, against an oracle.

use super::announced::wanted;
use super::{Announced, Consumer, Producer};
use crate::block::{Block, block_len};
use crate::config::Config;
use crate::error::{ReadError, WriteError};
use crate::layout::Features;
use crate::park::{ALERT_CANCEL, ALERT_CORRUPT, ALERT_GONE, Never, Park, Place, Wake, Watch};
use crate::word::SharedWord;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

/// What the halves of both parties do, and what was done to them.
#[derive(Default)]
struct Seen {
    alert: AtomicU32,
    barriers: Cell<u32>,
    wakes: Cell<u32>,
    reached: bool,
}

impl Park for &Seen {
    type Deadline = Never;
    type Spin = ();

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        false
    }

    fn wait(&self, _: &[Watch<'_>], _: Option<Never>) -> Wake {
        unreachable!("none of these tests waits")
    }

    fn wake(&self, _: SharedWord<'_>, _: u32) {
        self.wakes.set(self.wakes.get() + 1);
    }

    fn alert(&self) -> Option<SharedWord<'_>> {
        Some(SharedWord::new(&self.alert))
    }

    fn barrier(&self) {
        self.barriers.set(self.barriers.get() + 1);
    }

    fn is_reached(&self) -> bool {
        self.reached
    }
}

const CHANNEL: Config = Config::new([8, 8]);
const LEN: usize = block_len(&CHANNEL);

/// A writer and a reader of the same lane, which share what they do.
fn with(config: &Config, seen: &Seen, test: impl FnOnce(Producer<'_, &Seen>, Consumer<'_, &Seen>)) {
    let mut block = Block::<LEN>::new();
    let (here, there) = block.split(config, [seen, seen], [seen, seen]).unwrap();
    test(here.producer, there.consumer);
}

fn watched(announced: Announced<'_>) -> Option<[u32; 2]> {
    let Announced::Asleep { cursor, alert: Some(alert) } = announced else { return None };
    assert_eq!([cursor.place, alert.place], [Place::Shared, Place::Local]);
    assert_eq!([cursor.word.load(), alert.word.load()], [cursor.seen, alert.seen]);
    Some([cursor.seen, alert.seen])
}

#[test]
fn an_announced_half_is_woken_until_it_withdraws() {
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        assert!(!reader.is_ready(2) && writer.is_ready(4));
        assert_eq!(watched(reader.announce(2)), Some([0, 0]));
        writer.write(&[1]).unwrap();
        assert_eq!(seen.wakes.get(), 0, "two are waited for");
        writer.write(&[2]).unwrap();
        assert_eq!(seen.wakes.get(), 1);
        assert!(reader.is_ready(2) && watched(reader.announce(2)).is_none());
        writer.write(&[3; 6]).unwrap();
        assert_eq!(seen.wakes.get(), 1, "it was ready, and is awake");
        assert!(!writer.is_ready(1));
        assert_eq!(watched(writer.announce(1)), Some([0, 0]));
        reader.read(&mut [0; 3]).unwrap();
        assert_eq!(seen.wakes.get(), 2);
        writer.withdraw();
        writer.write(&[4; 3]).unwrap();
        writer.say_asleep(1);
        writer.withdraw();
        reader.read(&mut [0; 8]).unwrap();
        assert_eq!(seen.wakes.get(), 2);
        reader.say_asleep(1);
        reader.withdraw();
        writer.write(&[5]).unwrap();
        assert_eq!(seen.wakes.get(), 2);
    });
}

#[test]
fn an_alert_makes_both_halves_ready() {
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        writer.write(&[1; 8]).unwrap();
        reader.read(&mut [0; 8]).unwrap();
        writer.write(&[2; 8]).unwrap();
        assert_eq!(watched(writer.announce(4)), Some([8, 0]));
        seen.alert.store(ALERT_CANCEL, Ordering::Relaxed);
        assert!(writer.is_ready(4) && watched(writer.look_again(4)).is_none());
        reader.read(&mut [0; 8]).unwrap();
        assert_eq!(seen.wakes.get(), 0, "it was ready, and is awake");
        assert!(reader.is_ready(1) && watched(reader.announce(1)).is_none());
        writer.write(&[3]).unwrap();
        assert_eq!(seen.wakes.get(), 0, "it was ready, and is awake");
    });
}

#[test]
fn what_is_held_back_is_published_before() {
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        writer.write_deferred(&[1; 8]).unwrap();
        assert!(!reader.is_ready(1));
        writer.say_asleep(1);
        assert!(reader.is_ready(1));
        reader.read_deferred(&mut [0; 8]).unwrap();
        assert!(!writer.is_ready(1));
        reader.say_asleep(1);
        assert!(writer.is_ready(1));
    });
}

/// A party that has promised barriers issues one, unless its peer fences each publication, because barriers do not reach it.
#[test]
fn there_is_a_barrier_where_the_party_has_promised_one_and_the_peer_relies_on_it() {
    let promises = Config { features: CHANNEL.features.union(Features::BARRIER), ..CHANNEL };
    for (config, reached, needed) in
        [(promises, true, true), (promises, false, false), (CHANNEL, true, false), (CHANNEL, false, false)]
    {
        let seen = Seen { reached, ..Seen::default() };
        with(&config, &seen, |mut writer, mut reader| {
            assert!(watched(reader.announce(1)).is_some());
            assert_eq!((seen.barriers.get(), reader.needs_barrier()), (u32::from(needed), needed));
            writer.write(&[1; 8]).unwrap();
            assert!(watched(writer.announce(1)).is_some());
            assert_eq!((seen.barriers.get(), writer.needs_barrier()), (2 * u32::from(needed), needed));
        });
    }
}

#[test]
fn what_can_be_waited_for() {
    assert_eq!([0, 1, 2, 4, 5, usize::MAX].map(|want| wanted(want, 8)), [1, 1, 2, 4, 4, 4]);
    assert_eq!(wanted(2, 0), 1);
}

#[test]
fn single_bytes_are_read_up_to_the_last_one() {
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        for round in 0..20 {
            for len in 1..=8u8 {
                let sent: heapless::Vec<u8, 8> = (0..len).map(|i| round * 8 + i).collect();
                assert_eq!(writer.write(&sent), Ok(sent.len()));
                for byte in sent {
                    let mut out = [0];
                    assert_eq!((reader.read(&mut out), out), (Ok(1), [byte]));
                }
                assert_eq!(reader.read(&mut [0]), Err(ReadError::Empty));
            }
        }
    });
}

#[test]
fn single_bytes_are_written_up_to_the_last_place() {
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        for byte in 0..100u8 {
            for _ in 0..8 {
                assert_eq!(writer.write(&[byte]), Ok(1));
            }
            assert_eq!(writer.write(&[byte]), Err(WriteError::Full));
            let mut out = [0; 8];
            assert_eq!((reader.read(&mut out), out), (Ok(8), [byte; 8]));
        }
    });
}

/// A read of exactly what has come since gives back what is held back, too, and wakes a writer that waits for room there.
#[test]
fn a_read_gives_back_what_was_held_back_before() {
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        writer.write(&[1; 3]).unwrap();
        assert_eq!(reader.read_deferred(&mut [0; 3]), Ok(3));
        writer.write(&[2; 4]).unwrap();
        writer.say_asleep(3);
        assert_eq!(reader.read(&mut [0; 4]), Ok(4));
        assert_eq!((reader.unflushed(), seen.wakes.get()), (0, 1));
        writer.withdraw();
        writer.write(&[3; 8]).unwrap();
        assert_eq!(reader.read(&mut [0; 8]), Ok(8));
    });
}

/// A threshold of 0 is one like any other: the park word has nothing but that its half sleeps.
#[test]
fn a_half_that_waits_for_the_cursor_0_is_woken() {
    let seen = Seen::default();
    let config = Config { start: (1 << 30) - 4, ..CHANNEL };
    with(&config, &seen, |mut writer, mut reader| {
        assert!(watched(reader.announce(4)).is_some());
        writer.write(&[1; 4]).unwrap();
        assert_eq!(seen.wakes.get(), 1);
        reader.withdraw();
        reader.read(&mut [0; 4]).unwrap();
    });
    let seen = Seen::default();
    // Room for 4 bytes: when the reader has taken as many.
    let config = Config { start: (1 << 30) - 4, ..CHANNEL };
    with(&config, &seen, |mut writer, mut reader| {
        writer.write(&[1; 8]).unwrap();
        assert!(watched(writer.announce(4)).is_some());
        reader.read(&mut [0; 4]).unwrap();
        assert_eq!(seen.wakes.get(), 1);
    });
}

/// No buffer is asked for after one that was not filled, or not written whole, whatever the peer does meanwhile.
#[test]
fn buffers_are_filled_in_order() {
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        writer.write(&[1; 3]).unwrap();
        let (mut first, mut second) = ([0; 4], [0; 4]);
        let buffers = [&mut first[..], &mut second[..]].into_iter().enumerate().map(|(i, buffer)| {
            if i == 1 {
                writer.write(&[2; 2]).unwrap();
            }
            buffer
        });
        let read = reader.read_vectored(buffers);
        assert_eq!((read, first, second), (Ok(3), [1, 1, 1, 0], [0; 4]));
    });
    let seen = Seen::default();
    with(&CHANNEL, &seen, |mut writer, mut reader| {
        writer.write(&[1; 6]).unwrap();
        let buffers = [[2; 4], [3; 4]];
        let buffers = buffers.iter().enumerate().map(|(i, buffer)| {
            if i == 1 {
                reader.read(&mut [0; 6]).unwrap();
            }
            &buffer[..]
        });
        assert_eq!(writer.write_vectored(buffers), Ok(2));
        let mut out = [0; 8];
        assert_eq!((reader.read(&mut out), out), (Ok(8), [1, 1, 1, 1, 1, 1, 2, 2]));
    });
}

/// With an alert, too, where there is known room for what is written.
#[test]
fn a_write_says_what_an_alert_says() {
    for (alert, error) in [(ALERT_GONE, WriteError::PeerGone), (ALERT_CORRUPT, WriteError::Corrupt)] {
        let seen = Seen::default();
        with(&CHANNEL, &seen, |mut writer, mut reader| {
            writer.write(&[1]).unwrap();
            seen.alert.store(alert, Ordering::Relaxed);
            assert_eq!(writer.write(&[2]), Err(error));
            assert_eq!(reader.read(&mut [0; 1]).is_ok(), alert == ALERT_GONE, "what was sent before is there");
        });
    }
}
