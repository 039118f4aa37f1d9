//! Messages that are built in the lane and looked at in the lane; halves that become one stream again.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use smstream::{Error, Reason, Stream};
use smstream_tests::flow::{Flow, Random};
use smstream_tests::waits::{SEEDS, SHORT, builder, each_kind, meet};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

fn reason<T>(result: std::io::Result<T>) -> Option<Reason> {
    Reason::of(&result.err().expect("it fails"))
}

/// What is reserved is not seen before it is committed, and then all at once.
#[test]
fn a_message_is_seen_whole_or_not_at_all() {
    each_kind(|addr| {
        let (mut stream, mut peer) = meet(addr, 512, PARTY);
        let mut bytes = [0; 200];
        Flow::new(SEEDS[0], 512).fill(&mut bytes);
        let mut chunk = stream.reserve(200).unwrap();
        assert_eq!((chunk.len(), chunk.is_empty(), chunk.filled()), (200, false, 0));
        chunk.write_all(&bytes[..100]).unwrap();
        assert_eq!((chunk.put(100, &bytes[100..]), chunk.filled()), (100, 100));
        assert_eq!(chunk.commit(200).unwrap(), 200);
        assert_eq!(peer.does("receive 200 all"), "200", "{addr}");
        // Aborted, or dropped: none of it. Then the rest of the flow.
        stream.reserve(3).unwrap().write_all(b"bad").unwrap();
        let mut chunk = stream.reserve(3).unwrap();
        chunk.write_all(b"bad").unwrap();
        chunk.abort();
        let mut chunk = stream.reserve(200).unwrap();
        let mut flow = Flow::new(SEEDS[0], 512);
        flow.skip(200);
        flow.fill(&mut bytes);
        chunk.write_all(&bytes[..7]).unwrap();
        assert_eq!(chunk.commit_filled().unwrap(), 7);
        assert_eq!(peer.does("receive 207 all"), "207", "{addr}");
    });
}

#[test]
fn a_look_takes_nothing() {
    each_kind(|addr| {
        let (mut stream, mut peer) = meet(addr, 512, PARTY);
        peer.does("send 100 all");
        let mut expected = [0; 100];
        Flow::new(SEEDS[1], 512).fill(&mut expected);
        for _ in 0..3 {
            let chunk = stream.peek(100).unwrap();
            let mut seen = [0; 100];
            assert_eq!((chunk.len(), chunk.is_empty(), chunk.copy_to(0, &mut seen)), (100, false, 100));
            assert_eq!(seen, expected, "{addr}");
        }
        assert_eq!(stream.peek(1).unwrap().consume(60).unwrap(), 60);
        let mut rest = [0; 40];
        stream.read_exact(&mut rest).unwrap();
        assert_eq!(rest, expected[60..], "{addr}");
        // Fewer than wanted, because the peer closes.
        peer.does("send 110 all");
        peer.does("close");
        assert_eq!(stream.peek(100).unwrap().len(), 10, "{addr}");
        assert_eq!(stream.peek(1).unwrap().consume(usize::MAX).unwrap(), 10);
        assert!(stream.peek(1).unwrap().is_empty(), "{addr}");
        assert_eq!(stream.read(&mut rest).unwrap(), 0);
    });
}

/// One side builds each message in place, the other one looks at each whole message in place.
#[test]
fn messages_of_all_lengths_cross_the_end_of_the_lane() {
    let (mut here, mut there) = builder(512).pair().unwrap();
    let lengths = |seed| {
        let mut random = Random::new(seed);
        (0..5000).map(move |_| random.below(256) as usize)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for (n, len) in lengths(7).enumerate() {
                let mut chunk = here.reserve(1 + len.min(255)).unwrap();
                chunk.write_all(&[len as u8]).unwrap();
                chunk.write_all(&vec![n as u8; len]).unwrap();
                chunk.commit_filled().unwrap();
            }
        });
        for (n, len) in lengths(7).enumerate() {
            let mut head = [0];
            assert_eq!(there.peek(1).unwrap().copy_to(0, &mut head), 1);
            assert_eq!(usize::from(head[0]), len);
            let mut body = vec![0; len];
            let chunk = there.peek(1 + len).unwrap();
            assert_eq!(chunk.copy_to(1, &mut body), len);
            assert_eq!(chunk.consume(1 + len).unwrap(), 1 + len);
            assert!(body.iter().all(|byte| *byte == n as u8));
        }
    });
}

#[test]
fn they_wait_as_reads_and_writes_do() {
    let (mut here, mut there) = builder(64).pair().unwrap();
    assert_eq!(reason(here.reserve(33)), Some(Reason::InvalidInput));
    assert_eq!(reason(here.peek(33)), Some(Reason::InvalidInput));
    here.write_all(&[1; 60]).unwrap();
    here.set_nonblocking(true).unwrap();
    assert_eq!(here.reserve(5).err().unwrap().kind(), ErrorKind::WouldBlock);
    assert_eq!(here.reserve(4).unwrap().len(), 4);
    assert_eq!(here.peek(1).err().unwrap().kind(), ErrorKind::WouldBlock);
    there.write_all(b"ab").unwrap();
    assert_eq!(here.peek(10).unwrap().len(), 2, "what is there, for it does not block");
    here.set_nonblocking(false).unwrap();
    here.set_write_timeout(Some(SHORT)).unwrap();
    here.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(here.reserve(32).err().unwrap().kind(), ErrorKind::TimedOut);
    assert_eq!(here.peek(10).unwrap().len(), 2, "what is there when the time is over");
    here.peek(2).unwrap().consume(2).unwrap();
    assert_eq!(here.peek(1).err().unwrap().kind(), ErrorKind::TimedOut);
    // A whole message's room is waited for.
    here.set_write_timeout(None).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut chunk = here.reserve(32).unwrap();
            chunk.write_all(&[2; 32]).unwrap();
            chunk.commit(32).unwrap();
        });
        there.read_exact(&mut [0; 92]).unwrap();
    });
    drop(there);
    assert_eq!(reason(here.reserve(1)), Some(Reason::WriteAfterClose));
    assert!(here.peek(1).unwrap().is_empty());
}

/// Neither can go on: one call returns `Deadlock`, and neither spins.
#[test]
fn a_deadlock_of_reservations_is_reported() {
    let (mut here, mut there) = builder(64).pair().unwrap();
    here.write_all(&[1; 60]).unwrap();
    there.write_all(&[1; 60]).unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| there.reserve(30).map(|chunk| chunk.len()));
        assert_eq!(reason(here.reserve(30)), Some(Reason::Deadlock));
        here.read_exact(&mut [0; 60]).unwrap();
        assert_eq!(other.join().unwrap().unwrap(), 30);
    });
}

#[test]
fn a_read_that_gives_up_midway_says_how_far_it_came() {
    each_kind(|addr| {
        let (mut stream, mut peer) = meet(addr, 512, PARTY);
        peer.does("send 30 all");
        stream.set_read_timeout(Some(SHORT)).unwrap();
        let e = stream.read_exact(&mut [0; 40]).unwrap_err();
        assert_eq!((e.kind(), Error::from_io(&e).unwrap().read()), (ErrorKind::TimedOut, Some(30)), "{addr}");
        assert!(e.to_string().contains("30 of 40 bytes were read before"), "{e}");
        peer.does("send 50 all");
        peer.does("close");
        let e = stream.read_exact(&mut [0; 40]).unwrap_err();
        assert_eq!((e.kind(), Error::from_io(&e).unwrap().read()), (ErrorKind::UnexpectedEof, Some(20)), "{addr}");
        assert_eq!(Reason::of(&e), Some(Reason::UnexpectedEnd));
        // Through a half and a shared reference, too.
        let (reader, _writer) = stream.split();
        let mut reader = reader;
        let e = reader.read_exact(&mut [0; 1]).unwrap_err();
        assert_eq!(Error::from_io(&e).unwrap().read(), Some(0));
    });
}

#[test]
fn halves_become_one_stream_again() {
    each_kind(|addr| {
        let (stream, mut peer) = meet(addr, 512, PARTY);
        let who = stream.peer();
        let (reader, writer) = stream.split();
        assert_eq!((reader.peer(), writer.peer()), (who, who), "{addr}");
        let (other_reader, other_writer) = Stream::pair().unwrap().0.split();
        let failed = reader.reunite(other_writer).unwrap_err();
        assert!(failed.to_string().contains("different streams"), "{failed}");
        let smstream::ReuniteError(reader, other_writer) = failed;
        other_writer.reunite(other_reader).unwrap();
        let mut stream = writer.reunite(reader).unwrap();
        peer.does("send 5 all");
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.does("read 1"), "0", "{addr}");
        assert!(!stream.wait_peer_closed(Some(Duration::ZERO)));
    });
}
