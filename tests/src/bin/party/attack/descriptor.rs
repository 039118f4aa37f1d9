//! Ways that lead through the descriptor.

use std::io::{IoSlice, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, SealFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::pipe::SpliceFlags;

use super::{Attempt, Scene, Tried, no};

pub(super) const WAYS: &[(&str, Attempt)] = &[
    ("write", |s| {
        rustix::fs::seek(s.fd, rustix::fs::SeekFrom::Start(s.at as u64))?;
        no(rustix::io::write(s.fd, &[s.new]))
    }),
    ("pwrite", |s| pwrite(s.fd, s)),
    ("pwritev2", |s| {
        let byte = [s.new];
        let all = [IoSlice::new(&byte)];
        no(rustix::io::pwritev2(s.fd, &all, s.at as u64, ReadWriteFlags::DSYNC))
    }),
    ("pwritev2-append", |s| {
        let byte = [s.new];
        let all = [IoSlice::new(&byte)];
        no(rustix::io::pwritev2(s.fd, &all, s.at as u64, ReadWriteFlags::APPEND))
    }),
    ("splice", |s| {
        let pipe = full_pipe(s.new)?;
        let mut at = s.at as u64;
        no(rustix::pipe::splice(&pipe, None, s.fd, Some(&mut at), 1, SpliceFlags::empty()))
    }),
    ("sendfile", |s| {
        rustix::fs::seek(s.fd, rustix::fs::SeekFrom::Start(s.at as u64))?;
        no(rustix::fs::sendfile(s.fd, &file_of(s.new)?, None, 1))
    }),
    ("copy_file_range", |s| {
        let mut at = s.at as u64;
        no(rustix::fs::copy_file_range(&file_of(s.new)?, None, s.fd, Some(&mut at), 1))
    }),
    ("io_uring-write", |s| {
        let byte = [s.new];
        let write = opcode::Write::new(types::Fd(s.fd.as_raw_fd()), byte.as_ptr(), 1).offset(s.at as u64).build();
        uring(&write)
    }),
    ("io_uring-fallocate", |s| {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let punch = opcode::Fallocate::new(types::Fd(s.fd.as_raw_fd()), s.len as u64).mode(mode).build();
        uring(&punch)
    }),
    ("aio-write", aio),
    ("ftruncate-shorter", |s| no(rustix::fs::ftruncate(s.fd, 0))),
    ("ftruncate-longer", |s| no(rustix::fs::ftruncate(s.fd, 2 * s.len as u64))),
    ("punch-hole", |s| fallocate(s, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, s.len as u64)),
    ("zero-range", |s| fallocate(s, FallocateFlags::ZERO_RANGE, s.len as u64)),
    ("collapse-range", |s| fallocate(s, FallocateFlags::COLLAPSE_RANGE, s.len as u64 / 2)),
    ("insert-range", |s| fallocate(s, FallocateFlags::INSERT_RANGE, s.len as u64)),
    ("allocate", |s| fallocate(s, FallocateFlags::empty(), s.len as u64)),
    ("allocate-longer", |s| fallocate(s, FallocateFlags::empty(), 2 * s.len as u64)),
    ("add-seals", |s| no(rustix::fs::fcntl_add_seals(s.fd, SealFlags::SHRINK))),
    ("mmap-write", |s| map_and_write(s.fd, s, MapFlags::SHARED)),
    ("mmap-private", |s| map_and_write(s.fd, s, MapFlags::PRIVATE)),
    ("reopen", |s| pwrite(&reopen(s, OFlags::RDWR)?, s)),
    ("reopen-mmap", |s| map_and_write(&reopen(s, OFlags::RDWR)?, s, MapFlags::SHARED)),
    ("reopen-append", |s| no(rustix::io::write(&reopen(s, OFlags::WRONLY | OFlags::APPEND)?, &[s.new]))),
    ("reopen-truncate", |s| no(reopen(s, OFlags::RDWR | OFlags::TRUNC))),
    ("reopen-path", |s| {
        let path = reopen(s, OFlags::PATH)?;
        let number = format!("/proc/self/fd/{}", path.as_raw_fd());
        pwrite(&rustix::fs::open(number, OFlags::RDWR, Mode::empty())?, s)
    }),
    ("chmod-reopen", |s| {
        rustix::fs::fchmod(s.fd, Mode::from_raw_mode(0o777))?;
        pwrite(&reopen(s, OFlags::RDWR)?, s)
    }),
    ("link", |s| {
        let number = format!("/proc/self/fd/{}", s.fd.as_raw_fd());
        let name = format!("/dev/shm/smstream-test-link-{}", std::process::id());
        rustix::fs::linkat(CWD, number, CWD, &name, AtFlags::SYMLINK_FOLLOW)?;
        no(rustix::fs::unlink(name))
    }),
];

fn pwrite(fd: impl AsFd, s: &Scene<'_>) -> Tried {
    no(rustix::io::pwrite(fd, &[s.new], s.at as u64))
}

fn fallocate(s: &Scene<'_>, mode: FallocateFlags, len: u64) -> Tried {
    no(rustix::fs::fallocate(s.fd, mode, 0, len))
}

fn reopen(s: &Scene<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(format!("/proc/self/fd/{}", s.fd.as_raw_fd()), flags | OFlags::CLOEXEC, Mode::empty())
}

/// A pipe with a byte in it.
pub(super) fn full_pipe(byte: u8) -> Result<OwnedFd, Errno> {
    let (reader, writer) = rustix::pipe::pipe()?;
    rustix::io::write(writer, &[byte])?;
    Ok(reader)
}

/// A file with a byte in it, of the same kind as the segment.
fn file_of(byte: u8) -> Result<OwnedFd, Errno> {
    let file = rustix::fs::memfd_create("smstream-test", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&[byte]).map_err(|_| Errno::IO)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file.into())
}

/// Maps for writing, and if that can be, writes.
pub(super) fn map_and_write(fd: impl AsFd, s: &Scene<'_>, flags: MapFlags) -> Tried {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, wherever the kernel likes.
    let start = unsafe { mmap(ptr::null_mut(), s.len, protection, flags, fd, 0) }?;
    let place = start.cast::<u8>().wrapping_add(s.at);
    // SAFETY: inside of the mapping, which may be written.
    unsafe { place.write_volatile(s.new) };
    // SAFETY: the range that was mapped just above, which no other code uses.
    no(unsafe { munmap(start, s.len) })
}

/// One operation of a new io_uring.
fn uring(entry: &squeue::Entry) -> Tried {
    on_ring(&mut ring()?, entry)
}

pub(super) fn ring() -> Result<IoUring, Errno> {
    IoUring::new(2).map_err(|e| errno(&e))
}

pub(super) fn errno(e: &std::io::Error) -> Errno {
    Errno::from_io_error(e).unwrap_or(Errno::INVAL)
}

/// One operation of an io_uring.
pub(super) fn on_ring(ring: &mut IoUring, entry: &squeue::Entry) -> Tried {
    // SAFETY: what the entry points to lives in the caller, which waits here until the operation is over.
    unsafe { ring.submission().push(entry) }.map_err(|_| Errno::INVAL)?;
    ring.submit_and_wait(1).map_err(|e| errno(&e))?;
    let result = ring.completion().next().ok_or(Errno::INVAL)?.result();
    if result < 0 { Err(Errno::from_raw_os_error(-result).into()) } else { Ok(()) }
}

/// The older asynchronous interface.
fn aio(s: &Scene<'_>) -> Tried {
    // `struct iocb` of the kernel: key and flags, operation, descriptor, buffer, length, offset.
    #[repr(C)]
    struct Iocb {
        data: u64,
        key: u32,
        rw_flags: u32,
        operation: u16,
        priority: i16,
        fd: u32,
        buffer: u64,
        len: u64,
        offset: i64,
        reserved: u64,
        flags: u32,
        event: u32,
    }
    const PWRITE: u16 = 1;
    let byte = [s.new];
    let mut block = Iocb {
        data: 0,
        key: 0,
        rw_flags: 0,
        operation: PWRITE,
        priority: 0,
        fd: s.fd.as_raw_fd() as u32,
        buffer: byte.as_ptr() as u64,
        len: 1,
        offset: s.at as i64,
        reserved: 0,
        flags: 0,
        event: 0,
    };
    let mut context: libc::c_ulong = 0;
    // SAFETY: `context` is 0, as io_setup(2) asks for, and outlives the call.
    super::check(unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) })?;
    let blocks = [&raw mut block];
    // SAFETY: one block is named, of the kernel's form; it and the byte that it points to live until the context is
    // destroyed below, which waits for what has been submitted.
    let tried = super::check(unsafe { libc::syscall(libc::SYS_io_submit, context, 1, blocks.as_ptr()) });
    // struct io_event: data, object, result, second result.
    let mut event = [0i64; 4];
    let events = event.as_mut_ptr();
    let done = tried.and_then(|()| {
        // SAFETY: there is room for one event; no timeout is named.
        super::check(unsafe {
            libc::syscall(libc::SYS_io_getevents, context, 1, 1, events, ptr::null::<libc::timespec>())
        })
    });
    // SAFETY: the context was made above and is not used again.
    let _ = unsafe { libc::syscall(libc::SYS_io_destroy, context) };
    done?;
    if event[2] < 0 { Err(Errno::from_raw_os_error(-event[2] as i32).into()) } else { Ok(()) }
}
