//! The table of what is removed when the process ends: of fixed size, without locks, usable in a signal handler.
//!
//! An object is removed while its entry is there, and removing it twice does no harm. So a signal that interrupts the
//! removal does it again, and the object does not stay behind.

use super::remove::{Target, TargetRef};
use crate::slots::{self, Fields, Inherited, StaticFields, Table};
use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// How many objects a process can have registered.
const SLOTS: usize = 256;
/// The bytes of a path, with the NUL byte at its end.
pub(super) const LONGEST: usize = 504;

const FILE: u32 = 1;
const SYSV_SHM: u32 = 2;
const SYSV_SEM: u32 = 3;
const SYSV_MSG: u32 = 4;

/// A target in a slot.
pub(super) struct TargetFields {
    kind: AtomicU32,
    id: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
    path: [AtomicU8; LONGEST],
}

/// The same as plain values.
pub(super) struct TargetRecord {
    kind: u32,
    id: i32,
    file: (u64, u64),
    path: [u8; LONGEST],
}

/// A forked child has its parent's entries, too: it leaves the objects alone, and takes the slots.
static TABLE: Table<TargetFields, SLOTS> = Table::new(Inherited::Void);

pub(super) type Entry = slots::Entry<TargetFields>;

impl Fields for TargetFields {
    type Value = TargetRecord;

    fn store(&self, record: &TargetRecord) {
        self.kind.store(record.kind, Ordering::Relaxed);
        self.id.store(record.id, Ordering::Relaxed);
        self.device.store(record.file.0, Ordering::Relaxed);
        self.inode.store(record.file.1, Ordering::Relaxed);
        for (to, from) in self.path.iter().zip(record.path) {
            to.store(from, Ordering::Relaxed);
            if from == 0 {
                break;
            }
        }
    }

    fn load(&self, record: &mut TargetRecord) {
        record.kind = self.kind.load(Ordering::Relaxed);
        record.id = self.id.load(Ordering::Relaxed);
        record.file = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        for (to, from) in record.path.iter_mut().zip(&self.path) {
            *to = from.load(Ordering::Relaxed);
            if *to == 0 {
                break;
            }
        }
    }
}

impl StaticFields for TargetFields {
    #[allow(clippy::declare_interior_mutable_const, reason = "it is copied into each slot of a static")]
    const EMPTY: Self = Self {
        kind: AtomicU32::new(0),
        id: AtomicI32::new(0),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
        path: [const { AtomicU8::new(0) }; LONGEST],
    };
}

impl TargetRecord {
    const NONE: Self = Self { kind: 0, id: 0, file: (0, 0), path: [0; LONGEST] };

    fn new(target: &Target) -> Self {
        let mut record = Self::NONE;
        (record.kind, record.id) = match target {
            Target::File { path, id } => {
                record.file = *id;
                for (to, from) in record.path.iter_mut().zip(path.as_bytes()) {
                    *to = *from;
                }
                (FILE, 0)
            }
            Target::SysvShm(id) => (SYSV_SHM, *id),
            Target::SysvSem(id) => (SYSV_SEM, *id),
            Target::SysvMsg(id) => (SYSV_MSG, *id),
        };
        record
    }

    fn target(&self) -> Option<TargetRef<'_>> {
        Some(match (self.kind, CStr::from_bytes_until_nul(&self.path)) {
            (FILE, Ok(path)) => TargetRef::File { path, id: self.file },
            (SYSV_SHM, _) => TargetRef::SysvShm(self.id),
            (SYSV_SEM, _) => TargetRef::SysvSem(self.id),
            (SYSV_MSG, _) => TargetRef::SysvMsg(self.id),
            _ => return None,
        })
    }
}

/// Enters an object, whose path is shorter than [`LONGEST`].
pub(super) fn enter(target: &Target) -> io::Result<Entry> {
    TABLE.enter(&TargetRecord::new(target)).ok_or_else(|| {
        let text = format!("this process has {SLOTS} objects registered to be removed, and that is the most");
        io::Error::new(io::ErrorKind::OutOfMemory, text)
    })
}

/// Removes all that this process has in the table. Async-signal-safe: it makes system calls, takes no memory and no lock,
/// and does not wait.
pub(super) fn run() {
    run_for(slots::own_process());
}

fn run_for(process: u32) {
    let mut record = TargetRecord::NONE;
    TABLE.look(&mut record, |entry, record| {
        if entry.process() == process {
            if let Some(target) = record.target() {
                // The process ends: an error has no place to go.
                let _ = target.remove();
            }
            entry.leave();
        }
        None::<()>
    });
}

extern "C" fn at_exit() {
    run();
}

/// Has the table run when the process exits. Forked children inherit that, and find no entries of their own.
///
/// There is no lock, which a child could inherit held: of threads that come here at the same time each may add the
/// function, and running it twice does no harm.
pub(super) fn run_at_exit() -> io::Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: `at_exit` is a function without arguments that stays as long as the program, and does not unwind.
    if unsafe { libc::atexit(at_exit) } != 0 {
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, "no more functions can be called at exit (atexit)"));
    }
    DONE.store(true, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn load(fields: &TargetFields) -> TargetRecord {
        let mut record = TargetRecord::NONE;
        fields.load(&mut record);
        record
    }

    #[test]
    fn records_keep_their_target() {
        let longest = CString::new("x".repeat(LONGEST - 1)).unwrap();
        let fields = TargetFields::EMPTY;
        assert!(load(&fields).target().is_none());
        for _ in 0..2 {
            fields.store(&TargetRecord::new(&Target::File { path: longest.clone(), id: (7, 1 << 40) }));
            let record = load(&fields);
            let Some(TargetRef::File { path, id }) = record.target() else { panic!("another kind") };
            assert_eq!((path, id), (&*longest, (7, 1 << 40)));
            // A shorter path after a longer one ends where it ends.
            fields.store(&TargetRecord::new(&Target::File { path: c"/a".into(), id: (0, 0) }));
            let record = load(&fields);
            assert!(matches!(record.target(), Some(TargetRef::File { path, .. }) if path == c"/a"));
        }
        fields.store(&TargetRecord::new(&Target::SysvMsg(-1)));
        assert!(matches!(load(&fields).target(), Some(TargetRef::SysvMsg(-1))));
    }

    #[test]
    fn entries_of_another_process_stay() {
        // An id that no queue has, so that it does not matter to the other tests of this process.
        let entry = enter(&Target::SysvMsg(-1)).unwrap();
        let is_there = || {
            let found = |_, record: &TargetRecord| (record.kind == SYSV_MSG && record.id == -1).then_some(());
            let mut record = TargetRecord::NONE;
            TABLE.look(&mut record, found).is_some()
        };
        run_for(slots::own_process() + 1);
        assert!(is_there());
        entry.leave();
        assert!(!is_there());
    }
}
