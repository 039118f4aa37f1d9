//! The permissions of a socket's file.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

/// Reads permissions.
pub fn parse(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
    mode.ok_or_else(|| "write an octal number up to 777, such as 660".to_owned())
}

/// Sets the permissions of the socket that has this name now.
pub fn set(path: &Path, mode: u32) -> io::Result<()> {
    // Through a descriptor, and never of what a link leads to.
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::Socket {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_numbers() {
        assert_eq!((parse("660"), parse("0600"), parse("0")), (Ok(0o660), Ok(0o600), Ok(0)));
        for text in ["", "1000", "8", "-1", "+6", "rw"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
