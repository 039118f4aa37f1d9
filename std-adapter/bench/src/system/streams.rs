//! Streams of this library.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use smstream::{Builder, Stream};

use crate::channel::{Channel, Runner};
use crate::transport::{Opening, Then, Transport, Waiting, name_at};

/// How long one side waits for the other one to connect.
const CONNECT: Duration = Duration::from_secs(20);

/// How long an end that is to stay awake looks before it sleeps.
const STAY_AWAKE: Duration = Duration::from_millis(100);

/// The kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `file:`
    File,
    /// `unix:`
    Unix,
}

/// Streams over one kind of address.
pub struct Smstream {
    pub kind: Kind,
}

struct Over(Stream);

impl Channel for Over {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.write_all(message)
    }

    #[inline]
    fn recv(&mut self, message: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(message)
    }

    fn calls(&self) -> Option<u64> {
        // A stream makes a system call to sleep, one to wake, and no others.
        let stats = self.0.stats();
        Some([stats.sent, stats.received].iter().map(|counts| counts.parks + counts.wakes_sent).sum())
    }
}

fn builder(waiting: Waiting) -> Builder {
    match waiting {
        Waiting::Default => Builder::new(),
        Waiting::Busy => Builder::new().spin(STAY_AWAKE),
        Waiting::Asleep => Builder::new().spin(Duration::ZERO),
    }
}

impl Transport for Smstream {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::File => "smstream",
            Kind::Unix => "smstream-unix",
        }
    }

    fn description(&self) -> String {
        let kind = if self.kind == Kind::File { "file:" } else { "unix:" };
        format!(
            "this library {} over {kind}, a lane of {} KiB",
            env!("CARGO_PKG_VERSION"),
            smstream::DEFAULT_CAPACITY >> 10
        )
    }

    fn can_wait(&self, _: Waiting) -> bool {
        true
    }

    fn begin(&self, prefix: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let kind = if self.kind == Kind::File { "file" } else { "unix" };
        let path = name_at(prefix, &format!("{}-{}", self.name(), waiting.name()));
        let path = path.to_str().ok_or_else(|| io::Error::other("the directory's name is no UTF-8"))?;
        let address = format!("{kind}:{path}");
        let listener = builder(waiting).bind(&address)?;
        Ok(Box::new(Then(address, move || {
            let stream = listener.accept_timeout(CONNECT)?;
            // Dropping it would not say if its name could not be removed.
            listener.close()?;
            Ok(Box::new(Over(stream)) as Box<dyn Runner>)
        })))
    }

    fn open(&self, address: &str, _: usize, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
        Ok(Box::new(Over(builder(waiting).connect_timeout(address, CONNECT)?)))
    }
}
