//! One access to a lane: a single instruction, at any alignment.

use core::arch::asm;

#[cfg(target_arch = "aarch64")]
pub(super) use core::arch::aarch64::uint8x16_t as Wide;
#[cfg(target_arch = "x86_64")]
pub(super) use core::arch::x86_64::__m128i as Wide;

/// A value that one instruction moves. Any bytes are one.
pub(super) trait Piece: Copy {
    /// Loads from a lane. The compiler neither repeats nor drops it: assembly that is not `pure` happens as it is written.
    ///
    /// # Safety
    /// `from` is valid for reads of as many bytes as the value has. Another process may write them meanwhile.
    unsafe fn load(from: *const u8) -> Self;

    /// Stores into a lane.
    ///
    /// # Safety
    /// `to` is valid for writes of as many bytes as the value has. Another process may read them meanwhile.
    unsafe fn store(to: *mut u8, value: Self);
}

/// `$load` and `$store` are the instructions, with `v` for the register of class `$class`.
macro_rules! piece {
    ($t:ty, $class:ident, $load:literal, $store:literal) => {
        impl Piece for $t {
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                let value: Self;
                // SAFETY: it reads as many bytes as `Self` has from `from`, as the caller allows, and nothing else. All of `v`
                // is written that a `Self` takes, and any bytes are one.
                unsafe {
                    asm!($load, p = in(reg) from, v = lateout($class) value, options(nostack, preserves_flags, readonly));
                }
                value
            }

            #[inline(always)]
            unsafe fn store(to: *mut u8, value: Self) {
                // SAFETY: it writes as many bytes as `Self` has to `to`, as the caller allows, and nothing else.
                unsafe { asm!($store, p = in(reg) to, v = in($class) value, options(nostack, preserves_flags)) };
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod instructions {
    use super::*;

    piece!(u8, reg_byte, "mov {v}, byte ptr [{p}]", "mov byte ptr [{p}], {v}");
    piece!(u16, reg, "mov {v:x}, word ptr [{p}]", "mov word ptr [{p}], {v:x}");
    piece!(u32, reg, "mov {v:e}, dword ptr [{p}]", "mov dword ptr [{p}], {v:e}");
    piece!(u64, reg, "mov {v:r}, qword ptr [{p}]", "mov qword ptr [{p}], {v:r}");
    piece!(Wide, xmm_reg, "movups {v}, xmmword ptr [{p}]", "movups xmmword ptr [{p}], {v}");
}

#[cfg(target_arch = "aarch64")]
mod instructions {
    use super::*;

    piece!(u8, reg, "ldrb {v:w}, [{p}]", "strb {v:w}, [{p}]");
    piece!(u16, reg, "ldrh {v:w}, [{p}]", "strh {v:w}, [{p}]");
    piece!(u32, reg, "ldr {v:w}, [{p}]", "str {v:w}, [{p}]");
    piece!(u64, reg, "ldr {v:x}, [{p}]", "str {v:x}, [{p}]");
    piece!(Wide, vreg, "ldr {v:q}, [{p}]", "str {v:q}, [{p}]");
}
