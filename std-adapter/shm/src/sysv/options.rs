//! How an object is found or made: what the three kinds have in common.

use super::error::{Result, SysvError, SysvObject, SysvReason};
use super::key::Key;
use super::perm::{DEFAULT_MODE, MODE_BITS};

/// How to find or make a System V object, in the manner of [`std::fs::OpenOptions`]: [`ShmOptions`](super::ShmOptions),
/// [`SemOptions`](super::SemOptions) and [`QueueOptions`](super::QueueOptions) are this, with settings of their own.
///
/// # References
/// shmget(2), semget(2), msgget(2); Free Pascal `shmget`, `semget`, `msgget`, `IPC_CREAT`, `IPC_EXCL`; Cedar `ShmGet`,
/// `ipcCREAT`, `ipcEXCL`.
#[derive(Clone, Copy, Debug)]
pub struct SysvOptions<S> {
    making: Making,
    pub(super) settings: S,
}

/// What the kinds differ in.
pub trait Settings: Copy {
    /// What is opened.
    type Object;
    /// What holds if nothing is said.
    const DEFAULT: Self;

    #[doc(hidden)]
    fn open(self, making: Making, key: Key) -> Result<Self::Object>;
}

impl<S: Settings> SysvOptions<S> {
    /// Opens what exists.
    #[must_use]
    pub const fn new() -> Self {
        Self { making: Making { create: false, create_new: false, mode: DEFAULT_MODE }, settings: S::DEFAULT }
    }

    /// Makes an object if there is none with this key.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.making.create = create;
        self
    }

    /// Makes an object, and fails if there is one with this key.
    #[must_use]
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.making.create_new = create_new;
        self
    }

    /// Who may use a new object: [`DEFAULT_MODE`] if nothing is said. No umask applies. The creator of a set of semaphores
    /// must be able to set it up, so that one needs read and write for the owner.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.making.mode = mode;
        self
    }

    /// Finds or makes the object. With [`Key::PRIVATE`] it is always a new one. The bytes of a new segment are 0. It
    /// blocks only for a set of semaphores that is not ready; see [`SemOptions`](super::SemOptions).
    ///
    /// # Errors
    /// [`SysvReason::Exists`], [`SysvReason::NotFound`], [`SysvReason::NoMemory`], [`SysvReason::Denied`];
    /// [`SysvReason::InvalidInput`] for a mode of more than nine bits;
    /// - segments: [`SysvReason::Size`] for a new one of no bytes, or an existing one that is smaller; [`SysvReason::Limit`] for
    ///   SHMMAX, SHMMNI, SHMALL;
    /// - sets of semaphores: [`SysvReason::NotReady`]; [`SysvReason::Size`] for a new one of no semaphores, or an existing one that
    ///   has fewer; [`SysvReason::Range`] for a value above 32767; [`SysvReason::Limit`] for SEMMSL, SEMMNI, SEMMNS;
    /// - queues: [`SysvReason::Limit`] for MSGMNI.
    pub fn open(&self, key: Key) -> Result<S::Object> {
        self.settings.open(self.making, key)
    }
}

impl<S: Settings> Default for SysvOptions<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// How an object is looked for or made.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Making {
    pub(super) create: bool,
    pub(super) create_new: bool,
    pub(super) mode: u32,
}

impl Making {
    /// Whether the call may make an object of this key. With [`Key::PRIVATE`], it always does.
    pub(super) fn creates(self, key: Key) -> bool {
        self.create || self.create_new || key.is_private()
    }

    /// What was tried, for errors.
    pub(super) fn tried(self, key: Key) -> &'static str {
        match (self.create_new || key.is_private(), self.create) {
            (true, _) => "create",
            (false, true) => "open or create",
            (false, false) => "open",
        }
    }

    /// The flags of a `get` call.
    pub(super) fn flags(self, key: Key, object: SysvObject) -> Result<libc::c_int> {
        if self.mode & !MODE_BITS != 0 {
            let advice = format!("the mode {:#o} has more than the nine bits rwxrwxrwx", self.mode);
            return Err(SysvError::refuse(SysvReason::InvalidInput, object, self.tried(key), advice));
        }
        // An open without a mode is allowed to all users; the calls that follow check what they need.
        let mode = if self.creates(key) { self.mode.cast_signed() } else { 0 };
        let create = if self.create || self.create_new { libc::IPC_CREAT } else { 0 };
        let exclusive = if self.create_new { libc::IPC_EXCL } else { 0 };
        Ok(mode | create | exclusive)
    }
}
