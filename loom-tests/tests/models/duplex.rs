//! Both directions at once.

use loom::thread;

use crate::common::{How, World, check};

/// Request and response, each through a lane of one byte; both parties park.
#[test]
fn a_request_gets_its_response() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let ends = [0, 1].map(|party| world.end(party, How::Futex));
        let [mut client, mut server] = ends;
        let server = thread::spawn(move || {
            assert_eq!(server.wait_bytes(1, None), Ok(1));
            let mut out = [0];
            assert_eq!(server.read(&mut out), Ok(1));
            assert_eq!(server.write(&[out[0] + 1]), Ok(1));
        });
        assert_eq!(client.write(&[1]), Ok(1));
        assert_eq!(client.wait_bytes(1, None), Ok(1));
        let mut out = [0];
        assert_eq!(client.read(&mut out), Ok(1));
        assert_eq!(out, [2]);
        server.join().unwrap();
    });
}

/// The request is buffered: it goes out before the client parks for the response, and so does the response before the
/// server parks for the end.
#[test]
fn what_is_buffered_goes_out_before_an_answer_is_waited_for() {
    check(Some(3), || {
        let world = World::new(2, 2);
        let ends = [0, 1].map(|party| world.end(party, How::Futex));
        let [mut client, mut server] = ends;
        let server = thread::spawn(move || {
            let mut out = [0];
            assert_eq!(server.wait_bytes(1, None), Ok(1));
            assert_eq!(server.read(&mut out), Ok(1));
            server.producer.write_deferred(&[out[0] + 1]).unwrap();
            assert_eq!(server.wait_bytes(1, None), Ok(0));
        });
        client.producer.write_deferred(&[1]).unwrap();
        assert_eq!(client.wait_bytes(1, None), Ok(1));
        client.finish();
        server.join().unwrap();
    });
}

/// The server must answer before it reads on. The client gives back the room for the answer before it parks for room.
#[test]
fn room_for_the_answer_is_given_back_before_room_is_waited_for() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let ends = [0, 1].map(|party| world.end(party, How::Futex));
        let [mut client, mut server] = ends;
        client.write(&[1]).unwrap();
        server.write(&[2]).unwrap();
        let server = thread::spawn(move || {
            assert_eq!(server.wait_room(1, None), Ok(1));
            assert_eq!(server.read(&mut [0]), Ok(1));
        });
        assert_eq!(client.consumer.read_deferred(&mut [0]), Ok(1));
        assert_eq!(client.wait_room(1, None), Ok(1));
        server.join().unwrap();
    });
}

/// Party 0's writing half parks for room and its reading half for bytes, while party 1 is slow.
#[test]
fn both_halves_of_an_end_park_at_once() {
    check(Some(3), || {
        let world = World::new(1, 1);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(0, How::Futex);
        let mut peer = world.end(1, How::Futex);
        writer.write(&[1]).unwrap();
        let writing = thread::spawn(move || writer.write_all(&[2]).unwrap());
        let reading = thread::spawn(move || reader.expect(&[3]));
        assert_eq!(peer.read(&mut [0]), Ok(1));
        assert_eq!(peer.write(&[3]), Ok(1));
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

/// Four halves on four threads. Each lane is full at first, and one more byte follows: every half may park.
#[test]
fn both_directions_run_at_once() {
    check(Some(2), || {
        let world = World::new(1, 1);
        let mut threads = Vec::new();
        for party in 0..2 {
            let mut writer = world.writer(party, How::Futex);
            writer.write(&[1]).unwrap();
            threads.push(thread::spawn(move || writer.write_all(&[2]).unwrap()));
        }
        let mut reader = world.reader(0, How::Futex);
        threads.push(thread::spawn(move || reader.expect(&[1, 2])));
        let mut reader = world.reader(1, How::Futex);
        reader.expect(&[1, 2]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// A burst larger than the lane comes back as an echo: writer and reader of the client are two threads, the server one.
#[test]
fn a_burst_larger_than_the_lane_is_echoed() {
    check(Some(2), || {
        let world = World::new(1, 1);
        let mut writer = world.writer(0, How::Futex);
        let mut reader = world.reader(0, How::Futex);
        let (mut request, mut response) = (world.reader(1, How::Futex), world.writer(1, How::Futex));
        let sender = thread::spawn(move || writer.write_all(&[1, 2]).unwrap());
        let server = thread::spawn(move || {
            for byte in 1..=2 {
                request.expect(&[byte]);
                response.write_all(&[byte]).unwrap();
            }
        });
        reader.expect(&[1, 2]);
        sender.join().unwrap();
        server.join().unwrap();
    });
}
