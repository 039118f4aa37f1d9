//! Segments of shared memory.

use super::attachment::{AttachFlags, Attachment};
use super::call::check;
use super::error::{Limit, Result, SysvError, SysvKind, SysvReason};
use super::handle::{Calls, Handle, refuse_private};
use super::key::Key;
use super::options::{Making, Settings};
use super::perm::{self, Perm};
use super::shm_options::{ShmOptions, ShmSettings};
use crate::limit::{Limited, soft_limit};
use crate::memory::{Access, page_size};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::time::SystemTime;

/// The kernel's flags in a segment's mode: it goes with its last attachment, and it is kept out of swap.
const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

/// What `shmat` returns instead of an address.
const FAILED: usize = usize::MAX;

/// A segment of shared memory: its id, and the key it was found by.
///
/// This is a name, not the memory: [`attach`](Shm::attach) gives that. Dropping it does nothing to the segment, which
/// stays until it is [removed](Shm::remove) and the last process has detached.
///
/// ```
/// use smstream_shm::sysv::{Key, RemoveOnDrop, Shm};
///
/// let shm = RemoveOnDrop::new(Shm::create(Key::PRIVATE, 100)?);
/// let again = Shm::from_id(shm.id())?;
/// assert_eq!(again.attach_read_only()?.len(), 100);
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
///
/// # References
/// shmget(2), shmat(2), shmctl(2); Free Pascal `shmget`, `shmat`, `shmdt`, `shmctl`; Cedar `UnixShm0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shm(Handle<ShmCalls>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ShmCalls;

// SAFETY: `shmid_ds` is what shmctl takes, numbers only.
unsafe impl Calls for ShmCalls {
    const KIND: SysvKind = SysvKind::Shm;
    const IPCS: &'static str = "-m";
    const SETS_MORE: bool = false;
    type Record = libc::shmid_ds;

    unsafe fn control(id: libc::c_int, command: libc::c_int, record: *mut libc::shmid_ds) -> libc::c_int {
        // SAFETY: the caller's promise.
        unsafe { libc::shmctl(id, command, record) }
    }

    fn perm(record: &mut libc::shmid_ds) -> &mut libc::ipc_perm {
        &mut record.shm_perm
    }
}

impl Settings for ShmSettings {
    type Object = Shm;
    const DEFAULT: Self = Self { size: 0 };

    fn open(self, making: Making, key: Key) -> Result<Shm> {
        self.find(making, key).map(|id| Shm(Handle::new(id, Some(key))))
    }
}

impl Shm {
    /// How to find or make one.
    #[must_use]
    pub const fn options() -> ShmOptions {
        ShmOptions::new()
    }

    /// Makes a segment of `size` bytes that only its owner can use.
    ///
    /// # Errors
    /// As [`ShmOptions::open`]; [`SysvReason::Exists`] if the key is in use.
    pub fn create(key: Key, size: usize) -> Result<Self> {
        Self::options().size(size).create_new(true).open(key)
    }

    /// Finds a segment.
    ///
    /// # Errors
    /// As [`ShmOptions::open`]; [`SysvReason::NotFound`] if there is none, and for [`Key::PRIVATE`].
    pub fn open(key: Key) -> Result<Self> {
        refuse_private(SysvKind::Shm, key)?;
        Self::options().open(key)
    }

    /// The segment with this id.
    ///
    /// # Errors
    /// [`SysvReason::NotFound`], or [`SysvReason::Denied`] if it may not be read.
    pub fn from_id(id: i32) -> Result<Self> {
        Handle::from_id(id).map(Self)
    }

    /// The id, which means the same to every process of the IPC namespace.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.0.id()
    }

    /// The key it was found by.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.0.key()
    }

    /// Attaches it for reading and writing, where the kernel likes. Does not block.
    ///
    /// # Errors
    /// [`SysvReason::Denied`], [`SysvReason::Removed`], [`SysvReason::NoMemory`].
    pub fn attach(&self) -> Result<Attachment> {
        // SAFETY: without an address, the kernel takes a range where nothing is.
        unsafe { self.attach_at(ptr::null_mut(), AttachFlags::empty()) }
    }

    /// Attaches it for reading. A write then is a SIGSEGV.
    ///
    /// # Errors
    /// As [`attach`](Shm::attach).
    pub fn attach_read_only(&self) -> Result<Attachment> {
        // SAFETY: as in `attach`.
        unsafe { self.attach_at(ptr::null_mut(), AttachFlags::READ_ONLY) }
    }

    /// Attaches it at an address of one's own choice; null leaves that to the kernel.
    ///
    /// With [`AttachFlags::REMAP`] it takes the place of what is mapped there: that is how to attach into a range that
    /// was reserved before, into which no other mapping can come. Dropping the [`Attachment`] leaves a hole there;
    /// who wants to keep the range maps over the attachment and calls [`Attachment::into_raw`].
    ///
    /// # Errors
    /// [`SysvReason::Address`] for an address that is not a multiple of the page size (without [`AttachFlags::ROUND`]), for
    /// a range where something is (without [`AttachFlags::REMAP`]) and for REMAP without an address; otherwise as
    /// [`attach`](Shm::attach).
    ///
    /// # Safety
    /// With [`AttachFlags::REMAP`], whatever is mapped in the pages from `address` on that the segment needs is the
    /// caller's to replace, and nothing uses it any more.
    pub unsafe fn attach_at(&self, address: *mut u8, flags: AttachFlags) -> Result<Attachment> {
        // SAFETY: the kernel maps the segment over nothing, or with REMAP over what the caller gives up. It checks all the
        // rest.
        let start = unsafe { libc::shmat(self.0.id(), address.cast::<c_void>().cast_const(), flags.bits()) };
        if start.addr() == FAILED {
            return Err(self.explain_attach(check(-1).err().unwrap_or(0), address, flags));
        }
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err(self.0.error(libc::EFAULT, "attach").because(SysvReason::Address, "address 0 is of no use"));
        };
        let access = if flags.contains(AttachFlags::READ_ONLY) { Access::ReadOnly } else { Access::ReadWrite };
        let mut attached = Attachment::new(start, access);
        // The size is asked for now that the segment cannot go away: the id means the same as a moment ago.
        attached.len = self.stat()?.size;
        Ok(attached)
    }

    fn explain_attach(&self, errno: i32, address: *mut u8, flags: AttachFlags) -> SysvError {
        let error = self.0.error(errno, "attach");
        if errno != libc::EINVAL {
            return error;
        }
        if let Err(e) = self.stat()
            && e.reason() == SysvReason::Removed
        {
            return e.tried("attach");
        }
        let page = page_size();
        let advice = match address.addr() {
            0 => "replacing needs an address".to_owned(),
            at if !flags.contains(AttachFlags::ROUND) && !at.is_multiple_of(page) => {
                format!("{at:#x} is not a multiple of the page size, {page}; let it be rounded, or align it")
            }
            at => format!(
                "it does not fit at {at:#x}, or something is mapped there; let the kernel choose, or replace that"
            ),
        };
        error.because(SysvReason::Address, advice)
    }

    /// What the kernel knows of it. Does not block.
    ///
    /// # Errors
    /// [`SysvReason::Denied`] without the permission to read, [`SysvReason::Removed`].
    pub fn stat(&self) -> Result<ShmStat> {
        let raw = self.0.stat()?;
        let mode = perm::mode(&raw.shm_perm);
        Ok(ShmStat {
            perm: Perm::from_raw(&raw.shm_perm),
            size: raw.shm_segsz,
            #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the type differs by target")]
            attached: raw.shm_nattch as u64,
            creator: raw.shm_cpid,
            last: raw.shm_lpid,
            attached_at: perm::time(raw.shm_atime),
            detached_at: perm::time(raw.shm_dtime),
            changed_at: perm::time(raw.shm_ctime),
            removed: mode & SHM_DEST != 0,
            locked: mode & SHM_LOCKED != 0,
        })
    }

    /// Changes the owner, the group and the mode to those of `perm`.
    ///
    /// # Errors
    /// [`SysvReason::Denied`] unless one is owner, creator or root; [`SysvReason::Removed`]; [`SysvReason::InvalidInput`] for a user
    /// or group that cannot be.
    pub fn set_perm(&self, perm: &Perm) -> Result<()> {
        self.0.set(Some(perm), |_| {})
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// As [`stat`](Shm::stat) and [`set_perm`](Shm::set_perm).
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.0.set_mode(mode)
    }

    /// Removes it: the key is free at once, and the memory goes when the last process has detached, however it ends.
    ///
    /// Do this as soon as all who need it have attached, and nothing is left behind however they end. On Linux, the id can
    /// still be attached as long as one process has it attached.
    ///
    /// # Errors
    /// [`SysvReason::Denied`] unless one is owner, creator or root; [`SysvReason::Removed`] if the memory is gone already.
    pub fn remove(&self) -> Result<()> {
        self.0.remove()
    }

    /// Keeps its pages out of swap once they are touched.
    ///
    /// # Errors
    /// [`SysvReason::Denied`] unless one is owner, creator or root; [`SysvReason::Limit`] for `RLIMIT_MEMLOCK`;
    /// [`SysvReason::Removed`].
    pub fn lock(&self) -> Result<()> {
        self.0.plain(libc::SHM_LOCK, "lock").map_err(|e| match e.raw_os_error() {
            Some(libc::ENOMEM) => {
                let value = soft_limit(Limited::LockedMemory);
                e.limited(Limit { name: "RLIMIT_MEMLOCK", sysctl: "`ulimit -l`, in KiB", value })
            }
            _ => e,
        })
    }

    /// Lets its pages be swapped again.
    ///
    /// # Errors
    /// As [`lock`](Shm::lock).
    pub fn unlock(&self) -> Result<()> {
        self.0.plain(libc::SHM_UNLOCK, "unlock")
    }
}

/// What the kernel knows of a segment.
///
/// # References
/// shmctl(2); Free Pascal `TSHMid_ds`; Cedar `ShmIdDs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShmStat {
    /// Owner and mode.
    pub perm: Perm,
    /// Its bytes, as they were asked for.
    pub size: usize,
    /// How many times it is attached.
    pub attached: u64,
    /// The process that created it; for display only.
    pub creator: i32,
    /// The process that attached or detached last; for display only.
    pub last: i32,
    /// When it was attached last. All times are in whole seconds.
    pub attached_at: Option<SystemTime>,
    /// When it was detached last.
    pub detached_at: Option<SystemTime>,
    /// When it was created, or changed by `set_perm`.
    pub changed_at: Option<SystemTime>,
    /// Whether it was removed, and goes with its last attachment.
    pub removed: bool,
    /// Whether it is kept out of swap.
    pub locked: bool,
}
