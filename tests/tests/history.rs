//! What a stream remembers of what went wrong, and what it gives out of that.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, SystemTime};

use smstream::{BufMode, Builder, Operation, Reason, Stream};
use smstream_tests::flow::{Flow, Manner, NEAR_WRAP};
use smstream_tests::party::{Party, Scratch, asleep, until};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

/// A stream from this process to a party. This process listens.
fn meet() -> (Stream, Party) {
    let scratch = Scratch::new();
    let listener = Builder::new().capacity(4096).start_cursor(NEAR_WRAP).bind(scratch.addr()).unwrap();
    let mut party = Party::start(PARTY);
    party.tell(format!("connect {}", scratch.addr()));
    let stream = listener.accept_timeout(PATIENCE).unwrap();
    party.hear().unwrap();
    (stream, party)
}

/// Operation, reason, how often, reported.
fn incidents(stream: &Stream) -> Vec<(Operation, Reason, u64, bool)> {
    stream.history().iter().map(|i| (i.during, i.error.reason(), i.times, i.reported)).collect()
}

#[test]
fn nothing_goes_wrong() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    let mut flow = Flow::new(0, 4096);
    flow.send(&mut stream, 5, Manner::All).unwrap();
    assert_eq!(party.does("receive 5 all"), "5");
    // To wait too long, or not at all, is no incident.
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    // Nor is the orderly end.
    party.does("close");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(stream.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(stream.wait_peer_closed(None));
    assert!(stream.take_error().unwrap().is_none());
    assert_eq!(incidents(&stream), []);
}

#[test]
fn a_death_that_no_call_has_returned() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    party.does("write 10");
    let before = SystemTime::now();
    party.kill_and_reap();
    assert!(stream.wait_peer_closed(None));
    let noticed = SystemTime::now();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(incidents(&stream), [(Operation::Watch, Reason::PeerGone, 1, false)]);
    let first = stream.history()[0].first;
    assert!(before <= first && first <= noticed, "the time is when it was noticed, not when the program asked");
    let e = stream.take_error().unwrap().unwrap();
    assert_eq!((e.reason(), e.kind()), (Reason::PeerGone, ErrorKind::ConnectionReset));
    assert!(e.to_string().contains("the connector at file:") && e.to_string().contains("died"), "{e}");
    assert!(stream.take_error().unwrap().is_none(), "once");
    assert_eq!(incidents(&stream), [(Operation::Watch, Reason::PeerGone, 1, true)]);
    // It takes nothing away from what reading finds.
    stream.read_exact(&mut [0; 10]).unwrap();
    for _ in 0..3 {
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    let all = [(Operation::Watch, Reason::PeerGone, 1, true), (Operation::Read, Reason::PeerGone, 3, true)];
    assert_eq!(incidents(&stream), all);
}

#[test]
fn what_a_call_has_returned_is_not_pending() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    party.kill_and_reap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(stream.write(&[0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(stream.take_error().unwrap().is_none());
    let all = [(Operation::Read, Reason::PeerGone, 1, true), (Operation::Write, Reason::PeerGone, 1, true)];
    assert_eq!(incidents(&stream), all);
    // In this order: a call that returns it after it was noticed.
    let (mut stream, mut party) = meet();
    party.kill_and_reap();
    assert!(stream.wait_peer_closed(None));
    assert_eq!(stream.history().len(), 1);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(stream.take_error().unwrap().is_none());
}

/// A direction that was closed in order has no dead peer; the other one has.
#[test]
fn half_a_close_and_then_death() {
    let _watchdog = Watchdog::new();
    for (how, lost) in [("write", true), ("read", true), ("both", false)] {
        let (stream, mut party) = meet();
        party.does(format!("shutdown {how}"));
        party.kill_and_reap();
        assert!(stream.wait_peer_closed(None));
        assert_eq!(stream.take_error().unwrap().map(|e| e.reason()), lost.then_some(Reason::PeerGone), "{how}");
    }
    // It matters no more to whom this end has closed itself.
    let (stream, mut party) = meet();
    stream.shutdown(Shutdown::Both).unwrap();
    party.kill_and_reap();
    assert!(stream.wait_peer_closed(None));
    assert!(stream.take_error().unwrap().is_none());
}

/// The program calls no flush: a read publishes what was held back, for a peer that takes nothing any more.
#[test]
fn bytes_that_were_published_too_late() {
    let _watchdog = Watchdog::new();
    let (mut stream, mut party) = meet();
    stream.set_buf_mode(BufMode::Full);
    stream.write_all(b"hello").unwrap();
    party.does("shutdown read");
    party.does("send 1 all");
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(incidents(&stream), [], "a read that finds bytes publishes nothing");
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(incidents(&stream), [(Operation::Flush, Reason::WriteAfterClose, 1, false)]);
    let e = stream.take_error().unwrap().unwrap();
    assert_eq!((e.reason(), stream.undelivered()), (Reason::WriteAfterClose, Some(5)), "{e}");
    assert!(stream.take_error().unwrap().is_none());
    // A flush that is asked for says so itself.
    let (mut stream, mut party) = meet();
    stream.set_buf_mode(BufMode::Full);
    stream.write_all(b"hello").unwrap();
    party.does("shutdown read");
    assert_eq!(stream.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    stream.flush().unwrap();
    assert_eq!(incidents(&stream), [(Operation::Flush, Reason::WriteAfterClose, 1, true)]);
    assert!(stream.take_error().unwrap().is_none());
}

#[test]
fn bytes_that_are_never_read() {
    let _watchdog = Watchdog::new();
    for killed in [false, true] {
        let (mut stream, mut party) = meet();
        stream.write_all(b"hello").unwrap();
        if killed {
            party.kill_and_reap()
        } else {
            drop(party.does("close"))
        }
        assert!(stream.wait_peer_closed(None));
        stream.shutdown(Shutdown::Write).unwrap();
        let reason = if killed { Reason::PeerGone } else { Reason::WriteAfterClose };
        assert_eq!(incidents(&stream)[0], (Operation::Close, reason, 1, false));
        let e = stream.take_error().unwrap().unwrap();
        assert!(e.reason() == reason && e.to_string().contains("the last 5 bytes"), "{e}");
        assert!(stream.take_error().unwrap().is_none());
    }
}

#[test]
fn the_halves_have_one_history() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet();
    let (mut reader, mut writer) = stream.split();
    writer.write_all(b"hello").unwrap();
    party.does("shutdown read");
    drop(writer);
    let e = reader.take_error().unwrap().unwrap();
    assert_eq!(e.reason(), Reason::WriteAfterClose, "{e}");
    let (stream, mut party) = meet();
    let (mut reader, mut writer) = stream.split();
    party.kill_and_reap();
    assert_eq!(
        writer.write(b"x").map_err(|e| e.kind()).err().or_else(|| {
            // It may have been faster than the watcher.
            until("a write reports it", || writer.write(b"x").is_err());
            Some(ErrorKind::ConnectionReset)
        }),
        Some(ErrorKind::ConnectionReset)
    );
    assert!(reader.take_error().unwrap().is_none(), "a call has reported it");
    assert_eq!(reader.history()[0].during, Operation::Write);
    assert_eq!(writer.history().len(), 1);
    let (stream, mut party) = meet();
    let (mut reader, mut writer) = stream.split();
    party.kill_and_reap();
    until("the watcher has noticed", || !writer.history().is_empty());
    assert_eq!(reader.history()[0].during, Operation::Watch);
    assert_eq!(writer.take_error().unwrap().unwrap().reason(), Reason::PeerGone);
    assert!(reader.take_error().unwrap().is_none());
}

/// A thread that is blocked in a call gets it there. A thread that asks for errors does not wait for its lock.
#[test]
fn asking_does_not_wait_for_a_blocked_thread() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet();
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let stream = &stream;
        let reading = scope.spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            (&*stream).read(&mut [0])
        });
        asleep(std::process::id(), receiver.recv().unwrap().as_raw_nonzero().get() as u32);
        assert!(stream.take_error().unwrap().is_none());
        assert_eq!(incidents(stream), []);
        party.kill_and_reap();
        assert_eq!(reading.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    assert_eq!(incidents(&stream), [(Operation::Read, Reason::PeerGone, 1, true)]);
}

/// From the other side, and in another process.
#[test]
fn a_party_tells_its_history() {
    let _watchdog = Watchdog::new();
    let (stream, mut party) = meet();
    assert_eq!(party.does("take-error"), "none");
    party.does("write 10");
    drop(stream);
    let e = party.ask("write 1").unwrap_err();
    assert_eq!(e.kind, "BrokenPipe");
    party.ask("write 1").unwrap_err();
    let history = party.does("history");
    let words = ["write (2 times): cannot write: the listener at file:", "takes no more bytes", "(reported: true)"];
    assert!(words.iter().all(|w| history.contains(w)), "{history}");
    assert_eq!(party.does("take-error"), "none");
}
