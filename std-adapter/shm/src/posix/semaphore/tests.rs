use super::*;
use crate::memory::{Mapping, memfd, page_size};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn memory(access: Access) -> Mapping {
    Mapping::new(memfd("semaphore-test", page_size() as u64).unwrap(), 0, 100, access).unwrap()
}

#[test]
fn zeros_are_one_and_values_count() {
    let memory = memory(Access::ReadWrite);
    let s = Semaphore::at(&memory, 12).unwrap();
    assert_eq!(s.value(), 0);
    assert!(!s.try_wait());
    s.post().unwrap();
    s.post().unwrap();
    assert_eq!(memory.load_u32(12), Some(2), "the value is the first word");
    s.wait();
    assert!(s.wait_timeout(Duration::ZERO));
    assert!(!s.wait_timeout(Duration::ZERO));
    assert_eq!(memory.load_u32(16), Some(0), "no thread is counted as waiting");
}

#[test]
fn a_value_has_a_highest() {
    let memory = memory(Access::ReadWrite);
    let s = Semaphore::init(&memory, 0, Semaphore::MAX).unwrap();
    let e = s.post().unwrap_err();
    assert!(e.to_string().contains("2147483647"), "{e}");
    assert_eq!(s.value(), Semaphore::MAX);
    assert!(s.try_wait());
    s.post().unwrap();
    assert_eq!(Semaphore::init(&memory, 0, Semaphore::MAX + 1).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_place_must_fit() {
    let write = memory(Access::ReadWrite);
    for offset in [1, 2, 96, 100, usize::MAX, usize::MAX - 3] {
        let e = Semaphore::at(&write, offset).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::InvalidInput, "{offset}: {e}");
    }
    assert!(Semaphore::at(&write, 92).is_ok());
    assert_eq!(Semaphore::at(&memory(Access::ReadOnly), 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn a_timeout_passes() {
    let memory = memory(Access::ReadWrite);
    let s = Semaphore::at(&memory, 0).unwrap();
    let began = Instant::now();
    assert!(!s.wait_timeout(Duration::from_millis(30)));
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[test]
fn one_post_frees_one_of_many() {
    let memory = memory(Access::ReadWrite);
    let s = Semaphore::at(&memory, 0).unwrap();
    let free = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                s.wait();
                free.fetch_add(1, Ordering::Relaxed);
            });
        }
        for n in 1..=4 {
            s.post().unwrap();
            while free.load(Ordering::Relaxed) < n {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(free.load(Ordering::Relaxed), n);
        }
    });
    assert_eq!((s.value(), memory.load_u32(4)), (0, Some(0)));
}

/// Waiters and posters without pause, values neither lost nor made. A wake that is lost leaves a waiter asleep for
/// ever, because every wait has exactly one post.
#[test]
fn no_wake_is_lost() {
    const THREADS: u32 = 3;
    const EACH: u32 = 20_000;
    let memory = memory(Access::ReadWrite);
    let s = Semaphore::at(&memory, 0).unwrap();
    let finished = AtomicU32::new(0);
    let hangs = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for kind in 0..THREADS {
            let (finished, hangs) = (&finished, &hangs);
            scope.spawn(move || {
                for i in 0..EACH {
                    // Some with a deadline, which passes now and then: those look again.
                    if (i + kind).is_multiple_of(3) {
                        while !s.wait_timeout(Duration::from_micros(u64::from(i % 50))) {
                            if hangs.load(Ordering::Relaxed) {
                                return;
                            }
                        }
                    } else {
                        s.wait();
                    }
                }
                finished.fetch_add(1, Ordering::Relaxed);
            });
            scope.spawn(move || {
                for i in 0..EACH {
                    s.post().unwrap();
                    if i % 64 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let began = Instant::now();
        while finished.load(Ordering::Relaxed) < THREADS && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if finished.load(Ordering::Relaxed) < THREADS {
            // Let the threads go, so that the test can fail.
            hangs.store(true, Ordering::Relaxed);
            for _ in 0..THREADS * EACH {
                s.post().unwrap();
            }
        }
    });
    assert!(!hangs.load(Ordering::Relaxed), "a waiter slept on although there was a post for it");
    assert_eq!((s.value(), memory.load_u32(4)), (0, Some(0)));
}

/// The thread that was to wake, or was woken, has been killed: a value, and no waiter awake. The next post wakes both.
#[test]
fn what_the_dead_left_is_found() {
    let memory = memory(Access::ReadWrite);
    let s = Semaphore::at(&memory, 0).unwrap();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..2).map(|_| scope.spawn(|| s.wait_timeout(Duration::from_secs(60)))).collect();
        while memory.load_u32(4) != Some(2) {
            std::thread::yield_now();
        }
        // Time to fall asleep. If it is too short, the test shows less, and passes all the same.
        std::thread::sleep(Duration::from_millis(20));
        s.0.value.fetch_add(1, Ordering::SeqCst);
        s.post().unwrap();
        let began = Instant::now();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    });
}
