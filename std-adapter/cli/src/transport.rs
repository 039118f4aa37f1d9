//! The library as this command uses it: the one place that names its API.

use std::io;
use std::time::Duration;

use smstream::Builder;
pub use smstream::{Addr, Listener, Stream};

/// What to ask of a stream beyond the defaults.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// The bytes of each lane; only a listener decides about them.
    pub capacity: Option<u64>,
    /// How long to look before sleeping.
    pub spin: Option<Duration>,
}

impl Options {
    fn builder(self) -> Builder {
        let mut builder = Builder::new();
        if let Some(bytes) = self.capacity {
            // What does not fit is too large, which the library says.
            builder = builder.capacity(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        if let Some(spin) = self.spin {
            builder = builder.spin(spin);
        }
        builder
    }
}

/// Listens at an address.
pub fn bind(addr: &Addr, options: Options) -> io::Result<Listener> {
    Ok(options.builder().bind(addr)?)
}

/// Connects to an address; with a limit, for no longer than that.
pub fn connect(addr: &Addr, options: Options, limit: Option<Duration>) -> io::Result<Stream> {
    let builder = options.builder();
    Ok(match limit {
        Some(limit) => builder.connect_timeout(addr, limit)?,
        None => builder.connect(addr)?,
    })
}
