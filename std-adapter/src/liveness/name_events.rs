//! What the watcher has to say about the name of a listener.
//!
//! `tests/watcher_models` runs this file through all executions of a few threads.

use super::event_count;
use super::sync::{AtomicBool, Ordering};
use rustix::fd::OwnedFd;
use std::sync::Arc;

/// What the watcher says about a name.
#[derive(Debug)]
pub(super) struct NameEvents {
    /// Something has happened since this was taken last.
    pub(super) touched: AtomicBool,
    /// Nothing will be said any more.
    pub(super) lost: AtomicBool,
    /// An eventfd that is written to when something has happened.
    bell: Option<Arc<OwnedFd>>,
}

impl NameEvents {
    /// Nothing is known: something may have happened.
    pub(super) fn new(bell: Option<Arc<OwnedFd>>) -> Self {
        NameEvents { touched: AtomicBool::new(true), lost: AtomicBool::new(false), bell }
    }

    /// Something has happened to the file.
    pub(super) fn touch(&self) {
        self.touched.store(true, Ordering::Release);
        if let Some(bell) = &self.bell {
            // It can only fail when it is readable already.
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
        event_count::notify();
    }

    /// The watch is lost.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.touch();
    }
}
