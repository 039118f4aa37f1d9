//! `Pollable::duplex` with pollers that watch each direction by itself: poll, epoll, mio, async-io.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use smstream::{Builder, Error, Kind, Pollable, Reason, Stream};
use smstream_tests::flow::{Flow, NEAR_WRAP};
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: usize = 4096;

/// How a poller waits for one direction.
#[derive(Clone, Copy, Debug)]
enum How {
    Poll,
    Level,
    Edge,
    OneShot,
}

const ALL: [How; 4] = [How::Poll, How::Level, How::Edge, How::OneShot];

/// A poller that watches a descriptor for these events alone.
struct Waiter {
    how: How,
    watched: PollFlags,
    epoll: OwnedFd,
}

impl Waiter {
    fn new(how: How, fd: impl AsFd, watched: PollFlags) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let waiter = Waiter { how, watched, epoll };
        if !matches!(how, How::Poll) {
            epoll::add(&waiter.epoll, fd, epoll::EventData::new_u64(1), waiter.flags()).unwrap();
        }
        waiter
    }

    fn flags(&self) -> EventFlags {
        let mode = match self.how {
            How::Poll | How::Level => EventFlags::empty(),
            How::Edge => EventFlags::ET,
            How::OneShot => EventFlags::ONESHOT,
        };
        EventFlags::from_bits_retain(u32::from(self.watched.bits())) | mode
    }

    /// Waits until it is woken, for so long at most.
    fn wait(&self, fd: impl AsFd, most: Option<Duration>) -> bool {
        let timeout = most.map(|t| Timespec::try_from(t).unwrap());
        if matches!(self.how, How::Poll) {
            return poll(&mut [PollFd::new(&fd, self.watched)], timeout.as_ref()).unwrap() == 1;
        }
        if matches!(self.how, How::OneShot) {
            epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(1), self.flags()).unwrap();
        }
        let mut events = [MaybeUninit::uninit(); 2];
        let (events, _) = epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()).unwrap();
        events.iter().all(|e| u32::from(self.watched.bits()) & { e.flags }.bits() != 0) && !events.is_empty()
    }

    fn is_told(&self, fd: impl AsFd) -> bool {
        self.wait(fd, Some(Duration::ZERO))
    }
}

fn would_block<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Both ends in this process, met over a socket.
fn ends() -> (Stream, Stream) {
    let listener = Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP).bind_temp(Kind::Abstract).unwrap();
    std::thread::scope(|scope| {
        let there = scope.spawn(|| Stream::connect(listener.local_addr()).unwrap());
        (listener.accept().unwrap(), there.join().unwrap())
    })
}

/// A party that sends back what it receives, and a stream to it.
fn echo() -> (Party, Stream) {
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let mut party = Party::start(PARTY);
    party.does(format!("bind {addr} {CAPACITY} {CAPACITY} {NEAR_WRAP}"));
    party.tell("serve 1");
    (party, Stream::connect(addr).unwrap())
}

/// A waiter that watches it for being writable alone is woken for room, again and again, and not without end when there is none.
#[test]
fn room_is_told_to_who_watches_for_nothing_else() {
    let _watchdog = Watchdog::new();
    for how in ALL {
        let (here, mut there) = ends();
        let mut here = Pollable::duplex(here).unwrap();
        let waiter = Waiter::new(how, &here, PollFlags::OUT);
        assert!(waiter.is_told(&here), "{how:?}: a write has not been tried");
        for round in 0..50 {
            assert_eq!(here.write(&[round; CAPACITY]).unwrap(), CAPACITY);
            would_block(here.write(b"more"));
            while waiter.is_told(&here) {
                would_block(here.write(b"more"));
            }
            let mut bytes = [0; CAPACITY];
            there.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [round; CAPACITY]);
            assert!(waiter.wait(&here, None), "{how:?}, round {round}");
        }
        // Also by a caller that was not woken yet, and tries on its own.
        here.write_all(&[0; CAPACITY]).unwrap();
        would_block(here.write(b"more"));
        there.read_exact(&mut [0; CAPACITY]).unwrap();
        assert_eq!(here.write(b"x").unwrap(), 1);
        assert!(waiter.wait(&here, None), "{how:?}: there is still room");
    }
}

/// The same for bytes to read, while the other direction has room all the time.
#[test]
fn bytes_are_told_to_who_watches_for_nothing_else() {
    let _watchdog = Watchdog::new();
    for how in ALL {
        let (here, mut there) = ends();
        let mut here = Pollable::duplex(here).unwrap();
        let waiter = Waiter::new(how, &here, PollFlags::IN);
        assert!(waiter.is_told(&here), "{how:?}: a read has not been tried");
        for round in 0..50 {
            would_block(here.read(&mut [0]));
            while waiter.is_told(&here) {
                would_block(here.read(&mut [0]));
            }
            there.write_all(&[round; 10]).unwrap();
            assert!(waiter.wait(&here, None), "{how:?}, round {round}");
            let mut bytes = [0; 5];
            here.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [round; 5]);
            if !matches!(how, How::Edge) {
                assert!(waiter.wait(&here, None), "{how:?}: there is more");
            }
            here.read_exact(&mut bytes).unwrap();
            // Bytes that come before an attempt has failed wake, too.
            there.write_all(b"x").unwrap();
            assert_eq!(here.read(&mut bytes).unwrap(), 1);
        }
    }
}

/// A direction is woken though the attempt in the other one takes what the peer has rung.
#[test]
fn no_direction_takes_what_is_rung_for_the_other() {
    let _watchdog = Watchdog::new();
    for how in ALL {
        let (here, mut there) = ends();
        let mut here = Pollable::duplex(here).unwrap();
        let [reads, writes] = [PollFlags::IN, PollFlags::OUT].map(|watched| Waiter::new(how, &here, watched));
        for _ in 0..50 {
            here.write_all(&[7; CAPACITY]).unwrap();
            would_block(here.write(b"more"));
            would_block(here.read(&mut [0]));
            there.read_exact(&mut [0; CAPACITY]).unwrap();
            would_block(here.read(&mut [0]));
            assert!(writes.wait(&here, None), "{how:?}: there is room");
            here.write_all(&[7; CAPACITY]).unwrap();
            would_block(here.write(b"more"));
            there.write_all(b"x").unwrap();
            would_block(here.write(b"more"));
            assert!(reads.wait(&here, None), "{how:?}: there is a byte");
            assert_eq!(here.read(&mut [0; 2]).unwrap(), 1);
            there.read_exact(&mut [0; CAPACITY]).unwrap();
            assert!(writes.wait(&here, None), "{how:?}: there is room");
        }
    }
}

#[test]
fn ends_and_deaths_are_told_to_either_direction() {
    let _watchdog = Watchdog::new();
    for how in ALL {
        for watched in [PollFlags::IN, PollFlags::OUT] {
            let (mut party, stream) = echo();
            let mut stream = Pollable::duplex(stream).unwrap();
            party.signal(libc::SIGSTOP);
            party.is_in_state('T');
            let waiter = Waiter::new(how, &stream, watched);
            while stream.write(&[0; 100]).is_ok() {}
            would_block(stream.read(&mut [0]));
            party.kill_and_reap();
            let reason = |e: std::io::Error| Error::from_io(&e).unwrap().reason();
            let e = loop {
                assert!(waiter.wait(&stream, None));
                let result = match watched {
                    PollFlags::IN => stream.read(&mut [0]),
                    _ => stream.write(&[0]),
                };
                match result {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    other => break other.unwrap_err(),
                }
            };
            assert_eq!(reason(e), Reason::PeerGone, "{how:?}");
            let (here, there) = ends();
            let mut here = Pollable::duplex(here).unwrap();
            let waiter = Waiter::new(how, &here, watched);
            here.write_all(&[0; CAPACITY]).unwrap();
            would_block(here.write(&[0]));
            would_block(here.read(&mut [0]));
            match watched {
                PollFlags::IN => {
                    there.shutdown(Shutdown::Write).unwrap();
                    assert!(waiter.wait(&here, None));
                    assert_eq!(here.read(&mut [0]).unwrap(), 0);
                }
                _ => {
                    there.shutdown(Shutdown::Read).unwrap();
                    assert!(waiter.wait(&here, None));
                    assert_eq!(here.write(&[0]).unwrap_err().kind(), ErrorKind::BrokenPipe);
                }
            }
        }
    }
}

#[test]
fn mio_sends_by_writable_alone() {
    const BYTES: u64 = 1 << 20;
    let _watchdog = Watchdog::new();
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let mut party = Party::start(PARTY);
    party.does(format!("bind {addr} {CAPACITY} {CAPACITY} {NEAR_WRAP}"));
    party.does("seeds 1 2");
    party.tell("accept");
    let mut stream = Pollable::duplex(Stream::connect(addr).unwrap()).unwrap();
    party.hear().unwrap();
    party.tell(format!("receive {BYTES} mixed"));
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(4);
    poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), Token(0), Interest::WRITABLE).unwrap();
    let mut flow = Flow::new(2, CAPACITY);
    let mut bytes = [0; 3000];
    while flow.at() < BYTES {
        poll.poll(&mut events, None).unwrap();
        assert!(events.iter().any(|event| event.is_writable()));
        // mio is edge-triggered.
        while flow.at() < BYTES {
            let size = bytes.len().min((BYTES - flow.at()) as usize);
            flow.fill(&mut bytes[..size]);
            match stream.write(&bytes[..size]) {
                Ok(n) => flow.skip(n as u64),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => panic!("{e}"),
            }
        }
    }
    party.hear().unwrap();
}

/// What `async-io` does: it tries first, and then waits for that direction alone.
#[test]
fn async_io_reads_and_writes() {
    const BYTES: u64 = 1 << 19;
    let _watchdog = Watchdog::new();
    let (mut party, stream) = echo();
    let mut stream = async_io::Async::new(Pollable::duplex(stream).unwrap()).unwrap();
    let [mut out, mut into] = [Flow::new(3, CAPACITY), Flow::new(3, CAPACITY)];
    let mut buffer = [0; 3000];
    async_io::block_on(async {
        while into.at() < BYTES {
            // As much as there is room for in both lanes; then an answer.
            while out.at() < BYTES && out.at() - into.at() < 2 * CAPACITY as u64 - 200 {
                let size = buffer.len().min((BYTES - out.at()) as usize).min(100);
                out.fill(&mut buffer[..size]);
                // SAFETY: the writer does not drop or replace the source of the I/O.
                let written = unsafe { stream.write_with_mut(|stream| stream.write(&buffer[..size])) }.await;
                out.skip(written.unwrap() as u64);
            }
            // SAFETY: as above.
            let read = unsafe { stream.read_with_mut(|stream| stream.read(&mut buffer)) }.await;
            into.check(&buffer[..read.unwrap()]);
        }
        // Room wakes a waiter that waits for nothing else.
        party.signal(libc::SIGSTOP);
        party.is_in_state('T');
        // SAFETY: as above.
        while unsafe { stream.get_mut() }.write(&[0; 64]).is_ok() {}
        party.signal(libc::SIGCONT);
        stream.writable().await.unwrap();
        // The other side still sends back what was written meanwhile: it fails if this end is dropped before.
        stream.get_ref().get_ref().shutdown(Shutdown::Write).unwrap();
        // SAFETY: as above.
        while unsafe { stream.read_with_mut(|stream| stream.read(&mut buffer)) }.await.unwrap() > 0 {}
    });
    drop(stream);
    party.hear().unwrap();
}
