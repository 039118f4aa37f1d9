//! A real listener or connector and its hostile peer, in one thread: all that the peer has to say is there before the other side
//! looks, so what happens is the same each time.

use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smstream::memory::page_size;
use smstream::{Addr, Builder, Listener, Reason, Stream, TryFinish};
use smstream_core::geometry::Config;
use smstream_core::layout::Features;

use super::model::{End, Reply, of_connector, of_connector_left_alone, of_listener};
use super::packet::{Packet, Wrapped};
use crate::flow::NEAR_WRAP;
use crate::texts::check_error;
use crate::watchdog::PATIENCE;
use crate::wire::{Wire, door, door_for, kind, word};

/// The most bytes of a lane that the connector accepts.
const MOST: u32 = 1 << 16;

/// The channel that both sides would have.
#[must_use]
pub fn channel() -> Config {
    let config = Config::new([4096, 8192]);
    Config { align: page_size() as u32, start: NEAR_WRAP, channel: 77, features: Features::COUNTERS, ..config }
}

fn builder() -> Builder {
    let [first, second] = channel().capacities.map(|capacity| capacity as usize);
    Builder::new().capacities(first, second).start_cursor(NEAR_WRAP).max_peer_capacity(MOST as usize)
}

fn fresh() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("unix:@smstream-handshake-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

thread_local! {
    static LISTENER: (Listener, String) = {
        let addr = fresh();
        // Another user may connect as well: none does here.
        (builder().allow_uid(12345).bind(addr.as_str()).expect("a listener"), addr)
    };
    static DOOR: (OwnedFd, String) = {
        let addr = fresh();
        (door(&addr).expect("a socket that listens"), addr)
    };
    /// With room for one in its queue.
    static NARROW_DOOR: (OwnedFd, String) = {
        let addr = fresh();
        (door_for(&addr, 1).expect("a socket that listens"), addr)
    };
}

/// The hostile side.
struct Hostile {
    wire: Wire,
    heard: Vec<Reply>,
    hung_up: bool,
}

impl Hostile {
    fn new(wire: Wire) -> Self {
        rustix::io::ioctl_fionbio(&wire.0, true).expect("a socket that does not block");
        Hostile { wire, heard: Vec::new(), hung_up: false }
    }

    fn say(&self, packets: &[(Vec<u8>, Wrapped)]) {
        for (bytes, gift) in packets {
            self.wire.send(bytes, &gift.fds()).expect("room for a packet");
        }
    }

    /// The same to a party that is awake, and may have heard enough and hung up.
    fn say_until_hung_up(&self, packets: &[(Vec<u8>, Wrapped)]) {
        for (bytes, gift) in packets {
            match self.wire.send(bytes, &gift.fds()) {
                Ok(()) => {}
                Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => return,
                Err(e) => panic!("room for a packet: {e}"),
            }
        }
    }

    /// Hears all that has come.
    fn hear(&mut self) {
        loop {
            let heard = match self.wire.hear() {
                Ok(Some(heard)) => heard,
                // A reset is reported once, before what was said.
                Ok(None) => match self.wire.hear() {
                    Ok(Some(heard)) => heard,
                    Ok(None) => {
                        self.hung_up = true;
                        return;
                    }
                    Err(e) => panic!("{e}"),
                },
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => panic!("{e}"),
            };
            let (message, fds) = heard;
            let reason = if message.kind() == kind::REFUSED { message.0[word::REFUSAL] } else { 0 };
            self.heard.push(Reply { kind: message.kind(), reason, fds: fds.len() });
        }
    }
}

fn wrap(packets: &[Packet], party: usize) -> Vec<(Vec<u8>, Wrapped)> {
    let channel = channel();
    packets.iter().map(|packet| (packet.bytes(&channel), Wrapped::new(&packet.gift, &channel, party))).collect()
}

/// Uses a stream whose peer may have said anything: no call waits, and none may panic.
fn use_it(stream: &Stream) {
    use std::io::{Read, Write};
    stream.set_nonblocking(true).expect("a stream that does not block");
    let mut stream = stream;
    let _ = stream.write(&[7; 5000]);
    let _ = stream.read(&mut [0; 9000]);
}

/// Goes on until what is expected has come, and then once more: nothing else may.
fn until(mut turn: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !turn() && Instant::now() < end {
        thread::yield_now();
    }
    turn();
}

/// How the hostile side comes, and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It says all, and listens to the answers.
    Stays,
    /// It says all, and hangs up before the other side looks.
    Leaves,
}

/// A connector that says all this to a listener.
///
/// # Panics
/// If the listener does not answer as the rules say.
pub fn attack_listener(manner: Manner, packets: &[Packet]) {
    let said = wrap(packets, 1);
    let came: Vec<_> = said.iter().map(|(bytes, gift)| (&bytes[..], gift.header.as_ref())).collect();
    let (replies, end) = of_listener(&came, &channel());
    LISTENER.with(|(listener, addr)| {
        let mut hostile = Hostile::new(Wire::connect(addr).expect("a connection"));
        hostile.say(&said);
        if manner == Manner::Leaves {
            drop(hostile);
            // Nothing can be sent to it, so no answer establishes a stream; the next connector is served as if it had not been.
            let e = listener.accept_timeout(Duration::ZERO).expect_err("a connector that has gone");
            assert_eq!(e.reason(), Reason::TimedOut, "{e}");
            return;
        }
        let mut stream = None;
        until(|| {
            match listener.accept_timeout(Duration::ZERO) {
                Ok(accepted) => assert!(stream.replace(accepted).is_none(), "accepted twice: {packets:?}"),
                Err(e) => assert_eq!(e.reason(), Reason::TimedOut, "{e}"),
            }
            hostile.hear();
            let over = matches!(end, End::Failed { .. });
            hostile.heard.len() >= replies.len()
                && stream.is_some() == (end == End::Established)
                && hostile.hung_up == over
        });
        let seen = (hostile.heard, stream.is_some(), hostile.hung_up);
        assert_eq!(seen, (replies, end == End::Established, matches!(end, End::Failed { .. })), "{packets:?}");
        stream.iter().for_each(use_it);
    });
}

/// A child, which inherited its end of the socket, says all this to the process that has made it.
///
/// # Panics
/// If that does not answer and end as the rules say.
pub fn attack_parent(manner: Manner, packets: &[Packet]) {
    let said = wrap(packets, 1);
    let came: Vec<_> = said.iter().map(|(bytes, gift)| (&bytes[..], gift.header.as_ref())).collect();
    let (replies, end) = of_listener(&came, &channel());
    let mut command = Command::new("never-started");
    let handover = builder().allow_any().hand_over(&mut command).expect("a pair of sockets");
    let Addr::Fd(number) = handover.addr() else { panic!("{}", handover.addr()) };
    // SAFETY: the handover has it open.
    let theirs = unsafe { BorrowedFd::borrow_raw(number) };
    let hostile = Hostile::new(Wire(theirs.try_clone_to_owned().expect("a descriptor")));
    hostile.say(&said);
    let mut hostile = (manner == Manner::Stays).then_some(hostile);
    let result = handover.accept_timeout(Duration::ZERO);
    if let Some(hostile) = &mut hostile {
        hostile.hear();
        assert_eq!(hostile.heard, replies, "{packets:?}");
    }
    match &result {
        Ok(_) if hostile.is_none() => panic!("a child that has gone was accepted: {packets:?}"),
        Err(e) if hostile.is_none() => {
            check_error(e);
            assert_ne!(e.reason(), Reason::TimedOut, "{packets:?}: {e}");
        }
        Ok(stream) => {
            assert_eq!(end, End::Established, "{packets:?}");
            use_it(stream);
        }
        Err(e) => {
            check_error(e);
            let timed_out = e.reason() == Reason::TimedOut;
            assert!(end != End::Established && timed_out == (end == End::Waiting), "{packets:?}: {e}");
        }
    }
}

/// A listener that says all this to a connector, which proposes the channel or does not.
///
/// # Panics
/// If the connector does not answer and end as the rules say.
pub fn attack_connector(proposes: bool, manner: Manner, packets: &[Packet]) {
    let said = wrap(packets, 0);
    let came: Vec<_> = said.iter().map(|(bytes, gift)| (&bytes[..], gift.header.as_ref())).collect();
    let channel = channel();
    let proposed = proposes.then_some(&channel);
    let (replies, mut end) = of_connector(&came, proposed, MOST);
    if manner == Manner::Leaves {
        end = of_connector_left_alone(&came, proposed, MOST);
    }
    DOOR.with(|(door, addr)| {
        let connecting = connector(proposes).begin_connect(addr.as_str()).expect("an attempt");
        let hostile = Hostile::new(Wire::accept(door).expect("a connector"));
        hostile.say(&said);
        let mut hostile = (manner == Manner::Stays).then_some(hostile);
        let (mut connecting, mut outcome) = (Some(connecting), None);
        let hello = Reply { kind: kind::HELLO, reason: 0, fds: usize::from(proposes) };
        let expected: Vec<_> = [hello].into_iter().chain(replies).collect();
        until(|| {
            if let Some(pending) = connecting.take() {
                match pending.try_finish() {
                    Ok(stream) => outcome = Some(Ok(stream)),
                    Err(TryFinish::Failed(e)) => outcome = Some(Err(e)),
                    Err(TryFinish::Pending(again)) => connecting = Some(again),
                }
            }
            hostile.iter_mut().for_each(Hostile::hear);
            hostile.as_ref().is_none_or(|it| it.heard.len() >= expected.len())
                && outcome.is_some() == (end != End::Waiting)
        });
        if let Some(hostile) = hostile {
            assert_eq!(hostile.heard, expected, "{packets:?}");
        }
        assert_eq!(ended(outcome.as_ref()), end, "{packets:?}: {:?}", outcome.as_ref().map(|it| it.as_ref().map(drop)));
        if let Some(Ok(stream)) = &outcome {
            use_it(stream);
        }
    });
}

/// The same with a connector that sleeps in its call, at first, if `crowded`, until there is room in the listener's queue.
/// A listener that has said nothing final hangs up.
///
/// # Panics
/// If the connector does not end as the rules say.
pub fn attack_sleeping_connector(proposes: bool, crowded: bool, packets: &[Packet]) {
    let said = wrap(packets, 0);
    let came: Vec<_> = said.iter().map(|(bytes, gift)| (&bytes[..], gift.header.as_ref())).collect();
    let channel = channel();
    let (_, end) = of_connector(&came, proposes.then_some(&channel), MOST);
    NARROW_DOOR.with(|(door, addr)| {
        let before = crowded.then(|| Wire::connect(addr).expect("the place in the queue"));
        let outcome = thread::scope(|scope| {
            let sleeping = scope.spawn(|| connector(proposes).connect_timeout(addr.as_str(), PATIENCE));
            if before.is_some() {
                drop(Wire::accept(door).expect("the one before"));
            }
            let hostile = Hostile::new(Wire::accept(door).expect("a connector"));
            hostile.say_until_hung_up(&said);
            if end == End::Waiting {
                drop(hostile);
                return sleeping.join().expect("no panic");
            }
            let outcome = sleeping.join().expect("no panic");
            drop(hostile);
            outcome
        });
        let found = ended(Some(&outcome));
        match end {
            // It hung up without a word, or with one that could not be answered.
            End::Waiting => assert!(matches!(found, End::Failed { .. }), "{packets:?}"),
            end => assert_eq!(found, end, "{packets:?}: {:?}", outcome.as_ref().map(drop)),
        }
        outcome.iter().for_each(use_it);
    });
}

/// A connector that would have larger lanes than it accepts proposes nothing.
fn connector(proposes: bool) -> Builder {
    if proposes { builder() } else { builder().capacity(2 * MOST as usize) }
}

fn ended(outcome: Option<&Result<Stream, smstream::Error>>) -> End {
    match outcome {
        None => End::Waiting,
        Some(Ok(_)) => End::Established,
        Some(Err(e)) => {
            check_error(e);
            End::Failed { refused: e.to_string().contains("refused: ") }
        }
    }
}
