//! The name of a listener: whether something may have happened to it.
//!
//! A listener sleeps until a connector comes, and none comes once its name is gone. So the kernel tells the watcher when
//! the file with the name is removed, moved, or loses one of its names.

use super::name_events::NameEvents;
use super::watcher;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The watch on a listener's name.
#[derive(Debug)]
pub(crate) struct NameWatch {
    name_events: Arc<NameEvents>,
    wd: Option<u64>,
    /// The process in which the watch was registered.
    pid: u32,
}

impl NameWatch {
    /// Watches the file that `file` is open on, perhaps with `O_PATH`. `bell` is an eventfd that is written to when something has
    /// happened. The event count changes with or without it.
    pub(crate) fn new(file: impl AsFd, bell: Option<Arc<OwnedFd>>) -> Self {
        // Something may have happened before the watch was there.
        let name_events = Arc::new(NameEvents::new(bell));
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let wd = watcher::register_name(&path, &name_events).ok();
        Self { name_events, wd, pid: process::id() }
    }

    /// Whether the kernel tells this process what happens. Otherwise it has to look now and then.
    pub(crate) fn is_watched(&self) -> bool {
        self.wd.is_some() && !self.name_events.lost.load(Ordering::Acquire) && self.pid == process::id()
    }

    /// Whether it is a parent's, from before a fork.
    pub(crate) fn is_inherited(&self) -> bool {
        self.pid != process::id()
    }

    /// Whether something may have happened since this was asked last.
    pub(crate) fn take(&self) -> bool {
        self.name_events.touched.swap(false, Ordering::AcqRel) || !self.is_watched()
    }

    /// Something has happened, and is to be looked at again.
    pub(crate) fn leave_taken(&self) {
        self.name_events.touched.store(true, Ordering::Release);
    }
}

impl Drop for NameWatch {
    fn drop(&mut self) {
        // In a forked child the watch belongs to the parent.
        if let Some(wd) = self.wd.filter(|_| self.pid == process::id()) {
            watcher::deregister_name(wd, &self.name_events);
        }
    }
}
