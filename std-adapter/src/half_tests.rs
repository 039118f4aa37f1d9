use crate::{Builder, Kind, Reason, Stream};
use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::thread;

/// Two ends with descriptors of their own, as two processes have them, of each kind of rendezvous.
fn ends() -> [(Stream, Stream); 2] {
    [Kind::File, Kind::Unix].map(|kind| {
        let listener = Builder::new().capacity(64).start_cursor(u32::MAX - 20).bind_temp(kind).unwrap();
        let addr = listener.local_addr().clone();
        let connector = thread::spawn(move || Stream::connect(addr).unwrap());
        (listener.accept().unwrap(), connector.join().unwrap())
    })
}

/// The reason inside an error of `std`.
fn reason(error: &std::io::Error) -> Option<Reason> {
    error.get_ref()?.downcast_ref::<crate::Error>().map(crate::Error::reason)
}

#[test]
fn a_write_that_cannot_be_says_who_closed() {
    let said = |stream: &Stream| {
        let e = (&*stream).write(b"x").unwrap_err();
        let e = e.get_ref().and_then(|e| e.downcast_ref::<crate::Error>()).unwrap();
        assert_eq!(e.reason(), Reason::WriteAfterClose);
        e.to_string()
    };
    let (here, there) = Stream::pair().unwrap();
    here.shutdown(Shutdown::Write).unwrap();
    assert!(said(&here).contains("this end was shut down"), "{}", said(&here));
    here.shutdown(Shutdown::Read).unwrap();
    assert!(said(&there).contains("takes no more bytes"), "{}", said(&there));
}

#[test]
fn what_is_given_up_has_no_end() {
    for (mut here, mut there) in ends() {
        here.write_all(b"half an ans").unwrap();
        here.abort();
        drop(here);
        let mut heard = Vec::new();
        let error = there.read_to_end(&mut heard).unwrap_err();
        assert_eq!((heard.as_slice(), error.kind()), (&b"half an ans"[..], ErrorKind::ConnectionReset));
        assert_eq!(reason(&there.write(b"x").unwrap_err()), Some(Reason::PeerGone));
    }
}

/// A call that does not wait says so, too, and does not try again for ever.
#[test]
fn an_attempt_on_what_was_given_up_says_so() {
    for (mut here, _there) in ends() {
        here.set_nonblocking(true).unwrap();
        while here.write(&[0; 4096]).is_ok() {}
        here.abort();
        assert_eq!(reason(&here.read(&mut [0; 1]).unwrap_err()), Some(Reason::Aborted));
        assert_eq!(reason(&here.write(b"x").unwrap_err()), Some(Reason::Aborted));
    }
}

#[test]
fn the_halves_give_up_both() {
    for writer_does in [true, false] {
        for (here, mut there) in ends() {
            let (reader, writer) = here.split();
            if writer_does {
                writer.abort()
            } else {
                reader.abort()
            }
            drop(reader);
            drop(writer);
            assert_eq!(reason(&there.read(&mut [0; 1]).unwrap_err()), Some(Reason::PeerGone));
        }
    }
}

#[test]
fn a_direction_that_has_ended_stays_ended() {
    for (mut here, mut there) in ends() {
        here.write_all(b"all").unwrap();
        here.shutdown(Shutdown::Write).unwrap();
        here.abort();
        drop(here);
        let mut heard = String::new();
        there.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "all");
        assert!(there.wait_peer_closed(None));
        assert_eq!(reason(&there.write(b"x").unwrap_err()), Some(Reason::PeerGone));
    }
}

#[test]
fn giving_up_ends_all_waits_of_this_end() {
    for (here, there) in ends() {
        (&here).write_all(&[1; 64]).unwrap();
        thread::scope(|scope| {
            let waits = [
                scope.spawn(|| (&here).read(&mut [0; 1]).map_err(|error| reason(&error))),
                scope.spawn(|| (&here).write(&[1]).map_err(|error| reason(&error))),
                scope.spawn(|| if here.wait_peer_closed(None) { Ok(1) } else { Err(Some(Reason::Aborted)) }),
            ];
            here.abort();
            for wait in waits {
                assert_eq!(wait.join().unwrap(), Err(Some(Reason::Aborted)));
            }
        });
        // Later ones, too. What has not been dropped is not gone yet.
        assert!(!here.wait_peer_closed(None));
        assert_eq!(reason(&(&here).read(&mut [0; 1]).unwrap_err()), Some(Reason::Aborted));
        assert!(!there.wait_peer_closed(Some(std::time::Duration::from_millis(1))));
        drop(here);
        assert!(there.wait_peer_closed(None));
    }
}

#[test]
fn the_ends_of_a_pair_are_closed_instead() {
    let (here, mut there) = Stream::pair().unwrap();
    here.abort();
    drop(here);
    assert_eq!(there.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(reason(&there.write(b"x").unwrap_err()), Some(Reason::WriteAfterClose));
}

/// Reads all bytes, in pieces of many lengths, by `read`; they are those of `bytes`.
fn reads_all(bytes: &[u8], mut read: impl FnMut(&mut [MaybeUninit<u8>]) -> std::io::Result<(*const u8, usize)>) {
    let (mut received, mut len) = (Vec::new(), 1);
    loop {
        let mut out = vec![MaybeUninit::new(0xa5); len];
        let (at, n) = read(&mut out).unwrap();
        assert_eq!(at, out.as_ptr().cast(), "it is the start of what was given");
        // SAFETY: it was initialised when it was made.
        let out: Vec<u8> = out.iter().map(|byte| unsafe { byte.assume_init() }).collect();
        assert!(out[n..].iter().all(|byte| *byte == 0xa5), "nothing else is written to");
        received.extend_from_slice(&out[..n]);
        if n == 0 {
            break;
        }
        len = len % 97 + 7;
    }
    assert!(received == bytes);
}

#[test]
fn what_is_read_into_memory_that_is_not_initialised_is_what_was_sent() {
    let bytes: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
    for halves in [false, true] {
        for (mut here, mut there) in ends() {
            thread::scope(|scope| {
                scope.spawn(|| {
                    there.write_all(&bytes).unwrap();
                    drop(there);
                });
                if halves {
                    let (mut reader, _writer) = here.split();
                    reads_all(&bytes, |out| reader.read_uninit(out).map(|read| (read.as_ptr(), read.len())));
                } else {
                    reads_all(&bytes, |out| here.read_uninit(out).map(|read| (read.as_ptr(), read.len())));
                }
            });
        }
    }
}

/// It waits, gives up and fails as a read does.
#[test]
fn reading_into_memory_that_is_not_initialised_ends_as_a_read_does() {
    let mut out = [MaybeUninit::uninit(); 8];
    for (mut here, mut there) in ends() {
        assert!(here.read_uninit(&mut []).unwrap().is_empty());
        here.set_nonblocking(true).unwrap();
        assert_eq!(here.read_uninit(&mut out).unwrap_err().kind(), ErrorKind::WouldBlock);
        here.set_nonblocking(false).unwrap();
        here.set_read_timeout(Some(std::time::Duration::from_millis(1))).unwrap();
        assert_eq!(here.read_uninit(&mut out).unwrap_err().kind(), ErrorKind::TimedOut);
        here.set_read_timeout(None).unwrap();
        let peer = thread::spawn(move || reason(&there.read_uninit(&mut [MaybeUninit::uninit(); 8]).err()?));
        let mine = here.read_uninit(&mut out).map(|read| read.len());
        let mine = mine.as_ref().err().and_then(reason);
        drop(here);
        let theirs = peer.join().unwrap();
        assert!([mine, theirs].contains(&Some(Reason::Deadlock)) && mine != theirs, "{mine:?} {theirs:?}");
    }
    for (mut here, there) in ends() {
        there.abort();
        drop(there);
        assert_eq!(here.read_uninit(&mut out).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
