//! A word that changes with every event, to sleep on for those who wait for more things than they can sleep on.
//!
//! Who waits takes the number, then looks at everything that is waited for, and then sleeps while the number is as it was. Who has
//! something to tell raises the number *after* it can be seen. So either the look finds it, or the number is another one by then.
//!
//! `tests/liveness_models.rs` runs this file through all executions of a few threads, and shows that each ordering is needed.

use super::sync::{AtomicU32, Ordering};

/// How many events there were, modulo 2³².
#[derive(Debug)]
pub(super) struct Count(pub(super) AtomicU32);

impl Count {
    /// The number of events so far. With it comes what they announced.
    pub(super) fn seen(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// One more. What it tells can be seen already.
    pub(super) fn raise(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
