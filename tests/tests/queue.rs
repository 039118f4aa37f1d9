//! A listener whose queue is full: a connector waits for room, in each way of waiting, and is served then.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use smstream::condition::{try_wait, wait_any};
use smstream::{Builder, Reason, Stream, TryFinish};
use smstream_tests::flow::Flow;
use smstream_tests::party::Party;
use smstream_tests::watchdog::{PATIENCE, Watchdog};
use smstream_tests::wire::{Rig, Wire, config, door_for};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

/// A listener that lets no connector in by itself, and a connector that has its only place.
struct Full {
    addr: String,
    door: OwnedFd,
    first: Wire,
}

impl Full {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let addr = format!("unix:@smstream-test-queue-{}-{number}", std::process::id());
        let door = door_for(&addr, 1).unwrap();
        let first = Wire::connect(&addr).unwrap();
        Full { addr, door, first }
    }

    /// Sends the first one away, serves the next one, and sends it four bytes.
    fn serve(self) -> Rig {
        drop(self.first);
        drop(Wire::accept(&self.door).unwrap());
        let mut rig = Rig::accept(&self.door, &config(4096)).unwrap();
        let mut bytes = [0; 4];
        Flow::new(0, 4096).fill(&mut bytes);
        rig.write_all(&bytes).unwrap();
        rig
    }
}

#[test]
fn until_the_time_is_up() {
    let _watchdog = Watchdog::new();
    let full = Full::new();
    let e = Builder::new().connect_timeout(&full.addr, Duration::from_millis(20)).unwrap_err();
    assert_eq!(e.reason(), Reason::TimedOut, "{e}");
    assert!(e.to_string().contains(&full.addr), "{e}");
    // Who gave up has no place in the queue.
    drop(full.first);
    drop(Wire::accept(&full.door).unwrap());
    let connector = thread::spawn({
        let addr = full.addr.clone();
        move || Stream::connect(&addr).unwrap()
    });
    let rig = Rig::accept(&full.door, &config(4096)).unwrap();
    connector.join().unwrap();
    drop(rig);
}

/// Each signal begins the wait anew, and none of them the time.
#[test]
fn until_the_time_is_up_amid_signals() {
    let _watchdog = Watchdog::new();
    let full = Full::new();
    let mut party = Party::start(PARTY);
    party.does("handle-signals");
    party.does("alarm-every 5000");
    let e = party.ask(format!("connect {} 100", full.addr)).unwrap_err();
    assert_eq!(e.reason, "TimedOut", "{e:?}");
    party.does("alarm-every 0");
}

#[test]
fn asleep_in_the_kernel() {
    let _watchdog = Watchdog::new();
    for time in ["", " 600000"] {
        let full = Full::new();
        let mut party = Party::start(PARTY);
        party.tell(format!("connect {}{time}", full.addr));
        party.is_connecting();
        let _rig = full.serve();
        party.hear().unwrap();
        assert_eq!(party.does("read 4"), "4");
    }
}

#[test]
fn in_steps_and_as_a_condition() {
    let _watchdog = Watchdog::new();
    let full = Full::new();
    let connecting = Stream::begin_connect(&full.addr).unwrap();
    let Err(TryFinish::Pending(mut connecting)) = connecting.try_finish() else { panic!("there is no room") };
    assert!(try_wait(&mut [connecting.connectable()]).unwrap().is_empty());
    let Err(TryFinish::Pending(mut connecting)) = connecting.wait(Some(Duration::from_millis(20))) else {
        panic!("there is no room")
    };
    let server = thread::spawn(|| full.serve());
    assert!(wait_any(&mut [connecting.connectable()], Some(PATIENCE)).unwrap().is_all());
    let mut stream = connecting.try_finish().unwrap();
    let _rig = server.join().unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0; 4]).unwrap();
}

#[test]
fn in_a_task() {
    let _watchdog = Watchdog::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let full = Full::new();
        let mut connecting = pin!(smstream::tokio::connect(full.addr.clone()));
        assert!(connecting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let server = tokio::task::spawn_blocking(|| full.serve());
        let mut stream = connecting.await.unwrap();
        let _rig = server.await.unwrap();
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 4]).await.unwrap();
        // And one that is given up leaves its place to others, if it had one.
        let full = Full::new();
        drop(tokio::time::timeout(Duration::from_millis(20), smstream::tokio::connect(full.addr.clone())).await);
        drop(full.first);
        drop(Wire::accept(&full.door).unwrap());
        Wire::connect(&full.addr).unwrap();
    });
}
