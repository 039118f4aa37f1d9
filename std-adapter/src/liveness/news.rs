//! One word for the whole process that changes with every alert: for those who wait for many things at once, and cannot
//! sleep on the alert word of each.
//!
//! Load it, then look at everything that is waited for, then sleep while it is as it was: news in between have
//! changed it. A thread calls `tell` *after* its news can be seen. Each call wakes all who sleep here, also those whom it
//! does not concern: they look again. Alerts are rare.

use super::event_count::EventCount;
use crate::futex;
use smstream_core::park::{Place, Watch};
use smstream_core::word::SharedWord;
use std::sync::atomic::AtomicU32;

/// Goes up with each piece of news. A forked child has one of its own.
static NEWS: EventCount = EventCount(AtomicU32::new(0));

/// To sleep on until there is news. A thread that looks after this call sees all the news before it.
pub(crate) fn watch() -> Watch<'static> {
    Watch { word: SharedWord::new(&NEWS.0), seen: NEWS.seen(), place: Place::Local }
}

/// Wakes all who wait for news. Safe in a signal handler.
pub(crate) fn tell() {
    NEWS.raise();
    futex::wake_all(SharedWord::new(&NEWS.0), Place::Local);
}
