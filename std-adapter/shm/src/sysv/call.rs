//! System calls as the C library makes them.

use std::io;

/// The result of a system call: its value, or the errno.
pub(super) fn check(result: libc::c_int) -> Result<libc::c_int, i32> {
    if result == -1 { Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result) }
}
