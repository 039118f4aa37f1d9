//! What is done to a process before it begins: limits, and what is missing.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// One of these things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setup {
    /// A limit on a resource.
    Limit(libc::__rlimit_resource_t, u64),
    /// A standard descriptor that is closed.
    Closed(RawFd),
    /// Directories that are covered by an empty file system of so many bytes.
    Covered(&'static str, usize),
    /// A group of processes, by the file into which its members write their numbers.
    Group(PathBuf),
}

impl Setup {
    /// In the forked child, before the filter.
    pub fn apply(&self) -> io::Result<()> {
        match self {
            Setup::Closed(_) | Setup::Limit(..) => Ok(()),
            Setup::Covered(path, size) => cover(path, *size),
            // 0 is the process that writes it.
            Setup::Group(members) => std::fs::write(members, "0"),
        }
    }

    /// In the forked child, just before the program begins.
    pub fn apply_last(&self) {
        match *self {
            Setup::Closed(number) => {
                // SAFETY: no code of this process uses it any more.
                unsafe { libc::close(number) };
            }
            Setup::Limit(resource, value) => {
                let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
                // SAFETY: it reads the struct. It lowers a limit, which is always allowed.
                unsafe { libc::setrlimit(resource, &raw const limit) };
            }
            Setup::Covered(..) | Setup::Group(_) => {}
        }
    }
}

/// In a mount namespace of the child's own.
fn cover(path: &str, size: usize) -> io::Result<()> {
    let text = |text: &str| CString::new(text).map_err(io::Error::from);
    let (path, kind, options) = (text(path)?, text("tmpfs")?, text(&format!("size={size}"))?);
    // SAFETY: it takes a number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // SAFETY: all strings outlive the call.
    check(unsafe { libc::mount(kind.as_ptr(), path.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) })
}

/// What the system says.
pub fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
