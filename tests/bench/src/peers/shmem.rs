//! shmem-ipc: a ring in a memfd, with two eventfds. Its descriptors are fetched from the first process.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process;
use std::ptr;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use shmem_ipc::sharedring::{Receiver, Sender};
use smstream_bench::channel::{Channel, Runner};
use smstream_bench::transport::{Opening, Then, Transport, Waiting};

const CAPACITY: usize = smstream::DEFAULT_CAPACITY;

pub struct ShmemIpc;

struct Ends {
    sender: Sender<u8>,
    receiver: Receiver<u8>,
    /// Whether it looks again instead of sleeping in an eventfd.
    spins: bool,
}

// SAFETY: the mapping and the descriptors belong to no thread, and one thread at a time has the ends.
unsafe impl Send for Ends {}

impl Channel for Ends {
    fn send(&mut self, mut message: &[u8]) -> io::Result<()> {
        while !message.is_empty() {
            let mut sent = 0;
            let bytes = message;
            let result = self.sender.send_raw(|to: *mut u8, room| {
                sent = room.min(bytes.len());
                // SAFETY: the ring gives `room` bytes to write, and `sent` is no more than that and the slice's length.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, sent) };
                sent
            });
            result.map_err(io::Error::other)?;
            message = &message[sent..];
            if !message.is_empty() && sent == 0 {
                if self.spins {
                    std::hint::spin_loop();
                } else {
                    self.sender.block_until_writable().map_err(io::Error::other)?;
                }
            }
        }
        Ok(())
    }

    fn recv(&mut self, mut message: &mut [u8]) -> io::Result<()> {
        while !message.is_empty() {
            let mut received = 0;
            let (to, wanted) = (message.as_mut_ptr(), message.len());
            let result = self.receiver.receive_raw(|from: *const u8, count| {
                received = count.min(wanted);
                // SAFETY: the ring gives `count` bytes to read, and `received` is no more than that and the slice's length.
                unsafe { ptr::copy_nonoverlapping(from, to, received) };
                received
            });
            result.map_err(io::Error::other)?;
            message = &mut message[received..];
            if !message.is_empty() && received == 0 {
                if self.spins {
                    std::hint::spin_loop();
                } else {
                    self.receiver.block_until_readable().map_err(io::Error::other)?;
                }
            }
        }
        Ok(())
    }
}

impl Transport for ShmemIpc {
    fn name(&self) -> &'static str {
        "shmem-ipc"
    }

    fn description(&self) -> String {
        "shmem-ipc 0.3, sharedring of bytes".to_owned()
    }

    fn can_wait(&self, _: Waiting) -> bool {
        true
    }

    fn begin(&self, _: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let sender = Sender::<u8>::new(CAPACITY).map_err(io::Error::other)?;
        let receiver = Receiver::<u8>::new(CAPACITY).map_err(io::Error::other)?;
        let fds = [
            sender.memfd().as_file().as_raw_fd(),
            sender.empty_signal().as_raw_fd(),
            sender.full_signal().as_raw_fd(),
            receiver.memfd().as_file().as_raw_fd(),
            receiver.empty_signal().as_raw_fd(),
            receiver.full_signal().as_raw_fd(),
        ];
        let fds: Vec<String> = fds.iter().map(i32::to_string).collect();
        let address = format!("{} {}", process::id(), fds.join(" "));
        let ends = Ends { sender, receiver, spins: waiting == Waiting::Busy };
        Ok(Box::new(Then(address, move || Ok(Box::new(ends) as Box<dyn Runner>))))
    }

    fn open(&self, address: &str, _: usize, waiting: Waiting) -> io::Result<Box<dyn Runner>> {
        let numbers: Option<Vec<i32>> = address.split(' ').map(|word| word.parse().ok()).collect();
        let numbers = numbers.filter(|numbers| numbers.len() == 7).ok_or_else(|| io::Error::other("no descriptors"))?;
        let pid = Pid::from_raw(numbers[0]).ok_or_else(|| io::Error::other("no process"))?;
        let other = pidfd_open(pid, PidfdFlags::empty())?;
        let fetch =
            |at: usize| Ok::<_, io::Error>(File::from(pidfd_getfd(&other, numbers[at], PidfdGetfdFlags::empty())?));
        let receiver = Receiver::open(CAPACITY, fetch(1)?, fetch(2)?, fetch(3)?).map_err(io::Error::other)?;
        let sender = Sender::open(CAPACITY, fetch(4)?, fetch(5)?, fetch(6)?).map_err(io::Error::other)?;
        Ok(Box::new(Ends { sender, receiver, spins: waiting == Waiting::Busy }))
    }
}
