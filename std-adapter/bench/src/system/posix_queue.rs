//! POSIX message queues: one each way.

use std::ffi::{CString, c_long};
use std::io;
use std::path::Path;

use crate::channel::{Channel, Runner};
use crate::transport::{Opening, Then, Transport, Waiting};

/// The longest message unless an administrator allows more (`fs.mqueue.msgsize_max`).
const LONGEST: usize = 8192;

/// The most messages that a queue holds unless an administrator allows more (`fs.mqueue.msg_max`).
const DEPTH: c_long = 10;

/// Two POSIX message queues.
pub struct PosixQueue;

/// An open queue.
struct Queue(libc::mqd_t);

impl Queue {
    fn open(name: &str, flags: i32) -> io::Result<Self> {
        let name = CString::new(name)?;
        // SAFETY: `mq_attr` is a C struct of integers, for which all zeros is a valid value.
        let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
        attr.mq_maxmsg = DEPTH;
        attr.mq_msgsize = LONGEST as c_long;
        let mode: libc::mode_t = 0o600;
        // SAFETY: the name ends with a zero byte, and the attributes live through the call. Both are only read.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags | libc::O_CLOEXEC, mode, &raw mut attr) };
        if queue == -1 { Err(io::Error::last_os_error()) } else { Ok(Self(queue)) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the descriptor is this value's own and is not used afterwards.
        unsafe { libc::mq_close(self.0) };
    }
}

/// Both queues, and their names if this side has made them.
struct Ends {
    input: Queue,
    output: Queue,
    calls: u64,
    _names: Option<Names>,
}

/// Names that are removed in the end.
struct Names([String; 2]);

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            if let Ok(name) = CString::new(name.as_str()) {
                // SAFETY: the name ends with a zero byte.
                unsafe { libc::mq_unlink(name.as_ptr()) };
            }
        }
    }
}

impl Channel for Ends {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        loop {
            self.calls += 1;
            // SAFETY: the kernel reads the `len` bytes of a live slice.
            let result = unsafe { libc::mq_send(self.output.0, message.as_ptr().cast(), message.len(), 0) };
            if result == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn recv(&mut self, message: &mut [u8]) -> io::Result<()> {
        // A queue takes no buffer that is shorter than its longest message.
        let mut buffer = [0_u8; LONGEST];
        loop {
            self.calls += 1;
            let (start, len) = (buffer.as_mut_ptr().cast(), buffer.len());
            // SAFETY: the kernel writes at most `len` bytes, all of them in a live array.
            let result = unsafe { libc::mq_receive(self.input.0, start, len, std::ptr::null_mut()) };
            match usize::try_from(result) {
                Ok(count) if count == message.len() => {
                    message.copy_from_slice(&buffer[..count]);
                    return Ok(());
                }
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn calls(&self) -> Option<u64> {
        Some(self.calls)
    }
}

impl Transport for PosixQueue {
    fn name(&self) -> &'static str {
        "posix-queue"
    }

    fn description(&self) -> String {
        format!("mq_overview(7), {DEPTH} messages")
    }

    fn longest(&self) -> usize {
        LONGEST
    }

    fn can_wait(&self, waiting: Waiting) -> bool {
        waiting != Waiting::Busy
    }

    fn begin(&self, prefix: &Path, _: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>> {
        let prefix = prefix.file_name().unwrap_or_default().to_string_lossy();
        let name = |way| format!("/{prefix}-{}-{way}", waiting.name());
        let names = Names([name("there"), name("back")]);
        let make = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let (output, input) = (Queue::open(&names.0[0], make)?, Queue::open(&names.0[1], make)?);
        let address = names.0.join(" ");
        let ends = Ends { input, output, calls: 0, _names: Some(names) };
        Ok(Box::new(Then(address, move || Ok(Box::new(ends) as Box<dyn Runner>))))
    }

    fn open(&self, address: &str, _: usize, _: Waiting) -> io::Result<Box<dyn Runner>> {
        let (first, second) = address.split_once(' ').ok_or_else(|| io::Error::other("no names of queues"))?;
        let (input, output) = (Queue::open(first, libc::O_RDWR)?, Queue::open(second, libc::O_RDWR)?);
        // Both sides have them now: the names are of no more use.
        drop(Names([first.to_owned(), second.to_owned()]));
        Ok(Box::new(Ends { input, output, calls: 0, _names: None }))
    }
}
