use crate::{Builder, Kind, Reason, Stream};
use std::io::{ErrorKind, Read, Write};
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
