//! The mark of an object that may be reaped: who made it.

use super::creator::Creator;
use crate::memory::SharedMemory;
use std::io;

/// The bytes of a mark, at the start of the object.
pub const MARK_LEN: usize = 64;
/// How it begins. As with a segment, no text does.
const MAGIC: [u8; 8] = *b"\x89SMO\r\n\x1a\n";
/// For readers that have the byte order of the writer.
const BYTE_ORDER: u32 = 0x0102_0304;
/// The version of these bytes.
const VERSION: u32 = 1;

/// Says at the start of a memory that it may be removed by the `Reaper` of `smstream` when this process is gone and
/// no process uses it.
///
/// It takes the first [`MARK_LEN`] bytes: `\x89SMO\r\n\x1a\n`, byte order and version, the process and when it began, and in
/// which namespaces and on which run of the machine. Without this mark an object is never reaped, whatever its name.
///
/// ```
/// use smstream_shm::cleanup;
/// use smstream_shm::posix::SharedObject;
/// # let name = format!("/smstream-doc-mark-{}", std::process::id());
///
/// // The mark is there before the name is.
/// let options = SharedObject::options().read(true).write(true).create_new(true).len(4096);
/// let object = options.open_with(&name, cleanup::mark)?;
/// let guard = cleanup::register(cleanup::Object::Shm(&object))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput` when the memory is too short, `PermissionDenied` when it may only be read, or that there is no
/// `/proc`.
pub fn mark(memory: &impl SharedMemory) -> io::Result<()> {
    memory.copy_in(0, &encode(&Creator::this()?))
}

fn encode(creator: &Creator) -> [u8; MARK_LEN] {
    let mut bytes = [0; MARK_LEN];
    let mut at = 0;
    let mut put = |part: &[u8]| {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    };
    put(&MAGIC);
    put(&BYTE_ORDER.to_ne_bytes());
    put(&VERSION.to_ne_bytes());
    put(&creator.boot);
    put(&creator.began.to_ne_bytes());
    put(&creator.pid_namespace.to_ne_bytes());
    put(&creator.time_namespace.to_ne_bytes());
    put(&creator.pid.to_ne_bytes());
    bytes
}

/// Whether these bytes begin as a mark does.
#[doc(hidden)]
pub fn is_mark(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Who made an object that begins with these bytes: `None` if there is no mark of this version.
#[doc(hidden)]
pub fn decode(bytes: &[u8; MARK_LEN]) -> Option<Creator> {
    let mut rest = &bytes[..];
    let magic: [u8; 8] = take(&mut rest)?;
    let order = u32::from_ne_bytes(take(&mut rest)?);
    let version = u32::from_ne_bytes(take(&mut rest)?);
    let boot = take(&mut rest)?;
    let began = u64::from_ne_bytes(take(&mut rest)?);
    let pid_namespace = u64::from_ne_bytes(take(&mut rest)?);
    let time_namespace = u64::from_ne_bytes(take(&mut rest)?);
    let pid = u32::from_ne_bytes(take(&mut rest)?);
    // Nothing was written behind them.
    let fits = magic == MAGIC && order == BYTE_ORDER && version == VERSION && rest.iter().all(|&byte| byte == 0);
    fits.then_some(Creator { pid, began, pid_namespace, time_namespace, boot })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who() {
        let creator = Creator { pid: 7, began: 1 << 40, pid_namespace: 3, time_namespace: 4, boot: [9; 16] };
        let bytes = encode(&creator);
        assert_eq!(decode(&bytes), Some(creator));
        assert!(is_mark(&bytes));
        for at in (0..16).chain(60..64) {
            let mut wrong = bytes;
            wrong[at] ^= 1;
            assert_eq!(decode(&wrong), None);
        }
        assert_eq!(decode(&[0; MARK_LEN]), None);
    }
}
