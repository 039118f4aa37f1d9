//! How a set of semaphores is found or made: what can be said.

use super::options::SysvOptions;
use std::time::Duration;

/// How long an opener waits for the creator, unless the caller says otherwise.
const PATIENCE: Duration = Duration::from_secs(1);

/// How to find or make a set of semaphores, in the manner of [`std::fs::OpenOptions`].
///
/// # The first values
/// The kernel makes a set and gives it values in two calls, so another process could use it in between. The rule here is the
/// one of semop(2): **a set on which no process has operated yet is not ready.**
/// - The creator makes the set exclusively, sets all values, but 0 for semaphore 0, and adds that one's first value by an
///   operation. Only that operation sets the time of the last operation (`sem_otime`).
/// - An opener waits until that time is set: up to a second, or as [`patience`](SemOptions::patience) says; then
///   [`SysvReason::NotReady`](super::SysvReason::NotReady). The creator may have died in between.
///
/// So an opener never sees half of a set that was created here, in whatever order the processes come. Other programs (`ipcmk`, Python's `sysv_ipc`, Free
/// Pascal's `semtool`) set the values without an operation: [`adopt`](SemOptions::adopt) takes their sets as they are.
///
/// ```
/// use smstream_shm::sysv::{Key, RemoveOnDrop, Semaphores};
///
/// let set = Semaphores::options().initial(&[1, 5]).create_new(true).open(Key::PRIVATE)?;
/// let set = RemoveOnDrop::new(set);
/// assert_eq!(set.values()?, [1, 5]);
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
///
/// # References
/// semget(2), semop(2); Free Pascal `semget`.
pub type SemOptions<'a> = SysvOptions<SemSettings<'a>>;

/// What [`SemOptions`] have beside the mode.
#[derive(Clone, Copy, Debug)]
pub struct SemSettings<'a> {
    pub(super) count: usize,
    pub(super) initial: &'a [u16],
    pub(super) adopt: bool,
    pub(super) patience: Duration,
}

impl SemSettings<'_> {
    pub(super) const NONE: Self = Self { count: 0, initial: &[], adopt: false, patience: PATIENCE };
}

impl<'a> SemOptions<'a> {
    /// How many semaphores a new set has, all 0. An existing one must have as many or more.
    #[must_use]
    pub const fn count(mut self, count: usize) -> Self {
        self.settings.count = count;
        self.settings.initial = &[];
        self
    }

    /// The values of a new set, as many as it has semaphores. An existing one must have as many or more, and keeps its
    /// values.
    #[must_use]
    pub const fn initial(mut self, values: &'a [u16]) -> Self {
        self.settings.count = values.len();
        self.settings.initial = values;
        self
    }

    /// Takes an existing set as it is, ready or not.
    #[must_use]
    pub const fn adopt(mut self, adopt: bool) -> Self {
        self.settings.adopt = adopt;
        self
    }

    /// How long to wait until an existing set is ready.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }
}
