//! An attempt to reach a listener: the one place that knows how each kind of address is connected to.

use crate::addr::Addr;
use crate::error::{Error, Reason, Result};
use crate::inherited;
use crate::rendezvous::socket::{self, SocketName};
use crate::rendezvous::{Connected, claiming};
use crate::settings::Settings;
use smstream_shm::Deadline;

/// An attempt that has been begun, and has not come to an end.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// At `file:` and `shm:`.
    Region(Box<claiming::Connecting>),
    /// At `unix:` and `fd:`.
    Socket(Box<socket::Connecting>),
}

impl Attempt {
    /// Begins to connect to the listener at `addr`. Does not wait.
    pub(crate) fn begin(addr: &Addr, settings: &Settings) -> Result<Self> {
        settings.check(addr)?;
        match addr {
            Addr::File(_) | Addr::Shm(_) => {
                let region = claiming::Connecting::to(addr.region_path()?, settings.guard)?;
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
pub(crate) fn on_socket(addr: &Addr, settings: &Settings) -> Result<socket::Connecting> {
    settings.check(addr)?;
    let terms = settings.terms.clone();
    Ok(match addr {
        Addr::Unix(path) => socket::Connecting::to(SocketName::of_path(path)?, terms)?,
        Addr::Abstract(name) => socket::Connecting::to(SocketName::of_abstract(name)?, terms)?,
        Addr::Fd(number) => socket::Connecting::on(inherited::take(*number)?, addr.to_string(), terms)?,
        Addr::File(_) | Addr::Shm(_) => {
            let text = format!(
                "cannot connect to {addr} with tokio: there is shared memory there and no socket, and nothing that tokio \
                 could wait for; connect to unix: instead, or use smstream::Stream in a thread"
            );
            return Err(Error::new(Reason::Unsupported, text));
        }
    })
}
