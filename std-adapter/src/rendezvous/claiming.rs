//! The connector's side of a rendezvous by a file: it finds the region, claims it, says HELLO and waits for the answer.

use super::name::RegionName;
use super::region::Region;
use super::{Connected, Refusal, RendezvousError, RendezvousReason};
use crate::liveness::{Half, PeerMonitor, sleep::sleep};
use crate::lock::{self, Byte};
use rustix::fd::OwnedFd;
use smstream_core::layout::{Features, state};
use smstream_core::park::{ALERT_CORRUPT, Place, Wake, Watch};
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Installed;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::Duration;

/// How long a connector waits before it looks at the name again. A listener that dies wakes no connector.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A connection that is being made. A step never waits.
///
/// Dropping it gives it up: the listener passes over a claimer that is gone.
#[derive(Debug)]
pub(crate) struct RegionAttempt {
    name: RegionName,
    guard: Option<Installed>,
    /// What the own lane is to carry.
    features: Features,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// It has no region yet. The one that it saw last, which another connector has claimed, and what the listener said there.
    Looking(Option<(Region, u32)>),
    /// It holds the claim, and has said HELLO. What it saw last: what the listener said, and the alerts.
    Asking {
        claim: RegionClaim,
        region: Region,
        monitor: Arc<PeerMonitor>,
        peer_state: u32,
        alerted: u32,
    },
    Over,
}

impl RegionAttempt {
    /// Begins to connect to the process that listens at `path`. Nothing is claimed before the first step.
    pub(crate) fn to(path: impl AsRef<Path>, guard: Option<Installed>) -> Result<Self, RendezvousError> {
        let features = Features::empty();
        Ok(RegionAttempt { name: RegionName::of(path.as_ref())?, guard, features, stage: Stage::Looking(None) })
    }

    /// The same, with a lane that carries what `features` say.
    pub(crate) fn carrying(self, features: Features) -> Self {
        RegionAttempt { features, ..self }
    }

    /// Waits until it is made, or the deadline passes.
    ///
    /// # Errors
    /// `NotFound` and `ConnectionRefused` when no process listens there, `InvalidData` when there is something else or a region
    /// that does not fit, `PermissionDenied`, `TimedOut`, and what else [`RendezvousReason`] has.
    pub(crate) fn wait(mut self, deadline: Option<Deadline>) -> Result<Connected, RendezvousError> {
        loop {
            // Asked before: what is found after that is final.
            let timed_out = deadline.is_some_and(Deadline::has_passed);
            if let Some(connected) = self.step()? {
                return Ok(connected);
            }
            if timed_out {
                return Err(self.name.error(RendezvousReason::TimedOut));
            }
            self.sleep(deadline);
        }
    }

    /// Goes on as far as it can without waiting. `None`: call again when the words of [`watches`](Self::watches) have
    /// changed, or after [`look_again`](Self::look_again).
    pub(crate) fn step(&mut self) -> Result<Option<Connected>, RendezvousError> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Looking(before) => {
                    drop(before);
                    self.stage = self.look()?;
                    if matches!(self.stage, Stage::Looking(_)) {
                        return Ok(None);
                    }
                }
                Stage::Asking { claim, region, monitor, .. } => {
                    let alerted = monitor.alert(Half::Reader).load_alert();
                    // After the alert: what is heard now is final if there was one.
                    let peer_state = region.peer_state();
                    region.whole(&self.name)?;
                    if peer_state == state::ACCEPTED {
                        // The listener may be dead by now. What it has sent is still there to be read.
                        claim.keep();
                        return Ok(Some(region.connected(monitor)));
                    }
                    if peer_state & 0xff == state::REFUSED {
                        return Err(self
                            .name
                            .error(RendezvousReason::Refused(Refusal::from_word(peer_state >> 8 & 0xff))));
                    }
                    if alerted & ALERT_CORRUPT != 0 {
                        return Err(self.name.error(RendezvousReason::CutShort));
                    }
                    if alerted != 0 {
                        return Err(self.name.error(RendezvousReason::ListenerDied));
                    }
                    self.stage = Stage::Asking { claim, region, monitor, peer_state, alerted };
                    return Ok(None);
                }
                Stage::Over => return Err(self.name.error(RendezvousReason::Cancelled)),
            }
        }
    }

    /// Looks for a region and claims it.
    fn look(&self) -> Result<Stage, RendezvousError> {
        let name = &self.name;
        loop {
            let region = Region::open(name, self.guard)?.carrying(self.features);
            let claimed = claim(name, &region)?;
            region.whole(name)?;
            if claimed {
                return publish_hello(name, region);
            }
            let peer_state = region.peer_state();
            region.whole(name)?;
            if !name.is(region.id())? {
                continue;
            }
            if peer_state != state::ARMED {
                // The listener had replaced the name before it said this: here is another name of a region in use.
                return Err(name.error(RendezvousReason::NotAlone));
            }
            if !region.is_held(name, Byte::Party0)? {
                if name.is(region.id())? {
                    return Err(name.error(RendezvousReason::ListenerDied));
                }
                continue;
            }
            // Another connector is about to be accepted, or has died before that. The listener sees to it; but that connector may
            // have died, or been stopped, between saying HELLO and waking the listener.
            if region.own_state() != state::NONE {
                region.wake_for_mine();
            }
            return Ok(Stage::Looking(Some((region, peer_state))));
        }
    }

    /// The words that change when there is something to do for [`step`](Self::step), as the last step saw them: what the
    /// listener says, and the alert of the listener's death.
    pub(crate) fn watches(&self) -> [Option<Watch<'_>>; 2] {
        match &self.stage {
            Stage::Looking(Some((region, peer_state))) => [Some(region.until_not(*peer_state)), None],
            Stage::Asking { region, monitor, peer_state, alerted, .. } => {
                let alert = Watch { word: monitor.alert(Half::Reader), seen: *alerted, place: Place::Local };
                [Some(region.until_not(*peer_state)), Some(alert)]
            }
            Stage::Looking(None) | Stage::Over => [None, None],
        }
    }

    /// After how long to call [`step`](Self::step) again, whether a word has changed or not.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        matches!(self.stage, Stage::Looking(_)).then_some(LOOK_AGAIN)
    }

    /// What it knows about the life of the listener.
    pub(crate) fn monitor(&self) -> Option<&Arc<PeerMonitor>> {
        match &self.stage {
            Stage::Asking { monitor, .. } => Some(monitor),
            _ => None,
        }
    }

    fn sleep(&self, deadline: Option<Deadline>) {
        let no_peer;
        let (monitor, half) = match self.monitor() {
            Some(monitor) => (monitor, Some(Half::Reader)),
            None => {
                no_peer = PeerMonitor::none();
                (&no_peer, None)
            }
        };
        let soon = self.look_again().map(Deadline::after);
        let until = match (soon, deadline) {
            (Some(soon), Some(deadline)) => Some(soon.min(deadline)),
            (soon, deadline) => soon.or(deadline),
        };
        let _ = match self.watches() {
            [Some(word), Some(alert)] => sleep(monitor, half, &[word, alert], until),
            [Some(word), None] => sleep(monitor, half, &[word], until),
            [None, _] => Wake::Maybe,
        };
    }
}

/// Takes the claim, if the region is free: armed, unused, its listener alive. All that must be seen while holding it.
pub(super) fn claim(name: &RegionName, region: &Region) -> Result<bool, RendezvousError> {
    // Without the lock first: a listener that finds HELLO said asks for it just then, and would take this party for the one that
    // has said it.
    if region.own_state() != state::NONE {
        return Ok(false);
    }
    if !lock::try_lock(&**region.fd(), Byte::Party1).map_err(name.system("claim the region"))? {
        return Ok(false);
    }
    let free = region.peer_state() == state::ARMED
        && region.own_state() == state::NONE
        && region.is_held(name, Byte::Party0)?;
    if !free {
        lock::unlock(&**region.fd(), Byte::Party1).map_err(name.system("give up the claim"))?;
    }
    Ok(free)
}

/// The claim of a connector that has said HELLO. It is given up when this is dropped, and not only when the file is closed: the
/// watcher may just be asking the system about the file, and the file stays open until that is over. A listener that accepts
/// after the connector has given up must not find the claim held.
#[derive(Debug)]
pub(super) struct RegionClaim {
    fd: Option<Arc<OwnedFd>>,
    /// The process that has it: a forked child has a copy, and drops nothing of its parent's.
    pid: u32,
}

impl RegionClaim {
    /// The party lives: the lock stays as long as the file is open.
    fn keep(mut self) {
        self.fd = None;
    }
}

impl Drop for RegionClaim {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.as_ref().filter(|_| self.pid == process::id()) {
            let _ = lock::unlock(&**fd, Byte::Party1);
        }
    }
}

/// Holding the claim, asks to be accepted.
pub(super) fn publish_hello(name: &RegionName, region: Region) -> Result<Stage, RendezvousError> {
    region.set_up_mine(name)?;
    // Before HELLO: from now on the listener's death ends the wait.
    let monitor = PeerMonitor::of_region(Arc::clone(region.fd()), Byte::Party0, region.cut().cloned());
    region.publish_state(state::HELLO);
    let claim = RegionClaim { fd: Some(Arc::clone(region.fd())), pid: process::id() };
    Ok(Stage::Asking { claim, region, monitor, peer_state: state::NONE, alerted: 0 })
}
