//! Segments of shared memory.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::time::SystemTime;

use bitflags::bitflags;

use super::error::{Limit, Object};
use super::perm::{self, Perm};
use super::{Error, Key, Kind, Reason, Result, ShmOptions, check};
use crate::limit::{Limited, soft_limit};
use crate::memory::{Access, page_size};

/// The kernel's flags in a segment's mode: it goes with its last attachment, and it is kept out of swap.
const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

/// What `shmat` returns instead of an address.
const FAILED: usize = usize::MAX;

bitflags! {
    /// How a segment is attached.
    ///
    /// # References
    /// shmat(2); Free Pascal `SHM_RDONLY`, `SHM_RND`, `SHM_REMAP`; Cedar `shmRDOnly`, `shmRnd`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AttachFlags: libc::c_int {
        /// For reading only. The MMU enforces it.
        const READ_ONLY = libc::SHM_RDONLY;
        /// Round the address down to a page.
        const ROUND = libc::SHM_RND;
        /// Replace what is mapped there. Needs an address.
        const REMAP = libc::SHM_REMAP;
        /// The memory may be executed. Needs the execute bit of the mode.
        const EXECUTE = 0o100000;
    }
}

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
/// # Ok::<(), smstream_shm::sysv::Error>(())
/// ```
///
/// # References
/// shmget(2), shmat(2), shmctl(2); Free Pascal `shmget`, `shmat`, `shmdt`, `shmctl`; Cedar `UnixShm0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shm {
    id: libc::c_int,
    key: Option<Key>,
}

impl Shm {
    pub(super) fn new(id: libc::c_int, key: Option<Key>) -> Self {
        Self { id, key }
    }

    /// How to find or make one.
    #[must_use]
    pub const fn options() -> ShmOptions {
        ShmOptions::new()
    }

    /// Makes a segment of `size` bytes that only its owner can use.
    ///
    /// # Errors
    /// As [`ShmOptions::open`]; [`Reason::Exists`] if the key is in use.
    pub fn create(key: Key, size: usize) -> Result<Self> {
        Self::options().size(size).create_new(true).open(key)
    }

    /// Finds a segment.
    ///
    /// # Errors
    /// As [`ShmOptions::open`]; [`Reason::NotFound`] if there is none, and for [`Key::PRIVATE`].
    pub fn open(key: Key) -> Result<Self> {
        if key.is_private() {
            let object = Object { kind: Kind::Shm, key: Some(key), id: None };
            return Err(Error::refuse(Reason::NotFound, object, "open", "an object without a key is found by its id"));
        }
        Self::options().open(key)
    }

    /// A segment whose id somebody told.
    ///
    /// # Errors
    /// [`Reason::NotFound`], or [`Reason::Denied`] if it may not be read.
    pub fn from_id(id: i32) -> Result<Self> {
        let stat = Self::new(id, None).stat().map_err(|e| match e.reason() {
            Reason::Removed => e.because(Reason::NotFound, "`ipcs -m` shows the ids there are"),
            _ => e,
        })?;
        Ok(Self::new(id, Some(stat.perm.key)))
    }

    /// The id, which means the same to every process of the IPC namespace.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The key it was found by.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.key
    }

    /// Attaches it for reading and writing, where the kernel likes. Does not block.
    ///
    /// # Errors
    /// [`Reason::Denied`], [`Reason::Removed`], [`Reason::NoMemory`].
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
    /// was reserved before, which nobody else's mapping can come into. Dropping the [`Attachment`] leaves a hole there;
    /// who wants to keep the range maps over the attachment and calls [`Attachment::into_raw`].
    ///
    /// # Errors
    /// [`Reason::Address`] for an address that is not a multiple of the page size (without [`AttachFlags::ROUND`]), for
    /// a range where something is (without [`AttachFlags::REMAP`]) and for REMAP without an address; otherwise as
    /// [`attach`](Shm::attach).
    ///
    /// # Safety
    /// With [`AttachFlags::REMAP`], whatever is mapped in the pages from `address` on that the segment needs is the
    /// caller's to replace, and nothing uses it any more.
    pub unsafe fn attach_at(&self, address: *mut u8, flags: AttachFlags) -> Result<Attachment> {
        // SAFETY: the kernel maps the segment over nothing, or with REMAP over what the caller gives up. It checks all the
        // rest.
        let start = unsafe { libc::shmat(self.id, address.cast::<c_void>().cast_const(), flags.bits()) };
        if start.addr() == FAILED {
            return Err(self.explain_attach(check(-1).err().unwrap_or(0), address, flags));
        }
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err(self.error(libc::EFAULT, "attach").because(Reason::Address, "address 0 is of no use"));
        };
        let access = if flags.contains(AttachFlags::READ_ONLY) { Access::ReadOnly } else { Access::ReadWrite };
        let mut attached = Attachment { start, len: 0, access };
        // The size is asked for now that the segment cannot go away: the id means the same as a moment ago.
        attached.len = self.stat()?.size;
        Ok(attached)
    }

    fn explain_attach(&self, errno: i32, address: *mut u8, flags: AttachFlags) -> Error {
        let error = self.error(errno, "attach");
        if errno != libc::EINVAL {
            return error;
        }
        if let Err(e) = self.stat()
            && e.reason() == Reason::Removed
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
        error.because(Reason::Address, advice)
    }

    /// What the kernel knows of it. Does not block.
    ///
    /// # Errors
    /// [`Reason::Denied`] without the permission to read, [`Reason::Removed`].
    pub fn stat(&self) -> Result<ShmStat> {
        let mut raw = MaybeUninit::<libc::shmid_ds>::zeroed();
        self.control(libc::IPC_STAT, Some(&mut raw), "look at")?;
        // SAFETY: numbers only, for which zeros are values; the kernel has filled it in.
        let raw = unsafe { raw.assume_init() };
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
    /// [`Reason::Denied`] unless one is owner, creator or root; [`Reason::Removed`]; [`Reason::InvalidInput`] for a user
    /// or group that cannot be.
    pub fn set_perm(&self, perm: &Perm) -> Result<()> {
        let mut raw = MaybeUninit::<libc::shmid_ds>::zeroed();
        // SAFETY: numbers only, for which zeros are values.
        perm.put(&mut unsafe { raw.assume_init_mut() }.shm_perm);
        self.control(libc::IPC_SET, Some(&mut raw), "change")
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// As [`stat`](Shm::stat) and [`set_perm`](Shm::set_perm).
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.set_perm(&Perm { mode, ..self.stat()?.perm })
    }

    /// Removes it: the key is free at once, and the memory goes when the last process has detached, however it ends.
    ///
    /// Do this as soon as all who need it have attached, and nothing is left behind in any case. On Linux, the id can
    /// still be attached as long as somebody is.
    ///
    /// # Errors
    /// [`Reason::Denied`] unless one is owner, creator or root; [`Reason::Removed`] if the memory is gone already.
    pub fn remove(&self) -> Result<()> {
        self.control(libc::IPC_RMID, None, "remove")
    }

    /// Keeps its pages out of swap once they are touched.
    ///
    /// # Errors
    /// [`Reason::Denied`] unless one is owner, creator or root; [`Reason::Limit`] for `RLIMIT_MEMLOCK`;
    /// [`Reason::Removed`].
    pub fn lock(&self) -> Result<()> {
        self.control(libc::SHM_LOCK, None, "lock").map_err(|e| match e.raw_os_error() {
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
        self.control(libc::SHM_UNLOCK, None, "unlock")
    }

    /// One `shmctl`: IPC_STAT and IPC_SET with a record, the others without.
    fn control(
        &self,
        command: libc::c_int,
        record: Option<&mut MaybeUninit<libc::shmid_ds>>,
        tried: &'static str,
    ) -> Result<()> {
        let record = record.map_or(ptr::null_mut(), MaybeUninit::as_mut_ptr);
        // SAFETY: the commands used here take one `shmid_ds`, or nothing; with a null pointer the kernel gives an error.
        check(unsafe { libc::shmctl(self.id, command, record) }).map(drop).map_err(|errno| match errno {
            libc::EINVAL if command == libc::IPC_SET && self.stat().is_ok() => {
                self.error(errno, tried).because(Reason::InvalidInput, "no such user or group can be")
            }
            libc::EINVAL => self.error(errno, tried).because(Reason::Removed, "create it again"),
            _ => self.error(errno, tried),
        })
    }

    fn error(&self, errno: i32, tried: &'static str) -> Error {
        Error::system(errno, Object { kind: Kind::Shm, key: self.key, id: Some(self.id) }, tried)
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

/// A segment in this process's memory, until this is dropped.
///
/// Another process writes there, so there are only raw pointers. In a child made by `fork` the memory is attached, too.
#[derive(Debug)]
pub struct Attachment {
    start: NonNull<u8>,
    len: usize,
    access: Access,
}

// SAFETY: an `Attachment` owns an address range of the process. Nothing about it belongs to a thread (shmat(2)).
unsafe impl Send for Attachment {}
// SAFETY: `&Attachment` gives out the address and the length, which never change, and accesses no byte.
unsafe impl Sync for Attachment {}

impl Attachment {
    /// Where it begins. It stays valid until this is dropped.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Where it begins, for writing: `None` if it may only be read.
    #[must_use]
    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        match self.access {
            Access::ReadWrite => Some(self.start.as_ptr()),
            Access::ReadOnly => None,
        }
    }

    /// The bytes of the segment. Its last page is there to its end.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What it allows.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Detaches, and tells if that failed. Dropping it does the same in silence.
    ///
    /// # Errors
    /// [`Reason::Address`] if somebody has unmapped it already.
    ///
    /// # References
    /// shmdt(2); Free Pascal `shmdt`; Cedar `ShmDt`: the segment and its contents are retained.
    pub fn detach(self) -> Result<()> {
        let (start, _) = self.into_raw();
        let object = Object { kind: Kind::Shm, key: None, id: None };
        let error = |errno| {
            let advice = "somebody has unmapped it already";
            Error::system(errno, object, "detach").because(Reason::Address, advice)
        };
        // SAFETY: the range is this attachment's, whose pointers the caller gave up by consuming it.
        check(unsafe { libc::shmdt(start.as_ptr().cast::<c_void>()) }).map(drop).map_err(error)
    }

    /// Gives the address and the length away; nothing detaches it any more. For who maps something else over it.
    #[must_use = "nobody else knows where it is"]
    pub fn into_raw(self) -> (NonNull<u8>, usize) {
        let raw = (self.start, self.len);
        std::mem::forget(self);
        raw
    }
}

// SAFETY: a segment is attached in whole pages, from a page on, until the attachment is dropped, and its size never
// changes. Its pointers can be used in `unsafe` blocks only, and theirs is the promise.
unsafe impl crate::memory::SharedMemory for Attachment {
    fn start(&self) -> *mut u8 {
        self.as_ptr().cast_mut()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn access(&self) -> Access {
        self.access()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // SAFETY: the range is this value's. Whoever took a pointer from it agreed not to use it after this moment
        // (`as_ptr`), and no reference into it was ever made here.
        let result = unsafe { libc::shmdt(self.start.as_ptr().cast::<c_void>()) };
        debug_assert_eq!(result, 0, "detaching one's own attachment");
    }
}
