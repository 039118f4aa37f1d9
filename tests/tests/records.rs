//! Records against a queue of the standard library: any calls, any lengths, from any cursors on; and readers of hostile bytes.

use proptest::prelude::*;
use smstream_core::block::{Block, block_len};
use smstream_core::cursor::CURSOR;
use smstream_core::error::WaitError;
use smstream_core::geometry::Config;
use smstream_core::park::Spin;
use smstream_core::record::{GrantError, RecordReader, RecordWriter, RecvError, SendError};
use smstream_tests::give_up::GiveUp;
use smstream_tests::records::{MOST, Op, bytes, config, run, run_hostile, with_lane};

fn an_op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![6 => 0..20usize, 2 => 0..MOST + 3];
    let commit = || proptest::option::weighted(0.8, prop_oneof![6 => 0..20usize, 2 => 0..MOST + 3]);
    prop_oneof![
        3 => len().prop_map(Op::Send),
        2 => (len(), commit()).prop_map(|(len, commit)| Op::Claim(len, commit)),
        3 => (len(), commit()).prop_map(|(len, commit)| Op::Grant(len, commit)),
        1 => commit().prop_map(Op::GrantMax),
        4 => len().prop_map(Op::Recv),
        3 => Just(Op::Take),
        1 => Just(Op::Skip),
        2 => len().prop_map(Op::Halves),
        2 => (len(), any::<bool>()).prop_map(|(len, exclusive)| Op::Wait(len, exclusive)),
        1 => len().prop_map(Op::Foreign),
    ]
}

fn a_start() -> impl Strategy<Value = u32> {
    prop_oneof![4 => (0u32..600).prop_map(|back| CURSOR - back), 1 => Just(0), 2 => 0..=CURSOR]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_do_what_a_queue_does(
        log in 0..=8u32, start in a_start(), ops in proptest::collection::vec(an_op(), 0..80),
    ) {
        run(log, start, &ops);
    }

    /// After any traffic a record of any length that is promised can be sent, contiguous, if the reader keeps reading.
    #[test]
    fn the_longest_record_fits_sooner_or_later(
        log in 2..=8u32, start in a_start(), before in proptest::collection::vec(0..40usize, 0..12), less in 0..9usize,
    ) {
        with_lane(1 << log, start, |mut writer, mut reader| {
            let mut out = [0; MOST];
            for len in before {
                if writer.send(&bytes(len, len)).is_ok() {
                    assert_eq!(reader.recv(&mut out), Ok(Some(len)));
                }
            }
            let len = writer.max_len().saturating_sub(less);
            assert!(writer.max_len() * 2 >= writer.producer().capacity() || writer.producer().capacity() < 8);
            let mut grant = match writer.grant_exact(len) {
                Err(SendError::Full) => {
                    assert_eq!(reader.recv(&mut out), Err(RecvError::Empty), "padding is not seen");
                    writer.grant_exact(len).unwrap()
                }
                grant => grant.unwrap(),
            };
            grant.put(0, &bytes(1, len));
            writer.commit(grant, len).unwrap();
            let grant = reader.grant().unwrap().unwrap();
            assert!(grant.is_contiguous());
            reader.release(grant).unwrap();
        });
    }

    /// Whatever lies in the lane: records, the end, or `Corrupt`, which stays; and each record within what was published.
    #[test]
    fn a_reader_of_hostile_bytes_says_corrupt_or_reads_on(
        log in 0..=8u32, start in a_start(),
        runs in proptest::collection::vec(
            (prop_oneof![0..70u32, any::<u32>(), (0..70u32).prop_map(|n| n | 1 << 31)], proptest::collection::vec(any::<u8>(), 0..70)),
            0..12,
        ),
    ) {
        run_hostile(log, start, &runs);
    }
}

#[test]
fn a_length_beyond_what_was_published_is_corrupt_and_stays_so() {
    for (header, published) in [(5u32, 8), (u32::MAX, 8), (1 << 30, 8), (0x7fff_ffff, 8), (1 << 31 | 5, 8), (0, 3)] {
        let mut block = Block::<{ block_len(&Config::new([64, 0])) }>::new();
        let (mut here, there) = block.split(&config(64, 0), [Spin, Spin], [Spin, Spin]).unwrap();
        let mut reader = RecordReader::new(there.consumer);
        let bytes = [header.to_ne_bytes(), [0; 4]].concat();
        here.producer.write(&bytes[..published]).unwrap();
        assert_eq!(reader.recv(&mut [0; 64]), Err(RecvError::Corrupt), "{header:#x}");
        here.producer.write(&[0; 8]).ok();
        assert_eq!(reader.recv(&mut [0; 64]), Err(RecvError::Corrupt), "{header:#x}");
        assert!(reader.consumer().is_stopped());
    }
}

#[test]
fn a_grant_of_another_half_comes_back() {
    let mut blocks = [const { Block::<{ block_len(&Config::new([64, 0])) }>::new() }; 2];
    let [first, second] = &mut blocks;
    let (here, _) = first.split(&config(64, 0), [Spin, Spin], [Spin, Spin]).unwrap();
    let mut one = RecordWriter::new(here.producer);
    let (here, there) = second.split(&config(64, 0), [Spin, Spin], [Spin, Spin]).unwrap();
    let mut two = RecordWriter::new(here.producer);
    let grant = one.grant_exact(3).unwrap();
    let Err(GrantError::Foreign(grant)) = two.commit(grant, 3) else { panic!("it is not of that lane") };
    let Err(GrantError::Foreign(grant)) = two.abort(grant) else { panic!("it is not of that lane") };
    let mut one = one.into_producer().expect_err("a grant is out");
    one.abort(grant).unwrap();
    assert!(one.into_producer().is_ok() && there.consumer.known_bytes() == 0);
}

/// There is room for a record, or an error, or the half is not ready. No length is too long to be asked about.
#[test]
fn a_half_is_ready_for_what_it_has_room_for() {
    with_lane(32, CURSOR - 5, |writer, mut reader| {
        let mut producer = writer.into_producer().expect("no grant is out");
        for len in [0, 1, 28, 29, usize::MAX] {
            assert!(producer.is_ready_for_record(len), "{len}");
        }
        assert_eq!(producer.claim_record(usize::MAX).unwrap_err(), SendError::TooLong);
        producer.send_record(&bytes(1, 12)).unwrap();
        // 16 bytes are left: a header, and 12.
        assert!(producer.is_ready_for_record(12) && !producer.is_ready_for_record(13));
        assert_eq!(producer.send_record(&bytes(2, 13)), Err(SendError::Full));
        producer.send_record(&bytes(3, 12)).unwrap();
        assert!(!producer.is_ready_for_record(0));
        reader.stop();
        assert!(producer.is_ready_for_record(28));
        assert_eq!(producer.send_record(b"x"), Err(SendError::Closed));
    });
}

/// A record that is looked at where it lies, across the end of the lane: any part of it, and nothing beyond what is asked for.
#[test]
fn any_part_of_a_record_can_be_looked_at() {
    let sent = bytes(7, 19);
    let look = |copy_to: &dyn Fn(usize, &mut [u8]) -> usize| {
        for (at, len) in (0..=20).flat_map(|at| (0..=20).map(move |len| (at, len))) {
            let mut out = [0xee; 64];
            let n = copy_to(at, &mut out[..len]);
            assert_eq!(n, len.min(19usize.saturating_sub(at)));
            assert_eq!(&out[..n], &sent[at.min(19)..][..n]);
            assert!(out[n..].iter().all(|&byte| byte == 0xee));
        }
    };
    for start in 0..32 {
        with_lane(32, start, |mut writer, mut reader| {
            writer.send(&sent).unwrap();
            let grant = reader.grant().unwrap().expect("a record");
            look(&|at, out| grant.copy_to(at, out));
            reader.release(grant).unwrap();
            writer.send(&sent).unwrap();
            let mut consumer = reader.into_consumer().expect("no grant is out");
            let record = consumer.record().unwrap().expect("a record");
            look(&|at, out| record.copy_to(at, out));
            record.consume();
        });
    }
}

/// The longest grant is as long as the longest one that can be asked for, from any place and with any room.
#[test]
fn the_longest_grant_is_the_longest_that_can_be_asked_for() {
    // A lane in which a record of `before` bytes was sent, and was taken or not: what is granted in it.
    let granted = |start, before: usize, taken: bool, exact: Option<usize>| {
        let mut len = None;
        with_lane(32, start, |mut writer, mut reader| {
            writer.send(&bytes(1, before)).unwrap();
            if taken {
                assert_eq!(reader.skip(), Ok(Some(before)));
            }
            len = match exact {
                Some(len) => writer.grant_exact(len),
                None => writer.grant_max(),
            }
            .ok()
            .map(|grant| grant.len());
        });
        len
    };
    for (start, before) in (0..32).flat_map(|start| (0..=28).map(move |before| (start, before))) {
        for taken in [false, true] {
            let longest = (1..=28).rev().find(|&len| granted(start, before, taken, Some(len)).is_some());
            assert_eq!(granted(start, before, taken, None), longest, "{start} {before} {taken}");
        }
    }
}

#[test]
fn a_record_or_the_end_is_waited_for() {
    let mut block = Block::<{ block_len(&Config::new([64, 0])) }>::new();
    let (here, there) = block.split_apart(&config(64, 0), (GiveUp, GiveUp), (GiveUp, GiveUp)).unwrap();
    let (mut writer, mut reader) = (RecordWriter::new(here.producer), RecordReader::new(there.consumer));
    assert_eq!(reader.wait(Some(())), Err(WaitError::TimedOut));
    writer.send(b"").unwrap();
    assert_eq!(reader.wait(Some(())), Ok(()));
    assert_eq!(reader.recv(&mut []), Ok(Some(0)));
    assert_eq!(reader.wait(Some(())), Err(WaitError::TimedOut));
    writer.finish();
    assert_eq!((reader.wait(Some(())), reader.recv(&mut [])), (Ok(()), Ok(None)));
}
