//! Lane bytes in and out: the only place that touches them.
//!
//! Another process may write a lane while it is read, and may be hostile. So there is never a `&[u8]` into a lane: each
//! access is a volatile one through a raw pointer, which the compiler neither repeats, nor drops, nor assumes to find
//! unchanged. Accesses are naturally aligned on the lane's side, and wide in the middle, so that this is as fast as
//! `memcpy` (measured; see docs/DESIGN.md). Few bytes are copied by two accesses that overlap, where the machine allows it.

use crate::sync::LaneByte;

/// A number at any address. Its volatile accesses are one instruction where the machine has unaligned ones.
#[cfg(all(not(loom), any(target_arch = "x86_64", target_arch = "aarch64")))]
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<T>(T);

/// Copies 4 to 16 bytes by their first and their last `T`, which may overlap, with these accesses.
#[cfg(all(not(loom), any(target_arch = "x86_64", target_arch = "aarch64")))]
macro_rules! ends {
    ($t:ty, $src:ident, $dst:ident, $len:ident, $read:ident, $write:ident) => {{
        let (from, to) = ($src.cast::<Unaligned<$t>>(), $dst.cast::<Unaligned<$t>>());
        // SAFETY: the caller's promise covers `len` bytes, which is at least the size of `$t`; so this is within them.
        let last_from = unsafe { $src.add($len - size_of::<$t>()) }.cast::<Unaligned<$t>>();
        // SAFETY: likewise.
        let last_to = unsafe { $dst.add($len - size_of::<$t>()) }.cast::<Unaligned<$t>>();
        // SAFETY: the caller's promise; the type needs no alignment, and any bit pattern is a value of it.
        let first = unsafe { from.$read() };
        // SAFETY: as above.
        let last = unsafe { last_from.$read() };
        // SAFETY: as above.
        unsafe { to.$write(first) };
        // SAFETY: as above.
        unsafe { last_to.$write(last) };
    }};
}

/// Copies `len` bytes from `src` into a lane.
///
/// # Safety
/// `dst` is valid for writes of `len` bytes, in a lane that only this party writes; `src` is valid for reads of `len`
/// bytes in memory that no one else writes meanwhile; the two do not overlap.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) unsafe fn copy_in(src: *const u8, dst: *mut LaneByte, len: usize) {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    match len {
        8..=16 => return ends!(u64, src, dst, len, read, write_volatile),
        4..8 => return ends!(u32, src, dst, len, read, write_volatile),
        _ => {}
    }
    // SAFETY: the caller's promise.
    unsafe { copy_in_steps(src, dst, len) }
}

/// Copies `len` bytes out of a lane to `dst`.
///
/// # Safety
/// `src` is valid for reads of `len` bytes in a lane (another process may write them meanwhile); `dst` is valid for
/// writes of `len` bytes in memory that no one else uses meanwhile; the two do not overlap.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) unsafe fn copy_out(src: *const LaneByte, dst: *mut u8, len: usize) {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    match len {
        8..=16 => return ends!(u64, src, dst, len, read_volatile, write),
        4..8 => return ends!(u32, src, dst, len, read_volatile, write),
        _ => {}
    }
    // SAFETY: the caller's promise.
    unsafe { copy_out_steps(src, dst, len) }
}

/// [`copy_in`], of any length.
///
/// # Safety
/// As for `copy_in`.
#[cfg(not(loom))]
unsafe fn copy_in_steps(mut src: *const u8, mut dst: *mut LaneByte, mut len: usize) {
    macro_rules! step {
        ($t:ty) => {{
            // SAFETY: the caller's promise covers size_of::<$t>() ≤ `len` more bytes of `src`; alignment is not asked for.
            let value = unsafe { src.cast::<$t>().read_unaligned() };
            // SAFETY: likewise for `dst`; the conditions below have made it a multiple of the size of `$t`, which is at
            // least its alignment.
            unsafe { dst.cast::<$t>().write_volatile(value) };
            // SAFETY: still within, or one past, the `len` bytes of the promise.
            src = unsafe { src.add(size_of::<$t>()) };
            // SAFETY: as above.
            dst = unsafe { dst.add(size_of::<$t>()) };
            len -= size_of::<$t>();
        }};
    }
    stepped!(dst, len, step);
}

/// [`copy_out`], of any length.
///
/// # Safety
/// As for `copy_out`.
#[cfg(not(loom))]
unsafe fn copy_out_steps(mut src: *const LaneByte, mut dst: *mut u8, mut len: usize) {
    macro_rules! step {
        ($t:ty) => {{
            // SAFETY: the caller's promise covers size_of::<$t>() ≤ `len` more bytes of `src`; the conditions below have
            // made it a multiple of the size of `$t`, which is at least its alignment.
            let value = unsafe { src.cast::<$t>().read_volatile() };
            // SAFETY: likewise for `dst`; alignment is not asked for.
            unsafe { dst.cast::<$t>().write_unaligned(value) };
            // SAFETY: still within, or one past, the `len` bytes of the promise.
            src = unsafe { src.add(size_of::<$t>()) };
            // SAFETY: as above.
            dst = unsafe { dst.add(size_of::<$t>()) };
            len -= size_of::<$t>();
        }};
    }
    stepped!(src, len, step);
}

/// The widest access that is one instruction. Any bit pattern is a value of it.
#[cfg(all(not(loom), target_arch = "x86_64"))]
type Wide = core::arch::x86_64::__m128i;
#[cfg(all(not(loom), target_arch = "aarch64"))]
type Wide = core::arch::aarch64::uint8x16_t;
#[cfg(all(not(loom), not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
type Wide = usize;

/// Runs `$step!(type)` until `$len` is 0, each time with `$lane` aligned to the size of the type: up to 15 bytes one power
/// of two at a time, then wide, then what is left.
#[cfg(not(loom))]
macro_rules! stepped {
    ($lane:ident, $len:ident, $step:ident) => {
        if $lane.addr() & 1 != 0 && $len >= 1 {
            $step!(u8);
        }
        if $lane.addr() & 2 != 0 && $len >= 2 {
            $step!(u16);
        }
        if size_of::<Wide>() > 4 && $lane.addr() & 4 != 0 && $len >= 4 {
            $step!(u32);
        }
        if size_of::<Wide>() > 8 && $lane.addr() & 8 != 0 && $len >= 8 {
            $step!(u64);
        }
        // With less than 16 bytes the steps above may have been passed over; then so is this.
        if $lane.addr() % size_of::<Wide>() == 0 {
            while $len >= size_of::<Wide>() {
                $step!(Wide);
            }
        }
        if $lane.addr() % 8 == 0 && $len >= 8 {
            $step!(u64);
        }
        if $lane.addr() % 4 == 0 && $len >= 4 {
            $step!(u32);
        }
        if $lane.addr() % 2 == 0 && $len >= 2 {
            $step!(u16);
        }
        while $len > 0 {
            $step!(u8);
        }
    };
}
#[cfg(not(loom))]
use stepped;

/// As above, through loom's checked cells.
///
/// # Safety
/// As above.
#[cfg(loom)]
pub(crate) unsafe fn copy_in(src: *const u8, dst: *mut LaneByte, len: usize) {
    for i in 0..len {
        // SAFETY: `i` < `len`, so this is within the bytes the caller promises.
        let from = unsafe { src.add(i) };
        // SAFETY: as above.
        let value = unsafe { from.read() };
        // SAFETY: as above.
        let to = unsafe { dst.add(i) };
        // SAFETY: as above; shared references to cells may overlap.
        let cell = unsafe { &*to };
        // SAFETY: loom checks that no one else is at the cell.
        cell.with_mut(|p| unsafe { p.write(value) });
    }
}

/// As above, through loom's checked cells.
///
/// # Safety
/// As above.
#[cfg(loom)]
pub(crate) unsafe fn copy_out(src: *const LaneByte, dst: *mut u8, len: usize) {
    for i in 0..len {
        // SAFETY: `i` < `len`, so this is within the bytes the caller promises.
        let from = unsafe { src.add(i) };
        // SAFETY: as above; shared references to cells may overlap.
        let cell = unsafe { &*from };
        // SAFETY: loom checks that no one writes the cell meanwhile.
        let value = cell.with(|p| unsafe { p.read() });
        // SAFETY: as for `from`.
        let to = unsafe { dst.add(i) };
        // SAFETY: as above; no one else uses `dst`, says the caller.
        unsafe { to.write(value) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Every offset of the lane's side and the private side, every length up to a few wide steps; and nothing beside.
    #[test]
    fn copies_exactly_the_bytes_asked_for() {
        #[repr(align(16))]
        struct Aligned([u8; 96]);
        let source: [u8; 96] = core::array::from_fn(|i| u8::try_from(i).unwrap() + 1);
        for lane_at in 0..17 {
            for private_at in 0..3 {
                for len in 0..70 {
                    let mut lane = Aligned([0; 96]);
                    // SAFETY: 17 + 70 and 3 + 70 lie within 96; the arrays are different objects.
                    unsafe { copy_in(source[private_at..].as_ptr(), lane.0[lane_at..].as_mut_ptr(), len) };
                    assert!(lane.0[..lane_at].iter().all(|&b| b == 0));
                    assert_eq!(lane.0[lane_at..lane_at + len], source[private_at..private_at + len]);
                    assert!(lane.0[lane_at + len..].iter().all(|&b| b == 0));

                    let mut back = [0u8; 96];
                    // SAFETY: as above.
                    unsafe { copy_out(lane.0[lane_at..].as_ptr(), back[private_at..].as_mut_ptr(), len) };
                    assert!(back[..private_at].iter().all(|&b| b == 0));
                    assert_eq!(back[private_at..private_at + len], lane.0[lane_at..lane_at + len]);
                    assert!(back[private_at + len..].iter().all(|&b| b == 0));
                }
            }
        }
    }
}
