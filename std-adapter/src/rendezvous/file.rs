//! Rendezvous by a file: a region under a name, and locks.
//!
//! A listener's name always leads to a region that waits for a connector. When one has come, the listener gives the
//! name to a fresh region and accepts; the old one has no name any more, so that a crash of both leaves nothing behind.
//! A name whose listener died is left over; the next listener takes it over.
//!
//! Three bytes of the file are locked, see [`Byte`]: the two parties' lives, and the right to replace the name. What
//! was found out about a name is checked again once the lock is held, because it may have been replaced in between.

use super::claiming::LOOK_AGAIN;
use super::name::RegionName;
use super::region::Region;
use super::{Connected, Refusal, RendezvousError, RendezvousReason};
use crate::futex;
use crate::header::fresh::Extent;
use crate::liveness::event_count;
use crate::liveness::name_watch::NameWatch;
use crate::liveness::{Half, PeerMonitor, SizeWatch, sleep::sleep};
use crate::lock::Byte;
use crate::turned_away::OnTurnedAway;
use smstream_core::geometry::Config;
use smstream_core::layout::state;
use smstream_core::park::{ALERT_CORRUPT, Place, Watch};
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Installed;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::Duration;

/// Listens at a name.
///
/// When it is dropped, by the process that made it, the name is removed.
#[derive(Debug)]
pub struct RegionListener {
    name: RegionName,
    config: Config,
    /// Before the region, whose file it watches.
    size: Option<SizeWatch>,
    /// The watch on the name, once this has slept: before the region, whose file it watches.
    named: Option<NameWatch>,
    current: Region,
    interrupt: Arc<PeerMonitor>,
    pid: u32,
    guard: Option<Installed>,
    /// What to do when a connector was turned away.
    pub(crate) on_turned_away: OnTurnedAway,
}

impl RegionListener {
    /// Listens at `path`, for channels with the capacities and the start of `config`; the alignment is a page. A name
    /// whose listener died is taken over. With a guard, memory that is cut short is an error.
    ///
    /// # Errors
    /// `AddrInUse` when another listener has the name, `AlreadyExists` when something else is there, `StorageFull` when the file
    /// system has no room, and what else [`RendezvousReason`] has.
    pub(crate) fn bind(
        path: impl AsRef<Path>,
        config: &Config,
        guard: Option<Installed>,
    ) -> Result<Self, RendezvousError> {
        Self::bind_as(path.as_ref(), config, true, guard)
    }

    /// Listens at `path` as [`bind`](Self::bind) does, if nothing has the name.
    ///
    /// # Errors
    /// `AddrInUse` when something has it, and as above.
    pub(crate) fn bind_new(
        path: impl AsRef<Path>,
        config: &Config,
        guard: Option<Installed>,
    ) -> Result<Self, RendezvousError> {
        Self::bind_as(path.as_ref(), config, false, guard)
    }

    fn bind_as(
        path: &Path,
        config: &Config,
        may_take_over: bool,
        guard: Option<Installed>,
    ) -> Result<Self, RendezvousError> {
        let name = RegionName::of(path)?;
        let current = Region::make(&name, config, guard)?;
        while !name.link(&**current.fd())? {
            if !may_take_over {
                return Err(name.error(RendezvousReason::InUse));
            }
            if take_over(&name, &current)? {
                break;
            }
        }
        let interrupt = PeerMonitor::none();
        let size = watch_size(&interrupt, &current);
        Ok(Self {
            name,
            config: *config,
            size,
            named: None,
            current,
            interrupt,
            pid: process::id(),
            guard,
            on_turned_away: OnTurnedAway::default(),
        })
    }

    /// Waits for a connector and accepts it. `None`: for ever.
    ///
    /// # Errors
    /// `TimedOut`, `ConnectionAborted` after [`interrupt`](Self::interrupt) was used, `AddrNotAvailable` when the name has been
    /// taken away, or what making the next region meets; then the connector stays pending, and can be accepted later.
    pub fn accept(&mut self, deadline: Option<Deadline>) -> Result<Connected, RendezvousError> {
        loop {
            let events = event_count::watch();
            if let Some(connected) = self.try_accept()? {
                return Ok(connected);
            }
            if self.watch_name() {
                continue;
            }
            let alert = self.interrupt.alert(Half::Reader);
            let alerted = alert.load_alert();
            // The alert stays raised when the region that it was raised for has been replaced.
            self.current.whole(&self.name)?;
            if alerted & !ALERT_CORRUPT != 0 {
                return Err(self.name.error(RendezvousReason::Cancelled));
            }
            // What happens to the name is an event.
            let watches = [self.watch(), Watch { word: alert, seen: alerted, place: Place::Local }, events];
            let until = match (self.look_again().map(Deadline::after), deadline) {
                (Some(soon), Some(deadline)) => Some(soon.min(deadline)),
                (soon, deadline) => soon.or(deadline),
            };
            sleep(&self.interrupt, Some(Half::Reader), &watches, until);
            if deadline.is_some_and(Deadline::has_passed) && !self.is_pending() {
                self.current.look_whole(&self.name)?;
                return Err(self.name.error(RendezvousReason::TimedOut));
            }
        }
    }

    /// Accepts a connector if one is waiting.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn try_accept(&mut self) -> Result<Option<Connected>, RendezvousError> {
        loop {
            let hello = self.current.peer_state();
            self.current.whole(&self.name)?;
            if hello == state::NONE {
                self.check_name()?;
                return Ok(None);
            }
            // A claimer that said HELLO and died leaves a region that no party can use. It is replaced like an
            // accepted one.
            let lives = hello == state::HELLO && self.current.is_held(&self.name, Byte::Party1)?;
            // A claimer that finds the region cut short gives it up, and that is no death. The watcher may not have said so yet.
            self.current.look_whole(&self.name)?;
            let next = self.publish_next()?;
            self.size = None;
            self.named = None;
            let accepted = std::mem::replace(&mut self.current, next);
            self.size = watch_size(&self.interrupt, &self.current);
            if !lives {
                continue;
            }
            if let Err(finding) = accepted.check_peer(&self.name)? {
                accepted.publish_state(state::REFUSED | (Refusal::Memory as u32) << 8);
                self.on_turned_away.report(&self.name.path().display(), &finding, false);
                continue;
            }
            accepted.publish_state(state::ACCEPTED);
            accepted.whole(&self.name)?;
            let monitor = PeerMonitor::of_region(Arc::clone(accepted.fd()), Byte::Party1, accepted.cut().cloned());
            return Ok(Some(accepted.connected(monitor)));
        }
    }

    /// Gives the name to a fresh region. The present one holds the right to do so.
    fn publish_next(&self) -> Result<Region, RendezvousError> {
        if !self.name.is(self.current.id())? {
            return Err(self.name.error(RendezvousReason::NameLost));
        }
        self.name.check_own(&**self.current.fd(), Extent::Identity)?;
        let next = Region::make(&self.name, &self.config, self.guard)?;
        self.name.replace(&**next.fd())?;
        Ok(next)
    }

    /// Before a sleep: makes sure that the kernel tells this process what happens to the name. (A forked child begins without.)
    /// `true`: it does from now on, and something may have happened before.
    pub(crate) fn watch_name(&mut self) -> bool {
        if self.named.as_ref().is_some_and(NameWatch::is_watched) {
            return false;
        }
        self.named = None;
        self.named.insert(NameWatch::new(&**self.current.fd(), None)).is_watched()
    }

    /// After how long to look whether the name is still there, if nothing tells that.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        let is_notified = futex::has_waitv() && self.named.as_ref().is_some_and(NameWatch::is_watched);
        (!is_notified).then_some(LOOK_AGAIN)
    }

    /// That the region has all its bytes and the name still leads to it, if something may have happened to it.
    fn check_name(&self) -> Result<(), RendezvousError> {
        let Some(named) = self.named.as_ref().filter(|named| named.take()) else { return Ok(()) };
        let leads_there = || match self.name.is(self.current.id())? {
            true => Ok(()),
            false => Err(self.name.error(RendezvousReason::NameLost)),
        };
        let checked = self.current.look_whole(&self.name).and_then(|()| leads_there());
        if checked.is_err() {
            // The next call says so again.
            named.leave_taken();
        }
        checked
    }

    /// Whether a connector waits to be accepted. (It may have died meanwhile.)
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.current.peer_state() != state::NONE
    }

    /// What to sleep on until a connector waits. It is another word after each accept.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.current.until_not(state::NONE)
    }

    /// To end a wait in [`accept`](Self::accept) from another thread: raise an alert on its reading half.
    #[must_use]
    pub fn interrupt(&self) -> Arc<PeerMonitor> {
        Arc::clone(&self.interrupt)
    }

    /// Stops listening and removes the name, unless it has been taken away already.
    ///
    /// # Errors
    /// What the system says; the name may be left then, and the next listener takes it over.
    pub fn close(mut self) -> Result<(), RendezvousError> {
        self.pid = 0;
        self.name.remove(self.current.id(), &**self.current.fd(), self.current.shape())
    }
}

impl Drop for RegionListener {
    fn drop(&mut self) {
        // A forked child has a copy; the name is the parent's.
        if self.pid == process::id() {
            let removed = self.name.remove(self.current.id(), &**self.current.fd(), self.current.shape());
            if let Err(e) = removed {
                crate::trace::name_left(&e);
            }
        }
    }
}

/// If the region is guarded: has the watcher alert the threads that wait for a connector when it is cut short.
fn watch_size(interrupt: &PeerMonitor, region: &Region) -> Option<SizeWatch> {
    interrupt.watch_size(region.fd(), region.cut()?)
}

/// Takes a name that exists over for `fresh`: `false` if it has changed meanwhile, look again.
fn take_over(name: &RegionName, fresh: &Region) -> Result<bool, RendezvousError> {
    let Some(_stale) = name.open_dead()? else { return Ok(false) };
    name.replace(&**fresh.fd()).map_err(RendezvousError::for_listener)?;
    Ok(true)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
