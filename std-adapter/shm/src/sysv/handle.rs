//! What the three kinds of objects have in common: an id, a key, and the calls that look at an object and change it.

use super::call::check;
use super::error::{Result, SysvError, SysvKind, SysvObject, SysvReason};
use super::key::Key;
use super::perm::Perm;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// The calls of one kind of object.
///
/// # Safety
/// All zeros is a value of `Record`, which is the record that `control` reads and writes.
pub(super) unsafe trait Calls {
    const KIND: SysvKind;
    /// How `ipcs` shows the objects.
    const IPCS: &'static str;
    /// Whether `IPC_SET` sets more than the owner and the mode, so that the rest of the record must be as it is.
    const SETS_MORE: bool;
    type Record;

    /// `shmctl`, `semctl` or `msgctl` with a record.
    ///
    /// # Safety
    /// The command takes one record, and `record` points to one; or it takes none, and `record` is null.
    unsafe fn control(id: libc::c_int, command: libc::c_int, record: *mut Self::Record) -> libc::c_int;

    fn perm(record: &mut Self::Record) -> &mut libc::ipc_perm;
}

/// An object: its id, and the key it was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle<C> {
    id: libc::c_int,
    key: Option<Key>,
    calls: PhantomData<C>,
}

impl<C: Calls> Handle<C> {
    pub(super) const fn new(id: libc::c_int, key: Option<Key>) -> Self {
        Self { id, key, calls: PhantomData }
    }

    /// The object with this id, if there is one and it may be read.
    pub(super) fn from_id(id: i32) -> Result<Self> {
        let mut record = Self::new(id, None).stat().map_err(|e| match e.reason() {
            SysvReason::Removed => {
                e.because(SysvReason::NotFound, format!("`ipcs {}` shows the ids there are", C::IPCS))
            }
            _ => e,
        })?;
        Ok(Self::new(id, Some(Perm::from_raw(C::perm(&mut record)).key)))
    }

    pub(super) const fn id(&self) -> libc::c_int {
        self.id
    }

    pub(super) const fn key(&self) -> Option<Key> {
        self.key
    }

    /// The object, for errors.
    pub(super) const fn object(&self) -> SysvObject {
        SysvObject { kind: C::KIND, key: self.key, id: Some(self.id) }
    }

    /// An error of a call on the object.
    pub(super) fn error(&self, errno: i32, tried: &'static str) -> SysvError {
        SysvError::system(errno, self.object(), tried)
    }

    /// What the kernel knows of it.
    pub(super) fn stat(&self) -> Result<C::Record> {
        self.raw_stat().map_err(|errno| match errno {
            libc::EINVAL => self.error(errno, "look at").because(SysvReason::Removed, "create it again"),
            _ => self.error(errno, "look at"),
        })
    }

    /// The same, or the errno.
    pub(super) fn raw_stat(&self) -> Result<C::Record, i32> {
        let mut record = MaybeUninit::<C::Record>::zeroed();
        // SAFETY: IPC_STAT takes one record, which the pointer is valid for.
        check(unsafe { C::control(self.id, libc::IPC_STAT, record.as_mut_ptr()) })?;
        // SAFETY: zeros are a value (`Calls`), and the kernel has filled it in.
        Ok(unsafe { record.assume_init() })
    }

    /// Sets the owner, the group and the mode, and what else `change` does to the record.
    pub(super) fn set(&self, perm: Option<&Perm>, change: impl FnOnce(&mut C::Record)) -> Result<()> {
        let mut record = if C::SETS_MORE {
            self.stat()?
        } else {
            // SAFETY: zeros are a value (`Calls`).
            unsafe { MaybeUninit::zeroed().assume_init() }
        };
        if let Some(perm) = perm {
            perm.put(C::perm(&mut record));
        }
        change(&mut record);
        // SAFETY: IPC_SET takes one record, which the pointer is valid for.
        let result = check(unsafe { C::control(self.id, libc::IPC_SET, &raw mut record) });
        result.map(drop).map_err(|errno| match errno {
            libc::EINVAL if self.raw_stat().is_ok() => {
                self.error(errno, "change").because(SysvReason::InvalidInput, "no such user or group can be")
            }
            libc::EINVAL => self.error(errno, "change").because(SysvReason::Removed, "create it again"),
            _ => self.error(errno, "change"),
        })
    }

    /// Sets the mode alone.
    pub(super) fn set_mode(&self, mode: u32) -> Result<()> {
        let perm = Perm::from_raw(C::perm(&mut self.stat()?));
        self.set(Some(&Perm { mode, ..perm }), |_| {})
    }

    pub(super) fn remove(&self) -> Result<()> {
        self.plain(libc::IPC_RMID, "remove")
    }

    /// A command that takes no record.
    pub(super) fn plain(&self, command: libc::c_int, tried: &'static str) -> Result<()> {
        // SAFETY: the callers' commands take no record.
        check(unsafe { C::control(self.id, command, ptr::null_mut()) }).map(drop).map_err(|errno| match errno {
            libc::EINVAL => self.error(errno, tried).because(SysvReason::Removed, "create it again"),
            _ => self.error(errno, tried),
        })
    }
}

/// The error of opening an object by [`Key::PRIVATE`], which would make a new one.
pub(super) fn refuse_private(kind: SysvKind, key: Key) -> Result<()> {
    if !key.is_private() {
        return Ok(());
    }
    let object = SysvObject { kind, key: Some(key), id: None };
    Err(SysvError::refuse(SysvReason::NotFound, object, "open", "an object without a key is found by its id"))
}
