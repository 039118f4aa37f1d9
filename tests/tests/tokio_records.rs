//! Whole messages over streams for tokio: with other processes, between tasks, and with futures that are dropped midway.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use smstream::tokio::{Listener, Records, Stream, connect_with};
use smstream::{Builder, Kind as Named, Reason};
use smstream_tests::flow::{NEAR_WRAP, Random};
use smstream_tests::kinds::{Kind, meet_prepared};
use smstream_tests::messages::Messages;
use smstream_tests::party::Party;
use smstream_tests::waits::{SEEDS, builder};
use smstream_tests::watchdog::{PATIENCE, Watchdog};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SPINS: [Duration; 2] = [Duration::ZERO, Duration::from_micros(50)];

/// Runs a test in a runtime with one thread, and in one with two.
fn run<F: Future>(test: impl Fn() -> F) {
    let _watchdog = Watchdog::new();
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one.block_on(async { tokio::time::timeout(PATIENCE, test()).await }).expect("it hangs with one thread");
    let two = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    two.block_on(async { tokio::time::timeout(PATIENCE, test()).await }).expect("it hangs with two threads");
}

/// Two ends that are made for records or not, with lanes of this many bytes and cursors that wrap soon.
async fn streams(capacity: usize, spin: Duration, records: [bool; 2]) -> (Stream, Stream) {
    let builder = Builder::new().capacity(capacity).spin(spin).start_cursor(NEAR_WRAP);
    let bound = builder.clone().records(records[0]).bind_temp(Named::Abstract).unwrap();
    let listener = Listener::from_std(bound).unwrap();
    let addr = listener.local_addr().clone();
    let builder = builder.records(records[1]);
    let (a, b) = tokio::join!(listener.accept(), connect_with(&builder, addr));
    (a.unwrap(), b.unwrap())
}

async fn ends(capacity: usize, spin: Duration) -> (Records, Records) {
    let (a, b) = streams(capacity, spin, [true; 2]).await;
    assert!(a.carries_records() && b.carries_records());
    (a.into_records().unwrap(), b.into_records().unwrap())
}

/// Records with another process, which uses no tokio.
fn meet(kind: Kind, capacity: usize, spin: Duration) -> (Records, Party) {
    let builder = builder(capacity).records(true).spin(spin);
    let (stream, mut party) = meet_prepared(kind, &builder, PARTY, &[], |party| {
        party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
        party.does("speaks-records");
    });
    party.does("into-records");
    (Stream::from_std(stream).unwrap().into_records().unwrap(), party)
}

fn ours(capacity: usize) -> Messages {
    Messages::new(SEEDS[0], capacity - 4)
}

fn reason<T>(result: std::io::Result<T>) -> Option<Reason> {
    Reason::of(&result.err().expect("it fails"))
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Wakes {
    /// How often it was since the last call.
    fn take(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

/// Polls a future once, and drops it: what it gave, if it was ready.
fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn records_of_all_lengths_go_both_ways_between_processes() {
    run(|| async {
        for kind in [Kind::Unix, Kind::Fd] {
            for (capacity, spin) in [(4, SPINS[0]), (8, SPINS[1]), (64, SPINS[0]), (64, SPINS[1]), (1024, SPINS[0])] {
                let (records, mut party) = meet(kind, capacity, spin);
                let (mut reader, mut writer) = records.into_split();
                party.tell("records-echo");
                let sender = tokio::spawn(async move {
                    for record in ours(capacity).take(1000) {
                        writer.send(&record).await.unwrap();
                    }
                    writer.shutdown();
                    writer
                });
                let mut bytes = Vec::new();
                for expected in ours(capacity).take(1000) {
                    assert_eq!(reader.recv_vec(&mut bytes).await.unwrap(), Some(expected.len()));
                    assert!(bytes == expected, "{kind:?} {capacity}");
                }
                assert_eq!(party.hear().unwrap(), "1000");
                let writer = sender.await.unwrap();
                party.does("close");
                let mut records = reader.reunite(writer).unwrap();
                assert_eq!(records.recv(&mut []).await.unwrap(), None);
                assert_eq!(records.recv_vec(&mut bytes).await.unwrap(), None);
            }
        }
    });
}

/// There is room the whole time, but not enough: the sender sleeps until all of the lane is empty.
#[test]
fn the_longest_record_waits_for_the_whole_lane() {
    run(|| async {
        for spin in SPINS {
            let (mut here, mut there) = ends(64, spin).await;
            assert_eq!((here.max_len(), there.max_peer_len()), (60, 60));
            for n in 1..=3u8 {
                here.send(&[n; 5]).await.unwrap();
            }
            let (wakes, record) = (Arc::new(Wakes::default()), [9; 60]);
            let waker = Waker::from(wakes.clone());
            let mut sending = Box::pin(here.send(&record));
            // It looks for a while, and then sleeps: there is nothing to wake it but the peer.
            while sending.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                tokio::task::yield_now().await;
                if wakes.take() == 0 {
                    break;
                }
            }
            let mut out = [0; 60];
            for n in 1..=3u8 {
                yields(10).await;
                assert_eq!(wakes.take(), 0, "there is not enough room yet");
                assert_eq!(there.recv(&mut out).await.unwrap(), Some(5));
                assert_eq!(out[..5], [n; 5]);
            }
            sending.await.unwrap();
            assert_eq!(there.recv(&mut out).await.unwrap(), Some(60));
            assert_eq!(out, record);
        }
    });
}

/// A future that waits has done nothing, so it can be dropped: what was to be received is still there, and of what was to be
/// sent nothing is.
#[test]
fn what_is_cancelled_has_done_nothing() {
    run(|| async {
        let (mut records, mut party) = meet(Kind::Unix, 64, SPINS[0]);
        let mut out = [0; 60];
        assert!(once(records.recv(&mut out)).is_none());
        assert!(once(records.recv_vec(&mut Vec::new())).is_none());
        party.does("record-send 9 7");
        assert_eq!(records.recv(&mut out).await.unwrap(), Some(9));
        assert_eq!(out[..9], [7; 9]);
        records.send(&[1; 30]).await.unwrap();
        // There is room for the start of it.
        assert!(once(records.send(&[2; 40])).is_none());
        assert_eq!(party.does("record-next"), "30");

        let (mut here, mut there) = ends(64, SPINS[0]).await;
        here.send(&[1; 30]).await.unwrap();
        assert!(once(here.send(&[2; 40])).is_none());
        let waiting = tokio::time::timeout(Duration::from_millis(5), here.send(&[2; 40]));
        assert!(waiting.await.is_err());
        here.send(&[3; 12]).await.unwrap();
        here.shutdown();
        for (n, len) in [(1, 30), (3, 12)] {
            assert_eq!(there.recv(&mut out).await.unwrap(), Some(len));
            assert!(out[..len].iter().all(|byte| *byte == n));
        }
        assert_eq!(there.recv(&mut out).await.unwrap(), None);
    });
}

/// Both sides drop their futures again and again, after no poll or a few, and begin anew.
#[test]
fn whatever_is_cancelled_each_record_arrives_once() {
    run(|| async {
        for spin in SPINS {
            const RECORDS: usize = 3000;
            let (mut here, mut there) = ends(64, spin).await;
            let sender = tokio::spawn(async move {
                let mut random = Random::new(1);
                for record in ours(64).take(RECORDS) {
                    // Until the future says that it has sent it.
                    while !tokio::select! {
                        biased;
                        result = here.send(&record) => { result.unwrap(); true }
                        () = yields(random.below(4)) => false,
                    } {}
                }
                here.shutdown();
                here
            });
            let (mut random, mut bytes) = (Random::new(2), Vec::new());
            let mut expected = ours(64).take(RECORDS);
            loop {
                let received = tokio::select! {
                    biased;
                    result = there.recv_vec(&mut bytes) => result.unwrap(),
                    () = yields(random.below(4)) => continue,
                };
                let Some(n) = received else { break };
                let expected = expected.next().expect("no more than were sent");
                assert!(n == expected.len() && bytes == expected);
            }
            assert!(expected.next().is_none());
            sender.await.unwrap();
        }
    });
}

async fn yields(n: u64) {
    for _ in 0..n {
        tokio::task::yield_now().await;
    }
}

#[test]
fn calls_that_do_not_wait_and_errors() {
    run(|| async {
        let (mut here, mut there) = ends(64, SPINS[0]).await;
        let mut out = [0; 60];
        assert_eq!(here.try_recv(&mut out).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(reason(here.send(&[0; 61]).await), Some(Reason::InvalidInput));
        assert_eq!(reason(here.try_send(&[0; 61])), Some(Reason::InvalidInput));
        here.try_send(&[1; 30]).unwrap();
        assert_eq!(here.try_send(&[2; 30]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(reason(there.recv(&mut out[..29]).await), Some(Reason::InvalidInput));
        assert_eq!(there.try_recv(&mut out).unwrap(), Some(30));
        assert_eq!(out[..30], [1; 30]);
        let (mut reader, mut writer) = there.into_split();
        writer.try_send(b"").unwrap();
        assert_eq!(here.recv(&mut []).await.unwrap(), Some(0));
        here.send(b"last").await.unwrap();
        here.shutdown();
        assert_eq!(reason(here.send(b"more").await), Some(Reason::WriteAfterClose));
        assert_eq!(reader.try_recv(&mut out).unwrap(), Some(4));
        assert_eq!(reader.recv(&mut out).await.unwrap(), None);
        // A record that waits for room learns that no more is taken.
        writer.send(&[5; 60]).await.unwrap();
        assert!(once(writer.send(&[6; 60])).is_none());
        let waiting = tokio::spawn(async move { writer.send(&[6; 60]).await });
        drop(here);
        assert_eq!(reason(waiting.await.unwrap()), Some(Reason::WriteAfterClose));
    });
}

/// Only if both ends say that they know records; and otherwise the stream is good for bytes.
#[test]
fn a_peer_that_knows_no_records() {
    run(|| async {
        for records in [[true, false], [false, true], [false, false]] {
            let (here, mut there) = streams(64, SPINS[0], records).await;
            assert!(!here.carries_records());
            let failed = here.into_records().unwrap_err();
            assert_eq!(failed.error().reason(), Reason::Unsupported);
            let mut here = failed.into_inner();
            here.write_all(b"bytes").await.unwrap();
            let mut out = [0; 5];
            there.read_exact(&mut out).await.unwrap();
            assert_eq!(&out, b"bytes");
        }
    });
}

/// The peer dies: what it had sent comes first. What breaks the rules is corrupt, at both halves.
#[test]
fn a_peer_that_dies_or_lies() {
    run(|| async {
        let (mut records, mut party) = meet(Kind::Unix, 64, SPINS[0]);
        let mut out = [0; 60];
        party.does("record-send 9 7");
        party.kill();
        assert_eq!(records.recv(&mut out).await.unwrap(), Some(9));
        assert_eq!(reason(records.recv(&mut out).await), Some(Reason::PeerGone));
        assert_eq!(reason(records.send(b"x").await), Some(Reason::PeerGone));

        let (mut liar, there) = streams(64, SPINS[0], [true; 2]).await;
        let mut there = there.into_records().unwrap();
        liar.write_all(&61u32.to_ne_bytes()).await.unwrap();
        assert_eq!(reason(there.recv(&mut out).await), Some(Reason::Corrupt));
        assert_eq!(reason(there.send(b"x").await), Some(Reason::Corrupt));
        let (mut liar, there) = streams(64, SPINS[0], [true; 2]).await;
        let (mut reader, mut writer) = there.into_records().unwrap().into_split();
        writer.send(&[1; 60]).await.unwrap();
        let waiting = tokio::spawn(async move { writer.send(&[2; 60]).await });
        liar.write_all(b"x").await.unwrap();
        assert_eq!(reason(reader.recv_vec(&mut Vec::new()).await), Some(Reason::Corrupt));
        assert_eq!(reason(waiting.await.unwrap()), Some(Reason::Corrupt));
    });
}
