//! Large copies into a lane by `rep movsb`.
//!
//! The lines of a lane that is written again lie in the cache of the CPU that has read them. An ordinary store fetches a
//! line from there before it changes it; the microcode of `rep movsb` knows that it will write whole lines, and does not.
//! Where both CPUs share no fast cache that is five times as fast, and twice where they do (docs/DESIGN.md has the
//! measurements). Out of a lane nothing is gained: the lines have to be fetched anyway.
//!
//! # References
//! Intel 64 and IA-32 Architectures Optimization Reference Manual, "Enhanced REP MOVSB and STOSB operation (ERMSB)"; AMD
//! publishes the same CPUID bit.

use crate::ordering;
use crate::sync::AtomicU32;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};

/// From this length on: below it, starting the microcode costs more than it saves.
pub(super) const FROM: usize = 1024;

/// A line of the cache.
const LINE: usize = 64;
static_assertions::const_assert!(FROM > LINE);

const UNKNOWN: u32 = 0;
const FAST: u32 = 1;
const SLOW: u32 = 2;

/// What this CPU is. Every thread that asks finds the same.
static KNOWN: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Whether this CPU says that its string instructions are fast (ERMS).
#[inline(always)]
pub(super) fn are_fast() -> bool {
    match ordering::cpu_kind(&KNOWN) {
        FAST => true,
        SLOW => false,
        _ => ask(),
    }
}

/// Asks the CPU: under a hypervisor that takes a microsecond or two, so it is done once.
#[cold]
fn ask() -> bool {
    const EXTENDED_FEATURES: u32 = 7;
    const ERMS: u32 = 1 << 9;
    let highest = __cpuid(0).eax;
    let is_fast = highest >= EXTENDED_FEATURES && __cpuid_count(EXTENDED_FEATURES, 0).ebx & ERMS != 0;
    ordering::set_cpu_kind(&KNOWN, if is_fast { FAST } else { SLOW });
    is_fast
}

/// Copies at least [`LINE`] bytes into a lane.
///
/// # Safety
/// As for [`super::copy_in`]; `len` is at least [`LINE`].
#[inline]
pub(super) unsafe fn copy_in(src: *const u8, dst: *mut u8, len: usize) {
    // Some CPUs are slow if the target is not aligned: so begin at a line. What comes before it is copied in pieces, and as
    // many bytes as a line has, which is at least as many as are missing.
    let head = dst.addr().wrapping_neg() % LINE;
    if head != 0 {
        // SAFETY: `len` is at least LINE, and the promise is the caller's.
        unsafe { super::pieces::copy::<{ super::pieces::IN }>(src, dst, LINE) };
    }
    // SAFETY: `head` < LINE ≤ `len`, so this lies within the bytes that the caller promises.
    let from = unsafe { src.add(head) };
    // SAFETY: as above.
    let to = unsafe { dst.add(head) };
    // SAFETY: it reads `len` - `head` bytes from `from` and writes them to `to`, all of which the caller promises; the direction
    // flag is clear wherever assembly begins. No option says that it leaves memory alone, so that the compiler assumes nothing.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") len - head => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}
