//! Records against a queue of the standard library: any calls, any lengths, from any cursors on; and readers of hostile bytes.

use std::collections::VecDeque;

use proptest::prelude::*;
use smstream_core::block::{Block, block_len};
use smstream_core::cursor::CURSOR;
use smstream_core::geometry::Config;
use smstream_core::park::Spin;
use smstream_core::record::{BeyondClaim, GrantError, RecordReader, RecordWriter, RecvError, SendError, WriteGrant};

const MOST: usize = 256;

fn config(capacity: u32, start: u32) -> Config {
    Config { start, ..Config::new([capacity, 0]) }
}

/// Runs `test` with both ends of a lane.
fn with_lane(capacity: u32, start: u32, test: impl FnOnce(RecordWriter<'_, Spin>, RecordReader<'_, Spin>)) {
    let mut block = Block::<{ block_len(&Config::new([MOST as u32, 0])) }>::new();
    let (here, there) = block.split(&config(capacity, start), [Spin, Spin], [Spin, Spin]).unwrap();
    test(RecordWriter::new(here.producer), RecordReader::new(there.consumer));
}

/// Bytes that differ from record to record and from place to place.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (seed * 31 + i * 7 + 1) as u8).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Send(usize),
    /// Claims so many bytes, and commits so many, or aborts.
    Claim(usize, Option<usize>),
    /// The same by a contiguous grant that is kept for a while.
    Grant(usize, Option<usize>),
    GrantMax(Option<usize>),
    Recv(usize),
    Take,
    Skip,
}

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
    ]
}

struct World<'m> {
    writer: RecordWriter<'m, Spin>,
    reader: RecordReader<'m, Spin>,
    queue: VecDeque<Vec<u8>>,
    seed: usize,
}

impl<'m> World<'m> {
    /// The bytes that records in the lane take, without padding.
    fn taken(&self) -> usize {
        self.queue.iter().map(|record| 4 + record.len().next_multiple_of(4)).sum()
    }

    /// What sending a record of `len` bytes must give, if there were no padding in the lane.
    fn expected(&self, len: usize) -> Result<(), SendError> {
        let capacity = self.writer.producer().capacity();
        if capacity < 4 || len > capacity - 4 {
            return Err(SendError::TooLong);
        }
        let fits = self.taken() + 4 + len.next_multiple_of(4) <= capacity;
        if fits { Ok(()) } else { Err(SendError::Full) }
    }

    /// Padding may have taken room that the oracle does not know of; it never gives any.
    fn agree(&self, len: usize, got: Result<(), SendError>) -> bool {
        let expected = self.expected(len);
        assert!(got == expected || (expected.is_ok() && got == Err(SendError::Full)), "{got:?}, {expected:?}");
        got.is_ok()
    }

    fn next(&mut self, len: usize) -> Vec<u8> {
        self.seed += 1;
        bytes(self.seed, len)
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Send(len) => {
                let record = self.next(len);
                let got = self.writer.send(&record);
                if self.agree(len, got) {
                    self.queue.push_back(record);
                }
            }
            Op::Claim(len, commit) => {
                let record = self.next(len);
                let got = self.writer.claim(len).map(|mut claim| {
                    assert_eq!(
                        (claim.write(&record[..len / 2]), claim.put(len / 2, &record[len / 2..])),
                        (len / 2, len - len / 2)
                    );
                    assert_eq!(claim.put(len, &[1]), 0);
                    match commit {
                        None => claim.abort(),
                        Some(n) => match claim.commit_len(n) {
                            Ok(()) => self.queue.push_back(record[..n].to_vec()),
                            Err(e) => assert!(n > len && e == BeyondClaim { claimed: len }),
                        },
                    }
                });
                // What was queued by this very call is not there yet when the claim is made.
                match got {
                    Ok(()) => assert!(len <= self.writer.max_len()),
                    Err(e) => assert!(!self.agree(len, Err(e))),
                }
            }
            Op::Grant(len, commit) => {
                let grant = self.writer.grant_exact(len);
                if !self.agree(len, grant.as_ref().map(drop).map_err(|e| *e)) {
                    return;
                }
                self.hold(grant.unwrap(), len, commit);
            }
            Op::GrantMax(commit) => match self.writer.grant_max() {
                Ok(grant) => {
                    let len = grant.len();
                    assert!(len > 0);
                    self.hold(grant, len, commit);
                }
                Err(e) => assert!(e == SendError::Full || e == SendError::TooLong),
            },
            Op::Recv(len) => {
                let mut out = vec![0; len];
                match (self.reader.recv(&mut out), self.queue.front()) {
                    (Err(RecvError::Empty), None) => {}
                    (Err(RecvError::TooSmall { needed }), Some(record)) => {
                        assert!(needed == record.len() && needed > len)
                    }
                    (Ok(Some(n)), Some(record)) => {
                        assert_eq!(&out[..n], record);
                        self.queue.pop_front();
                    }
                    (got, expected) => panic!("{got:?}, {expected:?}"),
                }
            }
            Op::Take => match self.reader.grant() {
                Err(RecvError::Empty) => assert!(self.queue.is_empty()),
                Ok(Some(grant)) => {
                    assert_eq!(self.reader.recv(&mut []), Err(RecvError::Granted));
                    let record = self.queue.pop_front().unwrap();
                    let mut out = vec![0; record.len() + 1];
                    assert_eq!((grant.len(), grant.copy_to(0, &mut out)), (record.len(), record.len()));
                    assert_eq!(out[..record.len()], record);
                    let half = record.len() / 2;
                    assert_eq!(grant.copy_to(half, &mut out), record.len() - half);
                    assert_eq!(out[..record.len() - half], record[half..]);
                    self.reader.release(grant).unwrap();
                }
                got => panic!("{got:?}"),
            },
            Op::Skip => match self.reader.skip() {
                Ok(Some(len)) => assert_eq!(self.queue.pop_front().map(|record| record.len()), Some(len)),
                got => assert!(got == Err(RecvError::Empty) && self.queue.is_empty()),
            },
        }
    }

    fn hold(&mut self, mut grant: WriteGrant<'m>, len: usize, commit: Option<usize>) {
        assert_eq!(grant.len(), len);
        let record = self.next(len);
        assert_eq!((grant.put(0, &record), grant.put(len, &[1])), (len, 0));
        assert_eq!(self.writer.send(b""), Err(SendError::Granted));
        assert_eq!(self.writer.claim(0).map(drop), Err(SendError::Granted));
        match commit {
            None => self.writer.abort(grant).unwrap(),
            Some(n) => match self.writer.commit(grant, n) {
                Ok(()) => self.queue.push_back(record[..n].to_vec()),
                Err(GrantError::Beyond(grant)) => {
                    assert!(n > len);
                    self.writer.abort(grant).unwrap();
                }
                Err(e) => panic!("{e}"),
            },
        }
    }
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
        with_lane(1 << log, start, |writer, reader| {
            let mut world = World { writer, reader, queue: VecDeque::new(), seed: 0 };
            ops.iter().for_each(|op| world.run(op));
            world.writer.finish();
            while let Some(record) = world.queue.pop_front() {
                let mut out = [0; MOST];
                let n = world.reader.recv(&mut out).unwrap().unwrap();
                assert_eq!(out[..n], record);
            }
            assert_eq!(world.reader.recv(&mut []), Ok(None));
        });
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
        let mut block = Block::<{ block_len(&Config::new([MOST as u32, 0])) }>::new();
        let (mut here, there) = block.split(&config(1 << log, start), [Spin, Spin], [Spin, Spin]).unwrap();
        let mut reader = RecordReader::new(there.consumer);
        let mut corrupt = false;
        for (header, bytes) in runs {
            let _ = here.producer.write(&[&header.to_ne_bytes()[..], &bytes].concat());
            for _ in 0..3 {
                let there = reader.consumer().capacity();
                let mut out = [0; MOST];
                match reader.recv(&mut out) {
                    Ok(Some(len)) => assert!(!corrupt && len <= there),
                    Err(RecvError::Empty) => assert!(!corrupt),
                    Err(RecvError::Corrupt) => corrupt = true,
                    got => panic!("{got:?}"),
                }
            }
        }
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
