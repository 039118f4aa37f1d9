//! What a listener accepts with: the one place that knows how each kind of address is listened at.

use crate::addr::Addr;
use crate::condition::waitable::{WaitSet, Waitable};
use crate::error::{Reason, Result};
use crate::liveness::{self, Half};
use crate::rendezvous::file::RegionListener;
use crate::rendezvous::socket::{self, SocketListener, SocketName};
use crate::rendezvous::{Connected, RendezvousError};
use crate::settings::Settings;
use crate::stream::Stream;
use crate::timed_mutex::Requests;
use crate::turned_away::OnTurnedAway;
use rustix::fd::AsFd;
use smstream_core::geometry::Config;
use smstream_shm::Deadline;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where connectors come from.
#[derive(Debug)]
pub(crate) enum AnyListener {
    /// At `file:` and `shm:`.
    Region(Box<RegionListener>),
    /// At `unix:`.
    Socket(Box<SocketListener>),
}

impl AnyListener {
    /// Listens at `addr`; `take_over`: also if a dead listener has left its name there.
    pub(crate) fn bind(addr: &Addr, config: &Config, settings: &Settings, take_over: bool) -> Result<AnyListener> {
        settings.check(addr)?;
        let name = match addr {
            Addr::Unix(path) => SocketName::of_path(path)?,
            Addr::Abstract(name) => SocketName::of_abstract(name)?,
            Addr::File(_) | Addr::Shm(_) => {
                let bind = if take_over { RegionListener::bind } else { RegionListener::bind_new };
                return Ok(AnyListener::Region(Box::new(bind(&addr.region_path()?, config, settings.guard)?)));
            }
            Addr::Fd(_) => return Err(socket::cannot_listen(&addr.to_string()).into()),
        };
        let listener = SocketListener::bind(name, config, settings.terms.clone(), take_over)?;
        Ok(AnyListener::Socket(Box::new(listener)))
    }

    fn set_on_turned_away(&mut self, then: OnTurnedAway) {
        match self {
            AnyListener::Region(listener) => listener.on_turned_away = then,
            AnyListener::Socket(listener) => listener.on_turned_away = then,
        }
    }

    fn accept(&mut self, deadline: Option<Deadline>) -> Result<Connected, RendezvousError> {
        match self {
            AnyListener::Region(listener) => listener.accept(deadline),
            AnyListener::Socket(listener) => listener.accept(deadline),
        }
    }

    fn try_accept(&mut self) -> Result<Option<Connected>, RendezvousError> {
        match self {
            AnyListener::Region(listener) => listener.try_accept(),
            AnyListener::Socket(listener) => listener.try_accept(),
        }
    }
}

/// What the thread has that accepts.
#[derive(Debug)]
pub(crate) struct Acceptor {
    source: AnyListener,
    addr: Addr,
    settings: Settings,
    /// What the next accept returns: a wait has found it, and has said that accepting would not wait.
    kept: Option<Box<Result<Stream>>>,
    /// It waits for a connector.
    waiting: Arc<AtomicBool>,
}

impl Acceptor {
    pub(crate) fn new(mut source: AnyListener, addr: Addr, settings: Settings, waiting: Arc<AtomicBool>) -> Self {
        source.set_on_turned_away(settings.on_turned_away.clone());
        Acceptor { source, addr, settings, kept: None, waiting }
    }

    /// Waits for a connector and accepts it.
    pub(crate) fn accept(&mut self, deadline: Option<Deadline>) -> Result<Stream> {
        loop {
            if let Some(kept) = self.kept.take() {
                return *kept;
            }
            self.set_waiting(true);
            let connected = self.source.accept(deadline);
            self.set_waiting(false);
            if let Some(accepted) = self.accepted(connected?) {
                return accepted;
            }
        }
    }

    /// Accepts a connector if one waits.
    pub(crate) fn try_accept(&mut self) -> Result<Option<Stream>> {
        loop {
            if let Some(kept) = self.kept.take() {
                return kept.map(Some);
            }
            let Some(connected) = self.source.try_accept()? else { return Ok(None) };
            if let Some(accepted) = self.accepted(connected) {
                return accepted.map(Some);
            }
        }
    }

    /// The stream of a connector; `None` if it ends here.
    fn accepted(&self, connected: Connected) -> Option<Result<Stream>> {
        let trusted = connected.link.is_none();
        match Stream::met(connected, &self.settings, &self.addr) {
            // A connector that need not be trusted has spoilt its own segment: that ends its connection and nothing else.
            Err(e) if !trusted && e.reason() == Reason::Corrupt => {
                self.settings.on_turned_away.report(&self.addr, &e, false);
                None
            }
            other => Some(other),
        }
    }

    /// Whether the listener was shut down. (At a socket the waits themselves notice.)
    fn is_shut_down(&self) -> bool {
        match &self.source {
            AnyListener::Region(listener) => listener.interrupt().alert(Half::Reader).load_alert() != 0,
            AnyListener::Socket(_) => false,
        }
    }

    /// Stops listening and removes the name.
    pub(crate) fn close(self) -> Result<()> {
        match self.source {
            AnyListener::Region(listener) => listener.close()?,
            AnyListener::Socket(listener) => listener.close()?,
        }
        Ok(())
    }
}

impl Requests for Acceptor {}

impl Waitable for Acceptor {
    /// Whether accepting would return at once. If so, what it will return is kept: a connector that dies now, or an error that
    /// goes away, cannot make it wait after all.
    fn is_ready(&mut self) -> bool {
        if self.kept.is_none() {
            match self.try_accept() {
                Ok(None) => return self.is_shut_down(),
                Ok(Some(stream)) => self.kept = Some(Box::new(Ok(stream))),
                Err(e) => self.kept = Some(Box::new(Err(e))),
            }
        }
        true
    }

    fn prepare(&mut self) {
        if let AnyListener::Region(listener) = &mut self.source {
            listener.watch_name();
        }
    }

    fn set_waiting(&self, on: bool) {
        self.waiting.store(on, Ordering::Release);
    }

    fn arm<'w>(&'w mut self, set: &mut WaitSet<'w>, slice: Duration) -> bool {
        match &self.source {
            AnyListener::Region(listener) => {
                // What happens to its name changes the event count.
                if let Some(time) = listener.look_again() {
                    set.limit(time);
                }
                set.words.push(listener.watch());
            }
            AnyListener::Socket(listener) => {
                if liveness::watch_readable(listener.as_fd()).is_err() {
                    set.limit(slice);
                }
            }
        }
        true
    }

    fn disarm(&mut self) {
        if let AnyListener::Socket(listener) = &self.source {
            liveness::unwatch(listener.as_fd());
        }
    }
}
