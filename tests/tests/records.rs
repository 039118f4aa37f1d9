//! Records against a queue of the standard library: any calls, any lengths, from any cursors on; and readers of hostile bytes.

use proptest::prelude::*;
use smstream_core::block::{Block, block_len};
use smstream_core::cursor::CURSOR;
use smstream_core::geometry::Config;
use smstream_core::park::Spin;
use smstream_core::record::{GrantError, RecordReader, RecordWriter, RecvError, SendError};
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
