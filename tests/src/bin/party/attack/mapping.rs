//! Ways that lead through the mapping.

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use io_uring::{opcode, types};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MprotectFlags, MremapFlags, madvise, mprotect, mremap, munmap};
use smstream::memory::Mapping;

use super::descriptor::{errno, full_pipe, on_ring, ring};
use super::{Attempt, No, Scene, Tried, check, last, no};

pub(super) const WAYS: &[(&str, Attempt)] = &[
    ("store", |s| {
        let map = s.map();
        in_a_child(|| store(&map, s))
    }),
    ("mprotect", |s| {
        let map = s.map();
        protect(&map)?;
        store(&map, s);
        Ok(())
    }),
    ("mremap-copy", |s| {
        let map = s.map();
        // A length of 0 asks for a second mapping of what is shared.
        // SAFETY: the kernel chooses a range that is not in use, and the old mapping stays.
        let copy = unsafe { mremap(start(&map).cast(), 0, map.len(), MremapFlags::MAYMOVE) }?;
        // SAFETY: the copy, which no other code uses.
        let tried = no(unsafe { mprotect(copy, map.len(), MprotectFlags::READ | MprotectFlags::WRITE) });
        if tried.is_ok() {
            let place = copy.cast::<u8>().wrapping_add(s.at);
            // SAFETY: inside of the copy, which may be written by now.
            unsafe { place.write_volatile(s.new) };
        }
        // SAFETY: the copy, which no other code uses.
        unsafe { munmap(copy, map.len()) }?;
        tried
    }),
    ("madvise-remove", |s| advise(s, Advice::LinuxRemove)),
    ("madvise-dontneed", |s| advise(s, Advice::LinuxDontNeed)),
    ("madvise-free", |s| advise(s, Advice::LinuxFree)),
    ("madvise-populate-write", |s| advise(s, Advice::LinuxPopulateWrite)),
    ("madvise-pageout", |s| advise(s, Advice::LinuxPageOut)),
    ("futex-wake-op", |s| {
        // Sets the word to a value, whichever thread sleeps on it.
        let op = libc::FUTEX_OP_SET << 28 | i32::from(s.new) << 12;
        futex(s, libc::FUTEX_WAKE_OP, op)
    }),
    ("futex-lock-pi", |s| futex(s, libc::FUTEX_TRYLOCK_PI, 0)),
    ("read-into", |s| {
        let map = s.map();
        let reader = full_pipe(s.new)?;
        // SAFETY: one byte inside of the mapping, to which no reference exists.
        check(unsafe { libc::read(reader.as_raw_fd(), start(&map).wrapping_add(s.at).cast(), 1) } as i64)
    }),
    ("vmsplice-into", |s| {
        let map = s.map();
        let reader = full_pipe(s.new)?;
        let all = [libc::iovec { iov_base: start(&map).wrapping_add(s.at).cast(), iov_len: 1 }];
        // SAFETY: one byte inside of the mapping, to which no reference exists.
        check(unsafe { libc::vmsplice(reader.as_raw_fd(), all.as_ptr(), 1, 0) } as i64)
    }),
    ("vmsplice-from", |s| {
        // The pipe takes pages of the segment themselves. What is written into the pipe then must not get there.
        let map = s.map();
        let (reader, writer) = rustix::pipe::pipe()?;
        let all = [libc::iovec { iov_base: start(&map).wrapping_add(s.at).cast(), iov_len: 1 }];
        // SAFETY: one byte inside of the mapping, which is only read.
        check(unsafe { libc::vmsplice(writer.as_raw_fd(), all.as_ptr(), 1, 0) } as i64)?;
        write_behind(&reader, &writer, s)
    }),
    ("splice-from", |s| {
        let (reader, writer) = rustix::pipe::pipe()?;
        let mut at = s.at as u64 - 1;
        rustix::pipe::splice(s.fd, Some(&mut at), &writer, None, 1, rustix::pipe::SpliceFlags::empty())?;
        write_behind(&reader, &writer, s)
    }),
    ("process_vm_writev-self", |s| {
        let map = s.map();
        super::process::vm_write(std::process::id() as i32, start(&map).addr() + s.at, s.new)
    }),
    ("proc-self-mem", |s| {
        let map = s.map();
        let memory = rustix::fs::open("/proc/self/mem", OFlags::RDWR, Mode::empty())?;
        no(rustix::io::pwrite(&memory, &[s.new], (start(&map).addr() + s.at) as u64))
    }),
    ("ptrace-child", |s| {
        let map = s.map();
        super::process::poke_child(start(&map).addr() + s.at, s.new)
    }),
    ("userfaultfd", userfaultfd),
    ("io_uring-fixed", |s| {
        let map = s.map();
        let mut ring = ring()?;
        let all = [libc::iovec { iov_base: start(&map).cast(), iov_len: map.len() }];
        // SAFETY: the mapping lives longer than the ring, and no reference to its bytes exists.
        unsafe { ring.submitter().register_buffers(&all) }.map_err(|e| errno(&e))?;
        let reader = full_pipe(s.new)?;
        let to = start(&map).wrapping_add(s.at);
        on_ring(&mut ring, &opcode::ReadFixed::new(types::Fd(reader.as_raw_fd()), to, 1, 0).build())
    }),
    ("io_uring-read-into", |s| {
        let map = s.map();
        let reader = full_pipe(s.new)?;
        let to = start(&map).wrapping_add(s.at);
        on_ring(&mut ring()?, &opcode::Read::new(types::Fd(reader.as_raw_fd()), to, 1).build())
    }),
    ("clear-at-exit", clear_at_exit),
];

fn start(map: &Mapping) -> *mut u8 {
    map.as_ptr().cast_mut()
}

fn store(map: &Mapping, s: &Scene<'_>) {
    // SAFETY: inside of the mapping. If that may not be written, the process dies of it, which is what is to be seen.
    unsafe { start(map).wrapping_add(s.at).write_volatile(s.new) };
}

fn protect(map: &Mapping) -> Tried {
    // SAFETY: the mapping is this function's caller's alone.
    no(unsafe { mprotect(start(map).cast(), map.len(), MprotectFlags::READ | MprotectFlags::WRITE) })
}

fn advise(s: &Scene<'_>, advice: Advice) -> Tried {
    let map = s.map();
    // SAFETY: a fresh mapping, which no other code uses.
    no(unsafe { madvise(start(&map).cast::<c_void>(), map.len(), advice) })
}

/// A futex operation that writes to a word, which is the one with the byte.
fn futex(s: &Scene<'_>, operation: i32, value: i32) -> Tried {
    let map = s.map();
    let word = start(&map).wrapping_add(s.at & !3);
    let mut own = 0u32;
    let own = if operation == libc::FUTEX_WAKE_OP { &raw mut own } else { word.cast() };
    // SAFETY: both words are aligned and mapped during the call.
    check(unsafe { libc::syscall(libc::SYS_futex, own, operation, 0, 0, word, value) })
}

/// Writes into a pipe behind what is there, and reads it all.
fn write_behind(reader: &OwnedFd, writer: &OwnedFd, s: &Scene<'_>) -> Tried {
    rustix::io::write(writer, &[s.new; 64])?;
    no(rustix::io::read(reader.as_fd(), &mut [0; 65]))
}

/// Whether a child can do it, and lives.
fn in_a_child(work: impl FnOnce()) -> Tried {
    // SAFETY: the child makes one store and ends; it takes no locks and no memory.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        work();
        // SAFETY: it runs no destructors.
        unsafe { libc::_exit(0) };
    }
    check(pid.into())?;
    let mut status = 0;
    // SAFETY: `status` outlives the call; the process is a child of this one.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())?;
    let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV;
    if killed { Err(No::Killed) } else { Ok(()) }
}

/// Asks to fill the pages of the mapping from user space.
fn userfaultfd(s: &Scene<'_>) -> Tried {
    // From linux/userfaultfd.h: `_IOWR(0xAA, 0x3F, struct uffdio_api)`, `_IOWR(0xAA, 0, struct uffdio_register)`.
    const UFFDIO_API: libc::Ioctl = 0xc018_aa3f_u32 as libc::Ioctl;
    const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00_u32 as libc::Ioctl;
    const API: u64 = 0xaa;
    const MODE_MISSING: u64 = 1;
    const USER_MODE_ONLY: i32 = 1;
    let map = s.map();
    // SAFETY: it takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | USER_MODE_ONLY) };
    if fd < 0 {
        return Err(last().into());
    }
    // SAFETY: the descriptor has just been made, and no other code knows of it.
    let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) };
    let mut api = [API, 0, 0];
    // SAFETY: `struct uffdio_api` is three words of 64 bits.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API, api.as_mut_ptr()) }.into())?;
    let mut range = [start(&map).addr() as u64, map.len() as u64, MODE_MISSING, 0];
    // SAFETY: `struct uffdio_register` is four words of 64 bits: start, length, mode, and what can be done then.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_REGISTER, range.as_mut_ptr()) }.into())
}

/// The kernel writes a 0 where a thread asked for it, when the thread ends.
fn clear_at_exit(s: &Scene<'_>) -> Tried {
    let map = s.map();
    let word = start(&map).wrapping_add(s.at & !3).addr();
    let (sender, receiver) = std::sync::mpsc::channel();
    // Not to be joined: that waits for the word which the kernel would have cleared otherwise.
    drop(std::thread::spawn(move || {
        // SAFETY: the call gives the kernel an address, which the kernel checks itself.
        let thread = unsafe { libc::syscall(libc::SYS_set_tid_address, ptr::without_provenance::<u8>(word)) };
        let _ = sender.send(thread);
    }));
    let thread = receiver.recv().map_err(|_| Errno::SRCH)?;
    let path = format!("/proc/self/task/{thread}");
    smstream_tests::party::until("the thread has ended", || !std::path::Path::new(&path).exists());
    Ok(())
}
