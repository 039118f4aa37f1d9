//! A real listener or connector and its hostile peer, in one thread: all that the peer has to say is there before the other side
//! looks, so what happens is the same each time.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smstream::memory::page_size;
use smstream::{Builder, Listener, Reason, Stream, TryFinish};
use smstream_core::geometry::Config;
use smstream_core::layout::Features;

use super::model::{End, Reply, of_connector, of_listener};
use super::packet::{Packet, Wrapped};
use crate::flow::NEAR_WRAP;
use crate::watchdog::PATIENCE;
use crate::wire::{Wire, door, kind, word};

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
        (builder().bind(addr.as_str()).expect("a listener"), addr)
    };
    static DOOR: (OwnedFd, String) = {
        let addr = fresh();
        (door(&addr).expect("a socket that listens"), addr)
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

/// A connector that says all this to a listener.
///
/// # Panics
/// If the listener does not answer as the rules say.
pub fn attack_listener(packets: &[Packet]) {
    let said = wrap(packets, 1);
    let came: Vec<_> = said.iter().map(|(bytes, gift)| (&bytes[..], gift.header.as_ref())).collect();
    let (replies, end) = of_listener(&came, &channel());
    LISTENER.with(|(listener, addr)| {
        let mut hostile = Hostile::new(Wire::connect(addr).expect("a connection"));
        hostile.say(&said);
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

/// A listener that says all this to a connector, which proposes the channel or does not.
///
/// # Panics
/// If the connector does not answer and end as the rules say.
pub fn attack_connector(proposes: bool, packets: &[Packet]) {
    let said = wrap(packets, 0);
    let came: Vec<_> = said.iter().map(|(bytes, gift)| (&bytes[..], gift.header.as_ref())).collect();
    let proposed = channel();
    let (replies, end) = of_connector(&came, proposes.then_some(&proposed), MOST);
    DOOR.with(|(door, addr)| {
        // A connector that would have larger lanes than it accepts proposes nothing.
        let builder = if proposes { builder() } else { builder().capacity(2 * MOST as usize) };
        let connecting = builder.begin_connect(addr.as_str()).expect("an attempt");
        let mut hostile = Hostile::new(Wire::accept(door).expect("a connector"));
        hostile.say(&said);
        let (mut connecting, mut outcome) = (Some(connecting), None);
        let hello = Reply { kind: kind::HELLO, reason: 0, fds: usize::from(proposes) };
        let expected: Vec<_> = [hello].into_iter().chain(replies).collect();
        until(|| {
            if let Some(pending) = connecting.take() {
                match pending.try_finish() {
                    Ok(stream) => outcome = Some(Ok(stream)),
                    Err(TryFinish::Failed(e)) => outcome = Some(Err(e.to_string())),
                    Err(TryFinish::Pending(again)) => connecting = Some(again),
                }
            }
            hostile.hear();
            hostile.heard.len() >= expected.len() && outcome.is_some() == (end != End::Waiting)
        });
        assert_eq!(hostile.heard, expected, "{packets:?}");
        let found = match &outcome {
            None => End::Waiting,
            Some(Ok(_)) => End::Established,
            Some(Err(text)) => End::Failed { refused: text.contains("refused: ") },
        };
        assert_eq!(found, end, "{packets:?}: {:?}", outcome.as_ref().map(|it| it.as_ref().map(drop)));
        if let Some(Ok(stream)) = &outcome {
            use_it(stream);
        }
    });
}
