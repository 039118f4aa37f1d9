//! Users by name or by number.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr;

/// Reads a user: a number, or a name that the system knows.
pub fn parse(text: &str) -> Result<u32, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // The largest number stands for "no user".
        return text.parse().ok().filter(|&uid| uid != u32::MAX).ok_or_else(|| format!("{text} is too large a number"));
    }
    let name = CString::new(text).ok().filter(|name| !name.is_empty());
    match name.as_deref().map(lookup) {
        Some(Ok(Some(uid))) => Ok(uid),
        Some(Err(error)) => Err(format!("could not look the user up: {error}")),
        _ => Err("there is no such user: write the name or the number of one".to_owned()),
    }
}

/// The number of a user that the system knows by this name.
fn lookup(name: &CStr) -> std::io::Result<Option<u32>> {
    let mut buffer = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: getpwnam_r(3) reads the name, which ends with NUL, and writes to the entry, to as many bytes of the buffer
        // as the call says that there are, and to the pointer; all of them live until it returns.
        let code = unsafe {
            libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        match code {
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 2, 0),
            libc::EINTR => {}
            // What the system says where it knows no such name: getpwnam_r(3), ERRORS.
            0 | libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM if found.is_null() => return Ok(None),
            // SAFETY: getpwnam_r has succeeded and found the user, and so has filled the entry in.
            0 => return Ok(Some(unsafe { entry.assume_init() }.pw_uid)),
            code => return Err(std::io::Error::from_raw_os_error(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(parse("root"), Ok(0));
        assert_eq!(parse("12"), Ok(12));
        for text in ["", "-1", "4294967295", "99999999999", "no such user", "a\0b"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
