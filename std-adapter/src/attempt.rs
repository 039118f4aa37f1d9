//! An attempt to reach a listener: the one place that knows how each kind of address is connected to.

use crate::addr::Addr;
use crate::error::{Error, Reason, Result};
use crate::inherited;
use crate::rendezvous::Connected;
use crate::rendezvous::claiming::RegionAttempt;
use crate::rendezvous::socket::{SocketAttempt, SocketName};
use crate::settings::Settings;
use smstream_shm::Deadline;

/// An attempt that has been begun, and has not come to an end.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// At `file:` and `shm:`.
    Region(Box<RegionAttempt>),
    /// At `unix:` and `fd:`.
    Socket(Box<SocketAttempt>),
}

impl Attempt {
    /// Begins to connect to the listener at `addr`. Does not wait.
    pub(crate) fn begin(addr: &Addr, settings: &Settings) -> Result<Self> {
        settings.check(addr)?;
        match addr {
            Addr::File(_) | Addr::Shm(_) => {
                let region = RegionAttempt::to(addr.region_path()?, settings.guard)?;
                Ok(Attempt::Region(Box::new(region.carrying(settings.terms.features))))
            }
            Addr::Unix(_) | Addr::Abstract(_) | Addr::Fd(_) => {
                Ok(Attempt::Socket(Box::new(on_socket(addr, settings)?)))
            }
        }
    }

    /// Goes on as far as it can without waiting. `None`: the listener has not accepted yet.
    pub(crate) fn step(&mut self) -> Result<Option<Connected>> {
        Ok(match self {
            Attempt::Region(region) => region.step()?,
            Attempt::Socket(socket) => socket.step()?,
        })
    }

    /// Waits until the listener accepts, or the deadline passes.
    pub(crate) fn wait(self, deadline: Option<Deadline>) -> Result<Connected> {
        Ok(match self {
            Attempt::Region(region) => region.wait(deadline)?,
            Attempt::Socket(socket) => socket.wait(deadline)?,
        })
    }
}

/// Begins to connect over a socket. Does not wait.
///
/// # Errors
/// [`Reason::Unsupported`] where there is none, and what the system says.
pub(crate) fn on_socket(addr: &Addr, settings: &Settings) -> Result<SocketAttempt> {
    settings.check(addr)?;
    let terms = settings.terms.clone();
    Ok(match addr {
        Addr::Unix(path) => SocketAttempt::to(SocketName::of_path(path)?, terms)?,
        Addr::Abstract(name) => SocketAttempt::to(SocketName::of_abstract(name)?, terms)?,
        Addr::Fd(number) => SocketAttempt::on(inherited::take(*number)?, addr.to_string(), terms)?,
        Addr::File(_) | Addr::Shm(_) => {
            let text = format!(
                "cannot connect to {addr} with tokio: there is shared memory there and no socket, and nothing that tokio \
                 could wait for; connect to unix: instead, or use smstream::Stream in a thread"
            );
            return Err(Error::new(Reason::Unsupported, text));
        }
    })
}
