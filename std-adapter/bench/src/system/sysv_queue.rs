//! System V message queues: one each way.

use std::io;
use std::path::Path;

use smstream::sysv::{Key, MessageType as Type, Queue, Select};

use crate::channel::{Channel, Runner};
use crate::transport::{Opening, Then, Transport, Waiting};

/// The longest message unless an administrator allows more (`kernel.msgmax`).
const LONGEST: usize = 8192;

/// Two System V message queues.
pub struct SysvQueue;

/// Removes what it has made. Only the side that has made the queues does.
struct Ends {
    input: Queue,
    output: Queue,
    is_mine: bool,
    calls: u64,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if self.is_mine {
            let _ = self.input.remove();
            let _ = self.output.remove();
        }
    }
}

impl Channel for Ends {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.calls += 1;
        Ok(self.output.send(Type::ONE, message)?)
    }

    fn recv(&mut self, message: &mut [u8]) -> io::Result<()> {
        self.calls += 1;
        let received = self.input.recv(Select::Any, message)?;
        if received.len == message.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.calls)
    }
}

impl Transport for SysvQueue {
    fn name(&self) -> &'static str {
        "sysv-queue"
    }

    fn description(&self) -> String {
        "sysvipc(7): msgsnd, msgrcv".to_owned()
    }

    fn longest(&self) -> usize {
        LONGEST
    }

    fn can_wait(&self, waiting: Waiting) -> bool {
        waiting != Waiting::Busy
    }

    fn begin(&self, _: &Path, _: usize, _: Waiting) -> io::Result<Box<dyn Opening>> {
        let output = Queue::create(Key::PRIVATE)?;
        let input = Queue::create(Key::PRIVATE).inspect_err(|_| drop(output.remove()))?;
        let address = format!("{} {}", output.id(), input.id());
        let ends = Ends { input, output, is_mine: true, calls: 0 };
        Ok(Box::new(Then(address, move || Ok(Box::new(ends) as Box<dyn Runner>))))
    }

    fn open(&self, address: &str, _: usize, _: Waiting) -> io::Result<Box<dyn Runner>> {
        let queue = |id: Option<&str>| -> io::Result<Queue> {
            let id = id.and_then(|id| id.parse().ok()).ok_or_else(|| io::Error::other("no id of a queue"))?;
            Ok(Queue::from_id(id)?)
        };
        let mut ids = address.split(' ');
        let (input, output) = (queue(ids.next())?, queue(ids.next())?);
        Ok(Box::new(Ends { input, output, is_mine: false, calls: 0 }))
    }
}
