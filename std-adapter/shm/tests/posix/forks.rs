//! A child that is forked while another thread is inside of the library: no lock is held in it for ever.

use smstream_shm::AddressRange;
use smstream_shm::cleanup::{self, Object};
use smstream_shm::memory::{Access, SharedMemory, memfd, page_size};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many children; a lock that can be inherited held is met in a few hundred.
const CHILDREN: usize = 400;

/// Forks children while `other` runs in another thread, and has each call `child`. One that does not end in ten seconds
/// is killed by its alarm.
fn fork_while(other: impl Fn() + Sync, child: impl Fn() -> bool) {
    let done = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    other();
                }
            });
        }
        let failed = (0..CHILDREN).find_map(|number| {
            // SAFETY: the child has one thread. It calls the library, which may take memory: the C library sees to its
            // allocator at a fork. It ends by `_exit`.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: it takes a number. The signal's default action ends the process.
                unsafe { libc::alarm(10) };
                let good = child();
                // SAFETY: it ends the child at once.
                unsafe { libc::_exit(i32::from(!good)) };
            }
            let mut status = 0;
            // SAFETY: it writes to `status`, which outlives the call.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            (status != 0).then_some((number, status))
        });
        done.store(true, Ordering::Relaxed);
        failed
    });
    assert_eq!(failed, None, "a child and its status; 14 is the alarm");
}

#[test]
fn signals_are_chosen_while_another_thread_chooses() {
    let choose = || cleanup::on_signals(&[libc::SIGUSR2]).is_ok();
    fork_while(|| assert!(choose()), choose);
}

#[test]
fn objects_are_registered_while_another_thread_registers() {
    let register = || {
        // An id that no segment has.
        let guard = cleanup::register(Object::SysvShm(i32::MAX));
        guard.is_ok_and(|guard| guard.remove().is_ok())
    };
    fork_while(|| assert!(register()), register);
}

#[test]
fn an_inherited_address_range_is_used_while_another_thread_uses_it() {
    let page = page_size();
    let range = AddressRange::new(8 * page).unwrap();
    let file: OwnedFd = memfd("forks-test", page as u64).unwrap();
    let use_page = |at: usize| {
        let placed = range.map(at * page, &file, 0, page, Access::ReadWrite);
        placed.is_ok_and(|placed| placed.copy_in(0, b"here").is_ok() && placed.give_back().is_ok())
    };
    // The other threads meet each other at these pages: one of them finds it in use.
    let others = || _ = (use_page(0), use_page(1), use_page(2));
    fork_while(others, || (0..100).all(|_| use_page(5)));
}
