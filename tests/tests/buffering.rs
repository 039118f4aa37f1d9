//! Buffer modes: what is held back, and when the peer sees it. And reading without a copy.

use std::io::{BufRead, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use smstream::{BufMode, Builder, Error, Reason, Stream, Trusted};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP, Random};
use smstream_tests::party::{Party, Scratch, asleep};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const SHORT: Duration = Duration::from_millis(20);
const SEEDS: [u64; 2] = [0xb0f1, 0xb0f2];

/// A stream from this process to a party. This process listens, with this mode.
fn meet(capacity: usize, mode: BufMode) -> (Stream, Party) {
    let scratch = Scratch::new();
    let builder = Builder::new().capacity(capacity).start_cursor(NEAR_WRAP).buf_mode(mode);
    let listener = builder.bind(scratch.addr()).unwrap();
    let mut party = Party::start(PARTY);
    party.does(format!("seeds {} {}", SEEDS[1], SEEDS[0]));
    party.tell(format!("connect {}", scratch.addr()));
    let stream = listener.accept_timeout(PATIENCE).unwrap();
    party.hear().unwrap();
    (stream, party)
}

/// Two ends in this process. The second never waits.
fn pair(capacity: usize, mode: BufMode) -> (Stream, Stream) {
    let (here, there) = Builder::new().capacity(capacity).start_cursor(NEAR_WRAP).buf_mode(mode).pair().unwrap();
    there.set_nonblocking(true).unwrap();
    there.set_buf_mode(BufMode::None);
    (here, there)
}

/// What the peer sees now.
fn seen(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = [0; 256];
    match stream.read(&mut bytes) {
        Ok(n) => bytes[..n].to_vec(),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Vec::new(),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn lines_are_seen_whole() {
    let (mut here, mut there) = pair(64, BufMode::LINE);
    assert_eq!(here.buf_mode(), BufMode::LINE);
    here.write_all(b"one").unwrap();
    assert_eq!((seen(&mut there), here.buffered()), (vec![], 3));
    here.write_all(b"\ntwo\nthr").unwrap();
    assert_eq!((seen(&mut there), here.buffered()), (b"one\ntwo\n".to_vec(), 3));
    let bufs = [IoSlice::new(b"ee"), IoSlice::new(b"\n"), IoSlice::new(b"fo"), IoSlice::new(b"ur")];
    assert_eq!(here.write_vectored(&bufs).unwrap(), 7);
    assert_eq!((seen(&mut there), here.buffered()), (b"three\n".to_vec(), 4));
    here.set_buf_mode(BufMode::Line { terminator: b';' });
    assert_eq!(seen(&mut there), b"four");
    here.write_all(b"a\nb;c").unwrap();
    assert_eq!((seen(&mut there), here.buffered()), (b"a\nb;".to_vec(), 1));
    // A line as long as an eighth of the lane is seen before it ends.
    here.write_all(&[b'x'; 6]).unwrap();
    assert_eq!((seen(&mut there), here.buffered()), (vec![], 7));
    here.write_all(b"x").unwrap();
    assert_eq!((seen(&mut there).len(), here.buffered()), (8, 0));
}

#[test]
fn an_eighth_of_a_lane_is_seen_at_once() {
    let (mut here, mut there) = pair(64, BufMode::Full);
    for round in 1..=10 {
        for _ in 0..7 {
            here.write_all(b"\n").unwrap();
        }
        assert_eq!((seen(&mut there), here.buffered()), (vec![], 7), "round {round}");
        here.write_all(b"\n").unwrap();
        assert_eq!((seen(&mut there).len(), here.buffered()), (8, 0));
    }
    // Each of these is one publication.
    assert_eq!(here.stats().sent.operations, 10);
}

#[test]
fn what_publishes() {
    type Act = (&'static str, fn(&mut Stream));
    let acts: [Act; 9] = [
        ("flush", |s| s.flush().unwrap()),
        ("another mode", |s| s.set_buf_mode(BufMode::None)),
        ("shutdown", |s| s.shutdown(Shutdown::Write).unwrap()),
        ("a read that would have to wait", |s| {
            s.set_nonblocking(true).unwrap();
            assert_eq!(s.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }),
        ("the same by reference", |s| {
            s.set_nonblocking(true).unwrap();
            assert_eq!((&*s).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        }),
        ("a read whose time passes", |s| {
            s.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            assert_eq!(s.read_exact(&mut [0; 9]).unwrap_err().kind(), ErrorKind::TimedOut);
        }),
        ("the same by reference", |s| {
            s.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            assert_eq!((&*s).read_exact(&mut [0; 9]).unwrap_err().kind(), ErrorKind::TimedOut);
        }),
        ("a vectored read", |s| {
            s.set_nonblocking(true).unwrap();
            let mut bytes = [0; 4];
            let bufs = &mut [std::io::IoSliceMut::new(&mut bytes)];
            assert_eq!(s.read_vectored(bufs).unwrap_err().kind(), ErrorKind::WouldBlock);
        }),
        ("waiting for the peer to close", |s| assert!(!s.wait_peer_closed(Some(Duration::from_millis(1))))),
    ];
    for (what, act) in acts {
        let (mut here, mut there) = pair(64, BufMode::Full);
        here.write_all(b"held").unwrap();
        assert_eq!((seen(&mut there), here.buffered()), (vec![], 4));
        act(&mut here);
        assert_eq!((seen(&mut there), here.buffered()), (b"held".to_vec(), 0), "{what}");
    }
    // What takes the stream: a split, with the halves kept; a drop.
    for keeps in [true, false] {
        let (mut here, mut there) = pair(64, BufMode::Full);
        here.write_all(b"held").unwrap();
        let halves = keeps.then_some(here).map(Stream::split);
        assert_eq!(seen(&mut there), b"held");
        drop(halves);
        assert_eq!(there.read(&mut [0]).unwrap(), 0);
    }
    // A lane that is full, however little of it is held back.
    let (mut here, mut there) = pair(64, BufMode::Full);
    here.write_all(&[b'a'; 60]).unwrap();
    here.set_nonblocking(true).unwrap();
    assert_eq!(here.write(&[b'b'; 3]).unwrap(), 3);
    assert_eq!(here.buffered(), 3);
    assert_eq!(here.write(&[b'b'; 3]).unwrap(), 1, "there is no more room");
    assert_eq!((seen(&mut there).len(), here.buffered()), (64, 0));
}

/// A lane is full to the last byte, which is held back; the write that would have to wait publishes it.
#[test]
fn a_write_that_would_have_to_wait_publishes() {
    let (mut here, mut there) = pair(64, BufMode::Full);
    here.set_nonblocking(true).unwrap();
    here.write_all(&[b'a'; 60]).unwrap();
    here.write_all(&[b'b'; 4]).unwrap();
    assert_eq!(here.buffered(), 4);
    assert_eq!(here.write(b"c").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!((seen(&mut there).len(), here.buffered()), (64, 0));
}

#[test]
fn a_read_that_finds_bytes_publishes_nothing() {
    let (mut here, mut there) = pair(64, BufMode::LINE);
    there.write_all(b"12").unwrap();
    here.write_all(b"held").unwrap();
    assert_eq!(here.read(&mut [0]).unwrap(), 1);
    assert_eq!((&here).read(&mut [0]).unwrap(), 1);
    assert_eq!((seen(&mut there), here.buffered()), (vec![], 4));
    // Nor does the end of the stream.
    there.shutdown(Shutdown::Write).unwrap();
    assert_eq!(here.read(&mut [0]).unwrap(), 0);
    assert_eq!(here.buffered(), 4);
}

/// An eighth of a lane is not reached, nor is there a terminator: only the read publishes. Both parties live by it.
#[test]
fn a_question_is_on_its_way_when_the_answer_is_waited_for() {
    let _watchdog = Watchdog::new();
    for mode in ["full", "line", "none"] {
        let (mut stream, mut party) = meet(4096, BufMode::Full);
        party.does(format!("buf-mode {mode}"));
        party.tell("pong 300");
        for i in 0..299 {
            let mut byte = [0];
            if i % 2 == 0 {
                stream.write_all(&[i as u8]).unwrap();
                stream.read_exact(&mut byte).unwrap();
            } else {
                (&stream).write_all(&[i as u8]).unwrap();
                (&stream).read_exact(&mut byte).unwrap();
            }
            assert_eq!(byte, [i as u8]);
        }
        // After the last answer the party reads no more, so that nothing publishes it but a flush.
        stream.write_all(b"x").unwrap();
        stream.flush().unwrap();
        party.hear().unwrap();
        assert_eq!(party.does("held-back"), if mode == "none" { "0" } else { "1" });
        party.does("flush");
        assert_eq!(stream.read(&mut [0; 9]).unwrap(), 1);
    }
}

/// The party that answers is asleep when the question is written, so that the one wake it gets must be for the question.
#[test]
fn a_sleeper_is_woken_for_what_was_held_back() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet(4096, BufMode::Full);
    for _ in 0..50 {
        party.tell("pong 1");
        party.is_asleep();
        stream.write_all(b"x").unwrap();
        assert_eq!(stream.buffered(), 1);
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        party.hear().unwrap();
    }
}

/// Each side as it likes: lines over lines, and all bytes of a long transfer.
#[test]
fn each_side_has_its_own_mode() {
    let _watchdog = Watchdog::new();
    for (a, b) in [("none", "line"), ("line", "line"), ("line", "full"), ("full", "none"), ("full", "full")] {
        let scratch = Scratch::new();
        let [mut first, mut second] = [Party::start(PARTY), Party::start(PARTY)];
        first.does(format!("bind {} 128 128 {NEAR_WRAP}", scratch.addr()));
        first.tell("accept");
        second.does(format!("connect {}", scratch.addr()));
        first.hear().unwrap();
        first.does(format!("buf-mode {a}"));
        second.does(format!("buf-mode {b}"));
        first.tell("both 100000 100000 mixed");
        second.tell("both 100000 100000 mixed");
        first.hear().unwrap_or_else(|e| panic!("{a} and {b}: {e:?}"));
        second.hear().unwrap_or_else(|e| panic!("{a} and {b}: {e:?}"));
        second.tell("answer-lines");
        first.does("ask-lines 500");
        first.does("close");
        assert_eq!(second.hear(), Ok("500".into()), "{a} and {b}");
    }
}

/// A thread that writes keeps its lock; one that reads on the same stream does not wait for it.
#[test]
fn a_read_does_not_wait_for_a_blocked_writer() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet(64, BufMode::Full);
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let stream = &stream;
        let writer = scope.spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            let mut stream = stream;
            Flow::new(SEEDS[0], 64).send(&mut stream, 1000, Manner::All).and_then(|()| stream.flush())
        });
        asleep(std::process::id(), receiver.recv().unwrap().as_raw_nonzero().get() as u32);
        stream.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!((&*stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        party.does("receive 1000 mixed");
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn what_is_held_back_dies_with_its_writer() {
    let _watchdog = Watchdog::new();
    for leaves in ["is killed", "exits without a drop", "drops it"] {
        let (mut stream, mut party) = meet(4096, BufMode::None);
        party.does("send 50 all");
        party.does("buf-mode full");
        party.does("send 150 all");
        assert_eq!(party.does("held-back"), "100");
        match leaves {
            "is killed" => party.kill_and_reap(),
            "drops it" => drop(party.does("close")),
            _ => {
                party.tell("exit 0");
                party.reap();
            }
        }
        let mut flow = Flow::new(SEEDS[1], 4096);
        let end = flow.drain(&mut stream);
        let reason = end.as_ref().and_then(Error::from_io).map(Error::reason);
        let expected = if leaves == "drops it" { (150, None) } else { (50, Some(Reason::PeerGone)) };
        assert_eq!((flow.at(), reason), expected, "the end that {leaves}");
    }
}

/// The bytes of a killed writer that were held back are its own loss; those of a survivor are reported.
#[test]
fn what_is_held_back_when_the_peer_leaves() {
    let _watchdog = Watchdog::new();
    for killed in [true, false] {
        let (mut stream, mut party) = meet(4096, BufMode::Full);
        stream.write_all(&[7; 100]).unwrap();
        if killed {
            party.kill_and_reap()
        } else {
            drop(party.does("close"))
        }
        assert!(stream.wait_peer_closed(None));
        // That has published the bytes, and no call has reported it.
        assert_eq!((stream.buffered(), stream.undelivered()), (0, Some(100)));
        let (mut stream, mut party) = meet(4096, BufMode::Full);
        stream.write_all(&[7; 100]).unwrap();
        if killed {
            party.kill_and_reap()
        } else {
            drop(party.does("shutdown both"))
        }
        let e = loop {
            // A flush knows of the peer's death as soon as this process does.
            match stream.flush() {
                Ok(()) => drop(stream.write_all(b"x")),
                Err(e) => break e,
            }
        };
        let expected = if killed { Reason::PeerGone } else { Reason::WriteAfterClose };
        assert_eq!(Error::from_io(&e).unwrap().reason(), expected, "{e}");
        assert!(stream.undelivered().unwrap() >= 100);
    }
}

/// Lines of all lengths across the end of the lane, read in place by one thread and written by another.
#[test]
fn a_trusted_pair_reads_in_place() {
    let _watchdog = Watchdog::new();
    for (capacity, mode) in [(1, BufMode::None), (8, BufMode::Full), (64, BufMode::LINE), (4096, BufMode::Full)] {
        let builder = Builder::new().capacity(capacity).start_cursor(NEAR_WRAP).buf_mode(mode);
        let (mut here, there) = builder.pair_trusted().unwrap();
        let line = |random: &mut Random| {
            let letters = random.below(2 * capacity as u64 + 3);
            (0..letters).map(|_| b'a' + random.below(26) as u8).chain([b'\n']).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut random = Random::new(5);
                for _ in 0..2000 {
                    here.write_all(&line(&mut random)).unwrap();
                }
            });
            let mut random = Random::new(5);
            let mut there = there;
            for i in 0..2000 {
                let mut read = Vec::new();
                there.read_until(b'\n', &mut read).unwrap();
                assert_eq!(read, line(&mut random), "line {i}");
            }
            assert_eq!(there.fill_buf().unwrap(), b"");
            assert_eq!(there.read(&mut [0]).unwrap(), 0);
        });
    }
}

#[test]
fn room_is_given_back_by_consuming() {
    let (mut here, mut there) = Builder::new().capacity(16).start_cursor(NEAR_WRAP).pair_trusted().unwrap();
    here.set_nonblocking(true).unwrap();
    here.write_all(b"0123456789abcdef").unwrap();
    let start = there.fill_buf().unwrap().as_ptr();
    assert_eq!(here.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock, "a look takes nothing");
    let all = there.fill_buf().unwrap();
    assert_eq!((all.as_ptr(), all[0]), (start, b'0'), "and the same is there again");
    // The lane begins anew somewhere; `fill_buf` shows what lies in one piece.
    let first = all.len();
    assert_eq!(all, &b"0123456789abcdef"[..first]);
    there.consume(2);
    assert_eq!(here.write(b"xyz").unwrap(), 2);
    assert_eq!(there.fill_buf().unwrap(), &b"0123456789abcdef"[2..first]);
    there.consume(first - 2);
    let mut rest = [0; 18];
    let left = 18 - first;
    there.read_exact(&mut rest[..left]).unwrap();
    assert_eq!(&rest[..left], &b"0123456789abcdefxy"[first..]);
    // More than there is, is all there is.
    here.write_all(b"1").unwrap();
    assert_eq!(there.fill_buf().unwrap(), b"1");
    there.consume(1);
    there.set_nonblocking(true).unwrap();
    assert_eq!(there.fill_buf().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// `fill_buf` waits like a read: it publishes first, it returns an end, a timeout and a death.
#[test]
fn a_trusted_peer_in_another_process() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet(64, BufMode::Full);
    // SAFETY: the party is this project's own, and no other process opens the region of this test.
    let mut stream = unsafe { stream.trust_peer() };
    party.tell("answer-lines");
    for i in 0..100 {
        let question = format!("question {i}\n");
        stream.write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        assert_eq!(answer, format!("answer {question}"));
    }
    stream.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(stream.fill_buf().unwrap_err().kind(), ErrorKind::TimedOut);
    stream.set_read_timeout(None).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(party.hear(), Ok("100".into()));
    party.does("send 40 all");
    party.kill_and_reap();
    let mut flow = Flow::new(SEEDS[1], 64);
    let e = loop {
        match stream.fill_buf() {
            Ok([]) => panic!("the end of a stream whose writer died"),
            Ok(bytes) => {
                let some = bytes.len().min(7);
                flow.check(&bytes[..some]);
                stream.consume(some);
            }
            Err(e) => break e,
        }
    };
    assert_eq!((flow.at(), Error::from_io(&e).unwrap().reason()), (40, Reason::PeerGone), "{e}");
}

#[test]
fn the_trusted_reading_half() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet(64, BufMode::None);
    // SAFETY: the party is this project's own, and no other process opens the region of this test.
    let trusted: Trusted<Stream> = unsafe { stream.trust_peer() };
    let (mut reader, mut writer) = trusted.split();
    party.tell("both 5000 1000 mixed");
    thread::scope(|scope| {
        scope.spawn(move || Flow::new(SEEDS[0], 64).send(&mut writer, 1000, Manner::Mixed).unwrap());
        let mut flow = Flow::new(SEEDS[1], 64);
        while flow.at() < 5000 {
            let bytes = reader.fill_buf().unwrap();
            flow.check(bytes);
            let n = bytes.len();
            reader.consume(n);
        }
    });
    party.hear().unwrap();
    party.does("close");
    assert_eq!(reader.into_inner().read(&mut [0]).unwrap(), 0);
}
