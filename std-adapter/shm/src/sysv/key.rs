//! Keys: the names of System V objects.

use std::fmt;
use std::io;
use std::path::Path;

use crate::explain::explain;

/// The name by which unrelated processes find the same object.
///
/// ```
/// use smstream_shm::sysv::Key;
///
/// let key = Key::from_path(".", b'S')?;
/// assert_eq!(key, Key::from_path(".", b'S')?);
/// assert_ne!(key, Key::from_path(".", b's')?);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// ftok(3), sysvipc(7); Free Pascal `TKey`, `ftok`; Cedar `SharedMemoryKey`, `ipcPRIVATE`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(libc::key_t);

impl Key {
    /// No name: each process that opens this key with leave to create gets a new object, which others find by its id.
    pub const PRIVATE: Self = Self(libc::IPC_PRIVATE);

    /// A key by its number. 0 is [`Key::PRIVATE`].
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether it is [`Key::PRIVATE`].
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.0 == Self::PRIVATE.0
    }

    /// The key that `ftok` makes of an existing file and an id: the same number as the C library's and Free Pascal's.
    ///
    /// It is made of the low 16 bits of the inode, the low 8 bits of the device and the id, so **two files can have the
    /// same key**, and a file that is deleted and made again has another one. Use it to find objects that others named
    /// this way; check what you find (its size, its owner). Does not block, but for the file system.
    ///
    /// # Errors
    /// `InvalidInput` for the id 0, of which POSIX says nothing; what the system says if there is no such file, or it
    /// cannot be looked at.
    ///
    /// # References
    /// ftok(3).
    pub fn from_path(path: impl AsRef<Path>, id: u8) -> io::Result<Self> {
        let path = path.as_ref();
        let what = || format!("could not make a System V key of {}", path.display());
        if id == 0 {
            let text = format!("{}: the id must not be 0; a letter is usual", what());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let stat = rustix::fs::stat(path).map_err(|e| explain(e, what()))?;
        let inode = (stat.st_ino & 0xffff) as u32;
        let device = u32::from((stat.st_dev & 0xff) as u8);
        Ok(Self((inode | device << 16 | u32::from(id) << 24).cast_signed()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl From<i32> for Key {
    fn from(number: i32) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use std::ffi::CString;
    use std::io;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn the_same_as_the_c_library() {
        for path in [std::env::temp_dir(), "/".into(), ".".into(), std::env::current_exe().unwrap()] {
            for id in [1, b'S', b's', b'M', 255] {
                let c = CString::new(path.as_os_str().as_bytes()).unwrap();
                // SAFETY: `c` is a string that ends with 0.
                let theirs = unsafe { libc::ftok(c.as_ptr(), i32::from(id)) };
                assert_eq!(Key::from_path(&path, id).unwrap().raw(), theirs, "{} {id}", path.display());
            }
        }
    }

    #[test]
    fn no_file_and_no_id() {
        let e = Key::from_path("/no/such/file", b'S').unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        assert!(e.to_string().contains("/no/such/file"), "{e}");
        assert_eq!(Key::from_path(".", 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn shown_as_ipcs_shows_it() {
        assert_eq!(Key::new(0x5301_0203).to_string(), "0x53010203");
        assert_eq!(Key::new(-1).to_string(), "0xffffffff");
        assert_eq!(Key::PRIVATE.to_string(), "0x00000000");
        assert!(Key::new(0).is_private());
    }
}
