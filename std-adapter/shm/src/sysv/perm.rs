//! Owners and modes.

use std::time::{Duration, SystemTime};

use super::key::Key;

/// The mode of a new object, if the caller does not say another: only its owner can use it.
pub const DEFAULT_MODE: u32 = 0o600;

/// The bits of a mode that mean something: read and write for owner, group and others. (Execute is accepted and unused,
/// but for [`AttachFlags::EXECUTE`](super::AttachFlags::EXECUTE).)
pub(super) const MODE_BITS: u32 = 0o777;

/// Whose an object is and who may use it.
///
/// Change `uid`, `gid` and `mode` of one that `stat` gave, and hand it to `set_perm`. The rest is for information.
///
/// # References
/// sysvipc(7); Free Pascal `TIPC_Perm`; Cedar `IpcPerm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Perm {
    /// The key, [`Key::PRIVATE`] if it has none (any more).
    pub key: Key,
    /// The owner.
    pub uid: u32,
    /// The owner's group.
    pub gid: u32,
    /// Who created it.
    pub creator_uid: u32,
    /// The creator's group.
    pub creator_gid: u32,
    /// The low nine bits of the mode, as for files.
    pub mode: u32,
    /// How often the kernel's slot was used, modulo something. A part of the id.
    pub sequence: u32,
}

impl Perm {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the fields' types differ by target")]
    pub(super) fn from_raw(raw: &libc::ipc_perm) -> Self {
        Self {
            key: Key::new(key(raw)),
            uid: raw.uid,
            gid: raw.gid,
            creator_uid: raw.cuid,
            creator_gid: raw.cgid,
            mode: mode(raw) & MODE_BITS,
            sequence: raw.__seq as u32,
        }
    }

    /// Puts what IPC_SET looks at into a raw record.
    #[allow(clippy::cast_possible_truncation, reason = "nine bits")]
    pub(super) fn put(&self, raw: &mut libc::ipc_perm) {
        raw.uid = self.uid;
        raw.gid = self.gid;
        raw.mode = (self.mode & MODE_BITS) as _;
    }
}

/// The key, whose name differs by C library, but not its place: it is what every `ipc_perm` begins with.
fn key(raw: &libc::ipc_perm) -> libc::key_t {
    // SAFETY: a reference is valid for reads of its first four bytes, which are the key, an integer.
    unsafe { std::ptr::from_ref(raw).cast::<libc::key_t>().read() }
}

/// The whole mode, with the flags above the nine bits.
#[allow(clippy::useless_conversion, reason = "the type differs by target")]
pub(super) fn mode(raw: &libc::ipc_perm) -> u32 {
    raw.mode.into()
}

/// Seconds since 1970 as a time: 0 means never.
pub(super) fn time(seconds: impl Into<i64>) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds.into()).ok().filter(|&seconds| seconds != 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
