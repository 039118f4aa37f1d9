//! What a poller does, and what its peer does meanwhile.

use std::sync::Arc;

use loom::thread;
use smstream_core::error::ReadError;

use crate::common::{Reader, World, Writer, check};
use crate::liveness::Half::{Reader as Reading, Writer as Writing};
use crate::pollable::{Bell, How, Kernel, Pollable};
use crate::{Mutant, dies};

/// A stream that is polled, its peer's halves, and the kernel.
fn meet(how: How, forth: u32, back: u32) -> (Arc<Kernel>, Pollable, Reader<Bell>, Writer<Bell>) {
    let (kernel, world) = (Kernel::new(), World::new(forth, back));
    let stream = Pollable::new(&world, &kernel, how);
    let bell = Bell(Arc::clone(&kernel));
    (kernel, stream, world.reader_with(0, bell.clone()), world.writer_with(0, bell))
}

/// Runs the poller, and beside it the peer and, if there is one, the watcher.
fn beside(how: How, kernel: &Arc<Kernel>, peer: impl FnOnce() + 'static, poller: impl FnOnce()) {
    let watcher = (how == How::Duplex).then(|| kernel.watcher());
    let peer = thread::spawn(peer);
    poller();
    peer.join().unwrap();
    kernel.end();
    if let Some(watcher) = watcher {
        watcher.join().unwrap();
    }
}

/// The poller reads three bytes, of which two come at once. It waits before each read, or, if it is edge-triggered, when a read has
/// found nothing.
fn bytes(how: How, flood: bool) {
    let (kernel, mut stream, reader, mut writer) = meet(how, 4, 1);
    let rings = Arc::clone(&kernel);
    let peer = move || {
        if flood {
            rings.flood();
        }
        writer.write(&[1]).unwrap();
        writer.write(&[2, 3]).unwrap();
        drop((reader, writer));
    };
    beside(how, &kernel, peer, || {
        for byte in [1, 2, 3] {
            if how != How::Edge {
                stream.poll(&[Reading]);
            }
            loop {
                match stream.read() {
                    Some(read) => break assert_eq!(read, Ok(byte)),
                    None => stream.poll(&[Reading]),
                }
            }
        }
    });
}

fn bytes_one_by_one() {
    bytes(How::Level, false);
}

fn bytes_at_edges() {
    bytes(How::Edge, false);
}

fn bytes_of_a_duplex_one() {
    bytes(How::Duplex, false);
}

/// The socket is full of what the peer has sent for nothing, so that its ring cannot be sent.
fn bytes_through_a_full_socket() {
    bytes(How::Level, true);
}

/// The poller waits for bytes and for room, and tries both each time, the reader `first` or last. The peer makes room or writes.
fn either(how: How, room: bool, first: bool) {
    let (kernel, mut stream, mut reader, mut writer) = meet(how, 1, 1);
    stream.write(7).unwrap().unwrap();
    let peer = move || {
        if room {
            reader.read(&mut [0]).unwrap();
        } else {
            writer.write(&[1]).unwrap();
        }
        drop((reader, writer));
    };
    beside(how, &kernel, peer, || {
        loop {
            // It says at once that nothing has been tried yet.
            stream.poll(&[Reading, Writing]);
            let (mut read, mut wrote) = (false, false);
            for half in if first { [Reading, Writing] } else { [Writing, Reading] } {
                match half {
                    Reading => read = stream.read().is_some(),
                    Writing => wrote = stream.write(8).is_some(),
                }
            }
            if read || wrote {
                assert_eq!((read, wrote), (!room, room));
                break;
            }
        }
    });
}

fn either_direction(how: How) {
    for (room, first) in [(false, false), (false, true), (true, false), (true, true)] {
        check(Some(2), move || either(how, room, first));
    }
}

fn room_after_the_reader_took_the_ring() {
    either(How::Level, true, false);
}

fn room_at_an_edge() {
    either(How::Edge, true, false);
}

/// The poller reads one byte and writes one, for which there is no room yet. When it has done one of the two it waits for the other only.
fn a_byte_each_way(how: How) {
    let (kernel, mut stream, mut reader, mut writer) = meet(how, 1, 1);
    stream.write(7).unwrap().unwrap();
    let peer = move || {
        writer.write(&[1]).unwrap();
        reader.read(&mut [0]).unwrap();
        drop((reader, writer));
    };
    beside(how, &kernel, peer, || {
        let (mut read, mut wrote) = (None, None);
        loop {
            if read.is_none() {
                read = stream.read();
                if read.is_some() {
                    stream.set_reading(false);
                }
            }
            wrote = wrote.or_else(|| stream.write(8));
            match (read, wrote) {
                (Some(read), Some(_)) => break assert_eq!(read, Ok(1)),
                (None, Some(_)) => stream.poll(&[Reading]),
                (Some(_), None) => stream.poll(&[Writing]),
                (None, None) => stream.poll(&[Reading, Writing]),
            }
        }
    });
}

fn a_write_takes_the_ring_of_a_read() {
    a_byte_each_way(How::Level);
}

fn a_write_takes_the_edge_of_a_read() {
    a_byte_each_way(How::Edge);
}

fn a_write_takes_the_ring_of_a_duplex_read() {
    a_byte_each_way(How::Duplex);
}

/// The poller waits for room only.
fn room_for_a_duplex_writer() {
    let (kernel, mut stream, mut reader, writer) = meet(How::Duplex, 1, 1);
    stream.write(7).unwrap().unwrap();
    let peer = move || {
        reader.read(&mut [0]).unwrap();
        drop((reader, writer));
    };
    beside(How::Duplex, &kernel, peer, || {
        while stream.write(8).is_none() {
            stream.poll(&[Writing]);
        }
    });
}

/// A direction that waited is used in another way from now on: the peer does not ring.
fn no_ring_for_a_stream_that_is_awake() {
    let (kernel, mut stream, reader, mut writer) = meet(How::Level, 1, 1);
    assert_eq!(stream.read(), None);
    stream.into_stream();
    let peer = thread::spawn(move || {
        writer.write(&[1]).unwrap();
        drop((reader, writer));
    });
    peer.join().unwrap();
    assert_eq!(kernel.rings(), 0);
}

/// The peer dies.
fn a_hang_up() {
    let (kernel, mut stream, reader, writer) = meet(How::Level, 1, 1);
    let ringer = Arc::clone(&kernel);
    beside(
        How::Level,
        &kernel,
        move || ringer.hang_up(),
        || {
            let error = loop {
                match stream.read() {
                    Some(read) => break read,
                    None => stream.poll(&[Reading]),
                }
            };
            assert_eq!(error, Err(ReadError::PeerGone));
        },
    );
    // They did not say that no more will come.
    std::mem::forget((reader, writer));
}

#[test]
fn bytes_come_one_by_one() {
    check(Some(2), bytes_one_by_one);
    check(Some(2), bytes_at_edges);
    check(Some(2), bytes_of_a_duplex_one);
    check(Some(2), bytes_through_a_full_socket);
}

#[test]
fn bytes_or_room() {
    either_direction(How::Level);
    either_direction(How::Edge);
}

#[test]
fn bytes_or_room_of_a_duplex_one() {
    either_direction(How::Duplex);
    check(Some(2), room_for_a_duplex_writer);
}

#[test]
fn a_byte_beside_room() {
    check(Some(2), a_write_takes_the_ring_of_a_read);
    check(Some(2), a_write_takes_the_edge_of_a_read);
    check(Some(2), a_write_takes_the_ring_of_a_duplex_read);
}

#[test]
fn who_is_awake_is_not_rung_for() {
    check(Some(2), no_ring_for_a_stream_that_is_awake);
}

#[test]
fn a_hang_up_is_shown() {
    check(Some(2), a_hang_up);
}

#[test]
fn each_step_of_an_attempt_is_needed() {
    dies(Mutant::TakeFirst, bytes_one_by_one);
    dies(Mutant::LookAgain, bytes_at_edges);
    dies(Mutant::LookForOther, room_after_the_reader_took_the_ring);
    dies(Mutant::Show, room_after_the_reader_took_the_ring);
    dies(Mutant::ShowAnew, room_at_an_edge);
    dies(Mutant::ShowMore, bytes_one_by_one);
    dies(Mutant::AlertOfHangUp, a_hang_up);
}

#[test]
fn each_step_of_a_ring_is_needed() {
    dies(Mutant::KeepRings, bytes_one_by_one);
    dies(Mutant::FullIsRung, bytes_through_a_full_socket);
    dies(Mutant::Withdraw, no_ring_for_a_stream_that_is_awake);
}

#[test]
fn each_step_of_a_duplex_descriptor_is_needed() {
    dies(Mutant::Arm, bytes_of_a_duplex_one);
    dies(Mutant::UnmarkFirst, bytes_of_a_duplex_one);
    dies(Mutant::MarkBoth, room_for_a_duplex_writer);
}
