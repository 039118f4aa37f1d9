//! Rendezvous by a file: a region under a name, and locks.
//!
//! A listener's name always leads to a region that waits for a connector. When one has come, the listener gives the
//! name to a fresh region and accepts; the old one has no name any more, so that a crash of both leaves nothing behind.
//! A name whose listener died is left over; the next listener takes it over.
//!
//! Three bytes of the file are locked, see [`Byte`]: the two parties' lives, and the right to replace the name. What
//! was found out about a name is checked again once the lock is held, because it may have been replaced in between.

use super::name::Name;
use super::region::Region;
use super::{Connected, Error, Reason};
use crate::header::fresh::Extent;
use crate::liveness::{Half, Life, SizeWatch, sleep::sleep};
use crate::lock::{self, Byte};
use smstream_core::geometry::Config;
use smstream_core::layout::state;
use smstream_core::park::{ALERT_CORRUPT, Place, Wake, Watch};
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Installed;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::Duration;

/// How long a connector waits before it looks at the name again. A listener that dies wakes nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Listens at a name.
///
/// When it is dropped, by the process that made it, the name is removed.
#[derive(Debug)]
pub struct Listener {
    name: Name,
    config: Config,
    /// Before the region, whose file it watches.
    size: Option<SizeWatch>,
    current: Region,
    interrupt: Arc<Life>,
    pid: u32,
    guard: Option<Installed>,
}

impl Listener {
    /// Listens at `path`, for channels with the capacities and the start of `config`; the alignment is a page. A name
    /// whose listener died is taken over. With a guard, memory that is cut short is an error.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there, `AlreadyExists` when something else is there, `StorageFull` when the file
    /// system has no room, and what else [`Reason`] has.
    pub(crate) fn bind(path: impl AsRef<Path>, config: &Config, guard: Option<Installed>) -> Result<Self, Error> {
        Self::bind_as(path.as_ref(), config, true, guard)
    }

    /// Listens at `path` as [`bind`](Self::bind) does, if nothing has the name.
    ///
    /// # Errors
    /// `AddrInUse` when something has it, and as above.
    pub(crate) fn bind_new(path: impl AsRef<Path>, config: &Config, guard: Option<Installed>) -> Result<Self, Error> {
        Self::bind_as(path.as_ref(), config, false, guard)
    }

    fn bind_as(path: &Path, config: &Config, may_take_over: bool, guard: Option<Installed>) -> Result<Self, Error> {
        let name = Name::of(path)?;
        let current = Region::make(&name, config, guard)?;
        while !name.link(&**current.fd())? {
            if !may_take_over {
                return Err(name.error(Reason::InUse));
            }
            if take_over(&name, &current)? {
                break;
            }
        }
        let interrupt = Life::none();
        let size = watch_size(&interrupt, &current);
        Ok(Self { name, config: *config, size, current, interrupt, pid: process::id(), guard })
    }

    /// Waits for a connector and accepts it. `None`: for ever.
    ///
    /// # Errors
    /// `TimedOut`, `ConnectionAborted` after [`interrupt`](Self::interrupt) was used, `AddrNotAvailable` when the name has been
    /// taken away, or what making the next region meets; then the connector stays pending, and can be accepted later.
    pub fn accept(&mut self, deadline: Option<Deadline>) -> Result<Connected, Error> {
        loop {
            if let Some(connected) = self.try_accept()? {
                return Ok(connected);
            }
            let alert = self.interrupt.alert(Half::Reader);
            let alerted = alert.load_alert();
            // The alert stays raised when the region that it was raised for has been replaced.
            self.current.whole(&self.name)?;
            if alerted & !ALERT_CORRUPT != 0 {
                return Err(self.name.error(Reason::Cancelled));
            }
            let watches = [self.watch(), Watch { word: alert, seen: alerted, place: Place::Local }];
            let wake = sleep(&self.interrupt, Some(Half::Reader), &watches, deadline);
            if wake == Wake::TimedOut && !self.is_pending() {
                return Err(self.name.error(Reason::TimedOut));
            }
        }
    }

    /// Accepts a connector if one is waiting.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn try_accept(&mut self) -> Result<Option<Connected>, Error> {
        loop {
            let hello = self.current.heard();
            self.current.whole(&self.name)?;
            if hello == state::NONE {
                return Ok(None);
            }
            // A claimer that said HELLO and died leaves a region that nobody can use: it is replaced like an accepted
            // one.
            let lives = hello == state::HELLO && self.current.is_held(&self.name, Byte::Party1)?;
            let next = self.publish_next()?;
            self.size = None;
            let accepted = std::mem::replace(&mut self.current, next);
            self.size = watch_size(&self.interrupt, &self.current);
            accepted.say(state::ACCEPTED);
            accepted.whole(&self.name)?;
            if lives {
                let life = Life::of_region(Arc::clone(accepted.fd()), Byte::Party1, accepted.cut().cloned());
                return Ok(Some(accepted.connected(life)));
            }
        }
    }

    /// Gives the name to a fresh region. The present one holds the right to do so.
    fn publish_next(&self) -> Result<Region, Error> {
        if !self.name.is(self.current.id())? {
            return Err(self.name.error(Reason::NameLost));
        }
        self.name.check_own(&**self.current.fd(), Extent::Identity)?;
        let next = Region::make(&self.name, &self.config, self.guard)?;
        self.name.replace(&**next.fd())?;
        Ok(next)
    }

    /// Whether somebody waits to be accepted. (It may have died meanwhile.)
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.current.heard() != state::NONE
    }

    /// What to sleep on until somebody waits. It is another word after each accept.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.current.until_not(state::NONE)
    }

    /// To end a wait in [`accept`](Self::accept) from another thread: raise an alert on its reading half.
    #[must_use]
    pub fn interrupt(&self) -> Arc<Life> {
        Arc::clone(&self.interrupt)
    }

    /// Stops listening and removes the name, unless somebody has taken it away already.
    ///
    /// # Errors
    /// What the system says; the name may be left then, and the next listener takes it over.
    pub fn close(mut self) -> Result<(), Error> {
        self.pid = 0;
        self.name.remove(self.current.id(), &**self.current.fd())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A forked child has a copy; the name is the parent's.
        if self.pid == process::id() {
            let _ = self.name.remove(self.current.id(), &**self.current.fd());
        }
    }
}

/// If the region is guarded: has whoever waits for a connector told when it is cut short.
fn watch_size(interrupt: &Life, region: &Region) -> Option<SizeWatch> {
    interrupt.watch_size(region.fd(), region.cut()?)
}

/// Takes a name that exists over for `fresh`: `false` if it has changed meanwhile, look again.
fn take_over(name: &Name, fresh: &Region) -> Result<bool, Error> {
    let Some(_stale) = name.open_dead()? else { return Ok(false) };
    name.replace(&**fresh.fd()).map_err(Error::for_listener)?;
    Ok(true)
}

/// A connection that is being made. A step never waits.
///
/// Dropping it gives it up: the listener passes over a claimer that is gone.
#[derive(Debug)]
pub(crate) struct Connecting {
    name: Name,
    guard: Option<Installed>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It has no region yet. The one that it saw last, which somebody else has claimed, and what the listener said there.
    Looking(Option<(Region, u32)>),
    /// It holds the claim, and has said HELLO. What it saw last: what the listener said, and the alerts.
    Asking {
        region: Region,
        life: Arc<Life>,
        heard: u32,
        alerted: u32,
    },
    Over,
}

impl Connecting {
    /// Begins to connect to whoever listens at `path`. Nothing is claimed before the first step.
    pub(crate) fn to(path: impl AsRef<Path>, guard: Option<Installed>) -> Result<Self, Error> {
        Ok(Connecting { name: Name::of(path.as_ref())?, guard, stage: Stage::Looking(None) })
    }

    /// Waits until it is made, or the deadline passes.
    ///
    /// # Errors
    /// `NotFound` and `ConnectionRefused` when nobody listens there, `InvalidData` when there is something else or a region
    /// that does not fit, `PermissionDenied`, `TimedOut`, and what else [`Reason`] has.
    pub(crate) fn wait(mut self, deadline: Option<Deadline>) -> Result<Connected, Error> {
        loop {
            // Asked before: what is found after that is final.
            let timed_out = deadline.is_some_and(Deadline::has_passed);
            if let Some(connected) = self.step()? {
                return Ok(connected);
            }
            if timed_out {
                return Err(self.name.error(Reason::TimedOut));
            }
            self.sleep(deadline);
        }
    }

    /// Goes on as far as it can without waiting. `None`: call again when the words of [`watches`](Self::watches) have
    /// changed, or after [`look_again`](Self::look_again).
    pub(crate) fn step(&mut self) -> Result<Option<Connected>, Error> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Looking(before) => {
                    drop(before);
                    self.stage = self.look()?;
                    if matches!(self.stage, Stage::Looking(_)) {
                        return Ok(None);
                    }
                }
                Stage::Asking { region, life, .. } => {
                    let alerted = life.alert(Half::Reader).load_alert();
                    // After the alert: what is heard now is final if there was one.
                    let heard = region.heard();
                    region.whole(&self.name)?;
                    if heard == state::ACCEPTED {
                        // The listener may be dead by now. What it has sent is still there to be read.
                        return Ok(Some(region.connected(life)));
                    }
                    if alerted & ALERT_CORRUPT != 0 {
                        return Err(self.name.error(Reason::CutShort));
                    }
                    if alerted != 0 {
                        return Err(self.name.error(Reason::ListenerDied));
                    }
                    self.stage = Stage::Asking { region, life, heard, alerted };
                    return Ok(None);
                }
                Stage::Over => return Err(self.name.error(Reason::Cancelled)),
            }
        }
    }

    /// Looks for a region and claims it.
    fn look(&self) -> Result<Stage, Error> {
        let name = &self.name;
        loop {
            let region = Region::open(name, self.guard)?;
            let claimed = claim(name, &region)?;
            region.whole(name)?;
            if claimed {
                return say_hello(name, region);
            }
            let heard = region.heard();
            region.whole(name)?;
            if !name.is(region.id())? {
                continue;
            }
            if heard != state::ARMED {
                // The listener had replaced the name before it said this: here is another name of a region in use.
                return Err(name.error(Reason::NotAlone));
            }
            if !region.is_held(name, Byte::Party0)? {
                if name.is(region.id())? {
                    return Err(name.error(Reason::ListenerDied));
                }
                continue;
            }
            // Somebody else is about to be accepted, or has died before that. The listener sees to it.
            return Ok(Stage::Looking(Some((region, heard))));
        }
    }

    /// The words that change when there is something to do for [`step`](Self::step), as the last step saw them: what the
    /// listener says, and the alert of the listener's death.
    pub(crate) fn watches(&self) -> [Option<Watch<'_>>; 2] {
        match &self.stage {
            Stage::Looking(Some((region, heard))) => [Some(region.until_not(*heard)), None],
            Stage::Asking { region, life, heard, alerted } => {
                let alert = Watch { word: life.alert(Half::Reader), seen: *alerted, place: Place::Local };
                [Some(region.until_not(*heard)), Some(alert)]
            }
            Stage::Looking(None) | Stage::Over => [None, None],
        }
    }

    /// After how long to call [`step`](Self::step) again, whether a word has changed or not.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        matches!(self.stage, Stage::Looking(_)).then_some(LOOK_AGAIN)
    }

    /// What it knows about the life of the listener.
    pub(crate) fn life(&self) -> Option<&Arc<Life>> {
        match &self.stage {
            Stage::Asking { life, .. } => Some(life),
            _ => None,
        }
    }

    fn sleep(&self, deadline: Option<Deadline>) {
        let nobody;
        let (life, half) = match self.life() {
            Some(life) => (life, Some(Half::Reader)),
            None => {
                nobody = Life::none();
                (&nobody, None)
            }
        };
        let soon = self.look_again().map(Deadline::after);
        let until = match (soon, deadline) {
            (Some(soon), Some(deadline)) => Some(soon.min(deadline)),
            (soon, deadline) => soon.or(deadline),
        };
        let _ = match self.watches() {
            [Some(word), Some(alert)] => sleep(life, half, &[word, alert], until),
            [Some(word), None] => sleep(life, half, &[word], until),
            [None, _] => Wake::Maybe,
        };
    }
}

/// Takes the claim, if the region is free: armed, unused, its listener alive. All that must be seen while holding it.
fn claim(name: &Name, region: &Region) -> Result<bool, Error> {
    if !lock::try_lock(&**region.fd(), Byte::Party1).map_err(name.system("claim the region"))? {
        return Ok(false);
    }
    let free = region.heard() == state::ARMED && region.said() == state::NONE && region.is_held(name, Byte::Party0)?;
    if !free {
        lock::unlock(&**region.fd(), Byte::Party1).map_err(name.system("give up the claim"))?;
    }
    Ok(free)
}

/// Holding the claim, asks to be accepted.
fn say_hello(name: &Name, region: Region) -> Result<Stage, Error> {
    region.set_up_mine(name)?;
    // Before HELLO: from now on the listener's death ends the wait.
    let life = Life::of_region(Arc::clone(region.fd()), Byte::Party0, region.cut().cloned());
    region.say(state::HELLO);
    Ok(Stage::Asking { region, life, heard: state::NONE, alerted: 0 })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
