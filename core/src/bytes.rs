//! Lane bytes in and out: the only place that touches them.
//!
//! Another process may write a lane while it is read, and may be hostile. So there is never a `&[u8]` into a lane: each
//! access is one that inline assembly makes, or a volatile one through a raw pointer, which the compiler neither repeats, nor
//! drops, nor assumes to find unchanged. A byte may be copied twice: then the second copy counts.
//!
//! | bytes | how |
//! |---|---|
//! | up to 16 | two accesses that overlap in the middle: no loop, no call |
//! | up to [`strings::FROM`], and all that is copied out | 16 at a time; the last 16 overlap |
//! | more, into a lane, where the CPU says that it is fast | [`strings`]: `rep movsb` |
//!
//! That is for x86-64 and AArch64 with their usual registers. Other machines, and kernels that keep out of those registers, copy words. The figures are in docs/DESIGN.md.

#[cfg(loom)]
mod checked;
// ThreadSanitizer does not see what assembly accesses, so under its cfg words are copied.
#[cfg(all(
    not(loom),
    not(smstream_tsan),
    any(all(target_arch = "aarch64", target_feature = "neon"), all(target_arch = "x86_64", target_feature = "sse2"))
))]
mod lane;
#[cfg(all(
    not(loom),
    not(smstream_tsan),
    any(all(target_arch = "aarch64", target_feature = "neon"), all(target_arch = "x86_64", target_feature = "sse2"))
))]
#[path = "bytes/vectors.rs"]
mod pieces;
#[cfg(all(
    not(loom),
    any(
        smstream_tsan,
        not(any(
            all(target_arch = "aarch64", target_feature = "neon"),
            all(target_arch = "x86_64", target_feature = "sse2")
        ))
    )
))]
#[path = "bytes/words.rs"]
mod pieces;
#[cfg(all(not(loom), not(smstream_tsan), target_arch = "x86_64", not(target_env = "sgx")))]
mod strings;

#[cfg(loom)]
pub(crate) use checked::{copy_in, copy_out};

#[cfg(not(loom))]
use crate::sync::LaneByte;

/// Copies `len` bytes from `src` into a lane.
///
/// # Safety
/// `dst` is valid for writes of `len` bytes, in a lane that only this party writes; `src` is valid for reads of `len`
/// bytes in memory that no one else writes meanwhile; the two do not overlap.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) unsafe fn copy_in(src: *const u8, dst: *mut LaneByte, len: usize) {
    #[cfg(all(not(smstream_tsan), target_arch = "x86_64", not(target_env = "sgx")))]
    if len >= strings::FROM && strings::are_fast() {
        // SAFETY: the caller's promise, word for word.
        return unsafe { strings::copy_in(src, dst, len) };
    }
    // SAFETY: the caller's promise, word for word.
    unsafe { pieces::copy::<{ pieces::IN }>(src, dst, len) };
}

/// Copies `len` bytes out of a lane to `dst`.
///
/// # Safety
/// `src` is valid for reads of `len` bytes in a lane (another process may write them meanwhile); `dst` is valid for
/// writes of `len` bytes in memory that no one else uses meanwhile; the two do not overlap.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) unsafe fn copy_out(src: *const LaneByte, dst: *mut u8, len: usize) {
    // SAFETY: the caller's promise, word for word.
    unsafe { pieces::copy::<{ pieces::OUT }>(src, dst, len) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// As many as a copy can touch, and some on both sides.
    const ROOM: usize = 2048;

    #[repr(align(64))]
    struct Aligned([u8; ROOM]);

    fn check(lane_at: usize, private_at: usize, len: usize) {
        let source: [u8; ROOM] = core::array::from_fn(|i| u8::try_from(i % 251).unwrap_or(0) + 1);
        let mut lane = Aligned([0; ROOM]);
        // SAFETY: the callers keep both offsets and the length within ROOM; the arrays are different objects.
        unsafe { copy_in(source[private_at..].as_ptr(), lane.0[lane_at..].as_mut_ptr(), len) };
        assert!(lane.0[..lane_at].iter().all(|&b| b == 0), "{lane_at} {private_at} {len}");
        assert_eq!(lane.0[lane_at..lane_at + len], source[private_at..private_at + len]);
        assert!(lane.0[lane_at + len..].iter().all(|&b| b == 0), "{lane_at} {private_at} {len}");

        let mut back = [0u8; ROOM];
        // SAFETY: as above.
        unsafe { copy_out(lane.0[lane_at..].as_ptr(), back[private_at..].as_mut_ptr(), len) };
        assert!(back[..private_at].iter().all(|&b| b == 0), "{lane_at} {private_at} {len}");
        assert_eq!(back[private_at..private_at + len], lane.0[lane_at..lane_at + len]);
        assert!(back[private_at + len..].iter().all(|&b| b == 0), "{lane_at} {private_at} {len}");
    }

    /// Every offset of the lane's side and the private side, every length up to a few wide steps; and nothing beside.
    #[test]
    fn copies_exactly_the_bytes_asked_for() {
        for lane_at in 0..17 {
            for private_at in 0..3 {
                for len in 0..70 {
                    check(lane_at, private_at, len);
                }
            }
        }
    }

    /// Around the length from which another way is taken, at every alignment of the lane.
    #[test]
    fn copies_long_pieces_exactly() {
        for lane_at in 0..65 {
            for private_at in [0, 1, 7, 63] {
                for len in [255, 256, 257, 511, 1000, 1023, 1024, 1025, 1087, 1500] {
                    check(lane_at, private_at, len);
                }
            }
        }
    }
}
