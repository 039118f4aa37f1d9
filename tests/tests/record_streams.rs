//! Whole messages over streams between two processes.

use std::io::ErrorKind;
use std::io::{Read, Write};
use std::thread;

use smstream::{Builder, Error, Reason, Records, Stream};
use smstream_core::layout::FIELDS;
use smstream_tests::kinds::{Kind, Place, meet_prepared};
use smstream_tests::messages::Messages;
use smstream_tests::party::{Party, Refusal};
use smstream_tests::waits::{SEEDS, SHORT, builder, once_asleep};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const RECORDS: u32 = 1 << 17;

fn reason<T>(result: std::io::Result<T>) -> Option<Reason> {
    Reason::of(&result.err().expect("it fails"))
}

/// A stream to a party that knows records, both with lanes of `capacity` bytes.
fn meet_at(kind: Kind, builder: &Builder) -> (Stream, Party) {
    meet_prepared(kind, &builder.clone().records(true), PARTY, &[], |party| {
        party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
        party.does("speaks-records");
    })
}

/// The same, with records at both ends.
fn meet(kind: Kind, builder: &Builder) -> (Records, Party) {
    let (stream, mut party) = meet_at(kind, builder);
    assert!(stream.carries_records());
    party.does("into-records");
    (stream.into_records().unwrap(), party)
}

fn ours(capacity: usize) -> Messages {
    Messages::new(SEEDS[0], capacity - 4)
}

#[test]
fn records_of_all_lengths_go_both_ways_between_processes() {
    let _watchdog = Watchdog::new();
    for kind in Kind::ALL {
        for capacity in [4, 8, 64, 1024] {
            let (records, mut party) = meet(kind, &builder(capacity));
            let (mut reader, mut writer) = records.split();
            party.tell("records-echo");
            thread::scope(|scope| {
                scope.spawn(|| {
                    for (n, record) in ours(capacity).take(2000).enumerate() {
                        if n % 2 == 0 {
                            writer.send(&record).unwrap();
                        } else {
                            let mut claim = writer.claim(record.len()).unwrap();
                            claim.write_all(&record).unwrap();
                            claim.commit(record.len()).unwrap();
                        }
                    }
                    writer.shutdown();
                });
                let mut bytes = Vec::new();
                for expected in ours(capacity).take(2000) {
                    assert_eq!(reader.recv_vec(&mut bytes).unwrap(), Some(expected.len()));
                    assert!(bytes == expected, "{kind:?} {capacity}");
                }
            });
            assert_eq!(party.hear().unwrap(), "2000");
            drop(writer);
            party.does("close");
            assert_eq!(reader.recv(&mut []).unwrap(), None);
        }
    }
}

/// The longest record takes the whole lane: each side waits for all of it to be empty.
#[test]
fn the_longest_record_waits_for_the_whole_lane() {
    let _watchdog = Watchdog::new();
    for kind in [Kind::File, Kind::Unix] {
        let (mut records, mut party) = meet(kind, &builder(64));
        assert_eq!((records.max_len(), records.max_peer_len()), (60, 60));
        let mut bytes = [0; 60];
        // The peer waits: more than half of the lane becomes free before it is enough.
        for len in [4, 20, 4, 8] {
            party.does(format!("record-send {len} 1"));
        }
        party.tell("record-send 60 2");
        party.is_asleep();
        for len in [4, 20, 4] {
            assert_eq!(records.recv(&mut bytes).unwrap(), Some(len));
            party.is_asleep();
            assert!(party.has_replied().is_none());
        }
        assert_eq!(records.recv(&mut bytes).unwrap(), Some(8));
        party.hear().unwrap();
        assert_eq!(records.recv(&mut bytes).unwrap(), Some(60));
        assert_eq!(bytes, [2; 60]);
        // This side waits, until the peer has taken what is there.
        let mut sent = ours(64);
        let mut count = 0;
        records.stream().set_nonblocking(true).unwrap();
        while records.send(&sent.next().unwrap()).is_ok() {
            count += 1;
        }
        records.stream().set_nonblocking(false).unwrap();
        let next = ours(64).nth(count).unwrap();
        once_asleep(|| records.send(&next).unwrap(), || party.tell(format!("records-receive {}", count + 1)));
        assert_eq!(party.hear().unwrap(), (count + 1).to_string());
    }
}

#[test]
fn calls_wait_as_the_stream_does() {
    let _watchdog = Watchdog::new();
    for kind in [Kind::File, Kind::Unix] {
        let (mut records, mut party) = meet(kind, &builder(64));
        records.stream().set_read_timeout(Some(SHORT)).unwrap();
        records.stream().set_write_timeout(Some(SHORT)).unwrap();
        let mut out = [0; 60];
        assert_eq!(reason(records.recv(&mut out)), Some(Reason::TimedOut));
        assert_eq!(reason(records.next_len()), Some(Reason::TimedOut));
        assert_eq!(reason(records.view().map(drop)), Some(Reason::TimedOut));
        records.send(&[1; 30]).unwrap();
        // There is room, but not enough.
        assert_eq!(reason(records.send(&[2; 30])), Some(Reason::TimedOut));
        assert_eq!(reason(records.claim(30).map(drop)), Some(Reason::TimedOut));
        records.send(&[2; 12]).unwrap();
        records.stream().set_nonblocking(true).unwrap();
        assert_eq!(records.send(&[3; 30]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(records.recv(&mut out).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(reason(records.send(&[0; 61])), Some(Reason::InvalidInput));
        assert_eq!(reason(records.claim(usize::MAX).map(drop)), Some(Reason::InvalidInput));
        let claim = records.claim(4).unwrap();
        assert_eq!(reason(claim.commit(5)), Some(Reason::InvalidInput));
        records.claim(4).unwrap().abort();
        // None of that was sent.
        assert_eq!(party.does("record-next"), "30");
        party.does("record-send 9 7");
        let e = Error::from_io(&records.recv(&mut [0; 8]).unwrap_err()).unwrap().clone();
        assert_eq!(e.reason(), Reason::InvalidInput);
        assert!(e.to_string().contains("9 bytes into a buffer of 8"), "{e}");
        assert_eq!(records.next_len().unwrap(), Some(9));
        assert_eq!(records.recv(&mut out).unwrap(), Some(9));
        assert_eq!(out[..10], [7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
        party.does("close");
        assert_eq!(records.recv(&mut out).unwrap(), None);
        assert_eq!(reason(records.send(&[1])), Some(Reason::WriteAfterClose));
    }
}

#[test]
fn both_waiting_for_a_record_is_a_deadlock() {
    let _watchdog = Watchdog::new();
    let (mut records, mut party) = meet(Kind::File, &builder(64));
    party.tell("record-next");
    party.is_asleep();
    assert_eq!(reason(records.recv(&mut [0; 60])), Some(Reason::Deadlock));
    records.send(&[1; 5]).unwrap();
    assert_eq!(party.hear().unwrap(), "5");
    // And both for room.
    party.does("record-send 50 1");
    records.send(&[1; 40]).unwrap();
    party.tell("record-send 60 1");
    party.is_asleep();
    assert_eq!(reason(records.send(&[2; 60])), Some(Reason::Deadlock));
    assert_eq!(records.recv(&mut [0; 60]).unwrap(), Some(50));
    party.hear().unwrap();
}

/// Only if both ends say that they know records; and otherwise the stream is good for bytes.
#[test]
fn a_peer_that_knows_no_records() {
    let _watchdog = Watchdog::new();
    for kind in Kind::ALL {
        for [here, there] in [[true, false], [false, true], [false, false]] {
            let (stream, mut party) = meet_prepared(kind, &builder(4096).records(here), PARTY, &[], |party| {
                party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
                if there {
                    party.does("speaks-records");
                }
            });
            assert!(!stream.carries_records());
            let failed = stream.into_records().unwrap_err();
            assert_eq!(failed.error().reason(), Reason::Unsupported);
            let text = failed.to_string();
            let whose = if here { "it does not say that it knows them" } else { "this end was not made for them" };
            assert!(text.contains(whose) && text.contains("Builder::records(true)"), "{text}");
            let mut stream = failed.into_inner();
            party.does("send 100 all");
            let mut bytes = [0; 100];
            stream.read_exact(&mut bytes).unwrap();
            let e = party.ask("into-records").unwrap_err();
            assert_eq!(e.reason, "Unsupported", "{e:?}");
        }
    }
}

/// The bit is each owner's own: the connector's half of a file is not the listener's to speak for.
#[test]
fn each_end_says_so_in_its_own_segment() {
    let place = Place::new(Kind::File);
    let _listener = builder(4096).records(true).bind(place.addr()).unwrap();
    let file = std::fs::read(place.addr().strip_prefix("file:").unwrap()).unwrap();
    let word = |start: usize, name: &str| {
        let offset = start + FIELDS.iter().find(|f| f.name == name).unwrap().offset;
        u32::from_ne_bytes(file[offset..offset + 4].try_into().unwrap())
    };
    let second = (word(0, "lane_offset") as usize + 4096).next_multiple_of(word(0, "align") as usize);
    assert_eq!((word(0, "features") & RECORDS, word(second, "features") & RECORDS), (RECORDS, 0));
    assert_eq!(word(second, "party"), 1);
}

#[track_caller]
fn is_corrupt<T>(result: std::io::Result<T>) {
    let e = result.err().expect("it fails");
    assert_eq!((e.kind(), Reason::of(&e)), (ErrorKind::InvalidData, Some(Reason::Corrupt)), "{e}");
    assert!(e.to_string().contains("break the rules"), "{e}");
}

/// Each header that cannot be: more than there is, more than the lane, beyond all arithmetic, padding that is too long.
#[test]
fn a_length_that_cannot_be_is_corrupt_and_stays_so() {
    let _watchdog = Watchdog::new();
    let headers =
        [5u32, 64, 61, 0x1fff_ffff, 0x2000_0000, 0x7fff_fffc, 0x7fff_ffff, 0x8000_0005, 0xffff_fffc, 0xffff_ffff];
    for kind in [Kind::File, Kind::Unix] {
        for header in headers {
            let (stream, mut party) = meet_at(kind, &builder(64));
            let mut records = stream.into_records().unwrap();
            // A good one first, which is received.
            assert_eq!(party.does(format!("words 4 {} {header} 0", u32::from_ne_bytes(*b"good"))), "16");
            let mut out = [0; 60];
            assert_eq!(records.recv(&mut out).unwrap(), Some(4));
            assert_eq!(&out[..4], b"good");
            is_corrupt(records.recv(&mut out));
            is_corrupt(records.recv_vec(&mut Vec::new()));
            is_corrupt(records.view().map(drop));
            is_corrupt(records.next_len());
            is_corrupt(records.send(b"x"));
            is_corrupt(records.claim(1).map(drop));
            let end = party.does("drain");
            assert!(end.ends_with(" eof"), "{end}");
            assert_eq!(party.ask("write 1").unwrap_err().kind, "BrokenPipe");
        }
        // Bytes that are no whole header; and a view that is not the first call.
        let (stream, mut party) = meet_at(kind, &builder(64));
        let mut records = stream.into_records().unwrap();
        party.does("write 3");
        is_corrupt(records.view().map(drop));
        // A half that has been split off.
        let (stream, mut party) = meet_at(kind, &builder(64));
        let (mut reader, mut writer) = stream.into_records().unwrap().split();
        party.does("words 9");
        is_corrupt(reader.recv(&mut [0; 60]));
        is_corrupt(writer.send(b"x"));
    }
}

/// Padding alone is no record, and is not seen.
#[test]
fn padding_of_the_peer_is_skipped() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet_at(Kind::Unix, &builder(64));
    let mut records = stream.into_records().unwrap();
    party.does(format!("words {} 0 0", 0x8000_0000u32 | 8));
    records.stream().set_nonblocking(true).unwrap();
    assert_eq!(records.recv(&mut [0; 60]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(party.does(format!("words {} 1 4294967295", 0x8000_0000u32)), "12");
    let mut out = [0; 60];
    assert_eq!((records.recv(&mut out).unwrap(), out[0]), (Some(1), 255));
}

/// What was sent is received; of what was being built there is nothing; then there is the death.
#[test]
fn a_peer_that_dies_while_it_builds_a_record() {
    let _watchdog = Watchdog::new();
    for kind in [Kind::File, Kind::Unix] {
        let (mut records, mut party) = meet(kind, &builder(1024));
        for len in [0, 7, 100] {
            party.does(format!("record-send {len} {len}"));
        }
        party.does("record-half 100");
        party.kill_and_reap();
        let mut bytes = Vec::new();
        for len in [0, 7, 100] {
            assert_eq!(records.recv_vec(&mut bytes).unwrap(), Some(len));
            assert_eq!(bytes, vec![len as u8; len]);
        }
        assert_eq!(reason(records.recv(&mut [])), Some(Reason::PeerGone));
    }
}

/// A listener and a connector that are both other processes, at both kinds of addresses; one is stopped meanwhile.
#[test]
fn two_other_processes() {
    let _watchdog = Watchdog::new();
    for kind in [Kind::File, Kind::Unix] {
        let place = Place::new(kind);
        let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
        for (party, seeds) in [(&mut a, SEEDS), (&mut b, [SEEDS[1], SEEDS[0]])] {
            party.does("speaks-records");
            party.does(format!("seeds {} {}", seeds[0], seeds[1]));
        }
        a.does(format!("bind {} 512 128 0", place.addr()));
        a.tell(format!("accept {}", PATIENCE.as_millis()));
        b.does(format!("connect {}", place.addr()));
        a.hear().unwrap();
        a.does("into-records");
        b.does("into-records");
        a.tell("records-send 3000");
        b.does("records-receive 1000");
        // The writer fills the lane and sleeps.
        a.is_asleep();
        assert_eq!(b.does("records-receive 2000"), "3000");
        assert_eq!(a.hear().unwrap(), "3000");
        b.tell("records-send 500");
        a.does("records-receive 500");
        b.hear().unwrap();
        b.does("close");
        assert_eq!(a.does("records-drain"), "500 end");
        let Err(Refusal { reason, .. }) = a.ask("record-send 1 1") else { panic!("the peer has closed") };
        assert_eq!(reason, "WriteAfterClose");
    }
}

/// What one end has buffered as bytes is published before records; and halves are made one again.
#[test]
fn records_after_bytes_and_bytes_after_records() {
    let (here, there) = builder(256).records(true).pair().unwrap();
    here.set_buf_mode(smstream::BufMode::Full);
    (&here).write_all(b"bytes").unwrap();
    assert_eq!(here.buffered(), 5);
    let mut here = here.into_records().unwrap();
    here.send(b"a record").unwrap();
    let mut bytes = [0; 5];
    (&there).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"bytes");
    let mut there = there.into_records().unwrap();
    let mut record = Vec::new();
    assert_eq!(there.recv_vec(&mut record).unwrap(), Some(8));
    assert_eq!(record, b"a record");
    let (reader, writer) = here.split();
    let (mut other_reader, other_writer) = there.split();
    let mut here = reader.reunite(writer).unwrap();
    here.send(b"again").unwrap();
    assert_eq!(other_reader.next_len().unwrap(), Some(5));
    other_reader.view().unwrap().unwrap().consume().unwrap();
    let mut there = other_reader.reunite(other_writer).unwrap().into_stream();
    here.into_stream().write_all(b"bytes").unwrap();
    there.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"bytes");
}

/// A peer that sends padding without an end wakes the receiver again and again. The time of the call passes all the same, and
/// giving up ends it.
#[test]
fn padding_without_an_end_does_not_keep_a_call() {
    let _watchdog = Watchdog::new();
    let (here, mut there) = builder(256).records(true).pair().unwrap();
    here.set_read_timeout(Some(SHORT)).unwrap();
    let (mut reader, writer) = here.into_records().unwrap().split();
    thread::scope(|scope| {
        let feeding = scope.spawn(move || {
            let padding = (1_u32 << 31).to_ne_bytes();
            while there.write_all(&padding).is_ok() {}
        });
        let mut into = [0; 256];
        assert_eq!(reason(reader.recv(&mut into)), Some(Reason::TimedOut));
        assert_eq!(reason(reader.next_len()), Some(Reason::TimedOut));
        reader.half().set_timeout(None).unwrap();
        let giving_up = scope.spawn(|| {
            thread::sleep(SHORT);
            writer.half().abort();
        });
        // An end of a pair has no proof of life that could end: giving it up closes it.
        assert_eq!(reader.recv(&mut into).unwrap(), None);
        giving_up.join().unwrap();
        drop(reader);
        feeding.join().unwrap();
    });
}
