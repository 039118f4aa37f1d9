//! Streams that are waited for with `poll` and `epoll`, with other processes on the other side.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use smstream::{Builder, Error, Kind, Listener, Pollable, PollableListener, Reason, Stream};
use smstream_tests::bad_fds::Lingering;
use smstream_tests::flow::{Flow, NEAR_WRAP};
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::Watchdog;
use smstream_tests::wire::Stage;

const PARTY: &str = env!("CARGO_BIN_EXE_party");

/// How a program waits for one descriptor.
enum Waiter {
    Poll,
    Epoll(std::os::fd::OwnedFd),
}

impl Waiter {
    fn all(fd: impl AsFd) -> [Waiter; 3] {
        let watch = |flags| {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            epoll::add(&epoll, fd.as_fd(), epoll::EventData::new_u64(1), flags).unwrap();
            Waiter::Epoll(epoll)
        };
        [Waiter::Poll, watch(epoll::EventFlags::IN), watch(epoll::EventFlags::IN | epoll::EventFlags::ET)]
    }

    /// Waits until the descriptor is readable, for so long at most.
    fn wait(&self, fd: impl AsFd, most: Option<Duration>) -> bool {
        let timeout = most.map(|t| Timespec::try_from(t).unwrap());
        match self {
            Waiter::Poll => poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()).unwrap() == 1,
            Waiter::Epoll(epoll) => {
                let mut events = [std::mem::MaybeUninit::uninit(); 2];
                !epoll::wait(epoll, &mut events[..], timeout.as_ref()).unwrap().0.is_empty()
            }
        }
    }

    fn is_woken(&self, fd: impl AsFd) -> bool {
        self.wait(fd, Some(Duration::ZERO))
    }
}

fn would_block<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Both ends in this process, met over a socket.
fn ends(capacity: usize) -> (Stream, Stream) {
    let listener = Builder::new().capacity(capacity).start_cursor(NEAR_WRAP).bind_temp(Kind::Abstract).unwrap();
    std::thread::scope(|scope| {
        let there = scope.spawn(|| Stream::connect(listener.local_addr()).unwrap());
        (listener.accept().unwrap(), there.join().unwrap())
    })
}

fn unix(scratch: &Scratch) -> String {
    format!("unix:{}", scratch.name().display())
}

/// Sends and receives at once, in one thread, as a program with an event loop does.
fn pump(stream: &mut Pollable, which: usize, bytes: u64) {
    let waiter = Waiter::all(&*stream).into_iter().nth(which).unwrap();
    let (mut out, mut into) = (Flow::new(3, 4096), Flow::new(3, 4096));
    let mut buffer = vec![0; 3000];
    while into.at() < bytes {
        // In one order and then the other.
        for step in 0..2 {
            if (step == 0) == (into.at() % 2 == 0) {
                while out.at() < bytes {
                    let size = buffer.len().min((bytes - out.at()) as usize);
                    out.fill(&mut buffer[..size]);
                    match stream.write(&buffer[..size]) {
                        Ok(n) => out.skip(n as u64),
                        Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                        Err(e) => panic!("{e}"),
                    }
                }
            } else {
                while into.at() < bytes {
                    match stream.read(&mut buffer) {
                        Ok(n) => into.check(&buffer[..n]),
                        Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                        Err(e) => panic!("{e}"),
                    }
                }
            }
        }
        if into.at() < bytes {
            waiter.wait(&*stream, None);
        }
    }
}

#[test]
fn an_event_loop_sends_and_receives_at_once() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let mut party = Party::start(PARTY);
    party.does(format!("bind {} 4096 4096 {NEAR_WRAP}", unix(&scratch)));
    party.tell("serve 3");
    for which in 0..3 {
        let mut stream = Pollable::new(Stream::connect(unix(&scratch)).unwrap()).unwrap();
        pump(&mut stream, which, 2_000_000);
    }
    party.hear().unwrap();
}

/// What was rung for one direction, and taken by an attempt in the other, wakes all the same.
#[test]
fn each_direction_is_reported_though_there_is_one_descriptor() {
    let _watchdog = Watchdog::new();
    for which in 0..3 {
        let (here, mut there) = ends(4096);
        let mut here = Pollable::new(here).unwrap();
        let waiter = Waiter::all(&here).into_iter().nth(which).unwrap();
        assert!(waiter.is_woken(&here), "no read was tried");
        here.write_all(&[7; 4096]).unwrap();
        would_block(here.write(b"more"));
        // Before the first attempt to read, which takes what was rung for the other direction.
        there.read_exact(&mut [0; 4096]).unwrap();
        would_block(here.read(&mut [0]));
        assert!(waiter.is_woken(&here), "there is room");
        assert_eq!(here.write(&[7; 4096]).unwrap(), 4096);
        would_block(here.write(b"more"));
        while waiter.is_woken(&here) {
            would_block(here.read(&mut [0]));
        }
        for _ in 0..3 {
            there.read_exact(&mut [0; 4096]).unwrap();
            // The waiter wakes for the room, once or again; this attempt takes that.
            assert!(waiter.is_woken(&here));
            would_block(here.read(&mut [0]));
            assert!(waiter.is_woken(&here), "there is room");
            assert_eq!(here.write(&[7; 4096]).unwrap(), 4096);
            would_block(here.write(b"more"));
            // The other way round: bytes, and an attempt to write.
            there.write_all(b"x").unwrap();
            assert!(waiter.is_woken(&here));
            would_block(here.write(b"more"));
            assert!(waiter.is_woken(&here), "there is a byte");
            assert_eq!(here.read(&mut [0]).unwrap(), 1);
            would_block(here.read(&mut [0]));
            would_block(here.write(b"more"));
            assert!(!waiter.is_woken(&here) || !waiter.is_woken(&here), "there is nothing any more");
        }
    }
}

#[test]
fn no_ring_for_a_busy_end_and_one_for_an_end_that_waits() {
    let _watchdog = Watchdog::new();
    let (here, mut there) = ends(1 << 16);
    let mut here = Pollable::new(here).unwrap();
    let waiter = Waiter::Poll;
    for _ in 0..1000 {
        there.write_all(b"message").unwrap();
        here.read_exact(&mut [0; 7]).unwrap();
    }
    assert_eq!(there.stats().sent.wakes_sent, 0, "the reader was always busy");
    for round in 1..=100 {
        would_block(here.read(&mut [0]));
        assert!(!waiter.is_woken(&here));
        for _ in 0..10 {
            there.write_all(b"message").unwrap();
        }
        assert_eq!(there.stats().sent.wakes_sent, round, "the first message rings, and the others do not");
        assert!(waiter.is_woken(&here));
        here.read_exact(&mut [0; 70]).unwrap();
    }
}

/// One read for each wake-up, of a part of what there is.
#[test]
fn it_is_readable_as_long_as_there_are_bytes() {
    let _watchdog = Watchdog::new();
    for which in 0..2 {
        let (here, mut there) = ends(1 << 12);
        let mut here = Pollable::new(here).unwrap();
        let waiter = Waiter::all(&here).into_iter().nth(which).unwrap();
        for round in 0..50 {
            there.write_all(&[round; 1000]).unwrap();
            let mut read = 0;
            while read < 1000 {
                assert!(waiter.wait(&here, None));
                match here.read(&mut [0; 300]) {
                    Ok(n) => read += n,
                    Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                }
            }
        }
        // A waiter that does not want to read is not woken.
        there.write_all(b"later").unwrap();
        assert!(waiter.is_woken(&here));
        here.set_reading(false).unwrap();
        assert!(!waiter.is_woken(&here));
        here.set_reading(true).unwrap();
        assert!(waiter.is_woken(&here));
    }
}

#[test]
fn the_death_of_the_peer_is_reported_after_its_last_bytes() {
    let _watchdog = Watchdog::new();
    for which in 0..3 {
        let scratch = Scratch::new();
        let listener = Listener::bind(unix(&scratch)).unwrap();
        let mut party = Party::start(PARTY);
        party.tell(format!("connect {}", unix(&scratch)));
        let mut stream = Pollable::new(listener.accept().unwrap()).unwrap();
        party.hear().unwrap();
        let waiter = Waiter::all(&stream).into_iter().nth(which).unwrap();
        would_block(stream.read(&mut [0]));
        party.does("write 100");
        party.kill_and_reap();
        assert!(waiter.wait(&stream, None));
        let mut flow = Flow::new(0, 0);
        let mut bytes = [0; 100];
        let e = loop {
            match stream.read(&mut bytes) {
                Ok(n) => flow.skip(n as u64),
                Err(e) if e.kind() == ErrorKind::WouldBlock => assert!(waiter.wait(&stream, None)),
                Err(e) => break e,
            }
        };
        assert_eq!(flow.at(), 100);
        assert_eq!(Error::from_io(&e).unwrap().reason(), Reason::PeerGone);
        assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn the_end_of_the_stream_is_reported() {
    let _watchdog = Watchdog::new();
    for which in 0..3 {
        let (here, there) = ends(4096);
        let mut here = Pollable::new(here).unwrap();
        let waiter = Waiter::all(&here).into_iter().nth(which).unwrap();
        would_block(here.read(&mut [0]));
        there.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(waiter.wait(&here, None));
        assert_eq!(here.read(&mut [0]).unwrap(), 0);
        here.write_all(&[1; 4096]).unwrap();
        would_block(here.write(b"more"));
        there.shutdown(std::net::Shutdown::Read).unwrap();
        assert!(waiter.wait(&here, None));
        assert_eq!(here.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

/// Two pollers in two threads: each ring is for the other one.
#[test]
fn two_pollers_wake_each_other() {
    let _watchdog = Watchdog::new();
    for which in 0..3 {
        let (here, there) = ends(512);
        let run = |stream: Stream, asks: bool| {
            let mut stream = Pollable::new(stream).unwrap();
            let waiter = Waiter::all(&stream).into_iter().nth(which).unwrap();
            let mut byte = [0];
            for n in 0..3000u32 {
                if asks {
                    stream.write_all(&[n as u8]).unwrap();
                }
                while let Err(e) = stream.read_exact(&mut byte) {
                    assert_eq!(e.kind(), ErrorKind::WouldBlock);
                    waiter.wait(&stream, None);
                }
                assert_eq!(byte, [n as u8]);
                if !asks {
                    stream.write_all(&byte).unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| run(here, true));
            scope.spawn(|| run(there, false));
        });
    }
}

#[test]
fn a_stream_that_was_polled_blocks_again() {
    let _watchdog = Watchdog::new();
    let (here, mut there) = ends(4096);
    let mut here = Pollable::new(here).unwrap();
    would_block(here.read(&mut [0]));
    let mut here = here.into_stream();
    there.write_all(b"a").unwrap();
    assert_eq!(there.stats().sent.wakes_sent, 0, "nothing is left announced");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            here.read_exact(&mut [0; 2]).unwrap();
            here.write_all(b"c").unwrap();
            // And again, for as long as it sleeps on a futex.
            here.read_exact(&mut [0]).unwrap();
        });
        there.write_all(b"b").unwrap();
        there.read_exact(&mut [0]).unwrap();
        there.write_all(b"d").unwrap();
    });
}

#[test]
fn what_has_no_socket_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    let refused = |e: Error| {
        assert_eq!((e.reason(), e.kind()), (Reason::Unsupported, ErrorKind::Unsupported));
        assert!(e.to_string().contains("unix:"), "{e}");
    };
    let (a, mut b) = Stream::pair().unwrap();
    assert!(!a.is_pollable());
    let (e, mut a) = Pollable::new(a).unwrap_err().into_parts();
    refused(e);
    // It is given back as it was: it blocks, and is connected.
    a.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(a.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    b.write_all(b"x").unwrap();
    a.read_exact(&mut [0]).unwrap();
    let listener = Listener::bind(scratch.addr()).unwrap();
    refused(listener.readiness().unwrap_err());
    let (e, listener) = PollableListener::new(listener).unwrap_err().into_parts();
    refused(e);
    assert_eq!(listener.accept_timeout(Duration::from_millis(1)).unwrap_err().reason(), Reason::TimedOut);
    assert!(ends(64).0.is_pollable());
}

/// One connector is accepted for each wake-up: none is forgotten.
#[test]
fn a_listener_is_readable_for_each_connector() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let listener = Listener::bind(unix(&scratch)).unwrap();
    listener.set_nonblocking(true).unwrap();
    for which in 0..2 {
        let waiter = Waiter::all(listener.readiness().unwrap()).into_iter().nth(which).unwrap();
        assert!(!waiter.is_woken(listener.readiness().unwrap()));
        let mut parties: Vec<_> = (0..8).map(|_| Party::start(PARTY)).collect();
        for party in &mut parties {
            party.tell(format!("connect {}", unix(&scratch)));
        }
        let mut streams = Vec::new();
        while streams.len() < parties.len() {
            waiter.wait(listener.readiness().unwrap(), None);
            match listener.accept() {
                Ok(stream) => streams.push(stream),
                Err(e) => assert_eq!(e.reason(), Reason::WouldBlock),
            }
        }
        parties.iter_mut().for_each(|party| drop(party.hear().unwrap()));
    }
}

/// The same through a `PollableListener`, which is a descriptor itself.
#[test]
fn a_pollable_listener_accepts_each_connector() {
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let listener = PollableListener::new(Listener::bind(unix(&scratch)).unwrap()).unwrap();
    assert!(listener.accept().unwrap().is_none());
    for waiter in Waiter::all(&listener) {
        let mut parties: Vec<_> = (0..4).map(|_| Party::start(PARTY)).collect();
        for party in &mut parties {
            party.tell(format!("connect {}", unix(&scratch)));
        }
        let mut streams = Vec::new();
        while streams.len() < parties.len() {
            waiter.wait(&listener, None);
            while let Some(stream) = listener.accept().unwrap() {
                streams.push(stream);
            }
        }
        parties.iter_mut().for_each(|party| drop(party.hear().unwrap()));
    }
    // It blocks again.
    let listener = listener.into_listener();
    assert_eq!(listener.accept_timeout(Duration::from_millis(1)).unwrap_err().reason(), Reason::TimedOut);
}

/// What a peer rings with takes as long to close as it likes. No call waits for that.
#[test]
fn slow_fd_close_does_not_block() {
    let _watchdog = Watchdog::new();
    let listener = Builder::new().capacity(4096).bind_temp(Kind::Abstract).unwrap();
    let addr = listener.local_addr().to_string();
    let (here, at) = std::thread::scope(|scope| {
        let at = scope.spawn(|| Stage::reach(&addr, Stage::LAST).unwrap());
        (listener.accept().unwrap(), at.join().unwrap())
    });
    let mut here = Pollable::new(here).unwrap();
    // With the byte of a ring, and with an empty packet; one descriptor, and as many as there can be.
    for (bytes, count) in [(&b"!"[..], 1), (b"", 1), (b"!", 200)] {
        let mut lingering: Vec<_> = (0..count).map(|_| Lingering::new().unwrap()).collect();
        at.wire.send(bytes, &lingering.iter().map(Lingering::fd).collect::<Vec<_>>()).unwrap();
        lingering.iter_mut().for_each(Lingering::give_away);
        would_block(here.read(&mut [0]));
    }
}
