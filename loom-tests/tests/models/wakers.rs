//! The async ring: a task that waits is woken, whatever the other half does meanwhile, also after one that has given up; and no
//! waker is kept.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};
use loom::thread;
use smstream_core::spsc::Compact;
use smstream_core::wait::{AsyncConsumer, AsyncProducer, AsyncRing};

use crate::common::check;

type Halves = (AsyncProducer<'static, Compact>, AsyncConsumer<'static, Compact>);

/// A ring just below the wrap, and its halves, which must not outlive it.
fn ring<const N: usize>() -> (Arc<AsyncRing<N>>, Halves) {
    let ring = Arc::new(AsyncRing::<N>::starting_at(u32::MAX));
    // SAFETY: the models keep the `Arc` until the halves are gone; nothing of the ring moves.
    let borrowed: &'static AsyncRing<N> = unsafe { &*Arc::as_ptr(&ring) };
    (ring, borrowed.try_split().unwrap())
}

/// An executor of one task, which sleeps until the task is woken.
struct Task {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::new(Task { woken: Mutex::new(false), changed: Condvar::new() })
    }

    /// Polls until `poll` is ready. Between two polls it sleeps until it is woken, and never for another reason.
    fn run<T>(self: &Arc<Self>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let waker = Waker::from(self.clone());
        loop {
            if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            let mut woken = self.woken.lock().unwrap();
            while !std::mem::take(&mut *woken) {
                woken = self.changed.wait(woken).unwrap();
            }
        }
    }

    /// Polls once, and gives up.
    fn try_once<T>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }
}

fn read(task: &Arc<Task>, reader: &mut AsyncConsumer<'_>) -> u8 {
    let mut out = [0];
    assert_eq!(task.run(|cx| reader.poll_read(cx, &mut out)), 1);
    out[0]
}

fn write(task: &Arc<Task>, writer: &mut AsyncProducer<'_>, byte: u8) {
    assert_eq!(task.run(|cx| writer.poll_write(cx, &[byte])), 1);
}

#[test]
fn two_tasks_wake_each_other() {
    check(Some(3), || {
        let (kept, (mut writer, mut reader)) = ring::<1>();
        let other = thread::spawn(move || {
            let task = Task::new();
            (1..=2).for_each(|byte| write(&task, &mut writer, byte));
        });
        let task = Task::new();
        assert_eq!([(); 2].map(|()| read(&task, &mut reader)), [1, 2]);
        other.join().unwrap();
        drop(kept);
    });
}

/// The other half is used in an interrupt: it does its work once, and never comes back.
#[test]
fn a_reader_is_woken_by_a_half_that_does_not_wait() {
    check(None, || {
        let (kept, (mut writer, mut reader)) = ring::<2>();
        let other = thread::spawn(move || assert_eq!(writer.try_write(&[7, 8]), 2));
        let task = Task::new();
        assert_eq!([(); 2].map(|()| read(&task, &mut reader)), [7, 8]);
        other.join().unwrap();
        drop(kept);
    });
}

#[test]
fn a_writer_is_woken_by_a_half_that_does_not_wait() {
    check(None, || {
        let (kept, (mut writer, mut reader)) = ring::<1>();
        assert_eq!(writer.try_write(&[1]), 1);
        let other = thread::spawn(move || {
            assert_eq!(reader.try_read(&mut [0]), 1);
            reader
        });
        write(&Task::new(), &mut writer, 2);
        assert_eq!(read(&Task::new(), &mut other.join().unwrap()), 2);
        drop(kept);
    });
}

/// Both halves have a waker of their own: one task that waits for bytes does not push out one that waits for room.
#[test]
fn a_task_that_waits_for_room_is_woken_though_the_reader_has_waited() {
    check(None, || {
        let (kept, (mut writer, mut reader)) = ring::<1>();
        let mut out = [0];
        let gone = Task::new();
        assert!(gone.try_once(|cx| reader.poll_read(cx, &mut out)).is_pending());
        assert_eq!(writer.try_write(&[1]), 1);
        let other = thread::spawn(move || write(&Task::new(), &mut writer, 2));
        let task = Task::new();
        assert_eq!([(); 2].map(|()| read(&task, &mut reader)), [1, 2]);
        other.join().unwrap();
        drop(kept);
    });
}

/// A task gives up; another one waits then, while the byte comes. Nothing is lost, and it is the second that is woken.
#[test]
fn after_a_read_that_was_cancelled_the_next_one_is_woken() {
    check(None, || {
        let (kept, (mut writer, mut reader)) = ring::<1>();
        let other = thread::spawn(move || assert_eq!(writer.try_write(&[7]), 1));
        let (first, mut out) = (Task::new(), [0]);
        match first.try_once(|cx| reader.poll_read(cx, &mut out)) {
            Poll::Ready(n) => assert_eq!((n, out), (1, [7])),
            Poll::Pending => assert_eq!(read(&Task::new(), &mut reader), 7),
        }
        other.join().unwrap();
        drop(kept);
    });
}

#[test]
fn after_a_write_that_was_cancelled_the_next_one_is_woken() {
    check(None, || {
        let (kept, (mut writer, mut reader)) = ring::<1>();
        assert_eq!(writer.try_write(&[1]), 1);
        let other = thread::spawn(move || {
            assert_eq!(reader.try_read(&mut [0]), 1);
            reader
        });
        match Task::new().try_once(|cx| writer.poll_write(cx, &[2])) {
            Poll::Ready(n) => assert_eq!(n, 1),
            Poll::Pending => write(&Task::new(), &mut writer, 2),
        }
        assert_eq!(read(&Task::new(), &mut other.join().unwrap()), 2, "what was cancelled has written nothing");
        drop(kept);
    });
}

/// Each waker is dropped: that of a task that was woken, that was replaced, and that is left when the ring goes.
#[test]
fn no_waker_is_kept() {
    check(None, || {
        let (kept, (mut writer, mut reader)) = ring::<1>();
        let tasks = [Task::new(), Task::new(), Task::new()];
        let other = thread::spawn(move || writer.try_write(&[7]));
        let mut out = [0];
        for task in &tasks {
            let _ = task.try_once(|cx| reader.poll_read(cx, &mut out));
        }
        other.join().unwrap();
        drop((reader, kept));
        assert!(tasks.iter().all(|task| Arc::strong_count(task) == 1));
    });
}
