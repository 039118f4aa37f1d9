//! System V message queues: one each way.

use std::io;
use std::path::Path;

use smstream::cleanup::{self, Guard, Object};
use smstream::sysv::{Key, MessageType as Type, Queue, Select};

use crate::channel::{Channel, Runner};
use crate::transport::{Opening, Then, Transport, Waiting};

/// The longest message unless an administrator allows more (`kernel.msgmax`).
const LONGEST: usize = 8192;

/// Two System V message queues.
pub struct SysvQueue;

/// Both sides enter the queues into the table of what goes with their process: a queue has no owner that the system knows, and
/// one of the two may be killed.
struct Ends {
    input: Queue,
    output: Queue,
    calls: u64,
    _guards: [Guard; 2],
}

impl Ends {
    fn new(input: Queue, output: Queue) -> io::Result<Self> {
        let guards =
            [cleanup::register(Object::SysvMsg(input.id()))?, cleanup::register(Object::SysvMsg(output.id()))?];
        Ok(Self { input, output, calls: 0, _guards: guards })
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
        let ends = Ends::new(input, output)?;
        Ok(Box::new(Then(address, move || Ok(Box::new(ends) as Box<dyn Runner>))))
    }

    fn open(&self, address: &str, _: usize, _: Waiting) -> io::Result<Box<dyn Runner>> {
        let queue = |id: Option<&str>| -> io::Result<Queue> {
            let id = id.and_then(|id| id.parse().ok()).ok_or_else(|| io::Error::other("no id of a queue"))?;
            Ok(Queue::from_id(id)?)
        };
        let mut ids = address.split(' ');
        let (input, output) = (queue(ids.next())?, queue(ids.next())?);
        Ok(Box::new(Ends::new(input, output)?))
    }
}
