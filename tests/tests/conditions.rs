//! What each condition means: acceptable, readable, writable, connectable. Over regions and sockets, with other processes
//! on the other side.

use std::io::{Read, Write};
use std::net::Shutdown;

use smstream::WatchMode;
use smstream::{Addr, BufMode, Connecting, Reason, Stream, TryFinish};
use smstream::{try_wait, wait_any};
use smstream_tests::flow::{Flow, Manner};
use smstream_tests::waits::{
    SEEDS, SHORT, builder, each_kind, listening, meet, must_not_block, once_asleep, party, places,
};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

#[test]
fn acceptable_means_that_accept_returns_at_once() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(try_wait(&mut [listener.acceptable()]).unwrap().is_empty(), "{addr}");
        assert!(wait_any(&mut [listener.acceptable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
        assert_eq!(listener.accept().unwrap_err().reason(), Reason::WouldBlock);
        // Two, one after the other, to see that it is armed again.
        for _ in 0..2 {
            let mut party = party(PARTY);
            let ready = once_asleep(
                || wait_any(&mut [listener.acceptable()], None).unwrap(),
                || party.tell(format!("connect {addr}")),
            );
            assert!(ready.is_all(), "{addr}");
            assert!(try_wait(&mut [listener.acceptable()]).unwrap().is_all(), "it stays so");
            let mut stream = listener.accept().unwrap();
            party.hear().unwrap();
            assert!(try_wait(&mut [listener.acceptable()]).unwrap().is_empty(), "{addr}");
            party.does("send 3 all");
            let mut bytes = [0; 3];
            stream.read_exact(&mut bytes).unwrap();
            Flow::new(SEEDS[1], 4096).check(&bytes);
        }
    });
}

#[test]
fn an_accept_that_was_promised_does_not_wait_when_the_connector_dies() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut party = party(PARTY);
        party.tell(format!("connect {addr}"));
        assert!(wait_any(&mut [listener.acceptable()], None).unwrap().is_all());
        party.kill_and_reap();
        let mut stream = listener.accept().unwrap();
        assert!(wait_any(&mut [stream.readable()], None).unwrap().is_all());
        must_not_block(&stream);
        let e = stream.read(&mut [0]).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{addr}: {e}");
        // It takes no other's place.
        let mut second = self::party(PARTY);
        second.tell(format!("connect {addr}"));
        assert!(wait_any(&mut [listener.acceptable()], None).unwrap().is_all());
        drop(listener.accept().unwrap());
        second.hear().unwrap();
    });
}

#[test]
fn a_listener_that_is_shut_down_is_acceptable() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let ready = once_asleep(|| wait_any(&mut [listener.acceptable()], None).unwrap(), || listener.shutdown());
        assert!(ready.is_all(), "{addr}");
        let e: std::io::Error = listener.accept().unwrap_err().into();
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionAborted, "{addr}");
    });
}

#[test]
fn readable_means_that_read_returns_at_once() {
    each_kind(|addr| {
        let (mut stream, mut party) = meet(addr, 4096, PARTY);
        let mut flow = Flow::new(SEEDS[1], 4096);
        must_not_block(&stream);
        for _ in 0..3 {
            assert!(try_wait(&mut [stream.readable()]).unwrap().is_empty(), "{addr}");
            assert!(wait_any(&mut [stream.readable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
            let at = flow.at();
            let ready = once_asleep(
                || wait_any(&mut [stream.readable()], None).unwrap(),
                || drop(party.does(format!("send {} all", at + 1000))),
            );
            assert!(ready.is_all());
            let mut bytes = [0; 1000];
            let mut got = 0;
            while got < 1000 {
                assert!(wait_any(&mut [stream.readable()], None).unwrap().is_all());
                let n = stream.read(&mut bytes[got..]).unwrap();
                flow.check(&bytes[got..got + n]);
                got += n;
            }
        }
        // The last bytes, and then the end: both without waiting.
        party.does(format!("send {} all", flow.at() + 5));
        party.does("close");
        let mut rest = Vec::new();
        while wait_any(&mut [stream.readable()], None).unwrap().is_all() {
            let mut bytes = [0; 8];
            match stream.read(&mut bytes).unwrap() {
                0 => break,
                n => rest.extend_from_slice(&bytes[..n]),
            }
        }
        flow.check(&rest);
        assert_eq!(rest.len(), 5);
        assert!(try_wait(&mut [stream.readable()]).unwrap().is_all(), "the end stays");
    });
}

#[test]
fn writable_means_that_write_returns_at_once() {
    each_kind(|addr| {
        let (mut stream, mut party) = meet(addr, 512, PARTY);
        let mut flow = Flow::new(SEEDS[0], 512);
        must_not_block(&stream);
        assert!(try_wait(&mut [stream.writable()]).unwrap().is_all(), "{addr}");
        let e = flow.send(&mut stream, u64::MAX, Manner::Some).unwrap_err();
        assert_eq!((e.kind(), flow.at()), (std::io::ErrorKind::WouldBlock, 512));
        assert!(try_wait(&mut [stream.writable()]).unwrap().is_empty(), "{addr}");
        assert!(wait_any(&mut [stream.writable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
        let ready =
            once_asleep(|| wait_any(&mut [stream.writable()], None).unwrap(), || drop(party.does("receive 1 all")));
        assert!(ready.is_all());
        flow.send(&mut stream, 513, Manner::Some).unwrap();
        // The peer goes: that is ready, too, with an error.
        let ready = once_asleep(|| wait_any(&mut [stream.writable()], None).unwrap(), || drop(party.does("close")));
        assert!(ready.is_all());
        assert_eq!(stream.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe, "{addr}");
        // And so is a half that was shut down here.
        stream.shutdown(Shutdown::Both).unwrap();
        assert!(try_wait(&mut [stream.readable(), stream.writable()]).unwrap().is_all());
    });
}

/// A request that is held back goes out before its answer is waited for, and bytes that are there count though no look was
/// asked for.
#[test]
fn what_is_held_back_is_published_by_who_waits() {
    each_kind(|addr| {
        let (stream, mut party) = meet(addr, 4096, PARTY);
        stream.set_buf_mode(BufMode::Full);
        Flow::new(SEEDS[0], 4096).send(&mut &stream, 5, Manner::All).unwrap();
        assert_eq!(stream.buffered(), 5);
        party.tell("receive 5 all");
        party.tell("send 3 all");
        assert!(try_wait(&mut [stream.writable()]).unwrap().is_all());
        assert_eq!(stream.buffered(), 5, "{addr}: who does not wait publishes nothing");
        assert!(wait_any(&mut [stream.readable()], None).unwrap().is_all(), "{addr}");
        assert_eq!(stream.buffered(), 0);
        party.hear().unwrap();
        party.hear().unwrap();
    });
}

#[track_caller]
fn pending(result: Result<Stream, TryFinish>) -> Connecting {
    match result {
        Err(TryFinish::Pending(connecting)) => connecting,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connectable_means_that_the_attempt_is_over() {
    each_kind(|addr| {
        let mut party = listening(addr, PARTY);
        let connecting = Stream::begin_connect(addr).unwrap();
        assert_eq!(connecting.addr(), &addr.parse::<Addr>().unwrap());
        let mut connecting = pending(connecting.try_finish());
        assert!(try_wait(&mut [connecting.connectable()]).unwrap().is_empty(), "{addr}");
        let mut connecting = pending(connecting.wait(Some(SHORT)));
        let ready =
            once_asleep(|| wait_any(&mut [connecting.connectable()], None).unwrap(), || drop(party.does("accept")));
        assert!(ready.is_all(), "{addr}");
        assert!(try_wait(&mut [connecting.connectable()]).unwrap().is_all(), "it stays so");
        let mut stream = connecting.try_finish().unwrap();
        assert_eq!(
            stream.stats().watch,
            WatchMode::Watched,
            "{addr}: the watcher has let go of what it watched before"
        );
        let mut bytes = [0; 10];
        party.does("send 10 all");
        stream.read_exact(&mut bytes).unwrap();
        Flow::new(SEEDS[1], 4096).check(&bytes);
    });
}

/// Several at once: those behind the first find out by themselves when it is their turn.
#[test]
fn attempts_that_wait_for_their_turn_get_it() {
    each_kind(|addr| {
        let mut party = listening(addr, PARTY);
        let mut all: Vec<_> = (0..5).map(|_| Stream::begin_connect(addr).unwrap()).collect();
        let mut streams = Vec::new();
        for round in 1..=5 {
            party.tell("accept");
            // At a socket several may be done at once, and the next accepts then have them already.
            while streams.len() < round {
                let mut conditions: Vec<_> = all.iter_mut().map(Connecting::connectable).collect();
                let ready = wait_any(&mut conditions, None).unwrap();
                drop(conditions);
                for place in places(ready).into_iter().rev() {
                    streams.push(all.remove(place).try_finish().unwrap());
                }
            }
            party.hear().unwrap();
        }
        assert_eq!((streams.len(), all.len()), (5, 0), "{addr}");
    });
}

#[test]
fn connectable_is_true_also_of_an_attempt_that_failed() {
    each_kind(|addr| {
        // No listener is there.
        let mut connecting = Stream::begin_connect(addr).unwrap();
        assert!(wait_any(&mut [connecting.connectable()], None).unwrap().is_all());
        let Err(TryFinish::Failed(e)) = connecting.try_finish() else { panic!("{addr}: whose stream?") };
        assert_eq!(e.reason(), Reason::NotReady, "{e}");
        assert!(e.to_string().contains("no process listens"), "{e}");
        // The listener dies while it is waited for.
        let mut party = listening(addr, PARTY);
        let mut connecting = pending(Stream::begin_connect(addr).unwrap().try_finish());
        let ready = once_asleep(|| wait_any(&mut [connecting.connectable()], None).unwrap(), || party.kill_and_reap());
        assert!(ready.is_all());
        let Err(TryFinish::Failed(e)) = connecting.try_finish() else { panic!("{addr}: whose stream?") };
        assert_eq!(e.reason(), Reason::NotReady, "{e}");
        let e = std::io::Error::from(TryFinish::Failed(e));
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionRefused, "{e}");
    });
    // What is no address is said at once.
    assert_eq!(Stream::begin_connect("nonsense:").unwrap_err().reason(), Reason::InvalidInput);
    let mut connecting = Stream::begin_connect("fd:2000000").unwrap();
    assert!(try_wait(&mut [connecting.connectable()]).unwrap().is_all());
    assert!(matches!(connecting.try_finish(), Err(TryFinish::Failed(_))));
}

/// An attempt that is given up leaves the listener as it was.
#[test]
fn an_attempt_can_be_given_up() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let connecting = pending(Stream::begin_connect(addr).unwrap().try_finish());
        let e = std::io::Error::from(TryFinish::Pending(connecting));
        assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock);
        assert!(wait_any(&mut [listener.acceptable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
        let mut party = party(PARTY);
        party.tell(format!("connect {addr}"));
        assert!(wait_any(&mut [listener.acceptable()], None).unwrap().is_all());
        drop(listener.accept().unwrap());
        party.hear().unwrap();
    });
}
