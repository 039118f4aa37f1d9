//! Streams for tokio, with other processes on the other side.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use smstream::tokio::{Listener, Stream, connect, connect_with};
use smstream::{Builder, Error, Kind, Reason};
use smstream_tests::flow::{Flow, NEAR_WRAP, Random};
use smstream_tests::party::{Party, Scratch, until};
use smstream_tests::watchdog::{PATIENCE, Watchdog};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const ASYNC_PARTY: &str = env!("CARGO_BIN_EXE_async_party");

/// Runs a test in a runtime with one thread, and in one with two.
fn run<F: Future>(test: impl Fn() -> F) {
    let _watchdog = Watchdog::new();
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one.block_on(async { tokio::time::timeout(PATIENCE, test()).await }).expect("it hangs with one thread");
    let two = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    two.block_on(async { tokio::time::timeout(PATIENCE, test()).await }).expect("it hangs with two threads");
}

/// Two ends, with lanes of this many bytes and cursors that wrap soon.
async fn ends(capacity: usize, spin: Duration) -> (Stream, Stream) {
    let builder = Builder::new().capacity(capacity).spin(spin).start_cursor(NEAR_WRAP);
    let listener = Listener::from_std(builder.bind_temp(Kind::Abstract).unwrap()).unwrap();
    let addr = listener.local_addr().clone();
    let connecting = connect_with(&builder, addr);
    let (a, b) = tokio::join!(listener.accept(), connecting);
    (a.unwrap(), b.unwrap())
}

fn unix(scratch: &Scratch) -> String {
    format!("unix:{}", scratch.name().display())
}

const SPINS: [Duration; 2] = [Duration::ZERO, Duration::from_micros(50)];

#[test]
fn bytes_go_both_ways_between_processes_as_often_as_the_lanes_wrap() {
    let scratch = Scratch::new();
    for spin in [0, 50] {
        let mut party = Party::start(ASYNC_PARTY);
        party.does(format!("echo {} 4096 {spin}", unix(&scratch)));
        run(|| async {
            let stream = connect(unix(&scratch)).await.unwrap();
            let (mut reader, mut writer) = stream.into_split();
            let sender = tokio::spawn(async move {
                let mut flow = Flow::new(7, 4096);
                for n in 0..600 {
                    let mut bytes = vec![0; 1 + n * 37 % 9001];
                    flow.fill(&mut bytes);
                    flow.skip(bytes.len() as u64);
                    writer.write_all(&bytes).await.unwrap();
                }
                writer.shutdown().await.unwrap();
                flow.at()
            });
            let mut flow = Flow::new(7, 4096);
            let mut bytes = vec![0; 7000];
            loop {
                let n = reader.read(&mut bytes).await.unwrap();
                if n == 0 {
                    break;
                }
                flow.check(&bytes[..n]);
            }
            assert_eq!(sender.await.unwrap(), flow.at());
        });
    }
}

/// Both halves wait at once: in one task, and in two.
#[test]
fn each_half_is_woken_though_there_is_one_socket() {
    run(|| async {
        for spin in SPINS {
            // The peer makes room first, then sends, and the other way round.
            for room_first in [true, false] {
                for tasks in [1, 2] {
                    let (mut here, mut there) = ends(4096, spin).await;
                    here.write_all(&[1; 4096]).await.unwrap();
                    let peer = tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(3)).await;
                        let mut bytes = [0; 4096];
                        if room_first {
                            there.read_exact(&mut bytes).await.unwrap();
                            tokio::time::sleep(Duration::from_millis(3)).await;
                            there.write_all(b"x").await.unwrap();
                        } else {
                            there.write_all(b"x").await.unwrap();
                            tokio::time::sleep(Duration::from_millis(3)).await;
                            there.read_exact(&mut bytes).await.unwrap();
                        }
                        there
                    });
                    let mut out = [0];
                    if tasks == 1 {
                        let (mut reader, mut writer) = here.split();
                        let (read, wrote) = tokio::join!(reader.read_exact(&mut out), writer.write_all(b"more"));
                        read.unwrap();
                        wrote.unwrap();
                    } else {
                        let (mut reader, mut writer) = here.into_split();
                        let write = tokio::spawn(async move {
                            writer.write_all(b"more").await.unwrap();
                            writer
                        });
                        reader.read_exact(&mut out).await.unwrap();
                        write.await.unwrap();
                    }
                    assert_eq!(&out, b"x");
                    let mut more = [0; 4];
                    peer.await.unwrap().read_exact(&mut more).await.unwrap();
                    assert_eq!(&more, b"more");
                }
            }
        }
    });
}

/// Polls a future once.
fn once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Futures are dropped while they wait, again and again: no byte is lost, doubled or out of order. The reader begins when a
/// writing future was dropped, and the last byte comes when a reading one was: so both have happened.
#[test]
fn what_is_cancelled_loses_nothing() {
    run(|| async {
        for spin in SPINS {
            let (mut here, mut there) = ends(256, spin).await;
            let bytes = 60_000;
            let (full, is_full) = tokio::sync::oneshot::channel();
            let (empty, is_empty) = tokio::sync::oneshot::channel();
            let sender = tokio::spawn(async move {
                let (mut flow, mut random, mut full, mut is_empty) =
                    (Flow::new(5, 256), Random::new(1), Some(full), Some(is_empty));
                let mut buffer = vec![0; 700];
                while flow.at() < bytes {
                    let left = bytes - 1 - flow.at();
                    if left == 0
                        && let Some(is_empty) = is_empty.take()
                    {
                        is_empty.await.unwrap();
                    }
                    let size = (1 + random.below(700)).min(left.max(1)) as usize;
                    flow.fill(&mut buffer[..size]);
                    tokio::select! {
                        biased;
                        n = there.write(&buffer[..size]) => flow.skip(n.unwrap() as u64),
                        () = std::future::ready(()) => {
                            if let Some(full) = full.take() { full.send(()).unwrap(); }
                            tokio::task::yield_now().await;
                        }
                    }
                }
                there
            });
            is_full.await.unwrap();
            let (mut flow, mut empty) = (Flow::new(5, 256), Some(empty));
            let mut buffer = vec![0; 300];
            while flow.at() < bytes {
                tokio::select! {
                    biased;
                    n = here.read(&mut buffer) => flow.check(&buffer[..n.unwrap()]),
                    () = std::future::ready(()) => {
                        if let Some(empty) = empty.take() { empty.send(()).unwrap(); }
                        tokio::task::yield_now().await;
                    }
                }
            }
            let there = sender.await.unwrap();
            drop((here, there));
        }
    });
}

#[test]
fn a_read_that_was_dropped_costs_the_peer_one_ring_at_most() {
    run(|| async {
        let (mut here, mut there) = ends(4096, Duration::ZERO).await;
        assert!(once(here.read(&mut [0])).is_none());
        for _ in 0..100 {
            there.write_all(b"message").await.unwrap();
        }
        assert_eq!(there.get_ref().stats().sent.wakes_sent, 1);
        here.read_exact(&mut [0; 700]).await.unwrap();
        for _ in 0..100 {
            there.write_all(b"message").await.unwrap();
        }
        assert_eq!(there.get_ref().stats().sent.wakes_sent, 1, "the half was used, and so is awake");
    });
}

/// A half that is closed while it is announced leaves nothing behind: its peer does not ring.
#[test]
fn a_stream_that_is_dropped_while_it_waits_leaves_nothing_parked() {
    run(|| async {
        let (mut here, there) = ends(64, Duration::ZERO).await;
        here.write_all(&[1; 64]).await.unwrap();
        assert!(once(here.read(&mut [0])).is_none());
        assert!(once(here.write(&[0])).is_none());
        drop(here);
        let mut there = there.into_std();
        std::io::Read::read_exact(&mut there, &mut [0; 64]).unwrap();
        assert_eq!(std::io::Read::read(&mut there, &mut [0]).unwrap(), 0);
        assert_eq!(there.stats().received.wakes_sent, 0);
    });
}

#[test]
fn accepting_and_connecting_can_be_dropped() {
    run(|| async {
        let listener = Listener::bind_temp(Kind::Abstract).unwrap();
        for _ in 0..50 {
            assert!(once(listener.accept()).is_none());
            assert!(once(connect(listener.local_addr())).is_none(), "no listener has accepted it");
        }
        // Of those who gave up nothing is left that could be accepted.
        let (accepted, connected) = tokio::join!(listener.accept(), connect(listener.local_addr()));
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        accepted.write_all(b"it").await.unwrap();
        connected.read_exact(&mut [0; 2]).await.unwrap();
    });
}

#[test]
fn closing_one_direction_and_both() {
    run(|| async {
        let (mut here, mut there) = ends(4096, Duration::ZERO).await;
        let peer = tokio::spawn(async move {
            let mut all = Vec::new();
            there.read_to_end(&mut all).await.unwrap();
            there.write_all(b"answer").await.unwrap();
            (there, all)
        });
        here.write_all(b"question").await.unwrap();
        here.shutdown().await.unwrap();
        here.shutdown().await.unwrap();
        let mut answer = [0; 6];
        here.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        assert_eq!(here.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (there, all) = peer.await.unwrap();
        assert_eq!(all, b"question");
        // The peer's halves close by being dropped.
        let (reader, writer) = there.into_split();
        drop(writer);
        assert_eq!(here.read(&mut answer).await.unwrap(), 0);
        drop(reader);
    });
}

#[test]
fn the_death_of_the_peer_is_reported_to_both_halves() {
    run(|| async {
        let scratch = Scratch::new();
        for spin in SPINS {
            let listener = Builder::new().capacity(4096).spin(spin).bind(unix(&scratch)).unwrap();
            let listener = Listener::from_std(listener).unwrap();
            let mut party = Party::start(PARTY);
            party.tell(format!("connect {}", unix(&scratch)));
            let (mut reader, mut writer) = listener.accept().await.unwrap().into_split();
            let writing = tokio::spawn(async move { writer.write_all(&[0; 5000]).await.unwrap_err() });
            let reading = tokio::spawn(async move {
                let mut all = Vec::new();
                (reader.read_to_end(&mut all).await.unwrap_err(), all.len())
            });
            party.hear().unwrap();
            party.does("write 100");
            tokio::task::yield_now().await;
            party.kill_and_reap();
            let (e, read) = reading.await.unwrap();
            assert_eq!(read, 100);
            for e in [e, writing.await.unwrap()] {
                assert_eq!(Error::from_io(&e).unwrap().reason(), Reason::PeerGone, "{e}");
            }
        }
    });
}

#[test]
fn a_party_that_uses_threads_and_one_that_uses_tokio() {
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} 4096 4096 {NEAR_WRAP}", unix(&scratch)));
    party.tell("serve 2");
    run(|| async {
        let (mut reader, mut writer) = connect(unix(&scratch)).await.unwrap().into_split();
        let sender = tokio::spawn(async move {
            for _ in 0..100 {
                writer.write_all(&[9; 10_000]).await.unwrap();
            }
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        sender.await.unwrap();
        assert_eq!(all.len(), 1_000_000);
        assert!(all.iter().all(|&b| b == 9));
    });
    party.hear().unwrap();
}

/// A stream that is always ready takes part in tokio's sharing of a thread.
#[test]
fn a_busy_stream_lets_other_tasks_run() {
    run(|| async {
        static TICKS: AtomicU64 = AtomicU64::new(0);
        let (mut here, mut there) = ends(1 << 16, Duration::from_micros(50)).await;
        let ticker = tokio::spawn(async {
            loop {
                TICKS.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        });
        until_ticks(&TICKS, 1).await;
        let before = TICKS.load(Relaxed);
        // One task has both ends, and never has to wait for anything.
        for _ in 0..20_000 {
            there.write_all(b"x").await.unwrap();
            here.read_exact(&mut [0]).await.unwrap();
        }
        assert!(TICKS.load(Relaxed) > before, "no other task had a turn");
        ticker.abort();
    });
}

async fn until_ticks(ticks: &AtomicU64, n: u64) {
    while ticks.load(Relaxed) < n {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_stream_goes_from_tokio_to_a_thread_and_back() {
    run(|| async {
        let (mut here, mut there) = ends(4096, Duration::ZERO).await;
        assert!(once(here.read(&mut [0])).is_none());
        let mut here = here.into_std();
        let thread = tokio::task::spawn_blocking(move || {
            // It blocks, and is woken by a futex.
            std::io::Read::read_exact(&mut here, &mut [0; 3]).unwrap();
            std::io::Write::write_all(&mut here, b"back").unwrap();
            here
        });
        there.write_all(b"one").await.unwrap();
        there.read_exact(&mut [0; 4]).await.unwrap();
        let mut here = Stream::from_std(thread.await.unwrap()).unwrap();
        there.write_all(b"two").await.unwrap();
        here.read_exact(&mut [0; 3]).await.unwrap();
    });
}

#[test]
fn what_tokio_cannot_wait_for_is_refused_with_the_reason() {
    run(|| async {
        let scratch = Scratch::new();
        let (a, _b) = smstream::Stream::pair().unwrap();
        let (e, a) = Stream::from_std(a).unwrap_err().into_parts();
        // It is given back as it was: it blocks.
        a.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(std::io::Read::read(&mut &a, &mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        let errors = [e, Listener::bind(scratch.addr()).unwrap_err(), connect(scratch.addr()).await.unwrap_err()];
        for e in errors {
            assert_eq!((e.reason(), e.kind()), (Reason::Unsupported, ErrorKind::Unsupported));
            assert!(e.to_string().contains("unix:"), "{e}");
        }
        let e = connect(unix(&scratch)).await.unwrap_err();
        assert_eq!(e.reason(), Reason::NotReady, "{e}");
    });
    // Without a runtime.
    let e = Listener::bind_temp(Kind::Abstract).unwrap_err();
    assert!(e.to_string().contains("runtime") || e.to_string().contains("reactor"), "{e}");
}

/// Many more than a listener keeps at once in the middle of their rendezvous. As they ask for what the listener wants, all
/// that they have to say is said when they are let in; so no connector is turned away, however slow this process is.
#[test]
fn many_connect_at_once() {
    let scratch = Scratch::new();
    let mut party = Party::start(ASYNC_PARTY);
    party.does(format!("echo {} 512 0", unix(&scratch)));
    run(|| async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..500u16 {
            let addr = unix(&scratch);
            tasks.spawn(async move {
                let as_the_listener = Builder::new().capacity(512).start_cursor(NEAR_WRAP);
                let mut stream = connect_with(&as_the_listener, addr).await.unwrap();
                stream.write_all(&n.to_le_bytes()).await.unwrap();
                let mut back = [0; 2];
                stream.read_exact(&mut back).await.unwrap();
                assert_eq!(back, n.to_le_bytes());
            });
        }
        while let Some(result) = tasks.join_next().await {
            result.unwrap();
        }
    });
    until("all were served", || party.does("served") == "1000 2000");
}

/// A try after that is an error; a waiter finds out when the socket says something.
#[test]
fn what_was_given_up_is_reported() {
    run(|| async {
        for spin in SPINS {
            let (mut here, _there) = ends(64, spin).await;
            here.write_all(&[0; 64]).await.unwrap();
            here.get_ref().abort();
            for e in [here.read(&mut [0]).await.unwrap_err(), here.write(&[0]).await.unwrap_err()] {
                assert_eq!(Error::from_io(&e).unwrap().reason(), Reason::Aborted, "{e}");
            }
        }
    });
}

/// As tokio's own streams are used: readiness first, then an attempt.
#[test]
fn readiness_then_an_attempt() {
    run(|| async {
        for spin in SPINS {
            let (here, there) = ends(512, spin).await;
            let mut there = there;
            let mut here = here;
            assert_eq!(here.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let (sent, ()) = tokio::join!(
                async {
                    let mut sent = 0;
                    while sent < 10_000 {
                        there.writable().await.unwrap();
                        match there.try_write(&[7; 300]) {
                            Ok(n) => sent += n,
                            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                        }
                        tokio::task::yield_now().await;
                    }
                    drop(there);
                    sent
                },
                async {
                    // By a half, which is one stream again in the end.
                    let (mut reader, writer) = here.into_split();
                    assert_eq!(reader.peer(), writer.peer());
                    for _ in 0..10 {
                        reader.readable().await.unwrap();
                        reader.try_read(&mut [0; 10]).unwrap();
                    }
                    here = reader.reunite(writer).unwrap();
                    loop {
                        here.readable().await.unwrap();
                        match here.try_read(&mut [0; 64]) {
                            Ok(0) => break,
                            Ok(_) => {}
                            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                        }
                    }
                }
            );
            assert!(sent >= 10_000);
        }
    });
}

#[test]
fn a_stream_connects_by_its_own_name() {
    run(|| async {
        let listener = Listener::bind_temp(Kind::Abstract).unwrap();
        let (there, here) = tokio::join!(listener.accept(), Stream::connect(listener.local_addr()));
        let (mut there, mut here) = (there.unwrap(), here.unwrap());
        here.writable().await.unwrap();
        assert_eq!(here.try_write(b"hello").unwrap(), 5);
        there.readable().await.unwrap();
        assert_eq!(there.try_read(&mut [0; 8]).unwrap(), 5);
        // Halves of different streams are given back.
        let ((reader, _w), (_r, writer)) = (there.into_split(), here.into_split());
        let smstream::tokio::ReuniteError(reader, writer) = reader.reunite(writer).unwrap_err();
        drop((reader, writer));
    });
}
