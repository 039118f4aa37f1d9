//! iceoryx2: publish and subscribe of slices, one service each way. It is polled.

use std::hint::spin_loop;
use std::io;
use std::path::Path;
use std::process;

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use smstream_bench::channel::{Channel, Runner};
use smstream_bench::transport::{Opening, Then, Transport, Waiting};

/// How many messages a subscriber holds: for 64 KiB messages as much as four default lanes.
const DEPTH: usize = 16;

pub struct Iceoryx;

type Service = ipc_threadsafe::Service;

struct Ends {
    publisher: Publisher<Service, [u8], ()>,
    subscriber: Subscriber<Service, [u8], ()>,
    _node: Node<Service>,
}

impl Channel for Ends {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        loop {
            match self.publisher.loan_slice_uninit(message.len()) {
                Ok(sample) => {
                    let sent = sample.write_from_slice(message).send();
                    return sent.map(drop).map_err(|error| io::Error::other(format!("{error:?}")));
                }
                // All are in flight.
                Err(iceoryx2::port::LoanError::OutOfMemory | iceoryx2::port::LoanError::ExceedsMaxLoans) => spin_loop(),
                Err(error) => return Err(io::Error::other(format!("{error:?}"))),
            }
        }
    }

    fn recv(&mut self, message: &mut [u8]) -> io::Result<()> {
        loop {
            match self.subscriber.receive() {
                Ok(Some(sample)) => {
                    message.copy_from_slice(sample.payload());
                    return Ok(());
                }
                Ok(None) => spin_loop(),
                Err(error) => return Err(io::Error::other(format!("{error:?}"))),
            }
        }
    }
}

fn ends(output: &str, input: &str, longest: usize) -> io::Result<Ends> {
    let other = |error: String| io::Error::other(error);
    let node = NodeBuilder::new().create::<Service>().map_err(|e| other(format!("{e:?}")))?;
    let service = |name: &str| {
        let name = ServiceName::new(name).map_err(|e| other(format!("{e:?}")))?;
        node.service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(DEPTH)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .map_err(|e| other(format!("{e:?}")))
    };
    let publisher = service(output)?
        .publisher_builder()
        .initial_max_slice_len(longest)
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()
        .map_err(|e| other(format!("{e:?}")))?;
    let subscriber = service(input)?.subscriber_builder().create().map_err(|e| other(format!("{e:?}")))?;
    Ok(Ends { publisher, subscriber, _node: node })
}

impl Transport for Iceoryx {
    fn name(&self) -> &'static str {
        "iceoryx2"
    }

    fn description(&self) -> String {
        format!("iceoryx2 0.10, publish and subscribe of slices, polled, {DEPTH} messages")
    }

    fn can_wait(&self, waiting: Waiting) -> bool {
        // Its events are services of their own; publish and subscribe is polled.
        waiting != Waiting::Asleep
    }

    fn begin(&self, prefix: &Path, longest: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let placement = prefix.file_name().unwrap_or_default().to_string_lossy();
        let base = format!("smstream-bench/{}/{placement}/{}", process::id(), waiting.name());
        let ends = ends(&format!("{base}/there"), &format!("{base}/back"), longest)?;
        Ok(Box::new(Then(base, move || Ok(Box::new(ends) as Box<dyn Runner>))))
    }

    fn open(&self, address: &str, longest: usize, _: Waiting) -> io::Result<Box<dyn Runner>> {
        Ok(Box::new(ends(&format!("{address}/back"), &format!("{address}/there"), longest)?))
    }
}
