//! Ways that lead through the process that owns the segment.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::MapFlags;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::descriptor::map_and_write;
use super::{Attempt, No, Scene, Tried, check, last, no};

pub(super) const WAYS: &[(&str, Attempt)] = &[
    ("proc-fd", |s| {
        let fd = owners(s, &format!("fd/{}", s.owner_fd), OFlags::RDWR)?;
        no(rustix::io::pwrite(fd, &[s.new], s.at as u64))
    }),
    ("proc-fd-mmap", |s| map_and_write(&owners(s, &format!("fd/{}", s.owner_fd), OFlags::RDWR)?, s, MapFlags::SHARED)),
    ("proc-fd-truncate", |s| no(owners(s, &format!("fd/{}", s.owner_fd), OFlags::RDWR | OFlags::TRUNC))),
    ("pidfd_getfd", |s| {
        let fd = pidfd_getfd(&pidfd(s)?, s.owner_fd, PidfdGetfdFlags::empty())?;
        no(rustix::io::pwrite(fd, &[s.new], s.at as u64))
    }),
    ("map_files", |s| {
        let end = s.owner_start + s.len;
        map_and_write(&owners(s, &format!("map_files/{:x}-{end:x}", s.owner_start), OFlags::RDWR)?, s, MapFlags::SHARED)
    }),
    ("process_madvise", |s| {
        let all = [libc::iovec { iov_base: std::ptr::without_provenance_mut(s.owner_start), iov_len: s.len }];
        let pidfd = pidfd(s)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&pidfd);
        // SAFETY: one range of another process, which the kernel checks; the array outlives the call.
        check(unsafe { libc::syscall(libc::SYS_process_madvise, number, all.as_ptr(), 1, libc::MADV_PAGEOUT, 0) })
    }),
    ("process_vm_writev", |s| vm_write(s.owner, s.in_owner(), s.new)),
    ("proc-mem", |s| no(rustix::io::pwrite(owners(s, "mem", OFlags::RDWR)?, &[s.new], s.in_owner() as u64))),
    ("ptrace-poke", |s| {
        // SAFETY: it takes no pointers of this process.
        check(unsafe { libc::ptrace(libc::PTRACE_ATTACH, s.owner, 0, 0) })?;
        let mut status = 0;
        // SAFETY: `status` outlives the call. The process is traced by this one, and about to stop.
        check(unsafe { libc::waitpid(s.owner, &raw mut status, libc::__WALL) }.into())?;
        let tried = poke(s.owner, s.in_owner(), s.new);
        // SAFETY: it takes no pointers of this process.
        check(unsafe { libc::ptrace(libc::PTRACE_DETACH, s.owner, 0, 0) })?;
        tried
    }),
];

/// Something of the owner's in `/proc`.
fn owners(s: &Scene<'_>, what: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(format!("/proc/{}/{what}", s.owner), flags | OFlags::CLOEXEC, Mode::empty())
}

fn pidfd(s: &Scene<'_>) -> Result<OwnedFd, Errno> {
    pidfd_open(Pid::from_raw(s.owner).ok_or(Errno::SRCH)?, PidfdFlags::empty())
}

/// Writes a byte into the memory of a process.
pub(super) fn vm_write(process: i32, to: usize, byte: u8) -> Tried {
    let mine = libc::iovec { iov_base: (&raw const byte).cast_mut().cast(), iov_len: 1 };
    let theirs = libc::iovec { iov_base: std::ptr::without_provenance_mut(to), iov_len: 1 };
    // SAFETY: one byte of this process is read. What is written is memory of another one, or a mapping of this one to
    // which no reference exists; the kernel checks the address.
    check(unsafe { libc::process_vm_writev(process, &raw const mine, 1, &raw const theirs, 1, 0) } as i64)
}

/// Changes a byte of a process that is traced and has stopped, a word at a time.
fn poke(process: i32, to: usize, byte: u8) -> Tried {
    let (at, shift) = (to & !7, to % 8);
    let address = std::ptr::without_provenance::<libc::c_void>(at);
    let mut word = 0i64;
    // The system call itself: libc's function mixes errors with values.
    // SAFETY: the kernel writes the value to `word`, which outlives the call, and checks the other address.
    check(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_PEEKDATA, process, address, &raw mut word) })?;
    let mut bytes = word.to_ne_bytes();
    bytes[shift] = byte;
    let word = i64::from_ne_bytes(bytes);
    // SAFETY: the kernel checks the address, which is one of the other process.
    check(unsafe { libc::ptrace(libc::PTRACE_POKEDATA, process, address, word) })
}

/// Makes a child that lets itself be traced, and changes a byte of its memory.
pub(super) fn poke_child(to: usize, byte: u8) -> Tried {
    // SAFETY: the child makes three system calls and takes no locks and no memory.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: it takes no pointers.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        // SAFETY: raise takes no pointers, and stops this process until the parent has done its work.
        unsafe { libc::raise(libc::SIGSTOP) };
        // SAFETY: it runs no destructors.
        unsafe { libc::_exit(0) };
    }
    if pid < 0 {
        return Err(No::Error(last()));
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call; the process is a child of this one.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())?;
    let tried = poke(pid, to, byte);
    // SAFETY: kill takes no pointers; the child has not been reaped.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    // SAFETY: as above.
    check(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())?;
    tried
}
