//! Records against a queue of the standard library: what a fuzzer and the property tests share.

use std::collections::VecDeque;

use smstream_core::block::{Block, block_len};
use smstream_core::geometry::Config;
use smstream_core::park::Spin;
use smstream_core::record::{BeyondClaim, GrantError, RecordReader, RecordWriter, RecvError, SendError, WriteGrant};

/// The most bytes of a lane.
pub const MOST: usize = 256;

/// A channel whose first lane has this capacity, and the second none.
#[must_use]
pub fn config(capacity: u32, start: u32) -> Config {
    Config { start, ..Config::new([capacity, 0]) }
}

/// Runs `test` with both ends of a lane.
///
/// # Panics
/// If the capacity cannot be, and as `test` does.
pub fn with_lane(capacity: u32, start: u32, test: impl FnOnce(RecordWriter<'_, Spin>, RecordReader<'_, Spin>)) {
    let mut block = Block::<{ block_len(&Config::new([MOST as u32, 0])) }>::new();
    let (here, there) = block.split(&config(capacity, start), [Spin, Spin], [Spin, Spin]).unwrap();
    test(RecordWriter::new(here.producer), RecordReader::new(there.consumer));
}

/// Bytes that differ from record to record and from place to place.
#[must_use]
pub fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (seed * 31 + i * 7 + 1) as u8).collect()
}

/// What a test does. Lengths may be more than fit.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sends a record of so many bytes.
    Send(usize),
    /// Claims so many bytes, and commits so many, or aborts.
    Claim(usize, Option<usize>),
    /// The same by a contiguous grant that is kept for a while.
    Grant(usize, Option<usize>),
    /// The same with the longest grant that there is.
    GrantMax(Option<usize>),
    /// Receives into so many bytes.
    Recv(usize),
    /// Takes a grant of the next record, looks at it and releases it.
    Take,
    /// Passes the next record over.
    Skip,
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

/// Does all of it over a lane of 2 to the power of `log` bytes, whose cursors begin at `start`, and sees that each record comes out
/// as it went in.
///
/// # Panics
/// If one does not.
pub fn run(log: u32, start: u32, ops: &[Op]) {
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

/// A writer of raw bytes, each run with a word before it that may be a header: they are records, the end, or corrupt, which stays.
/// Each record lies within what was published.
///
/// # Panics
/// If that is not so.
pub fn run_hostile(log: u32, start: u32, runs: &[(u32, Vec<u8>)]) {
    let mut block = Block::<{ block_len(&Config::new([MOST as u32, 0])) }>::new();
    let (mut here, there) = block.split(&config(1 << log, start), [Spin, Spin], [Spin, Spin]).unwrap();
    let mut reader = RecordReader::new(there.consumer);
    let mut corrupt = false;
    for (n, (header, bytes)) in runs.iter().enumerate() {
        let _ = here.producer.write(&[&header.to_ne_bytes()[..], bytes].concat());
        for look in 0..3 {
            let there = reader.consumer().capacity();
            let mut out = [0; MOST];
            let got = match (n + look) % 3 {
                0 => reader.grant().map(|grant| {
                    grant.map(|grant| {
                        let len = grant.len();
                        assert_eq!(grant.copy_to(0, &mut out), len);
                        reader.release(grant).expect("its own grant");
                        len
                    })
                }),
                1 => reader.skip(),
                _ => reader.recv(&mut out),
            };
            match got {
                Ok(Some(len)) => assert!(!corrupt && len <= there),
                Err(RecvError::Empty) => assert!(!corrupt),
                Err(RecvError::Corrupt) => corrupt = true,
                got => panic!("{got:?}"),
            }
        }
    }
}
