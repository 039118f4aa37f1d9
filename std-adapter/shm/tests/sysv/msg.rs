//! Message queues.

use smstream_shm::sysv::{Key, MessageType, Queue, RemoveOnDrop, Select, SysvReason};

use crate::roles::{Second, fresh_key, role};

pub fn private() -> RemoveOnDrop<Queue> {
    RemoveOnDrop::new(Queue::create(Key::PRIVATE).unwrap())
}

pub fn ty(number: i64) -> MessageType {
    MessageType::new(number).unwrap()
}

#[test]
fn create_open_and_find_by_id() {
    let key = fresh_key();
    let made = RemoveOnDrop::new(Queue::create(key).unwrap());
    assert_eq!(Queue::open(key).unwrap().id(), made.id());
    assert_eq!(Queue::options().create(true).open(key).unwrap().id(), made.id());
    assert_eq!(Queue::from_id(made.id()).unwrap().key(), Some(key));
}

#[test]
fn types_are_positive() {
    assert_eq!(MessageType::new(0), None);
    assert_eq!(MessageType::new(-1), None);
    assert_eq!(MessageType::new(i64::from(i32::MAX)).unwrap().raw(), i64::from(i32::MAX));
    assert_eq!(MessageType::ONE, ty(1));
}

#[test]
fn every_length_arrives_as_it_was_sent() {
    let queue = private();
    for len in [0, 1, 7, 8, 9, 15, 16, 17, 255, 4096, 8192] {
        let text: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        queue.send(ty(3), &text).unwrap();
        let mut buffer = vec![0xff; len + 3];
        let received = queue.recv(Select::Any, &mut buffer).unwrap();
        assert_eq!((received.ty, received.len), (ty(3), len));
        assert_eq!(&buffer[..len], text);
        assert_eq!(&buffer[len..], [0xff; 3]);
    }
}

#[test]
fn selection() {
    let queue = private();
    for number in [5, 3, 4, 3] {
        queue.send(ty(number), &[number as u8]).unwrap();
    }
    let mut buffer = [0; 1];
    let mut take = |select| queue.try_recv(select, &mut buffer).map(|received| received.ty.raw());
    assert_eq!(take(Select::Type(ty(4))).unwrap(), 4);
    assert_eq!(take(Select::AtMost(ty(4))).unwrap(), 3, "the lowest type up to that");
    assert_eq!(take(Select::Except(ty(5))).unwrap(), 3);
    assert_eq!(take(Select::Except(ty(5))).unwrap_err().reason(), SysvReason::WouldBlock);
    assert_eq!(take(Select::AtMost(ty(4))).unwrap_err().raw_os_error(), Some(libc::ENOMSG));
    assert_eq!(take(Select::Any).unwrap(), 5);
    assert_eq!(take(Select::Any).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn too_long_stays_and_can_be_truncated() {
    let queue = private();
    queue.send(ty(1), b"hello").unwrap();
    let mut buffer = [0; 2];
    let e = queue.recv(Select::Any, &mut buffer).unwrap_err();
    assert_eq!((e.reason(), e.raw_os_error()), (SysvReason::TooLong, Some(libc::E2BIG)));
    assert_eq!(queue.stat().unwrap().messages, 1);
    assert_eq!(queue.recv_truncated(Select::Any, &mut buffer).unwrap().len, 2);
    assert_eq!(&buffer, b"he");
    assert_eq!(queue.stat().unwrap().messages, 0, "the rest is lost");
    queue.send(ty(1), b"again").unwrap();
    assert_eq!(queue.try_recv_truncated(Select::Any, &mut buffer).unwrap().len, 2);
    assert_eq!(queue.try_recv_truncated(Select::Any, &mut buffer).unwrap_err().reason(), SysvReason::WouldBlock);
    queue.send(ty(1), b"").unwrap();
    assert_eq!(queue.recv(Select::Any, &mut []).unwrap().len, 0);
}

#[test]
fn a_full_queue() {
    let queue = private();
    queue.set_max_bytes(100).unwrap();
    assert_eq!(queue.stat().unwrap().max_bytes, 100);
    queue.try_send(ty(1), &[7; 60]).unwrap();
    let e = queue.try_send(ty(1), &[8; 60]).unwrap_err();
    assert_eq!((e.reason(), e.raw_os_error()), (SysvReason::WouldBlock, Some(libc::EAGAIN)));
    assert!(e.to_string().contains("full"), "{e}");
    std::thread::scope(|threads| {
        threads.spawn(|| queue.send(ty(2), &[8; 60]).unwrap());
        assert_eq!(queue.recv_vec(Select::Type(ty(1))).unwrap().1, [7; 60]);
        assert_eq!(queue.recv_vec(Select::Type(ty(2))).unwrap().1, [8; 60]);
    });
}

#[test]
fn between_processes() {
    let queue = private();
    let mut child = Second::start(&mut role("echo", &[queue.id()]));
    queue.send(ty(1), b"hello").unwrap();
    assert_eq!(queue.recv_vec(Select::Type(ty(2))).unwrap(), (ty(2), b"hello".to_vec()));
    child.ends_well();
    let stat = queue.stat().unwrap();
    assert_eq!(stat.last_sender, child.id());
    // A receiver that had to wait is named by the thread that waited.
    let me = std::process::id().cast_signed();
    assert!([me, rustix::thread::gettid().as_raw_nonzero().get()].contains(&stat.last_receiver), "{stat:?}");
    assert!(stat.sent_at.is_some() && stat.received_at.is_some() && stat.changed_at.is_some());
    assert_eq!((stat.messages, stat.bytes), (0, 0));
}

#[test]
fn owner_mode_and_bytes_do_not_disturb_each_other() {
    let queue = private();
    queue.set_max_bytes(1000).unwrap();
    queue.set_mode(0o640).unwrap();
    let stat = queue.stat().unwrap();
    assert_eq!((stat.perm.mode, stat.max_bytes), (0o640, 1000));
    queue.set_max_bytes(999).unwrap();
    assert_eq!(queue.stat().unwrap().perm.mode, 0o640);
    let mut perm = stat.perm;
    perm.gid = u32::MAX;
    assert_eq!(queue.set_perm(&perm).unwrap_err().reason(), SysvReason::InvalidInput);
}
