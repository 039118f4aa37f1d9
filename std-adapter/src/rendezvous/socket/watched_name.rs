//! The file with the name of a listener's socket, and the watch that says when something happens to it.

use super::name::{Right, SocketName};
use crate::liveness::name_watch::NameWatch;
use crate::rendezvous::{RendezvousError, RendezvousReason};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::sync::Arc;

/// A watch on a listener's name.
#[derive(Debug)]
pub(super) struct WatchedName {
    watch: NameWatch,
    /// The eventfd that the watch writes to.
    bell: Arc<OwnedFd>,
}

impl WatchedName {
    /// Makes the epoll instance readable, with `token`, when something happens to the name.
    pub(super) fn new(name: &SocketName, right: &Right, epoll: &OwnedFd, token: u64) -> Result<Self, RendezvousError> {
        let system = |what| move |e: Errno| name.error(RendezvousReason::System(what, e.into()));
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bell = Arc::new(eventfd(0, flags).map_err(system("make an eventfd"))?);
        epoll::add(epoll, &bell, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
            .map_err(system("watch the name"))?;
        let file = name.open(right)?;
        let watch = NameWatch::new(file, Some(Arc::clone(&bell)));
        // It may have been taken away before the watch was there.
        if name.leads_to(right)? {
            Ok(WatchedName { watch, bell })
        } else {
            Err(name.error(RendezvousReason::NameLost))
        }
    }

    /// That the name still leads to the socket, if something may have happened to it.
    pub(super) fn check(&self, name: &SocketName, right: &Right) -> Result<(), RendezvousError> {
        // First the bell: what happens from here on rings again, and is looked at the next time.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        if !self.watch.take() {
            return Ok(());
        }
        let checked = match name.leads_to(right) {
            Ok(true) => return Ok(()),
            Ok(false) => Err(name.error(RendezvousReason::NameLost)),
            Err(e) => Err(e),
        };
        // The next call looks again, and a thread that waits for the listener does not miss it.
        self.watch.leave_taken();
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        checked
    }

    /// Whether the kernel tells this process what happens. Otherwise it has to look now and then.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_watched()
    }

    /// Makes the watch anew if it is a parent's, from before a fork.
    pub(super) fn watch_in_this_process(&mut self, name: &SocketName, right: &Right) -> Result<(), RendezvousError> {
        if self.watch.is_inherited() {
            self.watch = NameWatch::new(name.open(right)?, Some(Arc::clone(&self.bell)));
        }
        Ok(())
    }
}
