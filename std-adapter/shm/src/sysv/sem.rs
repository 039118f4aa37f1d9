//! Sets of semaphores.

use std::mem::MaybeUninit;
use std::process;
use std::time::Duration;

use super::error::Object;
use super::perm::{self, Perm};
use super::sem_record::semid_ds;
use super::{Error, Key, Kind, MAX_VALUE, Op, Reason, Result, SemGuard, SemOptions, SemStat, check, limits, sem_op};

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
/// # Ok::<(), smstream_shm::sysv::Error>(())
/// ```
///
/// # References
/// semget(2), semop(2), semctl(2); Free Pascal `semget`, `semop`, `semctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semaphores {
    id: libc::c_int,
    key: Option<Key>,
}

impl Semaphores {
    pub(super) fn new(id: libc::c_int, key: Option<Key>) -> Self {
        Self { id, key }
    }

    /// How to find or make one.
    #[must_use]
    pub const fn options<'a>() -> SemOptions<'a> {
        SemOptions::new()
    }

    /// Makes a set with these values that only its owner can use.
    ///
    /// # Errors
    /// As [`SemOptions::open`]; [`Reason::Exists`] if the key is in use.
    pub fn create(key: Key, values: &[u16]) -> Result<Self> {
        Self::options().initial(values).create_new(true).open(key)
    }

    /// Finds a set, and waits until its creator has given it its values.
    ///
    /// # Errors
    /// As [`SemOptions::open`]; [`Reason::NotFound`] if there is none, and for [`Key::PRIVATE`].
    pub fn open(key: Key) -> Result<Self> {
        if key.is_private() {
            let object = Object { kind: Kind::Sem, key: Some(key), id: None };
            return Err(Error::refuse(Reason::NotFound, object, "open", "an object without a key is found by its id"));
        }
        Self::options().open(key)
    }

    /// A set whose id somebody told. It is taken as it is.
    ///
    /// # Errors
    /// [`Reason::NotFound`], or [`Reason::Denied`] if it may not be read.
    pub fn from_id(id: i32) -> Result<Self> {
        let stat = Self::new(id, None).stat().map_err(|e| match e.reason() {
            Reason::Removed => e.because(Reason::NotFound, "`ipcs -s` shows the ids there are"),
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

    /// Does all of these operations at one moment, and blocks until that is possible.
    ///
    /// # Errors
    /// [`Reason::WouldBlock`] if one that must not wait would have to; [`Reason::Range`] for a number that the set has not
    /// or a value above 32767; [`Reason::Removed`], also while it waits; [`Reason::Limit`] for SEMOPM;
    /// [`Reason::InvalidInput`] for no operation at all; [`Reason::Denied`]. Nothing was changed then.
    pub fn op(&self, ops: &[Op]) -> Result<()> {
        sem_op::operate(self.id, ops, None, self.object(), || Ok(self.stat()?.count))
    }

    /// As [`op`](Semaphores::op), but for no longer than `timeout`. Signals do not make that longer.
    ///
    /// # Errors
    /// [`Reason::TimedOut`], and as `op`.
    pub fn op_timeout(&self, ops: &[Op], timeout: Duration) -> Result<()> {
        sem_op::operate(self.id, ops, Some(timeout), self.object(), || Ok(self.stat()?.count))
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

    /// As [`acquire`](Semaphores::acquire), until the guard is dropped or this process ends, however it ends.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn lock(&self, number: u16) -> Result<SemGuard<'_>> {
        self.op(&[Op::sub(number, 1).undo()])?;
        Ok(SemGuard { set: self, number, process: process::id() })
    }

    /// As [`lock`](Semaphores::lock) if that is possible at once: `None` if not.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn try_lock(&self, number: u16) -> Result<Option<SemGuard<'_>>> {
        let locked = done(self.op(&[Op::sub(number, 1).undo().nowait()]))?;
        Ok(locked.then(|| SemGuard { set: self, number, process: process::id() }))
    }

    /// As [`lock`](Semaphores::lock), waiting no longer than `timeout`: `None` after that.
    ///
    /// # Errors
    /// As [`op`](Semaphores::op).
    pub fn lock_timeout(&self, number: u16, timeout: Duration) -> Result<Option<SemGuard<'_>>> {
        let locked = done(self.op_timeout(&[Op::sub(number, 1).undo()], timeout))?;
        Ok(locked.then(|| SemGuard { set: self, number, process: process::id() }))
    }

    /// The value of semaphore `number`. It may be another one by the time you look at it.
    ///
    /// # Errors
    /// [`Reason::Range`] if there is no such semaphore, [`Reason::Denied`], [`Reason::Removed`].
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
    /// [`Reason::Denied`], [`Reason::Removed`].
    pub fn values(&self) -> Result<Vec<u16>> {
        let mut values = self.room(&[])?;
        self.all(libc::GETALL, &mut values, "read the values of")?;
        values.truncate(self.stat()?.count);
        Ok(values)
    }

    /// Gives semaphore `number` a value, wakes who waited for it, and forgets what was to be undone for it.
    ///
    /// # Errors
    /// [`Reason::Range`] if there is no such semaphore or the value is above 32767, [`Reason::Denied`],
    /// [`Reason::Removed`].
    pub fn set(&self, number: u16, value: u16) -> Result<()> {
        let argument = Argument { value: value.into() };
        // SAFETY: SETVAL takes the value from the union, by value; no memory.
        check(unsafe { libc::semctl(self.id, number.into(), libc::SETVAL, argument) })
            .map(drop)
            .map_err(|errno| self.explain(errno, number, "set a value of"))
    }

    /// Gives all semaphores values, as many as the set has, at one moment.
    ///
    /// # Errors
    /// [`Reason::Size`] for another number of values, and as [`set`](Semaphores::set).
    pub fn set_all(&self, values: &[u16]) -> Result<()> {
        let count = self.stat()?.count;
        if count != values.len() {
            let advice = format!("it has {count} semaphores, not {}", values.len());
            return Err(Error::refuse(Reason::Size, self.object(), "set the values of", advice));
        }
        let mut values = self.room(values)?;
        self.all(libc::SETALL, &mut values, "set the values of")
    }

    /// What the kernel knows of it. Does not block.
    ///
    /// # Errors
    /// [`Reason::Denied`] without the permission to read, [`Reason::Removed`].
    pub fn stat(&self) -> Result<SemStat> {
        let raw = self.raw_stat().map_err(|errno| self.explain(errno, 0, "look at"))?;
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
    /// [`Reason::Denied`] unless one is owner, creator or root; [`Reason::Removed`]; [`Reason::InvalidInput`] for a user
    /// or group that cannot be.
    pub fn set_perm(&self, perm: &Perm) -> Result<()> {
        let mut raw = MaybeUninit::<semid_ds>::zeroed();
        // SAFETY: numbers only, for which zeros are values.
        perm.put(&mut unsafe { raw.assume_init_mut() }.sem_perm);
        self.record(libc::IPC_SET, &mut raw).map_err(|errno| match errno {
            libc::EINVAL if self.raw_stat().is_ok() => {
                let error = Error::system(errno, self.object(), "change");
                error.because(Reason::InvalidInput, "no such user or group can be")
            }
            _ => self.explain(errno, 0, "change"),
        })
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// As [`stat`](Semaphores::stat) and [`set_perm`](Semaphores::set_perm).
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.set_perm(&Perm { mode, ..self.stat()?.perm })
    }

    /// Removes the set at once. Whoever waits gets [`Reason::Removed`].
    ///
    /// # Errors
    /// [`Reason::Denied`] unless one is owner, creator or root; [`Reason::Removed`].
    pub fn remove(&self) -> Result<()> {
        self.ask(0, libc::IPC_RMID).map(drop).map_err(|e| e.tried("remove"))
    }

    /// A command that takes no argument and returns a number.
    fn ask(&self, number: u16, command: libc::c_int) -> Result<libc::c_int> {
        // SAFETY: the commands used here take a number in the union, or nothing.
        check(unsafe { libc::semctl(self.id, number.into(), command, Argument { value: 0 }) })
            .map_err(|errno| self.explain(errno, number, "look at"))
    }

    fn raw_stat(&self) -> Result<semid_ds, i32> {
        let mut raw = MaybeUninit::<semid_ds>::zeroed();
        self.record(libc::IPC_STAT, &mut raw)?;
        // SAFETY: numbers only, for which zeros are values; the kernel has filled it in.
        Ok(unsafe { raw.assume_init() })
    }

    /// IPC_STAT or IPC_SET.
    fn record(&self, command: libc::c_int, raw: &mut MaybeUninit<semid_ds>) -> Result<(), i32> {
        let argument = Argument { record: raw.as_mut_ptr() };
        // SAFETY: both commands take one `semid_ds`, which the argument points to.
        check(unsafe { libc::semctl(self.id, 0, command, argument) }).map(drop)
    }

    /// Room for the values of any set that can be, beginning with `values`.
    ///
    /// The kernel asks nobody how much room there is. The id could, after tens of thousands of others, mean another set by
    /// the time of the call; so the room is for what the system allows.
    fn room(&self, values: &[u16]) -> Result<Vec<u16>> {
        let count = self.stat()?.count;
        let allowed = limits().map_or(0, |limits| usize::try_from(limits.sem_per_set).unwrap_or(usize::MAX));
        let room = count.max(allowed).max(NUMBERED);
        if room > LARGEST_SET {
            let advice = format!("SEMMSL (kernel.sem, first number) is {allowed}, which makes no sense; lower it");
            return Err(Error::refuse(Reason::InvalidInput, self.object(), "read or set the values of", advice));
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
        check(unsafe { libc::semctl(self.id, 0, command, argument) })
            .map(drop)
            .map_err(|errno| self.explain(errno, 0, tried))
    }

    fn explain(&self, errno: i32, number: u16, tried: &'static str) -> Error {
        let error = Error::system(errno, self.object(), tried);
        match errno {
            libc::ERANGE => error.because(Reason::Range, format!("a semaphore's value is from 0 to {MAX_VALUE}")),
            #[allow(clippy::useless_conversion, reason = "the type differs by target")]
            libc::EINVAL => match self.raw_stat().map(|raw| u64::from(raw.sem_nsems)) {
                Ok(count) if u64::from(number) >= count => {
                    error.because(Reason::Range, format!("its semaphores are numbered 0 to {}", count - 1))
                }
                _ => error.because(Reason::Removed, "create it again"),
            },
            _ => error,
        }
    }

    pub(super) fn object(&self) -> Object {
        Object { kind: Kind::Sem, key: self.key, id: Some(self.id) }
    }
}

/// Whether it was done, where not being able to is no error.
fn done(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.reason(), Reason::WouldBlock | Reason::TimedOut) => Ok(false),
        Err(e) => Err(e),
    }
}
