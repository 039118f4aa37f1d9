//! A channel in System V memory between two processes that know beforehand who is who. The peer's segment is attached
//! for reading only.

use std::time::Duration;

use smstream::internal::{Half, Parker, PeerMonitor};
use smstream::smstream_core::error::{ReadError, WriteError};
use smstream::smstream_core::geometry::{self, Config};
use smstream::smstream_core::park::Park;
use smstream::smstream_core::stream::End;
use smstream_shm::sysv::{Attachment, Key, RemoveOnDrop, Shm};

use crate::roles::{Second, given_ids, role};

/// What both know.
const CHANNEL: Config = Config::new([64, 256]);

/// How much goes each way.
const BYTES: usize = 100_000;

fn parker(half: Half) -> Parker {
    Parker::new(PeerMonitor::none(), half, Duration::from_micros(20))
}

/// The end of `party`. My segment lies in `mine`, the peer's in `peers`, which may be read-only.
fn end<'a>(mine: &'a Attachment, peers: &'a Attachment, party: usize) -> End<'a, Parker> {
    let ([first, second], len) = CHANNEL.block();
    let places = [(first, second - first), (second, len - second)];
    let (my_place, my_len) = places[party];
    let (peer_place, peer_len) = places[1 - party];
    let my_start = mine.as_mut_ptr().unwrap().wrapping_add(my_place);
    let peer_start = peers.as_ptr().wrapping_add(peer_place);
    // SAFETY: both lie in the segment, which the attachments keep here for `'a`. Each party has one end, and System V
    // memory cannot be shortened.
    unsafe { geometry::attach(my_start, my_len, peer_start, peer_len) }
        .unwrap()
        .into_end(parker(Half::Writer), parker(Half::Reader))
}

fn pattern(i: usize, party: usize) -> u8 {
    (i * 7 + i / 251 + party) as u8
}

/// Sends its bytes and checks the peer's, both at once.
fn talk<P: Park + Send>(end: End<'_, P>, party: usize) {
    let (mut consumer, mut producer) = end.split();
    std::thread::scope(|threads| {
        threads.spawn(move || {
            let bytes: Vec<u8> = (0..BYTES).map(|i| pattern(i, party)).collect();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match producer.write(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(WriteError::Full) => drop(producer.wait(1, None).unwrap()),
                    Err(e) => panic!("{e:?}"),
                }
            }
            producer.finish();
        });
        let mut count = 0;
        let mut buffer = [0; 100];
        loop {
            match consumer.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    for &byte in &buffer[..n] {
                        assert_eq!(byte, pattern(count, 1 - party));
                        count += 1;
                    }
                }
                Err(ReadError::Empty) => drop(consumer.wait(1, None).unwrap()),
                Err(e) => panic!("{e:?}"),
            }
        }
        assert_eq!(count, BYTES);
    });
}

#[test]
fn a_channel_between_two_processes() {
    let ([first, second], len) = CHANNEL.block();
    let shm = RemoveOnDrop::new(Shm::create(Key::PRIVATE, len).unwrap());
    let (mine, peers) = (shm.attach().unwrap(), shm.attach_read_only().unwrap());
    for (party, place) in [first, second].into_iter().enumerate() {
        let start = mine.as_mut_ptr().unwrap().wrapping_add(place);
        // SAFETY: the segment is attached for writing and long enough, and no other process knows of it yet.
        unsafe { geometry::init(start, [second, len - second][party], &CHANNEL, party) }.unwrap();
    }
    let mut child = Second::start(&mut role("channel::connector", &[shm.id()]));
    talk(end(&mine, &peers, 0), 0);
    child.ends_well();
}

/// Party 1.
#[test]
fn connector() {
    let Some(ids) = given_ids() else { return };
    let shm = Shm::from_id(ids[0]).unwrap();
    let (mine, peers) = (shm.attach().unwrap(), shm.attach_read_only().unwrap());
    talk(end(&mine, &peers, 1), 1);
}
