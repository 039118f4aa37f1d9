//! Records against a queue of the standard library: what a fuzzer and the property tests share.

use std::collections::VecDeque;

use smstream_core::block::{Block, block_len};
use smstream_core::error::WaitError;
use smstream_core::geometry::Config;
use smstream_core::lane::Consumer;
use smstream_core::park::Spin;
use smstream_core::record::{BeyondClaim, GrantError, RecordReader, RecordWriter, RecvError, SendError, WriteGrant};

use crate::give_up::GiveUp;
use crate::texts::{check_debug, check_error};

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
    /// Sends a record of so many bytes by the half of the lane itself, and receives the next one so.
    Halves(usize),
    /// Waits for room for so many bytes, for this half or for the whole party, and for the next record.
    Wait(usize, bool),
    /// Gives grants of so many bytes, to write and to read, to halves that have not given them.
    Foreign(usize),
}

/// The two ends of a lane.
type Pair<'m> = (RecordWriter<'m, GiveUp>, RecordReader<'m, GiveUp>);

/// One half, out of which another one is made and put back.
fn again<T, U>(half: &mut Option<T>, change: impl FnOnce(T) -> (T, U)) -> U {
    let (back, out) = change(half.take().expect("a half"));
    *half = Some(back);
    out
}

struct World<'m> {
    writer: Option<RecordWriter<'m, GiveUp>>,
    reader: Option<RecordReader<'m, GiveUp>>,
    /// The other half of the party that writes.
    other: Consumer<'m, GiveUp>,
    /// Another lane.
    foreign: Pair<'m>,
    queue: VecDeque<Vec<u8>>,
    seed: usize,
}

impl<'m> World<'m> {
    fn writer(&mut self) -> &mut RecordWriter<'m, GiveUp> {
        self.writer.as_mut().expect("a half")
    }

    fn reader(&mut self) -> &mut RecordReader<'m, GiveUp> {
        self.reader.as_mut().expect("a half")
    }

    fn capacity(&self) -> usize {
        self.writer.as_ref().expect("a half").producer().capacity()
    }

    /// The bytes that records in the lane take, without padding.
    fn taken(&self) -> usize {
        self.queue.iter().map(|record| 4 + record.len().next_multiple_of(4)).sum()
    }

    /// What sending a record of `len` bytes must give, if there were no padding in the lane.
    fn expected(&self, len: usize) -> Result<(), SendError> {
        let capacity = self.capacity();
        if capacity < 4 || len > capacity - 4 {
            return Err(SendError::TooLong);
        }
        let fits = self.taken() + 4 + len.next_multiple_of(4) <= capacity;
        if fits { Ok(()) } else { Err(SendError::Full) }
    }

    /// Padding may have taken room that the oracle does not know of; it never gives any.
    fn agree(&self, len: usize, got: Result<(), SendError>) -> bool {
        let expected = self.expected(len);
        got.inspect_err(check_error).ok();
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
                let got = self.writer().send(&record);
                if self.agree(len, got) {
                    self.queue.push_back(record);
                }
            }
            Op::Claim(len, commit) => {
                let record = self.next(len);
                let queue = &mut self.queue;
                let writer = self.writer.as_mut().expect("a half");
                let got = writer.claim(len).map(|mut claim| {
                    assert_eq!((claim.len(), claim.is_empty(), claim.filled()), (len, len == 0, 0));
                    assert_eq!(
                        (claim.write(&record[..len / 2]), claim.put(len / 2, &record[len / 2..])),
                        (len / 2, len - len / 2)
                    );
                    assert_eq!(claim.put(len, &[1]), 0);
                    match commit {
                        None => claim.abort(),
                        // What was put lies beyond what was written.
                        Some(n) if n == len / 2 => {
                            assert_eq!((claim.filled(), claim.commit_filled()), (n, Ok(())));
                            queue.push_back(record[..n].to_vec());
                        }
                        Some(n) => match claim.commit_len(n) {
                            Ok(()) => queue.push_back(record[..n].to_vec()),
                            Err(e) => {
                                check_error(&e);
                                assert!(n > len && e == BeyondClaim { claimed: len });
                            }
                        },
                    }
                });
                // What was queued by this very call is not there yet when the claim is made.
                match got {
                    Ok(()) => assert!(len <= self.capacity()),
                    Err(e) => assert!(!self.agree(len, Err(e))),
                }
            }
            Op::Grant(len, commit) => {
                let grant = self.writer().grant_exact(len);
                if !self.agree(len, grant.as_ref().map(drop).map_err(|e| *e)) {
                    return;
                }
                self.hold(grant.unwrap(), len, commit);
            }
            Op::GrantMax(commit) => match self.writer().grant_max() {
                Ok(grant) => {
                    let len = grant.len();
                    assert!(len > 0);
                    self.hold(grant, len, commit);
                }
                Err(e) => assert!(e == SendError::Full || e == SendError::TooLong),
            },
            Op::Recv(len) => {
                let mut out = vec![0; len];
                let next_len = self.reader().next_len();
                let got = self.reader().recv(&mut out);
                got.inspect_err(check_error).ok();
                match (got, self.queue.front()) {
                    (Err(RecvError::Empty), None) => assert_eq!(next_len, Err(RecvError::Empty)),
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
            Op::Take => match self.reader().grant() {
                Err(RecvError::Empty) => assert!(self.queue.is_empty()),
                Ok(Some(grant)) => {
                    assert_eq!(self.reader().recv(&mut []), Err(RecvError::Granted));
                    let record = self.queue.pop_front().unwrap();
                    let mut out = vec![0; record.len() + 1];
                    assert_eq!((grant.len(), grant.is_empty()), (record.len(), record.is_empty()));
                    let parts = grant.parts().map(|(_, len)| len);
                    assert_eq!((parts[0] + parts[1], grant.is_contiguous()), (record.len(), parts[1] == 0));
                    assert_eq!(grant.copy_to(0, &mut out), record.len());
                    assert_eq!(out[..record.len()], record);
                    let half = record.len() / 2;
                    assert_eq!(grant.copy_to(half, &mut out), record.len() - half);
                    assert_eq!(out[..record.len() - half], record[half..]);
                    self.reader().release(grant).unwrap();
                }
                got => panic!("{got:?}"),
            },
            Op::Halves(len) => self.by_halves(len),
            Op::Wait(len, exclusive) => self.wait(len, exclusive),
            Op::Foreign(len) => self.show_foreign(len),
            Op::Skip => match self.reader().skip() {
                Ok(Some(len)) => assert_eq!(self.queue.pop_front().map(|record| record.len()), Some(len)),
                got => assert!(got == Err(RecvError::Empty) && self.queue.is_empty()),
            },
        }
    }

    fn hold(&mut self, mut grant: WriteGrant<'m>, len: usize, commit: Option<usize>) {
        assert!(grant.len() == len && grant.is_empty() == (len == 0) && !grant.as_ptr().is_null());
        let record = self.next(len);
        assert_eq!((grant.put(0, &record), grant.put(len, &[1])), (len, 0));
        let granted = self.writer().send(b"").expect_err("a grant is out");
        check_error(&granted);
        assert_eq!(granted, SendError::Granted);
        assert_eq!(self.writer().claim(0).map(drop), Err(SendError::Granted));
        match commit {
            None => self.writer().abort(grant).unwrap(),
            Some(n) => match self.writer().commit(grant, n) {
                Ok(()) => self.queue.push_back(record[..n].to_vec()),
                Err(e) => {
                    check_error(&e);
                    let GrantError::Beyond(grant) = e else { panic!("{e}") };
                    assert!(n > len);
                    self.writer().abort(grant).unwrap();
                }
            },
        }
    }

    fn by_halves(&mut self, len: usize) {
        let record = self.next(len);
        let sent = again(&mut self.writer, |writer| {
            let mut producer = writer.into_producer().expect("no grant is out");
            let sent = producer.send_record(&record);
            (RecordWriter::new(producer), sent)
        });
        if self.agree(len, sent) {
            self.queue.push_back(record);
        }
        let mut out = [0; MOST];
        let found = again(&mut self.reader, |reader| {
            let mut consumer = reader.into_consumer().expect("no grant is out");
            let found = consumer.record_len();
            if let Ok(Some(len)) = found {
                let view = consumer.record().expect("it is there").expect("a record");
                let parts = view.parts().map(|(_, len)| len);
                assert_eq!((view.len(), view.is_empty(), parts[0] + parts[1]), (len, len == 0, len));
                assert_eq!(consumer.recv_record(&mut out), Ok(Some(len)));
            }
            (RecordReader::new(consumer), found)
        });
        let expected = self.queue.pop_front();
        assert_eq!(found, expected.as_ref().map_or(Err(RecvError::Empty), |record| Ok(Some(record.len()))));
        assert!(expected.is_none_or(|record| out[..record.len()] == record));
    }

    fn wait(&mut self, len: usize, exclusive: bool) {
        let writer = self.writer.take().expect("a half");
        let (writer, got) = if exclusive {
            let mut producer = writer.into_producer().expect("no grant is out");
            let got = producer.wait_for_record_exclusive(len, &mut self.other);
            (RecordWriter::new(producer), got)
        } else {
            let mut writer = writer;
            let got = writer.wait(len, Some(()));
            (writer, got)
        };
        self.writer = Some(writer);
        let room = self.capacity() - self.taken();
        match got {
            Ok(found) => assert!(found > 0 && found <= room),
            // Padding takes room, too.
            Err(e) => assert!(e == WaitError::TimedOut && (room == 0 || self.writer().send(&[]).is_err())),
        }
        match self.reader().wait(Some(())) {
            Ok(()) => {}
            Err(e) => assert!(e == WaitError::TimedOut && self.queue.is_empty()),
        }
    }

    fn show_foreign(&mut self, len: usize) {
        let record = self.next(len);
        let Ok(mut grant) = self.foreign.0.grant_exact(len) else { return };
        assert_eq!(grant.put(0, &record), len);
        let World { writer: Some(writer), reader: Some(reader), foreign, .. } = self else { panic!("no halves") };
        let refused = writer.commit(grant, len).expect_err("another half's");
        check_error(&refused);
        let GrantError::Foreign(grant) = refused else { panic!("{refused}") };
        let Err(GrantError::Foreign(grant)) = writer.abort(grant) else { panic!("another half's") };
        foreign.0.commit(grant, len).expect("its own");
        let grant = foreign.1.grant().expect("it is there").expect("a record");
        check_error(&foreign.1.recv(&mut []).expect_err("a grant is out"));
        let Err(GrantError::Foreign(grant)) = reader.release(grant) else { panic!("another half's") };
        foreign.1.release(grant).expect("its own");
    }
}

/// Does all of it over a lane of 2 to the power of `log` bytes, whose cursors begin at `start`, and sees that each record comes out
/// as it went in.
///
/// # Panics
/// If one does not.
pub fn run(log: u32, start: u32, ops: &[Op]) {
    let mut blocks = [const { Block::<{ block_len(&Config::new([MOST as u32, 0])) }>::new() }; 2];
    let [one, two] = blocks.each_mut().map(|block| {
        let config = config(1 << log, start);
        let (here, there) = block.split_apart(&config, (GiveUp, GiveUp), (GiveUp, GiveUp)).unwrap();
        ((RecordWriter::new(here.producer), RecordReader::new(there.consumer)), here.consumer)
    });
    let ((writer, reader), other) = one;
    let (writer, reader) = (Some(writer), Some(reader));
    let mut world = World { writer, reader, other, foreign: two.0, queue: VecDeque::new(), seed: 0 };
    ops.iter().for_each(|op| world.run(op));
    world.writer().finish();
    while let Some(record) = world.queue.pop_front() {
        let mut out = [0; MOST];
        let n = world.reader().recv(&mut out).unwrap().unwrap();
        assert_eq!(out[..n], record);
    }
    assert_eq!(world.reader().recv(&mut []), Ok(None));
    let closed = world.writer().send(&[]).expect_err("it has finished");
    check_error(&closed);
    assert!(closed == SendError::Closed || world.capacity() < 4);
    world.reader().stop();
    assert_eq!(world.reader().recv(&mut []), Ok(None));
    check_debug(&blocks[0]);
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
            got.inspect_err(check_error).ok();
        }
    }
}
