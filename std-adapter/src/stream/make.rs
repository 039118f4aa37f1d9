//! How a stream comes about: from two mapped segments.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use smstream_core::findings::Findings;
use smstream_core::geometry::{self, Config};
use smstream_core::layout::Features;

use super::Stream;
use crate::addr::Addr;
use crate::buffering::Policy;
use crate::doorbell::Doorbell;
use crate::error::{Error, Reason, Result};
use crate::half::{Mode, Peer, ReadHalf, Shared, WriteHalf};
use crate::history::History;
use crate::liveness::{Half, PeerMonitor, WatchMode};
use crate::parking::Parker;
use crate::rendezvous::{Connected, Link};
use crate::settings::Settings;
use crate::signal::Signals;
use crate::timed_mutex::TimedMutex;
use crate::trace;
use smstream_shm::memory::{self, Access, Both, Mapping};

/// The two segments of a channel, mapped: mine for reading and writing, the peer's for reading only.
struct Segments {
    mine: Mapping,
    peer: Mapping,
}

impl Stream {
    /// Makes a pair as [`Builder::pair`] says.
    pub(crate) fn pair_with(config: &Config, settings: &Settings) -> Result<(Stream, Stream)> {
        let system = |e| Error::system(Reason::System, e);
        let ([first, second], len) = config.block();
        let len = memory::round_up_to_page(len).unwrap_or(usize::MAX);
        let fd = memory::memfd("smstream-pair", len as u64).map_err(system)?;
        let map = |access| -> Result<[Mapping; 2]> {
            let [a, b] = match access {
                0 => [Access::ReadWrite, Access::ReadOnly],
                _ => [Access::ReadOnly, Access::ReadWrite],
            };
            let listener = Mapping::new(&fd, first as u64, second - first, a).map_err(system)?;
            let connector = Mapping::new(&fd, second as u64, len - second, b).map_err(system)?;
            Ok([listener, connector])
        };
        let ends = [map(0)?, map(1)?];
        for (party, end) in ends.iter().enumerate() {
            let segment = &end[party];
            let start = segment.as_mut_ptr().ok_or_else(|| Error::new(Reason::System, "the mapping is read-only"))?;
            // SAFETY: the mapping is valid for reads and writes of its length, and only this function knows of it.
            unsafe { geometry::init(start, segment.len(), config, party) }
                .map_err(|finding| Error::new(Reason::Corrupt, finding.to_string()))?;
        }
        let [[mine, peer], [other_peer, other_mine]] = ends;
        let here = Segments { mine, peer };
        let there = Segments { mine: other_mine, peer: other_peer };
        // SAFETY: both segments have just been set up, in memory of this process that cannot shrink (it is sealed), and
        // each party gets one end.
        let a = unsafe { Stream::attach(here, PeerMonitor::none(), None, settings, "the other end of the pair") }?;
        // SAFETY: as above.
        let b = unsafe { Stream::attach(there, PeerMonitor::none(), None, settings, "the other end of the pair") }?;
        Ok((a, b))
    }

    /// The end of a party that has met its peer at `addr`.
    pub(crate) fn met(connected: Connected, settings: &Settings, addr: &Addr) -> Result<Stream> {
        let who = if connected.party == 0 { "the connector" } else { "the listener" };
        let peer = format!("{who} at {addr}");
        let segments = Segments { mine: connected.my, peer: connected.peer };
        // SAFETY: the rendezvous gave each segment to one party, which holds the lock of its end or has made the segment
        // itself, and this end has just been made: no other code in this process uses the segments. Parties of a `file:` region
        // are trusted not to shorten it; memory that came over a socket is sealed and cannot be shortened.
        unsafe { Stream::attach(segments, connected.monitor, connected.link, settings, &peer) }
    }

    /// Makes an end of two mapped segments.
    ///
    /// # Safety
    /// The promises of [`geometry::attach`], for as long as the mappings live: in this process only the ends of the channel touch the
    /// segments, this party has no other end, and no process shortens the memory.
    unsafe fn attach(
        segments: Segments,
        monitor: Arc<PeerMonitor>,
        link: Option<Link>,
        settings: &Settings,
        peer: &str,
    ) -> Result<Stream> {
        let Segments { mine, peer: theirs } = segments;
        let start =
            mine.as_mut_ptr().ok_or_else(|| Error::new(Reason::System, "the own segment is mapped read-only"))?;
        // SAFETY: the mappings are valid for their lengths until they are dropped. `'static` is more than that, but the
        // ends made of it live in halves that own, through `shared`, the mappings, and drop them last; so does the reference
        // to the counters, in `shared` itself, which gives out samples of them only.
        let attachment = Findings::collect(|report| unsafe {
            geometry::attach_reporting(start, mine.len(), theirs.as_ptr(), theirs.len(), report)
        })
        .map_err(|findings| {
            Error::new(Reason::Corrupt, format!("the memory shared with {peer} cannot be used: {findings}"))
        })?;
        // SAFETY: as above, for the duration of the call.
        let described = unsafe { geometry::inspect(theirs.as_ptr(), theirs.len()) };
        let (peer_pid, peer_party) = described.as_ref().map_or((0, 0), |d| (d.pid, d.party));
        // What the attachment is made with was loaded once, and checked; this is one bit for which there is no wrong value.
        let records = [settings.terms.features, described.map_or(Features::empty(), |d| d.features)]
            .map(|features| features.contains(Features::RECORDS));
        let signals =
            Signals { wanted: settings.terms.wake_signal, peer: link.as_ref().and_then(|link| link.pidfd.clone()) };
        let doorbell = link.as_ref().map(|link| Doorbell::new(Arc::clone(&link.socket)));
        let parker = |half| {
            let parker = Parker::new(Arc::clone(&monitor), half, settings.spin).adapting(settings.adapts);
            parker.with_signals(signals.clone()).with_doorbell(doorbell.clone())
        };
        let end = attachment.into_end(parker(Half::Writer), parker(Half::Reader));
        let (consumer, producer) = end.split();
        let how = match (monitor.watch_mode(), peer_party) {
            (WatchMode::None, _) => "paired",
            (_, 0) => "connected",
            _ => "accepted",
        };
        let capacities = [producer.capacity(), consumer.capacity()];
        trace::open(how, peer, peer_pid, capacities);
        let credentials = link.as_ref().map(|link| link.credentials);
        let shared = Arc::new(Shared {
            peer_name: peer.to_owned(),
            peer: Peer { pid: peer_pid, credentials },
            capacities,
            counters: [producer.counters(), consumer.counters()],
            cut: monitor.cut().cloned(),
            monitor,
            link,
            doorbell,
            read: Mode::default(),
            write: Mode::default(),
            aborted: AtomicBool::new(false),
            relinquished: AtomicBool::new(false),
            deadlock_detection: settings.deadlock_detection,
            records,
            policy: Policy::new(settings.buf_mode),
            history: History::default(),
            memory: Both::new([mine, theirs]),
        });
        Ok(Stream {
            reader: TimedMutex::new(ReadHalf::new(consumer, Arc::clone(&shared))),
            writer: TimedMutex::new(WriteHalf::new(producer, Arc::clone(&shared))),
            shared,
        })
    }
}
