//! Halves that keep the world they live in, and what models do with them.

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use smstream_core::error::{ReadError, WaitError, WriteError};
use smstream_core::lane::{Consumer, Producer};
use smstream_core::park::Park;

/// A half, and the world it lives in.
pub struct Owning<H> {
    // In this order: the half goes first.
    half: H,
    _world: Arc<dyn Any + Send + Sync>,
}

impl<H> Owning<H> {
    /// `half` may refer to what `world` owns.
    pub fn new(half: H, world: Arc<dyn Any + Send + Sync>) -> Self {
        Owning { half, _world: world }
    }

    /// The half, which must not outlive the world.
    pub fn into_half(self) -> H {
        self.half
    }
}

impl<H> Deref for Owning<H> {
    type Target = H;
    fn deref(&self) -> &H {
        &self.half
    }
}

impl<H> DerefMut for Owning<H> {
    fn deref_mut(&mut self) -> &mut H {
        &mut self.half
    }
}

impl<P: Park> Owning<Producer<'static, P>> {
    /// Writes all of `bytes`, waiting for room where there is none.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WaitError> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(WriteError::Full) => drop(self.wait(1, None)?),
                Err(WriteError::Closed) => return Err(WaitError::Closed),
                Err(WriteError::PeerGone) => return Err(WaitError::PeerGone),
                Err(e) => panic!("{e}"),
            }
        }
        Ok(())
    }
}

impl<P: Park> Owning<Consumer<'static, P>> {
    /// Reads exactly these bytes, waiting where there are none.
    #[track_caller]
    pub fn expect(&mut self, bytes: &[u8]) {
        let mut read = Vec::new();
        while read.len() < bytes.len() {
            let mut out = [0; 4];
            let most = (bytes.len() - read.len()).min(4);
            match self.read(&mut out[..most]) {
                Ok(0) => break,
                Ok(n) => read.extend_from_slice(&out[..n]),
                Err(ReadError::Empty) => assert_ne!(self.wait(1, None), Ok(0)),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(read, bytes);
    }

    /// Reads, waiting where there is nothing, until there will be no more; what was read, and why it ended.
    pub fn drain(&mut self) -> (Vec<u8>, Result<(), WaitError>) {
        let mut read = Vec::new();
        loop {
            let mut out = [0; 4];
            match self.read(&mut out) {
                Ok(0) => return (read, Ok(())),
                Ok(n) => read.extend_from_slice(&out[..n]),
                Err(ReadError::Empty) => {
                    if let Err(e) = self.wait(1, None) {
                        return (read, Err(e));
                    }
                }
                Err(ReadError::PeerGone) => return (read, Err(WaitError::PeerGone)),
                Err(e) => panic!("{e}"),
            }
        }
    }
}
