//! The two marks around an operation: a breakpoint instruction that the tracer knows by its address.

use std::sync::atomic::{AtomicU64, Ordering};

core::arch::global_asm!(
    ".globl smstream_kill_mark",
    ".type smstream_kill_mark,@function",
    "smstream_kill_mark:",
    "int3",
    "ret",
    ".size smstream_kill_mark, . - smstream_kill_mark",
);

unsafe extern "C" {
    fn smstream_kill_mark();
}

/// Not 0: no tracer is there any more. It writes this itself.
static UNTRACED: AtomicU64 = AtomicU64::new(0);

/// Says that the operation begins, or that it is over.
#[inline(never)]
pub extern "C" fn mark() {
    if UNTRACED.load(Ordering::Relaxed) == 0 {
        // SAFETY: the function changes no register and no memory; its trap is taken by the tracer.
        unsafe { smstream_kill_mark() }
    }
}

/// Where a process stands that is about to say so.
pub fn before() -> u64 {
    mark as *const () as u64
}

/// Where a process that has just said so stands.
pub fn behind() -> u64 {
    smstream_kill_mark as *const () as u64 + 1
}

/// The word that a tracer changes when it lets a process go: in all processes of this program it lies there.
pub fn untraced() -> u64 {
    UNTRACED.as_ptr() as u64
}
