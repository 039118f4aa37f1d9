//! A child under ptrace: stepped, run to an address, killed, stopped and let go.

use std::io;
use std::mem::offset_of;
use std::ptr;
use std::time::Instant;

use crate::cue::PATIENCE;
use crate::mark;

/// A child that stands still, traced by this thread.
#[derive(Debug)]
pub struct Tracee {
    pid: i32,
    reaped: bool,
}

/// What a child does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It stands at this address.
    At(u64),
    /// It has ended: the exit status, or the negated signal.
    Ended(i32),
    /// It neither stops nor ends.
    Hangs,
}

impl Tracee {
    /// A child that runs `body` under ptrace and then ends. It stands before the first instruction of `body`.
    pub fn start(body: impl FnOnce()) -> Self {
        let pid = fork(|| {
            // SAFETY: this call takes no pointers.
            assert_eq!(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) }, 0, "a child can be traced");
            // SAFETY: takes no pointers.
            unsafe { libc::raise(libc::SIGSTOP) };
            body();
        });
        let tracee = Tracee { pid, reaped: false };
        tracee.stops(libc::__WALL);
        tracee.ptrace(libc::PTRACE_SETOPTIONS, 0, libc::PTRACE_O_EXITKILL as u64);
        tracee
    }

    /// A child that is not traced.
    pub fn adopt(pid: i32) -> Self {
        Tracee { pid, reaped: false }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    fn ptrace(&self, request: libc::c_uint, addr: u64, data: u64) {
        // SAFETY: these requests take numbers, or addresses in the child.
        let done = unsafe { libc::ptrace(request, self.pid, addr, data) };
        // A child that was killed meanwhile is found by the wait that follows.
        assert!(done == 0 || gone(), "ptrace {request}: {}", io::Error::last_os_error());
    }

    /// Runs it by `how`, until it stops for a trap or ends. Other signals are handed on.
    fn go(&mut self, how: libc::c_uint) -> Stop {
        self.ptrace(how, 0, 0);
        self.wait()
    }

    fn wait(&mut self) -> Stop {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            // `interrupt_waits` sees to it that this comes back.
            if let Some(stop) = self.look(0) {
                return stop;
            }
        }
        Stop::Hangs
    }

    /// What it does; `None`: it runs (if `flags` say not to wait), or was handed a signal and goes on.
    fn look(&mut self, flags: i32) -> Option<Stop> {
        let mut status = 0;
        // SAFETY: `status` is valid for writes.
        let waited = unsafe { libc::waitpid(self.pid, &mut status, libc::__WALL | flags) };
        if waited == 0 || (waited < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted) {
            return None;
        }
        assert_eq!(waited, self.pid, "waitpid: {}", io::Error::last_os_error());
        if libc::WIFEXITED(status) {
            self.reaped = true;
            return Some(Stop::Ended(libc::WEXITSTATUS(status)));
        }
        if libc::WIFSIGNALED(status) {
            self.reaped = true;
            return Some(Stop::Ended(-libc::WTERMSIG(status)));
        }
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => Some(Stop::At(self.registers().rip)),
            signal => {
                self.ptrace(libc::PTRACE_CONT, 0, signal as u64);
                None
            }
        }
    }

    /// One instruction.
    pub fn step(&mut self) -> Stop {
        self.go(libc::PTRACE_SINGLESTEP)
    }

    /// Begins one instruction, which may be a system call that waits.
    pub fn begin_step(&mut self) {
        self.ptrace(libc::PTRACE_SINGLESTEP, 0, 0);
    }

    /// Whether it stands still again.
    pub fn has_stopped(&mut self) -> Option<Stop> {
        self.look(libc::WNOHANG)
    }

    /// Runs to the next mark, or the address of the breakpoint.
    pub fn run(&mut self) -> Stop {
        self.go(libc::PTRACE_CONT)
    }

    /// Lets it run.
    pub fn begin_run(&mut self) {
        self.ptrace(libc::PTRACE_CONT, 0, 0);
    }

    /// Has it stop before the instruction at this address; `None`: nowhere. A register of the CPU does that, so no other thread
    /// of it stops there, as it would at an instruction that was put into its code.
    pub fn set_breakpoint(&self, address: Option<u64>) {
        let register = |n: usize| (offset_of!(libc::user, u_debugreg) + n * size_of::<u64>()) as u64;
        self.ptrace(libc::PTRACE_POKEUSER, register(7), 0);
        if let Some(address) = address {
            self.ptrace(libc::PTRACE_POKEUSER, register(0), address);
            self.ptrace(libc::PTRACE_POKEUSER, register(7), 1);
        }
    }

    pub fn registers(&self) -> libc::user_regs_struct {
        // SAFETY: zeros are a value of the struct.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: `registers` is valid for writes.
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.pid, 0, &raw mut registers) };
        registers
    }

    /// Two bytes of its code.
    pub fn code(&self, address: u64) -> [u8; 2] {
        // SAFETY: reads a word of the child; the C library gives it as the result.
        let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.pid, address, 0) };
        let [a, b, ..] = word.to_ne_bytes();
        [a, b]
    }

    /// Kills it with all its threads, and reaps it.
    pub fn kill(mut self) {
        // SAFETY: takes no pointers. The child was not reaped, so the number is its own.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        loop {
            if let Some(Stop::Ended(status)) = self.look(0) {
                assert_eq!(status, -libc::SIGKILL, "a child that is killed dies of that");
                return;
            }
        }
    }

    /// Lets it go, stopped as by SIGSTOP, all its threads. It is a child still.
    pub fn leave_stopped(&self) {
        self.ptrace(libc::PTRACE_POKEDATA, mark::untraced(), 1);
        self.ptrace(libc::PTRACE_DETACH, 0, libc::SIGSTOP as u64);
        self.stops(libc::WUNTRACED);
    }

    /// Waits until it has stopped.
    fn stops(&self, flags: i32) {
        let mut status = 0;
        loop {
            // SAFETY: `status` is valid for writes.
            let waited = unsafe { libc::waitpid(self.pid, &mut status, flags) };
            if waited > 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                assert!(waited == self.pid && libc::WIFSTOPPED(status), "a child stops: {status:#x}");
                return;
            }
        }
    }

    /// Lets one go on that was left stopped. It ends by itself.
    pub fn go_on(&self) {
        // SAFETY: takes no pointers.
        unsafe { libc::kill(self.pid, libc::SIGCONT) };
    }

    /// Lets it go to its end.
    pub fn leave(&self) {
        self.ptrace(libc::PTRACE_POKEDATA, mark::untraced(), 1);
        self.ptrace(libc::PTRACE_DETACH, 0, 0);
    }

    /// Its exit status, once it has ended, or the negated signal.
    pub fn has_ended(&mut self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: `status` is valid for writes.
        let waited = unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) };
        if waited != self.pid {
            return None;
        }
        self.reaped = true;
        Some(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) })
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.reaped {
            // SAFETY: takes no pointers. The child was not reaped.
            unsafe { libc::kill(self.pid, libc::SIGKILL) };
            // SAFETY: a null pointer: the status is not wanted.
            unsafe { libc::waitpid(self.pid, ptr::null_mut(), libc::__WALL) };
        }
    }
}

/// Has each wait of this process for a child come back within a second, so that it can look at the clock.
pub fn interrupt_waits() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: zeros are a value of the struct. No SA_RESTART among its flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, so it may interrupt anything.
    let done = unsafe { libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()) };
    assert_eq!(done, 0, "SIGALRM can have a handler");
    let second = libc::timeval { tv_sec: 1, tv_usec: 0 };
    let timer = libc::itimerval { it_interval: second, it_value: second };
    // SAFETY: `timer` is valid for reads. A child does not inherit the timer.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    assert_eq!(done, 0, "there is a timer");
}

fn gone() -> bool {
    io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// A child that runs `body` and ends, with 101 if that panics. It dies with this process.
pub fn fork(body: impl FnOnce()) -> i32 {
    // SAFETY: this process has one thread, so the child may do what it likes.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork: {}", io::Error::last_os_error()),
        0 => {
            // SAFETY: takes no pointers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let status = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
                Ok(()) => 0,
                Err(_) => 101,
            };
            // SAFETY: ends this process at once: what it inherited is its parent's.
            unsafe { libc::_exit(status) }
        }
        pid => pid,
    }
}
