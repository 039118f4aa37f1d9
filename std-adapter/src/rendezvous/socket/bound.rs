//! The name of a listening Unix socket that is not a listener of streams, with the same care: a lock file beside it says whose it
//! is, and nothing is replaced that another program left.

use super::name::{Right, SocketName};
use crate::error::Result;
use rustix::fd::OwnedFd;
use std::path::Path;
use std::process;

/// The right to the name of a socket. When it is dropped, by the process that got it, the name is removed.
#[derive(Debug)]
pub struct BoundName {
    name: SocketName,
    right: Option<Right>,
    pid: u32,
}

impl BoundName {
    /// Gives `socket` the name `path`, with the mode 600, and lets it listen. The name of one like this whose process was killed is
    /// taken over.
    ///
    /// # Errors
    /// As for a listener at `unix:`, whose messages call it `kind` and then the path.
    pub fn listen(kind: &str, path: &Path, socket: &OwnedFd, backlog: i32) -> Result<Self> {
        let name = SocketName::of_path_called(kind, path)?;
        let right = name.listen(socket, backlog, false, true)?;
        Ok(BoundName { name, right, pid: process::id() })
    }
}

impl Drop for BoundName {
    fn drop(&mut self) {
        if let Some(right) = self.right.as_ref().filter(|_| self.pid == process::id())
            && let Err(e) = self.name.remove(right)
        {
            crate::trace::name_left(&e);
        }
    }
}
