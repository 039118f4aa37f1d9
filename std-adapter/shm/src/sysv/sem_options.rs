//! How a set of semaphores is found or made, with its first values.

use std::thread;
use std::time::{Duration, Instant};

use super::error::Object;
use super::limits::{self, limit};
use super::{Error, Key, Kind, MAX_VALUE, Making, Op, Reason, Result, Semaphores, check};

/// How long an opener waits for the creator, if nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it looks.
const GLANCE: Duration = Duration::from_millis(1);

/// How to find or make a set of semaphores, in the manner of [`std::fs::OpenOptions`].
///
/// # The first values
/// The kernel makes a set and gives it values in two calls, so somebody could use it in between. The rule here is the
/// one of semop(2): **a set that nobody has operated on yet is not ready.**
/// - The creator makes the set exclusively, sets all values, but 0 for semaphore 0, and adds that one's first value by an
///   operation. Only that operation sets the time of the last operation (`sem_otime`).
/// - An opener waits until that time is set: up to a second, or as [`patience`](SemOptions::patience) says; then
///   [`Reason::NotReady`]. The creator may have died in between.
///
/// So nobody who opens a set here sees half of it, whoever comes first. Other programs (`ipcmk`, Python's `sysv_ipc`, Free
/// Pascal's `semtool`) set the values without an operation: [`adopt`](SemOptions::adopt) takes their sets as they are.
///
/// ```
/// use smstream_shm::sysv::{Key, RemoveOnDrop, Semaphores};
///
/// let set = Semaphores::options().initial(&[1, 5]).create_new(true).open(Key::PRIVATE)?;
/// let set = RemoveOnDrop::new(set);
/// assert_eq!(set.values()?, [1, 5]);
/// # Ok::<(), smstream_shm::sysv::Error>(())
/// ```
///
/// # References
/// semget(2), semop(2); Free Pascal `semget`.
#[derive(Clone, Copy, Debug)]
pub struct SemOptions<'a> {
    count: usize,
    initial: &'a [u16],
    making: Making,
    adopt: bool,
    patience: Duration,
}

impl Default for SemOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> SemOptions<'a> {
    /// Opens what exists, with any number of semaphores.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: 0, initial: &[], making: Making::new(), adopt: false, patience: PATIENCE }
    }

    /// How many semaphores a new set has, all 0. An existing one must have as many or more.
    #[must_use]
    pub const fn count(mut self, count: usize) -> Self {
        self.count = count;
        self.initial = &[];
        self
    }

    /// The values of a new set, as many as it has semaphores. An existing one must have as many or more, and keeps its
    /// values.
    #[must_use]
    pub const fn initial(mut self, values: &'a [u16]) -> Self {
        self.count = values.len();
        self.initial = values;
        self
    }

    /// Makes a set if there is none with this key.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.making.create = create;
        self
    }

    /// Makes a set, and fails if there is one with this key.
    #[must_use]
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.making.create_new = create_new;
        self
    }

    /// Who may use a new set: [`DEFAULT_MODE`](super::DEFAULT_MODE) if nothing is said. No umask applies. Its creator
    /// must be able to set it up, so it needs read and write for the owner.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
        self
    }

    /// Takes an existing set as it is, ready or not.
    #[must_use]
    pub const fn adopt(mut self, adopt: bool) -> Self {
        self.adopt = adopt;
        self
    }

    /// How long to wait until an existing set is ready.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Finds or makes the set. With [`Key::PRIVATE`] it is always a new one. Blocks only for a set that is not ready.
    ///
    /// # Errors
    /// [`Reason::Exists`], [`Reason::NotFound`], [`Reason::NotReady`]; [`Reason::Size`] for a new set of no semaphores, or
    /// an existing one that has fewer; [`Reason::Range`] for a value above 32767; [`Reason::Limit`] for SEMMSL, SEMMNI,
    /// SEMMNS; [`Reason::NoMemory`]; [`Reason::Denied`].
    pub fn open(&self, key: Key) -> Result<Semaphores> {
        let object = Object { kind: Kind::Sem, key: Some(key), id: None };
        let tried = self.making.tried(key);
        if let Some(value) = self.initial.iter().find(|&&value| value > MAX_VALUE) {
            let advice = format!("a semaphore's value is from 0 to {MAX_VALUE}, not {value}");
            return Err(Error::refuse(Reason::Range, object, tried, advice));
        }
        let exclusive = Making { create_new: true, ..self.making };
        let existing = Making { create: false, create_new: false, ..self.making };
        loop {
            if self.making.creates(key) {
                match self.get(key, exclusive.flags(key, object)?) {
                    Ok(id) => return self.set_up(Semaphores::new(id, Some(key))),
                    Err(libc::EEXIST) if !self.making.create_new => {}
                    Err(errno) => return Err(self.explain(errno, key, object)),
                }
            }
            let result = match self.get(key, existing.flags(key, object)?) {
                Ok(id) => self.join(Semaphores::new(id, Some(key))),
                Err(errno) => Err(self.explain(errno, key, object)),
            };
            match result {
                // Somebody removed it since; so there is room for a new one.
                Err(e) if self.making.create && matches!(e.reason(), Reason::NotFound | Reason::Removed) => {}
                result => return result,
            }
        }
    }

    fn get(&self, key: Key, flags: libc::c_int) -> Result<libc::c_int, i32> {
        let count = libc::c_int::try_from(self.count).unwrap_or(libc::c_int::MAX);
        // SAFETY: semget takes numbers only.
        check(unsafe { libc::semget(key.raw(), count, flags) })
    }

    /// Gives a new set its values; it is removed again if that fails.
    fn set_up(&self, set: Semaphores) -> Result<Semaphores> {
        let result = self.set_values(&set);
        if result.is_err() {
            let _ = set.remove();
        }
        result.map(|()| set)
    }

    fn set_values(&self, set: &Semaphores) -> Result<()> {
        let mut values = if self.initial.is_empty() { vec![0; self.count] } else { self.initial.to_vec() };
        let first = values.first_mut().map_or(0, std::mem::take);
        set.set_all(&values)?;
        let ready = if first == 0 { Op::wait_zero(0).nowait() } else { Op::add(0, first) };
        match set.op(&[ready]) {
            // Somebody did not wait until it was ready. By that it is.
            Err(e) if e.reason() == Reason::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Waits until an existing set is ready.
    fn join(&self, set: Semaphores) -> Result<Semaphores> {
        if self.adopt {
            return Ok(set);
        }
        let start = Instant::now();
        while set.stat()?.operated_at.is_none() {
            if start.elapsed() >= self.patience {
                let advice = "nobody has operated on it yet: its creator died, or sets values in another way (then \
                              adopt it)";
                return Err(Error::refuse(Reason::NotReady, set.object(), "open", advice));
            }
            thread::sleep(GLANCE);
        }
        Ok(set)
    }

    fn explain(&self, errno: i32, key: Key, object: Object) -> Error {
        let error = Error::system(errno, object, self.making.tried(key));
        match errno {
            libc::EINVAL if self.count == 0 => error.because(Reason::Size, "a new set has at least one semaphore"),
            libc::EINVAL => {
                let max = limit("SEMMSL", "kernel.sem, first number", |limits| limits.sem_per_set);
                if max.value().is_some_and(|max| self.count as u64 > max) {
                    return error.limited(max);
                }
                error.because(Reason::Size, format!("the existing set has fewer than {} semaphores", self.count))
            }
            libc::ENOSPC => error.limited(limits::sem_limit()),
            _ => error,
        }
    }
}
