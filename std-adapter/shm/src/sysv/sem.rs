//! Sets of semaphores.

use super::call::check;
use super::error::{Result, SysvError, SysvKind, SysvObject, SysvReason};
use super::handle::{Calls, Handle, refuse_private};
use super::key::Key;
use super::limits::{MAX_VALUE, limits};
use super::perm::{self, Perm};
use super::sem_op::{self, Op};
use super::sem_options::SemOptions;
use super::sem_record::semid_ds;
use std::time::{Duration, SystemTime};

/// The last argument of `semctl`, which the caller has to define (semctl(2)). It goes by value.
#[repr(C)]
union Argument {
    value: libc::c_int,
    record: *mut semid_ds,
    values: *mut libc::c_ushort,
}

/// As many semaphores as a `u16` can number.
const NUMBERED: usize = 1 << 16;

/// No more than this is allocated for the values of a set.
const LARGEST_SET: usize = 1 << 24;

/// A set of semaphores: its id, and the key it was found by.
///
/// Dropping it does nothing to the set, which stays until it is [removed](Semaphores::remove).
///
/// ```
/// use smstream_shm::sysv::{Key, RemoveOnDrop, Semaphores};
///
/// let set = RemoveOnDrop::new(Semaphores::create(Key::PRIVATE, &[1])?);
/// let guard = set.lock(0)?;
/// assert!(!set.try_acquire(0)?);
/// drop(guard);
/// assert_eq!(set.value(0)?, 1);
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
///
/// # References
/// semget(2), semop(2), semctl(2); Free Pascal `semget`, `semop`, `semctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semaphores(Handle<SemCalls>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct SemCalls;

// SAFETY: `semid_ds` is what semctl takes, numbers only.
unsafe impl Calls for SemCalls {
    const KIND: SysvKind = SysvKind::Sem;
    const IPCS: &'static str = "-s";
    const SETS_MORE: bool = false;
    type Record = semid_ds;

    unsafe fn control(id: libc::c_int, command: libc::c_int, record: *mut semid_ds) -> libc::c_int {
        // SAFETY: the caller's promise; the record is the last argument, which goes by value.
        unsafe { libc::semctl(id, 0, command, Argument { record }) }
    }

    fn perm(record: &mut semid_ds) -> &mut libc::ipc_perm {
        &mut record.sem_perm
    }
}

impl Semaphores {
    pub(super) fn new(id: libc::c_int, key: Option<Key>) -> Self {
        Self(Handle::new(id, key))
    }

    /// How to find or make one.
    #[must_use]
    pub const fn options<'a>() -> SemOptions<'a> {
        SemOptions::new()
    }

    /// Makes a set with these values that only its owner can use.
    ///
    /// # Errors
    /// As [`SemOptions::open`]; [`SysvReason::Exists`] if the key is in use.
    pub fn create(key: Key, values: &[u16]) -> Result<Self> {
        Self::options().initial(values).create_new(true).open(key)
    }

    /// Finds a set, and waits until its creator has given it its values.
    ///
    /// # Errors
    /// As [`SemOptions::open`]; [`SysvReason::NotFound`] if there is none, and for [`Key::PRIVATE`].
    pub fn open(key: Key) -> Result<Self> {
        refuse_private(SysvKind::Sem, key)?;
        Self::options().open(key)
    }

    /// The set with this id. It is taken as it is, ready or not.
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

    /// Does all of these operations at one moment, and blocks until that is possible.
    ///
    /// # Errors
    /// [`SysvReason::WouldBlock`] if one that must not wait would have to; [`SysvReason::Range`] for a number that the set has not
    /// or a value above 32767; [`SysvReason::Removed`], also while it waits; [`SysvReason::Limit`] for SEMOPM;
    /// [`SysvReason::InvalidInput`] for no operation at all; [`SysvReason::Denied`]. Nothing was changed then.
    pub fn op(&self, ops: &[Op]) -> Result<()> {
        sem_op::operate(self.0.id(), ops, None, self.object(), || Ok(self.stat()?.count))
    }

    /// As [`op`](Semaphores::op), but for no longer than `timeout`. Signals do not make that longer.
    ///
    /// # Errors
    /// [`SysvReason::TimedOut`], and as `op`.
    pub fn op_timeout(&self, ops: &[Op], timeout: Duration) -> Result<()> {
        sem_op::operate(self.0.id(), ops, Some(timeout), self.object(), || Ok(self.stat()?.count))
    }

    /// Takes one of semaphore `number`; blocks while there is none.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn acquire(&self, number: u16) -> Result<()> {
        self.op(&[Op::sub(number, 1)])
    }

    /// Takes one of semaphore `number` if there is one, and says whether. Does not block.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn try_acquire(&self, number: u16) -> Result<bool> {
        done(self.op(&[Op::sub(number, 1).nowait()]))
    }

    /// Takes one of semaphore `number`, waiting no longer than `timeout`, and says whether.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn acquire_timeout(&self, number: u16, timeout: Duration) -> Result<bool> {
        done(self.op_timeout(&[Op::sub(number, 1)], timeout))
    }

    /// Gives one to semaphore `number`. Does not block.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn release(&self, number: u16) -> Result<()> {
        self.op(&[Op::add(number, 1)])
    }

    /// The value of semaphore `number`. It may be another one by the time you look at it.
    ///
    /// # Errors
    /// [`SysvReason::Range`] if there is no such semaphore, [`SysvReason::Denied`], [`SysvReason::Removed`].
    pub fn value(&self, number: u16) -> Result<u16> {
        Ok(u16::try_from(self.ask(number, libc::GETVAL)?).unwrap_or(0))
    }

    /// How many processes wait for semaphore `number` to grow.
    ///
    /// # Errors
    /// As [`value`](Semaphores::value).
    pub fn waiting(&self, number: u16) -> Result<u32> {
        Ok(self.ask(number, libc::GETNCNT)?.unsigned_abs())
    }

    /// How many processes wait for semaphore `number` to be 0.
    ///
    /// # Errors
    /// As [`value`](Semaphores::value).
    pub fn waiting_zero(&self, number: u16) -> Result<u32> {
        Ok(self.ask(number, libc::GETZCNT)?.unsigned_abs())
    }

    /// The process that changed semaphore `number` last: 0 if there is none. For display only.
    ///
    /// # Errors
    /// As [`value`](Semaphores::value).
    pub fn last_pid(&self, number: u16) -> Result<i32> {
        self.ask(number, libc::GETPID)
    }

    /// The values of all semaphores at one moment.
    ///
    /// # Errors
    /// [`SysvReason::Denied`], [`SysvReason::Removed`].
    pub fn values(&self) -> Result<Vec<u16>> {
        let mut values = self.room(&[])?;
        self.all(libc::GETALL, &mut values, "read the values of")?;
        values.truncate(self.stat()?.count);
        Ok(values)
    }

    /// Gives semaphore `number` a value, wakes who waited for it, and forgets what was to be undone for it.
    ///
    /// # Errors
    /// [`SysvReason::Range`] if there is no such semaphore or the value is above 32767, [`SysvReason::Denied`],
    /// [`SysvReason::Removed`].
    pub fn set(&self, number: u16, value: u16) -> Result<()> {
        let argument = Argument { value: value.into() };
        // SAFETY: SETVAL takes the value from the union, by value; no memory.
        check(unsafe { libc::semctl(self.0.id(), number.into(), libc::SETVAL, argument) })
            .map(drop)
            .map_err(|errno| self.explain(errno, number, "set a value of"))
    }

    /// Gives all semaphores values, as many as the set has, at one moment.
    ///
    /// # Errors
    /// [`SysvReason::Size`] for another number of values, and as [`set`](Semaphores::set).
    pub fn set_all(&self, values: &[u16]) -> Result<()> {
        let count = self.stat()?.count;
        if count != values.len() {
            let advice = format!("it has {count} semaphores, not {}", values.len());
            return Err(SysvError::refuse(SysvReason::Size, self.object(), "set the values of", advice));
        }
        let mut values = self.room(values)?;
        self.all(libc::SETALL, &mut values, "set the values of")
    }

    /// What the kernel knows of it. Does not block.
    ///
    /// # Errors
    /// [`SysvReason::Denied`] without the permission to read, [`SysvReason::Removed`].
    pub fn stat(&self) -> Result<SemStat> {
        let raw = self.0.stat()?;
        Ok(SemStat {
            perm: Perm::from_raw(&raw.sem_perm),
            #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the type differs by target")]
            count: raw.sem_nsems as usize,
            operated_at: perm::time(raw.sem_otime),
            changed_at: perm::time(raw.sem_ctime),
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
    /// As [`stat`](Semaphores::stat) and [`set_perm`](Semaphores::set_perm).
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.0.set_mode(mode)
    }

    /// Removes the set at once. Calls that wait for it return [`SysvReason::Removed`].
    ///
    /// # Errors
    /// [`SysvReason::Denied`] unless one is owner, creator or root; [`SysvReason::Removed`].
    pub fn remove(&self) -> Result<()> {
        self.0.remove()
    }

    /// A command that takes no argument and returns a number.
    fn ask(&self, number: u16, command: libc::c_int) -> Result<libc::c_int> {
        // SAFETY: the commands used here take a number in the union, or nothing.
        check(unsafe { libc::semctl(self.0.id(), number.into(), command, Argument { value: 0 }) })
            .map_err(|errno| self.explain(errno, number, "look at"))
    }

    /// Room for the values of any set that can be, beginning with `values`.
    ///
    /// The kernel does not ask how much room there is. The id could, after tens of thousands of others, mean another set by
    /// the time of the call; so the room is for what the system allows.
    fn room(&self, values: &[u16]) -> Result<Vec<u16>> {
        let count = self.stat()?.count;
        let allowed = limits().map_or(0, |limits| usize::try_from(limits.sem_per_set).unwrap_or(usize::MAX));
        let room = count.max(allowed).max(NUMBERED);
        if room > LARGEST_SET {
            let advice = format!("SEMMSL (kernel.sem, first number) is {allowed}, which makes no sense; lower it");
            return Err(SysvError::refuse(
                SysvReason::InvalidInput,
                self.object(),
                "read or set the values of",
                advice,
            ));
        }
        let mut all = Vec::with_capacity(room);
        all.extend_from_slice(values);
        all.resize(room, 0);
        Ok(all)
    }

    /// GETALL or SETALL, with what `room` gave.
    fn all(&self, command: libc::c_int, room: &mut [u16], tried: &'static str) -> Result<()> {
        let argument = Argument { values: room.as_mut_ptr() };
        // SAFETY: the kernel reads or writes as many values as the set has: `room` made room for as many as SEMMSL allows a
        // set to have, and for at least 65536.
        check(unsafe { libc::semctl(self.0.id(), 0, command, argument) })
            .map(drop)
            .map_err(|errno| self.explain(errno, 0, tried))
    }

    fn explain(&self, errno: i32, number: u16, tried: &'static str) -> SysvError {
        let error = SysvError::system(errno, self.object(), tried);
        match errno {
            libc::ERANGE => error.because(SysvReason::Range, format!("a semaphore's value is from 0 to {MAX_VALUE}")),
            #[allow(clippy::useless_conversion, reason = "the type differs by target")]
            libc::EINVAL => match self.0.raw_stat().map(|raw| u64::from(raw.sem_nsems)) {
                Ok(count) if u64::from(number) >= count => {
                    error.because(SysvReason::Range, format!("its semaphores are numbered 0 to {}", count - 1))
                }
                _ => error.because(SysvReason::Removed, "create it again"),
            },
            _ => error,
        }
    }

    pub(super) fn object(&self) -> SysvObject {
        self.0.object()
    }
}

/// Whether it was done, where not being able to is no error.
pub(super) fn done(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.reason(), SysvReason::WouldBlock | SysvReason::TimedOut) => Ok(false),
        Err(e) => Err(e),
    }
}

/// What the kernel knows of a set of semaphores.
///
/// # References
/// semctl(2); Free Pascal `TSEMid_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemStat {
    /// Owner and mode.
    pub perm: Perm,
    /// How many semaphores it has.
    pub count: usize,
    /// When a process operated on it last; `None` before its creator has finished. All times are in whole seconds.
    pub operated_at: Option<SystemTime>,
    /// When it was created, or a value or the owner was set.
    pub changed_at: Option<SystemTime>,
}
