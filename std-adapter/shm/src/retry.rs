//! System calls that a signal interrupts.

use rustix::io::Errno;

/// Calls again after a signal.
#[doc(hidden)]
pub fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
