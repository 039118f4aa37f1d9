//! What a party asks of the system to make life harder for itself.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wrong;

static SIGNALS: AtomicU64 = AtomicU64::new(0);

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a child that has all descriptors of this process, and ends when the commands do. Returns its process id.
pub(crate) fn fork_and_hold() -> io::Result<i32> {
    // SAFETY: the child calls nothing but `hold`, which is safe after a fork of a process with threads.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        hold();
    }
    check(pid).map(|()| pid)
}

/// Calls `work` in a child, and waits for what it returns. The child dies with this process.
pub(crate) fn in_a_child(work: impl FnOnce() -> String) -> io::Result<String> {
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: the child takes locks and memory, which after a fork of a process with several threads may be in another
    // thread's hands for ever. The only other thread here is the watcher of smstream, which sleeps unless a stream of this
    // process is closed; the C library makes its own allocator usable in the child.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: this call takes no pointers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let _ = writer.write_all(work().as_bytes());
        // SAFETY: it runs no destructors of what is the parent's.
        unsafe { libc::_exit(0) };
    }
    check(pid)?;
    drop(writer);
    let mut result = String::new();
    reader.read_to_string(&mut result)?;
    // SAFETY: no status is asked for; the process is a child of this one.
    check(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) })?;
    Ok(result)
}

/// Waits for the end of the commands without taking any, and exits. Nothing here allocates or locks.
fn hold() -> ! {
    loop {
        let mut input = libc::pollfd { fd: 0, events: 0, revents: 0 };
        // SAFETY: the pointer is to one initialized `pollfd`, which outlives the call. poll(2) is async-signal-safe.
        let ready = unsafe { libc::poll(&raw mut input, 1, -1) };
        if ready == 1 {
            // SAFETY: _exit runs no destructors and no handlers; it is async-signal-safe.
            unsafe { libc::_exit(0) };
        }
    }
}

extern "C" fn count(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Counts SIGUSR1, SIGUSR2, SIGALRM and the last real-time signal, with a handler that interrupts system calls.
pub(crate) fn handle_signals() -> io::Result<()> {
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGRTMAX()] {
        // SAFETY: `sigaction` is a C struct of integers and an address, for which all zeros is a valid value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: `action` is initialized and outlives the call; its handler does one atomic addition, which is safe in a
        // handler. The flags are 0, so the handler is of the plain kind, and SA_RESTART is not set.
        check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    }
    Ok(())
}

/// Loses every signal of this number on purpose.
pub(crate) fn ignore_signal(signal: i32) -> io::Result<()> {
    // SAFETY: to ignore a signal runs no code.
    if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How many signals have been counted.
pub(crate) fn signals() -> u64 {
    SIGNALS.load(Ordering::Relaxed)
}

/// Asks for a SIGALRM every so many microseconds; 0 ends that.
pub(crate) fn alarm_every(micros: libc::suseconds_t) -> io::Result<()> {
    let time = libc::timeval { tv_sec: 0, tv_usec: micros };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: `timer` is initialized and outlives the call; the old value is not asked for.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) })
}

/// Lowers a limit of this process.
pub(crate) fn limit(what: &str, value: u64) -> io::Result<()> {
    let resource = match what {
        "fsize" => Resource::Fsize,
        "nofile" => Resource::Nofile,
        _ => return Err(wrong("no such limit")),
    };
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

/// Opens files until there are `left` descriptors left, and keeps them open until it is called again.
pub(crate) fn use_up_descriptors(left: usize) -> io::Result<()> {
    static OPEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock().map_err(|_| wrong("a panic"))?;
    open.clear();
    loop {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(e) if e.raw_os_error() == Some(libc::EMFILE) => break,
            Err(e) => return Err(e),
        }
    }
    let kept = open.len().saturating_sub(left);
    open.truncate(kept);
    Ok(())
}

/// Becomes another user, for good.
pub(crate) fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: it takes no pointers.
    check(unsafe { libc::setgroups(0, ptr::null()) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresgid(uid, uid, uid) })?;
    // SAFETY: as above.
    check(unsafe { libc::setresuid(uid, uid, uid) })
}

/// Makes new namespaces, and for a caller that is not root a user namespace in which it is.
fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: it takes nothing and cannot fail.
    let uid = unsafe { libc::geteuid() };
    // SAFETY: as above.
    let gid = unsafe { libc::getegid() };
    let flags = if uid == 0 { flags } else { flags | libc::CLONE_NEWUSER };
    // SAFETY: it takes no pointers. New namespaces change nothing in the memory of this process.
    check(unsafe { libc::unshare(flags) })?;
    if uid != 0 {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    Ok(())
}

/// Children of this process are made in the PID namespace of another one from now on. A caller that is not root becomes
/// root of its user namespace first.
fn join_pid_namespace_of(process: u32) -> io::Result<()> {
    // SAFETY: it takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    for (name, kind) in [("user", libc::CLONE_NEWUSER), ("pid", libc::CLONE_NEWPID)] {
        if name == "user" && is_root {
            continue;
        }
        let namespace = File::open(format!("/proc/{process}/ns/{name}"))?;
        // SAFETY: the descriptor is open. Other namespaces change nothing in the memory of this process.
        check(unsafe { libc::setns(namespace.as_raw_fd(), kind) })?;
    }
    Ok(())
}

/// Has the next process of this PID namespace, or thread, get this number if it is free.
pub(crate) fn next_pid(number: u32) -> io::Result<()> {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string())
}

/// Goes on as the first process of a new PID namespace (`pid`), or in that of another process, whose number this is.
/// The process that was waits for it, and ends as it does; they die together. A caller that is not root becomes root of
/// a user namespace for that.
pub(crate) fn enter_pid_namespace(whose: &str) -> io::Result<()> {
    match whose {
        "pid" => unshare(libc::CLONE_NEWPID)?,
        number => join_pid_namespace_of(number.parse().map_err(|_| wrong(format!("{number} is no process")))?)?,
    }
    // SAFETY: this process has one thread so far, so the child finds everything as it was.
    let child = unsafe { libc::fork() };
    check(child)?;
    if child == 0 {
        // SAFETY: this call takes no pointers.
        return check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) });
    }
    for descriptor in [0, 1] {
        // The child has them. Its end is to be the end of them.
        // SAFETY: nothing in this process uses them from now on.
        check(unsafe { libc::close(descriptor) })?;
    }
    let mut status = 0;
    // SAFETY: the status is written to a variable that outlives the call.
    check(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    // SAFETY: it runs no destructors and no handlers; everything is the child's.
    unsafe { libc::_exit(code) }
}

/// Mounts an empty tmpfs of this many bytes at `path`, which only this process and its children see. A caller that is
/// not root becomes root of a user namespace of its own for that.
pub(crate) fn mount_small(path: &str, bytes: u64) -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)?;
    let (none, root, target) = (CString::from(c"none"), CString::from(c"/"), CString::new(path)?);
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the strings are NUL-terminated and outlive the call; a change of propagation uses no other argument.
    check(unsafe { libc::mount(none.as_ptr(), root.as_ptr(), ptr::null(), private, ptr::null()) })?;
    let data = CString::new(format!("size={bytes}"))?;
    // SAFETY: all strings are NUL-terminated and outlive the call.
    check(unsafe { libc::mount(none.as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, data.as_ptr().cast()) })
}

/// Makes a system call fail with an error, for this thread and those that it starts, for good: `CALL=ERRNO`.
pub(crate) fn deny(what: &str) -> io::Result<()> {
    let unknown = || wrong("that is not among what can be denied");
    let (call, error) = what.split_once('=').ok_or_else(unknown)?;
    let call = match call {
        "futex_waitv" => libc::SYS_futex_waitv,
        "inotify_init1" => libc::SYS_inotify_init1,
        "inotify_add_watch" => libc::SYS_inotify_add_watch,
        "membarrier" => libc::SYS_membarrier,
        "prlimit64" => libc::SYS_prlimit64,
        _ => return Err(unknown()),
    };
    let error = match error {
        "EACCES" => libc::EACCES,
        "EINVAL" => libc::EINVAL,
        "EMFILE" => libc::EMFILE,
        "ENOMEM" => libc::ENOMEM,
        "ENOSPC" => libc::ENOSPC,
        "ENOSYS" => libc::ENOSYS,
        "EPERM" => libc::EPERM,
        _ => return Err(unknown()),
    };
    let call = u32::try_from(call).map_err(|_| wrong("a negative number"))?;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        // The number of the call is the first word of what a filter sees.
        step(load, 0, 0, 0),
        step(equal, 0, 1, call),
        step(give, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        step(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: this call takes no pointers. From now on this process gains no rights by execve.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: `program` points to `filter`, which has `len` steps; the kernel copies them during the call.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) })
}

/// Whether others of the same user may look into this process: what ptrace(2) calls dumpable.
pub(crate) fn dumpable(on: bool) -> io::Result<()> {
    // SAFETY: this call takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(on), 0, 0, 0) })
}

/// The segment that this process has made for a `unix:` stream: its descriptor, where it is mapped for writing, its
/// length, and a hash of all its bytes.
pub(crate) fn segment() -> io::Result<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().into_owned();
        let name = std::fs::read_link(entry.path()).unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("/memfd:smstream:") {
            found.push((number, name));
        }
    }
    let [(number, name)] = &found[..] else { return Err(wrong(format!("not one segment but {found:?}"))) };
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.ends_with(name.as_str()) && line.contains(" rw-s "));
    let start = line.and_then(|line| line.split('-').next()).ok_or_else(|| wrong("it is not mapped"))?;
    let start = usize::from_str_radix(start, 16).map_err(|_| wrong("no address"))?;
    let mut bytes = Vec::new();
    // A description of its own, so that the place in the file that this process or the peer has does not matter.
    File::open(format!("/proc/self/fd/{number}"))?.read_to_end(&mut bytes)?;
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    Ok(format!("{number} {start} {} {hash:x}", bytes.len()))
}
