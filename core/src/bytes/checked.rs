//! The copies of the models, byte by byte through loom's checked cells.

use crate::sync::LaneByte;

/// Copies `len` bytes from `src` into a lane.
///
/// # Safety
/// As for the copies of machines.
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

/// Copies `len` bytes out of a lane to `dst`.
///
/// # Safety
/// As for the copies of machines.
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
