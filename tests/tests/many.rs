//! Many connections of one process, all waited for with `epoll`; and many clients that are busy at once.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use smstream::{Builder, Listener, Pollable, Reason};
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const ASYNC_PARTY: &str = env!("CARGO_BIN_EXE_async_party");
/// The epoll token of the listener. Streams have the following numbers.
const LISTENER: u64 = 0;

/// A server with an event loop of its own: sends back what comes.
struct Server {
    listener: Listener,
    epoll: OwnedFd,
    streams: Vec<Option<Served>>,
    /// Connections closed by their peers.
    ended: usize,
    bytes: u64,
}

struct Served {
    stream: Pollable,
    /// What is to be sent back.
    pending: Vec<u8>,
}

impl Server {
    fn new(addr: &str, capacity: usize) -> Self {
        let listener = Builder::new().capacity(capacity).bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let server = Server { listener, epoll, streams: Vec::new(), ended: 0, bytes: 0 };
        server.watch(server.listener.readiness().unwrap(), LISTENER);
        server
    }

    fn watch(&self, fd: impl AsFd, token: u64) {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN).unwrap();
    }

    /// Waits for something to happen, and sees to it.
    fn turn(&mut self) {
        let mut events = [MaybeUninit::uninit(); 256];
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let (events, _) = epoll::wait(&self.epoll, &mut events[..], Some(&patience)).unwrap();
        assert!(!events.is_empty(), "nothing happens any more");
        let tokens: Vec<u64> = events.iter().map(|e| e.data.u64()).collect();
        for token in tokens {
            match token {
                LISTENER => self.accept(),
                token => self.serve(token as usize - 1),
            }
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok(stream) => {
                    let stream = Pollable::new(stream).unwrap();
                    self.watch(&stream, self.streams.len() as u64 + 1);
                    self.streams.push(Some(Served { stream, pending: Vec::new() }));
                }
                Err(e) if e.reason() == Reason::WouldBlock => return,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// One turn for one stream: once what there is, so that the others get theirs.
    fn serve(&mut self, number: usize) {
        let Some(served) = &mut self.streams[number] else { return };
        let (mut buffer, mut turns) = ([0; 4096], 0);
        loop {
            if !served.pending.is_empty() {
                match served.stream.write(&served.pending) {
                    Ok(n) => drop(served.pending.drain(..n)),
                    // Nothing is read before that is sent.
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return served.stream.set_reading(false).unwrap(),
                    Err(e) => panic!("{e}"),
                }
                continue;
            }
            served.stream.set_reading(true).unwrap();
            if turns == 1 {
                // It is woken again if there is more, when the others have had their turn.
                return;
            }
            match served.stream.read(&mut buffer) {
                Ok(0) => {
                    self.ended += 1;
                    self.streams[number] = None;
                    return;
                }
                Ok(n) => {
                    self.bytes += n as u64;
                    served.pending.extend_from_slice(&buffer[..n]);
                    turns += 1;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// The party does this, while the server goes on; what it answers.
    fn while_it_does(&mut self, party: &mut Party, command: &str) -> String {
        party.tell(command);
        loop {
            if let Some(reply) = party.has_replied() {
                return reply.strip_prefix("ok").unwrap_or_else(|| panic!("{command}: {reply}")).trim().to_owned();
            }
            self.turn_if_any();
        }
    }

    fn turn_if_any(&mut self) {
        let mut fds = [rustix::event::PollFd::new(&self.epoll, rustix::event::PollFlags::IN)];
        let soon = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        if rustix::event::poll(&mut fds, Some(&soon)).unwrap() > 0 {
            self.turn();
        }
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// 10,000 connections, or as many as the limits of descriptors and mappings allow: how many is printed.
#[test]
fn ten_thousand_streams_of_one_epoll() {
    const MANY: usize = 10_000;
    let _watchdog = Watchdog::after(5 * PATIENCE);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let mut server = Server::new(&addr, 4096);
    let mut party = Party::start(ASYNC_PARTY);
    server.while_it_does(&mut party, &format!("connect {addr} 1"));
    let before = descriptors();
    server.while_it_does(&mut party, &format!("connect {addr} 10"));
    let each = (descriptors() - before).div_ceil(10);
    let maps: usize = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    let by_descriptors = limit.maximum.map_or(usize::MAX, |n| (n as usize - before - 200) / each);
    // Two mappings for each end. Some room for those who map for other reasons.
    let many = MANY.min(by_descriptors).min((maps - 2000) / 2);
    println!("{many} streams, each of which takes {each} descriptors: the limits are {:?} and {maps}", limit.maximum);
    assert!(many >= 1000, "the limits of this machine are too low for this test: {many} streams");
    server.while_it_does(&mut party, &format!("connect {addr} {}", many - 11));
    assert_eq!(server.streams.len(), many);
    for round in 0..2 {
        server.while_it_does(&mut party, "say ping");
        assert_eq!(server.while_it_does(&mut party, "hear 4"), "ping", "round {round}");
    }
    assert_eq!(server.bytes, 8 * many as u64);
    server.while_it_does(&mut party, "drop");
    while server.ended < many {
        server.turn();
    }
}

/// The measure of fairness. A client's share is one round trip in 64. None has waited for one round trip while all of them
/// together made more than 32 times 64; and when the first one is done, none has made less than half of the round trips of the
/// median. The fastest says less: now and then one gets through several times while all others get through once, whether
/// anybody spins or not, and the others do not wait longer for that.
fn fair(said: &str) {
    let mut counts: Vec<u64> = said.split(' ').map(|n| n.parse().unwrap()).collect();
    let longest = counts.pop().unwrap();
    assert_eq!(counts.len(), 64);
    counts.sort_unstable();
    let [least, median, most] = [0, counts.len() / 2, counts.len() - 1].map(|n| counts[n]);
    println!(
        "64 clients: {least} round trips of the slowest and {median} of the median when the fastest had {most}; the longest wait: {longest}"
    );
    assert!(2 * least >= median, "the slowest client had {least} round trips when the median had {median}: {counts:?}");
    assert!(10 * least >= most, "the slowest client had {least} round trips when the fastest had {most}: {counts:?}");
    assert!(longest <= 32 * 64, "a client waited while all of them made {longest} round trips");
}

#[test]
fn sixty_four_busy_clients_of_one_event_loop_have_their_share() {
    let _watchdog = Watchdog::after(3 * PATIENCE);
    let scratch = Scratch::new();
    let addr = format!("unix:{}", scratch.name().display());
    let mut server = Server::new(&addr, 4096);
    let mut party = Party::start(ASYNC_PARTY);
    fair(&server.while_it_does(&mut party, &format!("trips {addr} 64 1000 100")));
}

#[test]
fn sixty_four_busy_clients_of_one_task_each_have_their_share() {
    let _watchdog = Watchdog::after(3 * PATIENCE);
    for threads in ["1", "2"] {
        let scratch = Scratch::new();
        let addr = format!("unix:{}", scratch.name().display());
        let mut server = Party::start_with(ASYNC_PARTY, &[threads]);
        server.does(format!("echo {addr} 4096 50"));
        let mut party = Party::start(ASYNC_PARTY);
        fair(&party.does(format!("trips {addr} 64 1000 100")));
    }
}
