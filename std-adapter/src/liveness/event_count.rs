//! One word for the whole process that changes with every alert: for those who wait for many things at once, and cannot
//! sleep on the alert word of each.
//!
//! A waiter loads it, then looks at everything that it waits for, then sleeps while the word is as it was: an event in
//! between has changed it. A thread calls `notify` *after* its event can be seen. Each call wakes all threads that sleep
//! here, also those that it does not concern: they look again. Alerts are rare.

use super::count::Count;
use crate::futex;
use smstream_core::park::{Place, Watch};
use smstream_core::word::SharedWord;
use std::sync::atomic::AtomicU32;

/// Goes up with each event. A forked child has one of its own.
static EVENTS: Count = Count(AtomicU32::new(0));

/// To sleep on until the next event. A thread that looks after this call sees all events before it.
pub(crate) fn watch() -> Watch<'static> {
    Watch { word: SharedWord::new(&EVENTS.0), seen: EVENTS.seen(), place: Place::Local }
}

/// Counts an event, and wakes all threads that wait for one. Safe in a signal handler.
pub(crate) fn notify() {
    EVENTS.raise();
    futex::wake_all(SharedWord::new(&EVENTS.0), Place::Local);
}
