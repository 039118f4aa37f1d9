use super::super::SocketAttempt;
use super::super::eviction::GRACE;
use super::super::message::{Message, MessageKind};
use super::super::opening::BACKLOG;
use super::*;
use crate::packet;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketType, socket_with};
use smstream_core::geometry;
use smstream_shm::memory::page_size;
use std::sync::atomic::{AtomicU32, Ordering};

fn listener() -> (SocketName, SocketListener) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("smstream-test-listener-{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let name = SocketName::of_abstract(name.as_ref()).unwrap();
    let config = Config::new([4096, 4096]);
    let listener = SocketListener::bind(name.clone(), &config, Terms::plain(), false).unwrap();
    (name, listener)
}

/// One that connects and says nothing.
fn silent(name: &SocketName) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    name.connect(&socket).unwrap();
    socket
}

/// Those who connect and hang up, more of them than are dealt with at a time.
fn flood(name: &SocketName) {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let queue = limit.trim().parse::<usize>().unwrap().min(BACKLOG as usize);
    assert!(queue > 2000, "this needs a longer queue: net.core.somaxconn is {queue}");
    for _ in 0..2000 {
        silent(name);
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&Timespec::default())) == Ok(1)
}

/// The channel that the listener wants.
fn wanted() -> Config {
    Config { align: page_size() as u32, ..Config::new([4096, 4096]) }
}

/// A connector that has proposed that.
fn proposing(name: &SocketName) -> SocketAttempt {
    let terms = Terms { proposal: Some(wanted()), ..Terms::plain() };
    let mut connecting = SocketAttempt::to(name.clone(), terms).unwrap();
    assert!(connecting.step().unwrap().is_none());
    connecting
}

/// Whether something happened since it was asked last, for a caller that watches with `EPOLLET`.
fn was_notified(edges: &OwnedFd) -> bool {
    let mut events = [MaybeUninit::<epoll::Event>::uninit(); 4];
    !epoll::wait(edges, &mut events[..], Some(&Timespec::default())).unwrap().0.is_empty()
}

/// A connector that proposes what the listener wants needs no second message. A process that is to be signalled cannot do
/// without.
#[test]
fn a_proposal_is_taken_if_it_fits() {
    let wanted = wanted();
    let larger = Config { capacities: [4096, 8192], ..wanted };
    let later = Config { start: 1, ..wanted };
    let signal = Some(libc::SIGUSR1);
    for (proposal, ours, theirs, at_once) in [
        (Some(wanted), None, None, true),
        (None, None, None, false),
        (Some(larger), None, None, false),
        (Some(later), None, None, false),
        (Some(Config { align: 64, ..wanted }), None, None, false),
        (Some(wanted), signal, None, false),
        (Some(wanted), None, signal, false),
    ] {
        let case = format!("{proposal:?}, signals {ours:?} and {theirs:?}");
        let (name, mut listener) = listener();
        listener.terms.wake_signal = ours;
        let terms = Terms { proposal, wake_signal: theirs, ..Terms::plain() };
        let mut connecting = SocketAttempt::to(name, terms).unwrap();
        assert!(connecting.step().unwrap().is_none(), "{case}");
        let mut accepted = listener.try_accept().unwrap();
        assert_eq!(accepted.is_some(), at_once, "{case}");
        if !at_once {
            assert!(connecting.step().unwrap().is_none(), "{case}");
            accepted = listener.try_accept().unwrap();
        }
        // A connector that has taken steps can wait for the rest.
        let ends = [accepted.unwrap(), connecting.wait(Some(Deadline::after(Duration::from_secs(60)))).unwrap()];
        for (end, signals) in ends.iter().zip([theirs, ours]) {
            assert_eq!(end.link.as_ref().unwrap().pidfd.is_some(), signals.is_some(), "{case}");
            let described = [&end.my, &end.peer].map(|segment| {
                // SAFETY: the mapping is valid for reads of its length, and its header is accessed by atomics only.
                unsafe { geometry::inspect(segment.as_ptr(), segment.len()) }.unwrap()
            });
            assert_eq!(described[0].channel, described[1].channel, "{case}");
            assert_ne!(described[0].channel, 0, "{case}");
            for described in described {
                let found = (described.capacity, described.peer_capacity, described.align, described.start);
                assert_eq!(found, (4096, 4096, wanted.align, 0), "{case}");
            }
        }
        assert!(listener.pending.is_empty(), "{case}");
    }
}

#[test]
fn a_flood_does_not_outlast_the_deadline() {
    let (name, mut listener) = listener();
    flood(&name);
    let e = listener.accept(Some(Deadline::now())).unwrap_err();
    assert!(matches!(e.reason(), RendezvousReason::TimedOut), "{e}");
    assert!(is_readable(&listener.epoll()), "all were dealt with first");
}

/// Connectors that have said all and are gone are answered, and no process gets the answer.
#[test]
fn a_flood_of_proposals_does_not_outlast_the_deadline() {
    let (name, mut listener) = listener();
    for _ in 0..300 {
        drop(proposing(&name));
    }
    let mut last = proposing(&name);
    let e = listener.accept(Some(Deadline::now())).map(drop).unwrap_err();
    assert!(matches!(e.reason(), RendezvousReason::TimedOut), "{e}");
    assert!(is_readable(&listener.epoll()), "all were dealt with first");
    while listener.try_accept().unwrap().is_none() {}
    assert!(last.step().unwrap().is_some());
    assert!(listener.pending.is_empty());
}

#[test]
fn a_flood_keeps_no_caller_that_does_not_wait() {
    let (name, mut listener) = listener();
    let edges = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&edges, listener.epoll(), epoll::EventData::new_u64(0), flags).unwrap();
    flood(&name);
    let mut connecting = SocketAttempt::to(name, Terms::plain()).unwrap();
    assert!(connecting.step().unwrap().is_none());
    assert!(was_notified(&edges));
    assert!(listener.try_accept().unwrap().is_none());
    assert!(is_readable(&listener.epoll()), "all were dealt with first");
    // A caller that watches with `EPOLLET` hears that there is more to do, until the last one has been dealt with.
    let met = loop {
        // The timer's interrupt may take a moment.
        assert_eq!(poll(&mut [PollFd::new(&edges, PollFlags::IN)], Some(&Timespec { tv_sec: 10, tv_nsec: 0 })), Ok(1));
        assert!(was_notified(&edges));
        let met = listener.try_accept().unwrap();
        connecting.step().unwrap();
        if met.is_some() {
            break met;
        }
    };
    assert!(met.is_some());
}

/// A connector that has only just come is not evicted, and keeps no older one in.
#[test]
fn the_oldest_are_evicted_for_others() {
    let (name, mut listener) = listener();
    let hello = Message { capacities: [1 << 20; 2], ..Message::new(MessageKind::Hello, 0) };
    let crowd: Vec<_> = (0..MOST_AT_ONCE - 1).map(|_| silent(&name)).collect();
    for connector in &crowd {
        packet::send(connector, &hello.to_bytes(), None).unwrap();
    }
    assert!(listener.try_accept().unwrap().is_none());
    assert_eq!(listener.pending.len(), MOST_AT_ONCE - 1);
    thread::sleep(GRACE);
    let _young = silent(&name);
    assert!(listener.try_accept().unwrap().is_none());
    let others: Vec<_> = (1..MOST_AT_ONCE).map(|_| silent(&name)).collect();
    assert!(listener.try_accept().unwrap().is_none());
    assert_eq!((listener.pending.len(), listener.next), (MOST_AT_ONCE, FIRST + 2 * MOST_AT_ONCE as u64 - 1));
    assert!(!listener.paused);
    // No connector is evicted while none waits in the backlog.
    thread::sleep(GRACE);
    listener.accept_pending().unwrap();
    assert_eq!(listener.pending.len(), MOST_AT_ONCE);
    drop(others);
}

/// A child that drops what is its own and then calls [`end`] gets 0.
fn fork() -> libc::pid_t {
    // SAFETY: the child allocates at most (fork(2) of the C library sees to its heap), drops things, and ends.
    unsafe { libc::fork() }
}

fn end() -> ! {
    // SAFETY: ends the process and runs nothing.
    unsafe { libc::_exit(0) }
}

/// Waits until the child has ended as it should.
fn ended(child: libc::pid_t) {
    let mut status = -1;
    // SAFETY: `status` may be written.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
}

/// A forked child has copies of all that a rendezvous needs.
#[test]
fn what_a_forked_child_drops_its_parent_keeps() {
    let (name, mut listener) = listener();
    let mut connecting = SocketAttempt::to(name.clone(), Terms::plain()).unwrap();
    assert!(connecting.step().unwrap().is_none());
    assert!(listener.try_accept().unwrap().is_none());
    let mut others = [0, 1].map(|_| SocketAttempt::to(name.clone(), Terms::plain()).unwrap());
    assert!(others[0].step().unwrap().is_none());
    let child = fork();
    if child == 0 {
        drop(connecting);
        drop(others);
        listener.close().unwrap();
        end();
    }
    ended(child);
    assert!(connecting.step().unwrap().is_none(), "it sends its segment");
    assert!(listener.try_accept().unwrap().is_some());
    assert!(connecting.step().unwrap().is_some());
    assert!(others[1].step().unwrap().is_none());
    assert!(listener.try_accept().unwrap().is_none());
    for other in &mut others {
        assert!(other.step().unwrap().is_none());
    }
    assert!(listener.try_accept().unwrap().is_some());
}

/// The same of a channel that is proposed, before HELLO and after.
#[test]
fn what_a_forked_child_drops_its_parent_proposes() {
    let (name, mut listener) = listener();
    let terms = Terms { proposal: Some(wanted()), ..Terms::plain() };
    let mut both = [SocketAttempt::to(name.clone(), terms).unwrap(), proposing(&name)];
    let child = fork();
    if child == 0 {
        drop(both);
        listener.close().unwrap();
        end();
    }
    ended(child);
    assert!(both[0].step().unwrap().is_none());
    for _ in 0..both.len() {
        assert!(listener.try_accept().unwrap().is_some());
    }
    for connecting in &mut both {
        assert!(connecting.step().unwrap().is_some());
    }
}
