//! The watch on the size of a file.

use super::alerts::Alerts;
use super::watcher;
use rustix::fd::OwnedFd;
use std::process;
use std::sync::Arc;

/// Watches the size of a file: see [`PeerMonitor::watch_size`](super::PeerMonitor::watch_size).
#[derive(Debug)]
pub(crate) struct SizeWatch {
    pub(super) wd: u64,
    pub(super) alerts: Arc<Alerts>,
    /// The watcher asks about it.
    pub(super) _fd: Arc<OwnedFd>,
    /// The process in which the watch was registered.
    pub(super) pid: u32,
}

impl Drop for SizeWatch {
    fn drop(&mut self) {
        if self.pid == process::id() {
            watcher::deregister(self.wd, &self.alerts);
        }
    }
}
