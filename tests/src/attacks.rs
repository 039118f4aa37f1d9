//! Every way to write to the other party's segment that was thought of, and what comes of it. `tests/security.rs` tries
//! each, and `docs/SAFETY.md` has the table.

use std::fmt::Write as _;

/// A way.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What the attacker calls it.
    pub name: &'static str,
    /// What is done, for people.
    pub what: &'static str,
    /// What comes of it, by [`Relation`].
    pub seen: [&'static str; 3],
    /// What comes of it where nothing is sealed and everything may be written: a way that does nothing there would
    /// show nothing.
    pub control: &'static str,
}

/// How the attacker is related to the owner of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same user.
    Same = 0,
    /// The same user, but the owner is not dumpable.
    SameUndumpable = 1,
    /// Another user.
    Other = 2,
}

/// What a way does that succeeds.
pub const WRITES: &str = "**writes**";
/// What a way does to memory that is not sealed.
pub const CHANGES: &str = "changes it";
/// What a way does that is allowed and changes no byte, no size and no seal.
pub const NOTHING: &str = "no effect";

const fn way(name: &'static str, what: &'static str, seen: [&'static str; 3]) -> Way {
    Way { name, what, seen, control: CHANGES }
}

impl Way {
    const fn control(self, control: &'static str) -> Self {
        Way { control, ..self }
    }
}

/// All ways, by what they lead through.
pub const WAYS: [(&str, &[Way]); 3] =
    [("the descriptor", DESCRIPTOR), ("the mapping", MAPPING), ("the process", PROCESS)];

const DESCRIPTOR: &[Way] = &[
    way("write", "write(2)", ["EPERM"; 3]),
    way("pwrite", "pwrite(2)", ["EPERM"; 3]),
    way("pwritev2", "pwritev2(2), RWF_DSYNC", ["EPERM"; 3]),
    way("pwritev2-append", "pwritev2(2), RWF_APPEND", ["EPERM"; 3]),
    way("splice", "splice(2) from a pipe into it", ["EPERM"; 3]),
    way("sendfile", "sendfile(2) into it", ["EPERM"; 3]),
    way("copy_file_range", "copy_file_range(2) into it", ["EPERM"; 3]),
    way("io_uring-write", "write by io_uring", ["EPERM"; 3]),
    way("io_uring-fallocate", "punch a hole by io_uring", ["EPERM"; 3]),
    way("aio-write", "write by io_submit(2)", ["EPERM"; 3]),
    way("ftruncate-shorter", "ftruncate(2) to 0", ["EPERM"; 3]),
    way("ftruncate-longer", "ftruncate(2) to twice its size", ["EPERM"; 3]),
    way("punch-hole", "fallocate(2), PUNCH_HOLE", ["EPERM"; 3]),
    way("zero-range", "fallocate(2), ZERO_RANGE", ["EOPNOTSUPP"; 3]).control("EOPNOTSUPP"),
    way("collapse-range", "fallocate(2), COLLAPSE_RANGE", ["EOPNOTSUPP"; 3]).control("EOPNOTSUPP"),
    way("insert-range", "fallocate(2), INSERT_RANGE", ["EOPNOTSUPP"; 3]).control("EOPNOTSUPP"),
    way("allocate", "fallocate(2) of what it has: takes the memory that it may have anyway", [NOTHING; 3])
        .control(NOTHING),
    way("allocate-longer", "fallocate(2) of more than it has", ["EPERM"; 3]),
    way("add-seals", "more seals: F_ADD_SEALS", ["EPERM"; 3]),
    way("mmap-write", "mmap(2), PROT_WRITE, MAP_SHARED, and store", ["EPERM"; 3]),
    way("mmap-private", "mmap(2), PROT_WRITE, MAP_PRIVATE, and store: a copy of one's own", [NOTHING; 3])
        .control(NOTHING),
    way("reopen", "open `/proc/self/fd/N` for writing, and write", ["EPERM"; 3]),
    way("reopen-mmap", "the same, and map for writing", ["EPERM"; 3]),
    way("reopen-append", "open it with O_APPEND, and write", ["EPERM"; 3]),
    way("reopen-truncate", "open it with O_TRUNC", ["EPERM"; 3]),
    way("reopen-path", "open it with O_PATH, that for writing, and write", ["EPERM"; 3]),
    way("chmod-reopen", "fchmod(2), open it for writing, and write", ["EPERM"; 3]),
    way("link", "linkat(2): give it a name", ["EXDEV"; 3]).control("EXDEV"),
];

const MAPPING: &[Way] = &[
    way("store", "a store", ["SIGSEGV"; 3]),
    way("mprotect", "mprotect(2), and store", ["EACCES"; 3]),
    way("mremap-copy", "a second mapping by mremap(2), mprotect(2) of that, and store", ["EACCES"; 3]),
    way("madvise-remove", "madvise(2), MADV_REMOVE", ["EACCES"; 3]),
    way("madvise-dontneed", "madvise(2), MADV_DONTNEED: takes pages out of one's own mapping only", [NOTHING; 3])
        .control(NOTHING),
    way("madvise-free", "madvise(2), MADV_FREE", ["EINVAL"; 3]).control("EINVAL"),
    way("madvise-populate-write", "madvise(2), MADV_POPULATE_WRITE", ["EINVAL"; 3]).control(NOTHING),
    way("madvise-pageout", "madvise(2), MADV_PAGEOUT", [NOTHING; 3]).control(NOTHING),
    way("futex-wake-op", "FUTEX_WAKE_OP on a word of it", ["EFAULT"; 3]),
    way("futex-lock-pi", "FUTEX_TRYLOCK_PI on a word of it", ["EFAULT"; 3]),
    way("read-into", "read(2) from a pipe into it", ["EFAULT"; 3]),
    way("vmsplice-into", "vmsplice(2) from a pipe into it", ["EFAULT"; 3]),
    way("vmsplice-from", "vmsplice(2) of it into a pipe, and more written to the pipe", [NOTHING; 3]).control(NOTHING),
    way("splice-from", "splice(2) of the file into a pipe, and more written to the pipe", [NOTHING; 3])
        .control(NOTHING),
    way("process_vm_writev-self", "process_vm_writev(2) to oneself", ["EFAULT"; 3]),
    way("proc-self-mem", "write to `/proc/self/mem`", ["EIO"; 3]),
    way("ptrace-child", "PTRACE_POKEDATA in a child that has the mapping", ["EIO"; 3]),
    way("userfaultfd", "userfaultfd(2): UFFDIO_REGISTER", ["EPERM"; 3]).control(NOTHING),
    way("io_uring-fixed", "as a registered buffer of an io_uring", ["EFAULT"; 3]),
    way("io_uring-read-into", "read by io_uring into it", ["EFAULT"; 3]),
    way("clear-at-exit", "set_tid_address(2), and end the thread", [NOTHING; 3]),
];

const PROCESS: &[Way] = &[
    way("proc-fd", "open `/proc/PID/fd/N` for writing, and write", ["EPERM", "EACCES", "EACCES"]),
    way("proc-fd-mmap", "the same, and map for writing", ["EPERM", "EACCES", "EACCES"]),
    way("proc-fd-truncate", "open it with O_TRUNC", ["EPERM", "EACCES", "EACCES"]),
    way("pidfd_getfd", "pidfd_getfd(2) of the descriptor, and write", ["EPERM"; 3]),
    way("map_files", "open `/proc/PID/map_files/…`, and map for writing", ["EPERM", "EACCES", "EACCES"]),
    way("process_madvise", "process_madvise(2), MADV_PAGEOUT", ["EPERM", "EACCES", "EACCES"]).control(NOTHING),
    way("process_vm_writev", "process_vm_writev(2)", [WRITES, "EPERM", "EPERM"]),
    way("proc-mem", "write to `/proc/PID/mem`", [WRITES, "EACCES", "EACCES"]),
    way("ptrace-poke", "ptrace(2): PTRACE_POKEDATA", [WRITES, "EPERM", "EPERM"]).control("EPERM"),
];

/// The table for people.
#[must_use]
pub fn table() -> String {
    let mut table =
        String::from("| through | way | same user | same user, not dumpable | another user |\n|---|---|---|---|---|\n");
    for (through, ways) in WAYS {
        for way in ways {
            let [same, undumpable, other] = way.seen;
            let _ = writeln!(table, "| {through} | {} | {same} | {undumpable} | {other} |", way.what);
        }
    }
    table
}
