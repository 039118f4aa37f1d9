//! A region: a file with both segments, mapped by one party.

use super::error::RendezvousReason;
use super::name::{FileId, Found, RegionName};
use super::{Connected, RendezvousError};
use crate::barrier;
use crate::header::fresh;
use crate::liveness::{self, PeerMonitor};
use crate::lock::{self, Byte};
use rustix::fd::OwnedFd;
use rustix::fs::Stat;
use smstream_core::findings::Findings;
use smstream_core::geometry::{self, Config};
use smstream_core::identity::{Description, Finding, Problem, Whose};
use smstream_core::layout::{Features, state};
use smstream_core::ordering;
use smstream_core::park::{Place, Watch};
use smstream_core::word::SharedWord;
use smstream_shm::memory::guard::{Cut, Installed};
use smstream_shm::memory::{Access, Mapping, page_size, unnamed_file};
use std::io::ErrorKind;
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{SystemTime, UNIX_EPOCH};

/// A region, from one party's side.
#[derive(Debug)]
pub(super) struct Region {
    my: Mapping,
    peer: Mapping,
    config: Config,
    party: u32,
    fd: Arc<OwnedFd>,
    id: FileId,
    /// Whether the file was cut short, if that is guarded.
    cut: Option<Arc<Cut>>,
}

impl Region {
    /// Makes a region without a name: both segments set up, ARMED, the locks of the listener taken.
    pub(super) fn make(name: &RegionName, config: &Config, guard: Option<Installed>) -> Result<Self, RendezvousError> {
        let bad = |problem| name.error(RendezvousReason::BadConfig(problem));
        let align = u32::try_from(page_size()).map_err(|_| bad(Problem::Align(u32::MAX)))?;
        let config = signed(Config { align, ..*config });
        config.check().map_err(bad)?;
        let (_, len) = config.block();
        let fd = unnamed_file(name.directory(), len as u64).map_err(name.system("make a region"))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| name.system("look at the region")(e.into()))?;
        // So that a copy of the file is not taken for the region.
        let config = Config { channel: fresh::inode(&stat), ..config };
        {
            let (theirs, _) = map(name, &fd, (&config, &config.describe(0)), 1, None)?;
            // What the connector's lane will carry is for the connector to say.
            let theirs_config = Config { features: config.features.difference(Features::RECORDS), ..config };
            initialize(name, &theirs, &theirs_config, 1)?;
        }
        let first = config.describe(0);
        let region = Self::of(name, fd, &stat, (config, first), 0, guard.map(|guard| Cut::new(guard, len as u64)))?;
        initialize(name, &region.my, &config, 0)?;
        region.publish_state(state::ARMED);
        for byte in [Byte::Party0, Byte::Name] {
            if !lock::try_lock(&*region.fd, byte).map_err(name.system("lock the region"))? {
                // No other process has ever seen the file.
                return Err(name.error(RendezvousReason::InUse));
            }
        }
        Ok(region)
    }

    /// What its listener has chosen.
    pub(super) fn shape(&self) -> fresh::Shape {
        let first = self.config.describe(0);
        fresh::Shape {
            capacities: self.config.capacities,
            align: self.config.align,
            lane_offset: first.lane_offset,
            start: self.config.start,
        }
    }

    /// Opens the region that has the name, as the connector, who claims nothing yet.
    pub(super) fn open(name: &RegionName, guard: Option<Installed>) -> Result<Self, RendezvousError> {
        let Found { fd, stat } = name.open_region()?.ok_or_else(|| name.error(RendezvousReason::NoListener))?;
        if stat.st_mode & 0o077 != 0 {
            return Err(name.error(RendezvousReason::OpenToOthers(stat.st_mode & 0o7777)));
        }
        let cut = guard.map(|guard| Cut::new(guard, u64::try_from(stat.st_size).unwrap_or(0)));
        let channel = Self::read_config(name, &fd, &stat, cut.as_ref())?;
        Self::of(name, fd, &stat, channel, 1, cut)
    }

    /// What the listener's segment says of the region, checked against the size of the file. The connector's own
    /// segment is not looked at: the connector that holds the claim sets it up anew.
    fn read_config(
        name: &RegionName,
        fd: &OwnedFd,
        stat: &Stat,
        cut: Option<&Arc<Cut>>,
    ) -> Result<(Config, Description), RendezvousError> {
        let len = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        let all = Mapping::guarded(fd, 0, len, Access::ReadOnly, cut).map_err(unmapped(name))?;
        // SAFETY: the mapping is valid for reads of `len` bytes as long as it lives, which is longer than the call. All
        // who use a region access its headers through atomics only, and no process shortens it (the trust of `file:`
        // regions).
        let inspected = Findings::collect(|report| unsafe { geometry::inspect_reporting(all.as_ptr(), len, report) });
        whole(name, cut)?;
        let listener = inspected.map_err(|findings| name.error(RendezvousReason::BadRegion(Box::new(findings))))?;
        let bad = |problem| name.error(RendezvousReason::BadSegment(problem));
        if listener.party != 0 {
            return Err(bad(Problem::Party(listener.party)));
        }
        if !(listener.align as usize).is_multiple_of(page_size()) {
            return Err(bad(Problem::Align(listener.align)));
        }
        let capacities = [listener.capacity, listener.peer_capacity];
        let channel = listener.channel;
        let config =
            signed(Config { align: listener.align, start: listener.start, channel, ..Config::new(capacities) });
        let needed = listener.next_segment().saturating_add(config.describe(1).segment_len());
        if len < needed {
            let word = |n| u32::try_from(n).unwrap_or(u32::MAX);
            return Err(bad(Problem::TooShort { needed: word(needed), found: word(len) }));
        }
        Ok((config, listener))
    }

    fn of(
        name: &RegionName,
        fd: OwnedFd,
        stat: &Stat,
        (config, first): (Config, Description),
        party: u32,
        cut: Option<Arc<Cut>>,
    ) -> Result<Self, RendezvousError> {
        let fd = liveness::move_above_watcher_fds(fd);
        let (my, peer) = map(name, &fd, (&config, &first), party as usize, cut.as_ref())?;
        Ok(Self { my, peer, config, party, fd: Arc::new(fd), id: FileId::of(stat), cut })
    }

    /// What tells whether the file was cut short, if that is guarded.
    pub(super) fn cut(&self) -> Option<&Arc<Cut>> {
        self.cut.as_ref()
    }

    /// That what was read from the region, before this was called, was there.
    pub(super) fn whole(&self, name: &RegionName) -> Result<(), RendezvousError> {
        whole(name, self.cut())
    }

    /// The same of the file as it is now: no access may have met what is gone, and the watcher may not have looked yet.
    pub(super) fn look_whole(&self, name: &RegionName) -> Result<(), RendezvousError> {
        if let Some(cut) = self.cut() {
            cut.look(&*self.fd);
        }
        self.whole(name)
    }

    /// The same, with a segment of the connector that says that its lane carries what `features` say.
    pub(super) fn carrying(mut self, features: Features) -> Self {
        self.config.features = barrier::features(features);
        self
    }

    /// Sets the connector's segment up, whatever a dead claimer left in it. The caller holds the claim.
    pub(super) fn set_up_mine(&self, name: &RegionName) -> Result<(), RendezvousError> {
        initialize(name, &self.my, &self.config, self.party as usize)
    }

    /// Which file it is.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Its description.
    pub(super) fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    fn own_state_word(&self) -> &AtomicU32 {
        // SAFETY: my segment begins there, mapped for reads and writes as long as `self` lives, and its header is
        // accessed through atomics only.
        unsafe { geometry::state_word(self.my.as_ptr()) }
    }

    fn peer_state_word(&self) -> SharedWord<'_> {
        // SAFETY: the peer's segment begins there, mapped for reads as long as `self` lives, and its header is accessed
        // through atomics only.
        unsafe { geometry::peer_state_word(self.peer.as_ptr()) }
    }

    /// Publishes my step of the rendezvous and wakes all who wait for it.
    pub(super) fn publish_state(&self, step: u32) {
        ordering::publish_state(self.own_state_word(), step);
        crate::futex::wake_all(SharedWord::new(self.own_state_word()), Place::Shared);
    }

    /// Publishes my step as a process does that dies before it can wake anybody.
    #[cfg(test)]
    pub(super) fn publish_unheard(&self, step: u32) {
        ordering::publish_state(self.own_state_word(), step);
    }

    /// Checks both segments, as attaching does. What is wrong with the peer's; what is wrong with mine is found when this end
    /// attaches.
    pub(super) fn check_peer(&self, name: &RegionName) -> Result<Result<(), Finding>, RendezvousError> {
        let Some(start) = self.my.as_mut_ptr() else {
            return Err(name.system("write to a read-only segment")(ErrorKind::PermissionDenied.into()));
        };
        // SAFETY: both mappings are valid for their lengths while they are borrowed, and no process shortens the file (the
        // trust of `file:` regions). Headers are accessed through atomics only, and what is attached here becomes no end.
        let attached = unsafe { geometry::attach(start, self.my.len(), self.peer.as_ptr(), self.peer.len()) };
        self.whole(name)?;
        Ok(match attached {
            Err(finding) if finding.whose == Whose::Peer => Err(finding),
            _ => Ok(()),
        })
    }

    /// Wakes all who wait for a step of my party: what a process that held the claim before me may have died before doing.
    pub(super) fn wake_for_mine(&self) {
        crate::futex::wake_all(SharedWord::new(self.own_state_word()), Place::Shared);
    }

    /// The step that my party has published: perhaps a process that held the claim before me, hence not `own`.
    pub(super) fn own_state(&self) -> u32 {
        SharedWord::new(self.own_state_word()).load_state()
    }

    /// The step that the peer has published.
    pub(super) fn peer_state(&self) -> u32 {
        self.peer_state_word().load_state()
    }

    /// What to sleep on until the peer's step is another one.
    pub(super) fn until_not(&self, seen: u32) -> Watch<'_> {
        Watch { word: self.peer_state_word(), seen, place: Place::Shared }
    }

    /// Whether another open description holds the lock on `byte`.
    pub(super) fn is_held(&self, name: &RegionName, byte: Byte) -> Result<bool, RendezvousError> {
        lock::is_held(&*self.fd, byte).map_err(name.system("ask for the locks of the region"))
    }

    /// The region in use.
    pub(super) fn connected(self, monitor: Arc<PeerMonitor>) -> Connected {
        // The description, and with it this end's lock, lives on in `monitor`.
        let Self { my, peer, party, .. } = self;
        Connected { my, peer, party, monitor, link: None }
    }
}

/// Says who made it, and when. For display only.
fn signed(config: Config) -> Config {
    let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Config { pid: process::id(), made, features: barrier::features(config.features), ..config }
}

fn whole(name: &RegionName, cut: Option<&Arc<Cut>>) -> Result<(), RendezvousError> {
    if cut.is_some_and(|cut| cut.is_set()) { Err(name.error(RendezvousReason::CutShort)) } else { Ok(()) }
}

/// Why a region could not be mapped whose size has been looked at before.
fn unmapped(name: &RegionName) -> impl Fn(std::io::Error) -> RendezvousError {
    |e| match e.kind() {
        ErrorKind::UnexpectedEof => name.error(RendezvousReason::CutShort),
        _ => name.system("map the region")(e),
    }
}

/// Maps the segment of `party` for writing and the other one for reading. The first says itself where its lane begins.
fn map(
    name: &RegionName,
    fd: &OwnedFd,
    (config, first): (&Config, &Description),
    party: usize,
    cut: Option<&Arc<Cut>>,
) -> Result<(Mapping, Mapping), RendezvousError> {
    let places = [(0, first.segment_len()), (first.next_segment(), config.describe(1).segment_len())];
    let segment = |party: usize, access| {
        let (start, len) = places[party];
        Mapping::guarded(fd, start as u64, len, access, cut).map_err(unmapped(name))
    };
    Ok((segment(party, Access::ReadWrite)?, segment(1 - party, Access::ReadOnly)?))
}

fn initialize(name: &RegionName, segment: &Mapping, config: &Config, party: usize) -> Result<(), RendezvousError> {
    let Some(start) = segment.as_mut_ptr() else {
        return Err(name.system("write to a read-only segment")(ErrorKind::PermissionDenied.into()));
    };
    // SAFETY: `segment` is valid for reads and writes of its length while it is borrowed. Everyone accesses headers
    // through atomics only. No party is attached: either the file has no name yet, so that no other party has it, or the
    // caller holds the claim of party 1, and party 0 attaches only after that has said HELLO.
    let made = unsafe { geometry::init(start, segment.len(), config, party) };
    made.map_err(|finding| name.error(RendezvousReason::BadRegion(Box::new(finding.into()))))
}
