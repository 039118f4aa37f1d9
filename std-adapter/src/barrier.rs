//! Barriers in other processes: how a sleeper spares those who publish for it their full fence. See
//! [`smstream_core::park`].
//!
//! `membarrier(2)` reaches the threads of *registered* processes. The registration lasts until `execve(2)`; a forked child has
//! it, too, for it is kept with the memory that a fork copies.

use rustix::thread::{MembarrierCommand, membarrier};
use smstream_core::layout::Features;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

const UNKNOWN: u8 = 0;
const REGISTERED: u8 = 1;
const REFUSED: u8 = 2;

/// What came of registering. Any thread that finds that unknown may register: twice does no harm.
static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// A pause after which what other CPUs had stored before it is seen. They store within a microsecond; this is no bound of an
/// architecture, but far above it.
const DRAINED: Duration = Duration::from_millis(1);

/// Whether barriers reach the threads of this process. The first call registers it, which can take milliseconds.
pub(crate) fn reach_us() -> bool {
    match STATE.load(Ordering::Relaxed) {
        REGISTERED => true,
        REFUSED => false,
        _ => {
            // Refused by old kernels, or by a filter of system calls.
            let registered = membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
                && membarrier(MembarrierCommand::GlobalExpedited).is_ok();
            STATE.store(if registered { REGISTERED } else { REFUSED }, Ordering::Relaxed);
            registered
        }
    }
}

/// What an end made by this process says that it does. Of what is `asked` for it is what the lane carries that counts.
pub(crate) fn features(asked: Features) -> Features {
    let own = if reach_us() { Features::COUNTERS | Features::BARRIER } else { Features::COUNTERS };
    own | asked & Features::RECORDS
}

/// Has each thread of each registered process do a full fence.
pub(crate) fn issue() {
    if membarrier(MembarrierCommand::GlobalExpedited).is_err() {
        // It was promised, by this process before a filter forbade it, or by one that handed the end over.
        thread::sleep(DRAINED);
    }
}

#[cfg(test)]
#[path = "barrier_tests.rs"]
mod tests;
