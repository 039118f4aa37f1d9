//! The kernel's side of it: a filter that asks a supervisor about every system call (seccomp_unotify(2)).
//!
//! The filter is inherited by every thread and child. The supervisor answers each call: go on, or fail with an error.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The descriptor that the filter's own one gets: the process that sets it up has closed it before.
pub const NUMBER: RawFd = 3;

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const ADD_FD: libc::c_ulong = 0x4018_2103;
const GO_ON: u32 = 1;
const SET_FD: u32 = 1;

/// A system call that waits for an answer: `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Question {
    id: u64,
    /// The thread.
    pub thread: u32,
    flags: u32,
    /// The number of the call.
    pub number: i32,
    arch: u32,
    /// Where it was made.
    pub instruction: u64,
    /// What it was given.
    pub arguments: [u64; 6],
}

#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    from: u32,
    to: u32,
    to_flags: u32,
}

/// The filter, in the process that is to be asked about. Nothing is allocated: it may be a forked child's.
pub fn install() -> io::Result<()> {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // These end a process or a handler, and cannot fail.
    const PASSED: [i64; 4] = [libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn, libc::SYS_restart_syscall];
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_IF_EQUAL, 4, 0, PASSED[0] as u32),
        step(JUMP_IF_EQUAL, 3, 0, PASSED[1] as u32),
        step(JUMP_IF_EQUAL, 2, 0, PASSED[2] as u32),
        step(JUMP_IF_EQUAL, 1, 0, PASSED[3] as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: it reads nothing that is not given here.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // An answer is waited for even if a signal comes: so no call is asked about twice.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the program is one that the kernel copies, and it outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if fd == i64::from(NUMBER) { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where the questions of a process come.
#[derive(Debug)]
pub struct Questions(OwnedFd);

impl Questions {
    /// Those of the process behind `pidfd`, once it has installed its filter.
    pub fn of(pidfd: &OwnedFd) -> io::Result<Self> {
        loop {
            // SAFETY: it takes numbers only.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), NUMBER, 0) };
            if fd >= 0 {
                // SAFETY: the kernel has just made it.
                return Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }));
            }
            let e = io::Error::last_os_error();
            if e.raw_os_error() != Some(libc::EBADF) {
                return Err(e);
            }
            std::thread::yield_now();
        }
    }

    /// The next question. `None`: the thread that asked was killed.
    pub fn next(&self) -> io::Result<Option<Question>> {
        let mut question = Question::default();
        // SAFETY: it writes the struct, which is zero before as the kernel demands.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), RECEIVE, &raw mut question) } == 0 {
            return Ok(Some(question));
        }
        match io::Error::last_os_error() {
            e if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
            e => Err(e),
        }
    }

    /// Lets the call be made.
    pub fn go_on(&self, question: &Question) -> io::Result<()> {
        self.answer(Answer { id: question.id, value: 0, error: 0, flags: GO_ON })
    }

    /// Makes the call return `value` without being made.
    pub fn succeed(&self, question: &Question, value: i64) -> io::Result<()> {
        self.answer(Answer { id: question.id, value, error: 0, flags: 0 })
    }

    /// Makes the call fail.
    pub fn fail(&self, question: &Question, error: i32) -> io::Result<()> {
        self.answer(Answer { id: question.id, value: 0, error: -error, flags: 0 })
    }

    /// Closes what the descriptor `number` of the process that asks is open on, as `close` does also when it fails: puts
    /// `instead` there.
    pub fn close(&self, question: &Question, number: u32, instead: &impl AsRawFd) -> io::Result<()> {
        let from = instead.as_raw_fd() as u32;
        let add = AddFd { id: question.id, flags: SET_FD, from, to: number, to_flags: libc::O_CLOEXEC as u32 };
        // SAFETY: it reads the struct.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), ADD_FD, &raw const add) })
    }

    fn answer(&self, answer: Answer) -> io::Result<()> {
        // SAFETY: it reads the struct.
        check(unsafe { libc::ioctl(self.0.as_raw_fd(), SEND, &raw const answer) })
    }
}

impl AsRawFd for Questions {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A thread that was killed needs no answer.
fn check(result: libc::c_int) -> io::Result<()> {
    match io::Error::last_os_error() {
        e if result < 0 && e.raw_os_error() != Some(libc::ENOENT) => Err(e),
        _ => Ok(()),
    }
}
