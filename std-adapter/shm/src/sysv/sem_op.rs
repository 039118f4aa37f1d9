//! Operations on semaphores, and the system call that makes them.

use super::call::check;
use super::error::{Limit, Result, SysvError, SysvObject, SysvReason};
use super::limits::{MAX_VALUE, limit};
use std::ptr;
use std::time::{Duration, Instant};

/// One operation on one semaphore of a set. Several make one call, which happens as a whole or not at all.
///
/// ```
/// use smstream_shm::sysv::{Key, Op, RemoveOnDrop, Semaphores};
///
/// let set = RemoveOnDrop::new(Semaphores::create(Key::PRIVATE, &[2, 0])?);
/// // Wait until semaphore 1 is 0, then count it up and take one of semaphore 0: all at the same moment.
/// set.op(&[Op::wait_zero(1), Op::add(1, 1), Op::sub(0, 1).undo()])?;
/// assert_eq!(set.values()?, [1, 1]);
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
///
/// # References
/// semop(2); Free Pascal `TSEMbuf`, `IPC_NOWAIT`, `SEM_UNDO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    number: u16,
    kind: OpKind,
    flags: libc::c_int,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpKind {
    Add(u16),
    Sub(u16),
    WaitZero,
}

impl Op {
    /// Adds to semaphore `number`: from 1 to 32767. Never waits.
    #[must_use]
    pub const fn add(number: u16, amount: u16) -> Self {
        Self { number, kind: OpKind::Add(amount), flags: 0 }
    }

    /// Waits until semaphore `number` is at least `amount`, from 1 to 32767, and takes that away.
    #[must_use]
    pub const fn sub(number: u16, amount: u16) -> Self {
        Self { number, kind: OpKind::Sub(amount), flags: 0 }
    }

    /// Waits until semaphore `number` is 0.
    #[must_use]
    pub const fn wait_zero(number: u16) -> Self {
        Self { number, kind: OpKind::WaitZero, flags: 0 }
    }

    /// The whole call fails with [`SysvReason::WouldBlock`] where this operation would wait.
    #[must_use]
    pub const fn nowait(mut self) -> Self {
        self.flags |= libc::IPC_NOWAIT;
        self
    }

    /// The kernel takes the change back when this process ends, however it ends.
    ///
    /// It does so for the process, not the thread; a child made by `fork` starts with nothing to take back, `exec` keeps
    /// it. Setting a value ([`Semaphores::set`](super::Semaphores::set)) forgets it. A value never goes below 0 by it.
    #[must_use]
    pub const fn undo(mut self) -> Self {
        self.flags |= libc::SEM_UNDO;
        self
    }

    fn waits(&self) -> bool {
        self.flags & libc::IPC_NOWAIT == 0
    }

    /// What the kernel is given: `None` for amounts that it would take for something else.
    fn raw(self) -> Option<libc::sembuf> {
        let amount = |amount: u16| i16::try_from(amount).ok().filter(|&amount| amount > 0);
        let change = match self.kind {
            OpKind::Add(n) => amount(n)?,
            OpKind::Sub(n) => -amount(n)?,
            OpKind::WaitZero => 0,
        };
        let flags = libc::c_short::try_from(self.flags).ok()?;
        Some(libc::sembuf { sem_num: self.number, sem_op: change, sem_flg: flags })
    }
}

/// The record of a time that the symbol `semtimedop` takes: two C longs, on 32-bit machines, too (there, other symbols
/// take 64-bit seconds).
#[repr(C)]
struct Time {
    seconds: libc::c_long,
    nanoseconds: libc::c_long,
}

unsafe extern "C" {
    fn semtimedop(
        id: libc::c_int,
        operations: *mut libc::sembuf,
        count: libc::size_t,
        timeout: *const Time,
    ) -> libc::c_int;
}

/// As many operations are put together without allocation.
const FEW: usize = 8;

/// Makes the operations, for no longer than `timeout`, whatever signals come. `count` tells how many semaphores there
/// are, for errors.
pub(super) fn operate(
    id: libc::c_int,
    ops: &[Op],
    timeout: Option<Duration>,
    object: SysvObject,
    count: impl Fn() -> Result<usize>,
) -> Result<()> {
    const NOTHING: libc::sembuf = libc::sembuf { sem_num: 0, sem_op: 0, sem_flg: 0 };
    let mut few = [NOTHING; FEW];
    let mut many = Vec::new();
    let raw = if let Some(few) = few.get_mut(..ops.len()) {
        few
    } else {
        many.resize(ops.len(), NOTHING);
        &mut many[..]
    };
    for (raw, op) in raw.iter_mut().zip(ops) {
        *raw = op.raw().ok_or_else(|| {
            let advice = format!("one call changes a semaphore by 1 to {MAX_VALUE}");
            SysvError::refuse(SysvReason::Range, object, "operate on", advice)
        })?;
    }
    if ops.is_empty() {
        return Err(SysvError::refuse(SysvReason::InvalidInput, object, "operate on", "give at least one operation"));
    }
    // A time beyond all clocks is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        match call(id, raw, deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))) {
            Ok(()) => return Ok(()),
            Err(libc::EINTR) => {}
            Err(libc::EAGAIN) => {
                let error = SysvError::system(libc::EAGAIN, object, "operate on");
                let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if over && ops.iter().any(Op::waits) {
                    return Err(error.because(SysvReason::TimedOut, ""));
                }
                if !ops.iter().all(Op::waits) {
                    return Err(error.because(SysvReason::WouldBlock, ""));
                }
                // The kernel's clock was ahead of ours, or the time did not fit into its record.
            }
            Err(errno) => return Err(explain(errno, object, &count)),
        }
    }
}

fn explain(errno: i32, object: SysvObject, count: &impl Fn() -> Result<usize>) -> SysvError {
    let error = SysvError::system(errno, object, "operate on");
    match errno {
        libc::EFBIG => {
            let advice = match count() {
                Ok(count) => format!("its semaphores are numbered 0 to {}", count.saturating_sub(1)),
                Err(_) => "it has fewer semaphores".to_owned(),
            };
            error.because(SysvReason::Range, advice)
        }
        libc::ERANGE => {
            error.because(SysvReason::Range, format!("a value, or what is to be undone, would pass {MAX_VALUE}"))
        }
        libc::E2BIG => error.limited(limit("SEMOPM", "kernel.sem, third number", |limits| limits.sem_operations)),
        libc::ENOSPC => error.limited(Limit { name: "SEMMNU", sysctl: "fixed in the kernel", value: None }),
        libc::EINVAL => error.because(SysvReason::Removed, "create it again"),
        _ => error,
    }
}

fn call(id: libc::c_int, raw: &mut [libc::sembuf], timeout: Option<Duration>) -> Result<(), i32> {
    let time = timeout.map(|timeout| Time {
        seconds: timeout.as_secs().try_into().unwrap_or(libc::c_long::MAX),
        #[allow(clippy::cast_possible_wrap, reason = "below 10⁹")]
        nanoseconds: timeout.subsec_nanos() as libc::c_long,
    });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `raw` is that many records; `time` is null or points to a record on this stack frame. The kernel writes to
    // neither.
    check(unsafe { semtimedop(id, raw.as_mut_ptr(), raw.len(), time) }).map(drop)
}
