//! The table of what is removed when the process ends: fixed, without locks, usable in a signal handler.
//!
//! A slot is FREE, being FILLED, or READY. Its state word has a generation beside that, which changes when the slot
//! becomes free. Whoever reads a slot copies it and then looks whether the state is the same as before: the fields of a
//! slot that is READY do not change. Nobody ever waits for anybody: a slot that is being filled is passed over.
//!
//! Removing is done while the slot is READY, and can be done twice; so a signal that interrupts it does it again, and
//! nothing is left over.

use super::remove::{Target, TargetRef};
use std::ffi::CStr;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// How many objects a process can have registered.
const SLOTS: usize = 256;
/// The bytes of a path, with the NUL byte at its end.
pub(super) const LONGEST: usize = 504;

const FREE: u32 = 0;
const FILLED: u32 = 1;
const READY: u32 = 2;
/// The bits of the state; the others are the generation.
const STATE: u32 = 3;
const GENERATION: u32 = 4;

const FILE: u32 = 1;
const SYSV_SHM: u32 = 2;
const SYSV_SEM: u32 = 3;
const SYSV_MSG: u32 = 4;

struct Slot {
    state: AtomicU32,
    /// The process whose entry it is. A forked child has its parent's entries, too, and leaves them alone.
    pid: AtomicU32,
    kind: AtomicU32,
    id: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
    path: [AtomicU8; LONGEST],
}

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// An entry: its slot, and the state it has as long as it is this entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    slot: usize,
    ready: u32,
}

impl Slot {
    const fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
            pid: AtomicU32::new(0),
            kind: AtomicU32::new(0),
            id: AtomicI32::new(0),
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
            path: [const { AtomicU8::new(0) }; LONGEST],
        }
    }

    /// Takes the slot to fill it, if it is free, or has an entry of the process this one was forked from.
    fn take(&self, pid: u32) -> Option<u32> {
        let state = self.state.load(Ordering::Acquire);
        let next = match state & STATE {
            FREE => state | FILLED,
            READY if self.pid.load(Ordering::Relaxed) != pid => freed(state) | FILLED,
            _ => return None,
        };
        // Acquire: who fills it comes after who used it before.
        self.state.compare_exchange(state, next, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(next)
    }

    /// Fills the slot, which the caller has taken, and makes it READY.
    fn fill(&self, taken: u32, pid: u32, target: &Target) -> u32 {
        // Against the fence of `remove`: a reader that sees one of these values sees the state that came before, too.
        fence(Ordering::Release);
        self.pid.store(pid, Ordering::Relaxed);
        let (kind, id) = match target {
            Target::File { path, id: (device, inode) } => {
                self.device.store(*device, Ordering::Relaxed);
                self.inode.store(*inode, Ordering::Relaxed);
                for (to, from) in self.path.iter().zip(path.as_bytes_with_nul()) {
                    to.store(*from, Ordering::Relaxed);
                }
                (FILE, 0)
            }
            Target::SysvShm(id) => (SYSV_SHM, *id),
            Target::SysvSem(id) => (SYSV_SEM, *id),
            Target::SysvMsg(id) => (SYSV_MSG, *id),
        };
        self.kind.store(kind, Ordering::Relaxed);
        self.id.store(id, Ordering::Relaxed);
        let ready = taken & !STATE | READY;
        self.state.store(ready, Ordering::Release);
        ready
    }

    /// Frees the slot, if it has this state still.
    fn free(&self, ready: u32) {
        let _ = self.state.compare_exchange(ready, freed(ready), Ordering::Release, Ordering::Relaxed);
    }

    /// Removes the object of the slot, if it has one and it is this process's. For signal handlers as well.
    fn remove(&self, pid: u32) {
        let state = self.state.load(Ordering::Acquire);
        if state & STATE != READY || self.pid.load(Ordering::Relaxed) != pid {
            return;
        }
        let mut path = [0; LONGEST];
        for (to, from) in path.iter_mut().zip(&self.path) {
            *to = from.load(Ordering::Relaxed);
        }
        let id = self.id.load(Ordering::Relaxed);
        let file = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        let kind = self.kind.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.state.load(Ordering::Relaxed) != state {
            // Somebody has removed it himself meanwhile.
            return;
        }
        let target = match (kind, CStr::from_bytes_until_nul(&path)) {
            (FILE, Ok(path)) => TargetRef::File { path, id: file },
            (SYSV_SHM, _) => TargetRef::SysvShm(id),
            (SYSV_SEM, _) => TargetRef::SysvSem(id),
            (SYSV_MSG, _) => TargetRef::SysvMsg(id),
            _ => return,
        };
        // There is nobody left to tell of an error.
        let _ = target.remove();
        self.free(state);
    }
}

/// The state after this one has been freed.
fn freed(state: u32) -> u32 {
    (state & !STATE).wrapping_add(GENERATION)
}

/// Enters an object.
pub(super) fn enter(target: &Target) -> io::Result<Entry> {
    let pid = own_pid();
    for (slot, place) in TABLE.iter().enumerate() {
        if let Some(taken) = place.take(pid) {
            return Ok(Entry { slot, ready: place.fill(taken, pid, target) });
        }
    }
    let text = format!("this process has {SLOTS} objects registered to be removed, and that is the most");
    Err(io::Error::new(io::ErrorKind::OutOfMemory, text))
}

/// Takes an entry out, if it is still there.
pub(super) fn leave(entry: Entry) {
    TABLE[entry.slot].free(entry.ready);
}

/// Removes all that this process has in the table. Async-signal-safe: it makes system calls, takes no memory and no
/// lock, and waits for nobody.
pub(super) fn run() {
    let pid = own_pid();
    for slot in &TABLE {
        slot.remove(pid);
    }
}

/// Asks the kernel, since a forked child must not take itself for its parent.
fn own_pid() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}

extern "C" fn at_exit() {
    run();
}

/// Has the table run when the process exits. Forked children inherit that, and find nothing of their own.
pub(super) fn run_at_exit() -> io::Result<()> {
    static ONCE: Once = Once::new();
    static FAILED: AtomicBool = AtomicBool::new(false);
    ONCE.call_once(|| {
        // SAFETY: `at_exit` is a function without arguments that stays as long as the program, and does not unwind.
        let result = unsafe { libc::atexit(at_exit) };
        FAILED.store(result != 0, Ordering::Relaxed);
    });
    if FAILED.load(Ordering::Relaxed) {
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, "no more functions can be called at exit (atexit)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_its_turns() {
        let slot = Slot::new();
        let first = slot.take(1).unwrap();
        assert_eq!(slot.take(1), None, "it is being filled");
        slot.remove(1);
        let ready = slot.fill(first, 1, &Target::SysvMsg(-1));
        assert_eq!(slot.take(1), None, "it is in use");
        slot.remove(2);
        assert_eq!(slot.state.load(Ordering::Relaxed), ready, "another process's entry stays");
        slot.remove(1);
        assert_eq!(slot.state.load(Ordering::Relaxed), freed(ready));
        let second = slot.take(1).unwrap();
        slot.free(ready);
        assert_eq!(slot.state.load(Ordering::Relaxed), second, "an old entry frees nothing new");
        let ready = slot.fill(second, 1, &Target::SysvMsg(-1));
        // A forked child takes the slots of its parent's entries for its own.
        let child = slot.take(2).unwrap();
        assert_ne!(child & !STATE, ready & !STATE);
    }

    #[test]
    fn generations_wrap() {
        assert_eq!(freed(!STATE | READY), FREE);
    }
}
