//! A deadline, and the nonblocking mode, hold against other threads of the same process too, and what only looks never waits:
//! one thread sleeps in a call on `&Stream` or `&Listener`, and another one uses the same direction.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread;
use std::time::Duration;

use smstream::{BufMode, Reason, Stream, wait_any};
use smstream_tests::flow::{Flow, Manner};
use smstream_tests::party::waits;
use smstream_tests::waits::{SEEDS, SHORT, builder, each_kind, meet, once_asleep, party};

const PARTY: &str = env!("CARGO_BIN_EXE_party");

/// While another thread sleeps in `call`, does `meanwhile` in this one; then `end`, so that the call returns.
fn beside<R: Send>(call: impl FnOnce() -> R + Send, meanwhile: impl FnOnce(), end: impl FnOnce()) -> R {
    thread::scope(|scope| {
        let (begin, begun) = std::sync::mpsc::channel();
        let caller = scope.spawn(move || {
            begin.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
            call()
        });
        waits(std::process::id(), begun.recv().unwrap());
        meanwhile();
        end();
        caller.join().unwrap()
    })
}

#[test]
fn accepting() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let accepted = beside(
            || listener.accept(),
            || {
                let late = listener.accept_timeout(SHORT).unwrap_err();
                assert_eq!((late.reason(), late.kind()), (Reason::TimedOut, ErrorKind::TimedOut), "{addr}");
                listener.set_nonblocking(true).unwrap();
                assert_eq!(listener.accept().unwrap_err().reason(), Reason::WouldBlock, "{addr}");
                assert!(wait_any(&mut [listener.acceptable()], Some(SHORT)).unwrap().is_empty(), "{addr}");
                listener.set_nonblocking(false).unwrap();
            },
            || drop(party(PARTY).does(format!("connect {addr}"))),
        );
        accepted.unwrap();
    });
}

/// One thread waits with a condition, which uses the listener as well.
#[test]
fn accepting_beside_a_condition() {
    each_kind(|addr| {
        let listener = builder(4096).bind(addr).unwrap();
        let mut connector = party(PARTY);
        let ready = beside(
            || wait_any(&mut [listener.acceptable()], None).unwrap(),
            || {
                assert_eq!(listener.accept_timeout(SHORT).unwrap_err().reason(), Reason::TimedOut, "{addr}");
                listener.set_nonblocking(true).unwrap();
                assert_eq!(listener.accept().unwrap_err().reason(), Reason::WouldBlock, "{addr}");
                listener.set_nonblocking(false).unwrap();
            },
            || connector.tell(format!("connect {addr}")),
        );
        assert!(ready.contains(0));
        listener.accept().unwrap();
        connector.hear().unwrap();
    });
}

#[test]
fn reading() {
    each_kind(|addr| {
        let (stream, mut peer) = meet(addr, 4096, PARTY);
        let read = beside(
            || (&stream).read(&mut [0; 8]),
            || {
                stream.set_read_timeout(Some(SHORT)).unwrap();
                assert_eq!((&stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut, "{addr}");
                assert_eq!((&stream).read_exact(&mut [0; 2]).unwrap_err().kind(), ErrorKind::TimedOut, "{addr}");
                stream.set_read_timeout(None).unwrap();
                stream.set_nonblocking(true).unwrap();
                assert_eq!((&stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "{addr}");
                stream.set_nonblocking(false).unwrap();
                let _ = stream.stats();
                assert_eq!(stream.undelivered(), None);
            },
            || drop(peer.does("send 5 all")),
        );
        assert_eq!(read.unwrap(), 5, "{addr}");
        // And by a condition.
        let ready = beside(
            || wait_any(&mut [stream.readable()], None).unwrap(),
            || {
                stream.set_read_timeout(Some(SHORT)).unwrap();
                assert_eq!((&stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut, "{addr}");
                stream.set_nonblocking(true).unwrap();
                assert_eq!((&stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "{addr}");
            },
            || drop(peer.does("send 6 all")),
        );
        assert!(ready.contains(0));
    });
}

#[test]
fn writing() {
    each_kind(|addr| {
        let (stream, mut peer) = meet(addr, 512, PARTY);
        let mut flow = Flow::new(SEEDS[0], 512);
        stream.set_nonblocking(true).unwrap();
        flow.send(&mut &stream, u64::MAX, Manner::Some).unwrap_err();
        stream.set_nonblocking(false).unwrap();
        let before = stream.stats();
        let written = beside(
            || (&stream).write(&[7]),
            || {
                stream.set_write_timeout(Some(SHORT)).unwrap();
                assert_eq!((&stream).write(&[1]).unwrap_err().kind(), ErrorKind::TimedOut, "{addr}");
                assert_eq!((&stream).write_all(&[1; 2]).unwrap_err().kind(), ErrorKind::TimedOut, "{addr}");
                stream.set_write_timeout(None).unwrap();
                stream.set_nonblocking(true).unwrap();
                assert_eq!((&stream).write(&[1]).unwrap_err().kind(), ErrorKind::WouldBlock, "{addr}");
                stream.set_nonblocking(false).unwrap();
                // What only looks does not wait.
                assert_eq!(stream.stats().sent.bytes, before.sent.bytes, "{addr}");
                assert_eq!((stream.buffered(), stream.undelivered()), (0, None), "{addr}");
                (&stream).flush().unwrap();
                stream.set_buf_mode(BufMode::LINE);
                stream.set_buf_mode(BufMode::None);
                assert!(stream.take_error().unwrap().is_none() && stream.history().is_empty());
                assert!(!stream.wait_peer_closed(Some(Duration::from_millis(1))));
            },
            || drop(peer.does("receive 512 all")),
        );
        assert_eq!(written.unwrap(), 1, "{addr}");
    });
}

/// What a thread has buffered goes out when another one asks for it, and asking does not wait.
#[test]
fn flushing_what_another_thread_writes() {
    let (here, mut there) = builder(4096).buf_mode(BufMode::Full).pair().unwrap();
    there.set_nonblocking(true).unwrap();
    (&here).write_all(b"one").unwrap();
    assert_eq!(there.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    (&here).flush().unwrap();
    assert_eq!(there.read(&mut [0; 8]).unwrap(), 3);
    // Two threads that write and flush, and one that reads until it has all.
    there.set_nonblocking(false).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    (&here).write_all(&[1; 7]).unwrap();
                    (&here).flush().unwrap();
                }
            });
        }
        there.read_exact(&mut vec![0; 2 * 2000 * 7]).unwrap();
    });
}

/// The stream that the handler shuts down.
static STREAM: AtomicPtr<Stream> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn shut_down(_: libc::c_int) {
    // SAFETY: it is null, or a stream that lives until the signal has been handled.
    if let Some(stream) = unsafe { STREAM.load(Ordering::Acquire).as_ref() } {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// A handler that interrupts a call shuts down the very stream that the call waits on: the call ends, and so does the handler.
#[test]
fn shutting_down_in_a_signal_handler() {
    // SAFETY: the handler does nothing but what the documentation of `Stream::shutdown` allows in one.
    unsafe { libc::signal(libc::SIGUSR2, shut_down as *const () as libc::sighandler_t) };
    let interrupted = |call: &mut (dyn FnMut(&Stream) -> std::io::Result<usize> + Send), stream: &Stream| {
        STREAM.store(std::ptr::from_ref(stream).cast_mut(), Ordering::Release);
        // SAFETY: it takes nothing and cannot fail.
        let me = unsafe { libc::pthread_self() } as usize;
        let result = once_asleep(
            || call(stream),
            // SAFETY: the thread lives: it waits for this one.
            || assert_eq!(unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR2) }, 0),
        );
        STREAM.store(std::ptr::null_mut(), Ordering::Release);
        result
    };
    each_kind(|addr| {
        for round in 0..10 {
            let (stream, mut peer) = meet(&format!("{addr}-r{round}"), 512, PARTY);
            assert_eq!(interrupted(&mut |mut stream: &Stream| stream.read(&mut [0; 4]), &stream).unwrap(), 0);
            assert_eq!(peer.does("read 1"), "0", "the end has been said");
            let (stream, mut peer) = meet(&format!("{addr}-w{round}"), 512, PARTY);
            let mut bytes = [0; 512];
            Flow::new(SEEDS[0], 512).fill(&mut bytes);
            (&stream).write_all(&bytes).unwrap();
            let e = interrupted(&mut |mut stream: &Stream| stream.write(&[0; 4]), &stream).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::BrokenPipe);
            assert_eq!(peer.does("receive 512 all"), "512");
            assert_eq!(peer.does("read 1"), "0", "the end has been said");
        }
    });
}
