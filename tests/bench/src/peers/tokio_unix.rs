//! tokio's Unix socket, each side on a runtime of one thread.

use std::io;
use std::os::unix::net as std_net;
use std::path::Path;

use smstream_bench::channel::{Channel, Runner};
use smstream_bench::transport::{Opening, Then, Transport, Waiting, name_at};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

pub struct TokioUnix;

struct Over {
    runtime: Runtime,
    stream: UnixStream,
}

impl Over {
    fn runner(stream: std_net::UnixStream) -> io::Result<Box<dyn Runner>> {
        stream.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let stream = {
            let _inside = runtime.enter();
            UnixStream::from_std(stream)?
        };
        Ok(Box::new(Self { runtime, stream }))
    }
}

impl Channel for Over {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.runtime.block_on(self.stream.write_all(message))
    }

    fn recv(&mut self, message: &mut [u8]) -> io::Result<()> {
        self.runtime.block_on(self.stream.read_exact(message)).map(drop)
    }
}

impl Transport for TokioUnix {
    fn name(&self) -> &'static str {
        "tokio-unix"
    }

    fn description(&self) -> String {
        "tokio 1.54, UnixStream, a runtime of one thread on each side".to_owned()
    }

    fn can_wait(&self, waiting: Waiting) -> bool {
        waiting != Waiting::Busy
    }

    fn begin(&self, prefix: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let path = name_at(prefix, &format!("tokio-{}", waiting.name()));
        let listener = std_net::UnixListener::bind(&path)?;
        let address = path.to_str().ok_or_else(|| io::Error::other("the directory's name is no UTF-8"))?;
        Ok(Box::new(Then(address.to_owned(), move || Over::runner(listener.accept()?.0))))
    }

    fn open(&self, address: &str, _: usize, _: Waiting) -> io::Result<Box<dyn Runner>> {
        Over::runner(std_net::UnixStream::connect(address)?)
    }
}
