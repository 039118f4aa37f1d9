use super::*;
use crate::memory::{Access, Mapping, SharedMemory};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::sync::Barrier;
use std::thread;

const PAGES: usize = 8;

/// A file of `PAGES` pages, each full of ones, mapped twice: for writing and for reading.
fn file() -> (rustix::fd::OwnedFd, [Mapping; 2], Arc<Cut>) {
    let installed = install().unwrap();
    let len = PAGES * page_size();
    let fd = memfd_create("guard-test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, len as u64).unwrap();
    let cut = Cut::new(installed, len as u64);
    let map = |access| Mapping::guarded(&fd, 0, len, access, Some(&cut)).unwrap();
    let both = [map(Access::ReadWrite), map(Access::ReadOnly)];
    both[0].copy_in(0, &vec![1; len]).unwrap();
    (fd, both, cut)
}

fn read(mapping: &Mapping, page: usize) -> u32 {
    mapping.load_u32(page * page_size()).unwrap()
}

#[test]
fn what_is_cut_off_reads_as_zeros_and_the_rest_stays_shared() {
    let (fd, [write, see], cut) = file();
    ftruncate(&fd, 3 * page_size() as u64).unwrap();
    assert!(!cut.is_set(), "no thread has touched it");
    assert_eq!(read(&see, 2), 0x0101_0101);
    assert!(!cut.is_set());
    assert_eq!(read(&see, 5), 0);
    assert!(cut.is_set());
    // Before the page of the fault too, and for writing.
    assert_eq!([3, 4, 6, 7].map(|page| read(&see, page)), [0; 4]);
    write.copy_in(4 * page_size(), &[7; 4]).unwrap();
    assert_eq!(read(&write, 4), 0x0707_0707);
    // The copy is this mapping's own.
    assert_eq!(read(&see, 4), 0);
    write.copy_in(page_size(), &[9; 4]).unwrap();
    assert_eq!(read(&see, 1), 0x0909_0909, "what is left is still shared");
}

#[test]
fn the_size_tells_without_touching() {
    let (fd, _mappings, cut) = file();
    assert!(!cut.look(&fd));
    ftruncate(&fd, (PAGES * page_size() + 1) as u64).unwrap();
    assert!(!cut.look(&fd), "longer is not short");
    ftruncate(&fd, (PAGES * page_size() - 1) as u64).unwrap();
    assert!(cut.look(&fd));
    ftruncate(&fd, (PAGES * page_size()) as u64).unwrap();
    assert!(cut.look(&fd), "it stays so");
}

#[test]
fn many_threads_meet_the_end_at_once() {
    for _ in 0..50 {
        let (fd, [write, see], cut) = file();
        let barrier = Barrier::new(4);
        ftruncate(&fd, 0).unwrap();
        thread::scope(|scope| {
            for mapping in [&write, &see, &write, &see] {
                let (barrier, cut) = (&barrier, &cut);
                scope.spawn(move || {
                    barrier.wait();
                    for page in (0..PAGES).rev() {
                        assert_eq!(read(mapping, page), 0);
                        assert!(cut.is_set());
                    }
                });
            }
        });
    }
}

#[test]
fn mappings_come_and_go_while_others_are_cut() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let coming = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (_fd, [_, see], cut) = file();
                assert_eq!(read(&see, 0), 0x0101_0101);
                assert!(!cut.is_set(), "another one was cut");
            }
        });
        for _ in 0..300 {
            let (fd, [write, see], cut) = file();
            ftruncate(&fd, 0).unwrap();
            assert_eq!([read(&see, 1), read(&write, 0)], [0; 2]);
            assert!(cut.is_set());
        }
        done.store(true, Ordering::Relaxed);
        coming.join().unwrap();
    });
}

#[test]
fn installing_it_again_changes_nothing() {
    let action = || {
        // SAFETY: `sigaction` is a C struct for which all zeros is a valid value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: no new action is given, and the old one is written to a struct that outlives the call.
        check(unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut action) }).unwrap();
        (action.sa_sigaction, action.sa_flags)
    };
    install().unwrap();
    let first = action();
    install().unwrap();
    assert_eq!(action(), first);
    assert_ne!(PREVIOUS.handler.load(Ordering::Relaxed), first.0, "it does not call itself");
}
