//! Streams for tokio, with other processes on the other side.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use smstream::tokio::{Listener, Stream, connect, connect_with};
use smstream::{Builder, Kind, Reason};
use smstream_tests::flow::{Flow, NEAR_WRAP};
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

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
                        (read.unwrap(), wrote.unwrap());
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
