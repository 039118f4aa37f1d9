//! How a listener on a socket begins: with a socket of its own, to which it gives a name, or with one that listens already.

use super::interrupt::Interrupt;
use super::listener::{FIRST, INTERRUPT, NAME, SOCKET, SocketListener, TIMER};
use super::name::SocketName;
use super::terms::Terms;
use super::watched_name::WatchedName;
use super::{bad_descriptor, check_socket_type};
use crate::barrier;
use crate::packet;
use crate::rendezvous::{RendezvousError, RendezvousReason};
use crate::turned_away::OnTurnedAway;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use smstream_core::geometry::Config;
use smstream_shm::memory::page_size;
use std::collections::{BTreeMap, VecDeque};
use std::process;
use std::sync::Arc;

/// How many connectors the kernel keeps waiting. It has a limit of its own (net.core.somaxconn).
pub(super) const BACKLOG: i32 = 4096;

impl SocketListener {
    /// Listens at `name`, for channels with the capacities and the start of `config`.
    pub(crate) fn bind(
        name: SocketName,
        config: &Config,
        terms: Terms,
        take_over: bool,
    ) -> Result<Self, RendezvousError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|e| name.error(RendezvousReason::System("make a socket", e.into())))?;
        let mut this = Self::on(socket, name, config, terms)?;
        this.right = this.name.listen(&this.socket, BACKLOG, this.terms.allow.others(), take_over)?;
        if let Some(right) = &this.right {
            // If this fails, dropping the listener removes the name.
            this.named = Some(WatchedName::new(&this.name, right, &this.epoll, NAME)?);
        }
        Ok(this)
    }

    /// Goes on with a socket that listens already, as a service manager hands it over. Its name is never removed, and what waits
    /// in its queue when this is dropped stays there.
    pub(crate) fn adopt(socket: OwnedFd, config: &Config, terms: Terms) -> Result<Self, RendezvousError> {
        let bad = |why: &str| bad_descriptor("the socket that was given", why);
        check_socket_type(socket.as_fd()).map_err(bad)?;
        let listens = sockopt::socket_acceptconn(&socket).map_err(|e| bad(&e.to_string()))?;
        if !listens {
            return Err(bad("it does not listen"));
        }
        let name = SocketName::of_socket(&socket).ok_or_else(|| bad("it has no name"))?;
        let system = |e: Errno| name.error(RendezvousReason::System("accept without waiting", e.into()));
        rustix::io::ioctl_fionbio(&socket, true).map_err(system)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).map_err(system)?;
        let mut this = Self::on(socket, name, config, terms)?;
        this.adopted = true;
        Ok(this)
    }

    /// All that a listener has beside its socket and the right to a name.
    fn on(socket: OwnedFd, name: SocketName, config: &Config, terms: Terms) -> Result<Self, RendezvousError> {
        let align = u32::try_from(page_size()).unwrap_or(u32::MAX);
        let config = Config { align, features: barrier::features(config.features), pid: process::id(), ..*config };
        config.check().map_err(|problem| name.error(RendezvousReason::BadConfig(problem)))?;
        let made = |what: &'static str| {
            let name = name.clone();
            move |e: Errno| name.error(RendezvousReason::System(what, e.into()))
        };
        // What connectors send before they are accepted is to have a sender, too.
        packet::ask_for_credentials(&socket)
            .map_err(|e| name.error(RendezvousReason::System("ask who is on the other side", e)))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(made("make an epoll instance"))?;
        let interrupt = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(made("make an eventfd"))?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(made("make a timer"))?;
        for (fd, token) in [(socket.as_fd(), SOCKET), (interrupt.as_fd(), INTERRUPT), (timer.as_fd(), TIMER)] {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
                .map_err(made("watch the socket"))?;
        }
        Ok(SocketListener {
            name,
            right: None,
            adopted: false,
            config,
            terms,
            socket,
            epoll: Arc::new(epoll),
            timer,
            timed: false,
            paused: false,
            interrupt: Arc::new(Interrupt::new(interrupt)),
            named: None,
            pending: BTreeMap::new(),
            next: FIRST,
            ready: VecDeque::new(),
            short: None,
            on_turned_away: OnTurnedAway::default(),
            pid: process::id(),
        })
    }
}
