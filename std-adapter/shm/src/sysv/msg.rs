//! Message queues.

use super::call::check;
use super::error::{Result, SysvError, SysvKind, SysvReason};
use super::handle::{Calls, Handle, refuse_private};
use super::key::Key;
use super::limits::{limit, limits};
use super::msg_options::{QueueOptions, QueueSettings};
use super::msg_types::{MessageType, QueueStat, ReceivedMessage, Select};
use super::options::{Making, Settings};
use super::perm::Perm;
use std::ffi::c_void;

/// The bytes in front of a message's text.
const TYPE_LEN: usize = size_of::<libc::c_long>();

/// A message queue: its id, and the key it was found by.
///
/// A message keeps its length, and it is received by one process, once. Dropping this does nothing to the queue, which
/// stays until it is [removed](Queue::remove).
///
/// ```
/// use smstream_shm::sysv::{Key, Queue, RemoveOnDrop, Select, MessageType};
///
/// let queue = RemoveOnDrop::new(Queue::create(Key::PRIVATE)?);
/// queue.send(MessageType::ONE, b"hello")?;
/// let mut buffer = [0; 100];
/// let received = queue.recv(Select::Any, &mut buffer)?;
/// assert_eq!(&buffer[..received.len], b"hello");
/// # Ok::<(), smstream_shm::sysv::SysvError>(())
/// ```
///
/// # References
/// msgget(2), msgop(2), msgctl(2); Free Pascal `msgget`, `msgsnd`, `msgrcv`, `msgctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue(Handle<MsgCalls>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct MsgCalls;

// SAFETY: `msqid_ds` is what msgctl takes, numbers only (and pointers that Linux does not use).
unsafe impl Calls for MsgCalls {
    const KIND: SysvKind = SysvKind::Msg;
    const IPCS: &'static str = "-q";
    const SETS_MORE: bool = true;
    type Record = libc::msqid_ds;

    unsafe fn control(id: libc::c_int, command: libc::c_int, record: *mut libc::msqid_ds) -> libc::c_int {
        // SAFETY: the caller's promise.
        unsafe { libc::msgctl(id, command, record) }
    }

    fn perm(record: &mut libc::msqid_ds) -> &mut libc::ipc_perm {
        &mut record.msg_perm
    }
}

impl Settings for QueueSettings {
    type Object = Queue;
    const DEFAULT: Self = Self::NONE;

    fn open(self, making: Making, key: Key) -> Result<Queue> {
        self.find(making, key).map(|id| Queue(Handle::new(id, Some(key))))
    }
}

impl Queue {
    /// How to find or make one.
    #[must_use]
    pub const fn options() -> QueueOptions {
        QueueOptions::new()
    }

    /// Makes a queue that only its owner can use.
    ///
    /// # Errors
    /// As [`QueueOptions::open`]; [`SysvReason::Exists`] if the key is in use.
    pub fn create(key: Key) -> Result<Self> {
        Self::options().create_new(true).open(key)
    }

    /// Finds a queue.
    ///
    /// # Errors
    /// As [`QueueOptions::open`]; [`SysvReason::NotFound`] if there is none, and for [`Key::PRIVATE`].
    pub fn open(key: Key) -> Result<Self> {
        refuse_private(SysvKind::Msg, key)?;
        Self::options().open(key)
    }

    /// The queue with this id.
    ///
    /// # Errors
    /// [`SysvReason::NotFound`], or [`SysvReason::Denied`] if it may not be read.
    pub fn from_id(id: i32) -> Result<Self> {
        Handle::from_id(id).map(Self)
    }

    /// The id, which means the same to every process of the IPC namespace.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.0.id()
    }

    /// The key it was found by.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.0.key()
    }

    /// Sends a message, which may be empty; blocks while the queue is full. A message that is longer than the queue's
    /// bytes ([`QueueStat::max_bytes`]) would block for ever.
    ///
    /// # Errors
    /// [`SysvReason::Limit`] for a message longer than MSGMAX; [`SysvReason::Removed`], also while it waits; [`SysvReason::Denied`];
    /// [`SysvReason::NoMemory`].
    pub fn send(&self, ty: MessageType, text: &[u8]) -> Result<()> {
        self.put(ty, text, 0)
    }

    /// Sends a message if there is room for it. Does not block.
    ///
    /// # Errors
    /// [`SysvReason::WouldBlock`] if the queue is full, and as [`send`](Queue::send).
    pub fn try_send(&self, ty: MessageType, text: &[u8]) -> Result<()> {
        self.put(ty, text, libc::IPC_NOWAIT)
    }

    /// Receives a message; blocks until there is one that fits `select`.
    ///
    /// # Errors
    /// [`SysvReason::TooLong`] if it is longer than `buffer`: it stays in the queue. [`SysvReason::Removed`], also while it waits;
    /// [`SysvReason::Denied`].
    pub fn recv(&self, select: Select, buffer: &mut [u8]) -> Result<ReceivedMessage> {
        self.take(select, buffer, 0)
    }

    /// Receives a message if there is one. Does not block.
    ///
    /// # Errors
    /// [`SysvReason::WouldBlock`] if there is none, and as [`recv`](Queue::recv).
    pub fn try_recv(&self, select: Select, buffer: &mut [u8]) -> Result<ReceivedMessage> {
        self.take(select, buffer, libc::IPC_NOWAIT)
    }

    /// As [`recv`](Queue::recv), but of a longer message only the beginning, and the rest of it is lost.
    ///
    /// # Errors
    /// As `recv`, but [`SysvReason::TooLong`].
    pub fn recv_truncated(&self, select: Select, buffer: &mut [u8]) -> Result<ReceivedMessage> {
        self.take(select, buffer, libc::MSG_NOERROR)
    }

    /// As [`try_recv`](Queue::try_recv), but of a longer message only the beginning, and the rest of it is lost.
    ///
    /// # Errors
    /// As `try_recv`, but [`SysvReason::TooLong`].
    pub fn try_recv_truncated(&self, select: Select, buffer: &mut [u8]) -> Result<ReceivedMessage> {
        self.take(select, buffer, libc::MSG_NOERROR | libc::IPC_NOWAIT)
    }

    /// As [`recv`](Queue::recv), with room for any message.
    ///
    /// # Errors
    /// As `recv`.
    pub fn recv_vec(&self, select: Select) -> Result<(MessageType, Vec<u8>)> {
        let mut room = limits().map_or(8192, |limits| usize::try_from(limits.msg_max_bytes).unwrap_or(8192));
        loop {
            let mut buffer = vec![0; room];
            match self.recv(select, &mut buffer) {
                Ok(received) => {
                    buffer.truncate(received.len);
                    return Ok((received.ty, buffer));
                }
                // It was sent when messages might be longer.
                Err(e) if e.reason() == SysvReason::TooLong => room = room.max(1) * 2,
                Err(e) => return Err(e),
            }
        }
    }

    fn put(&self, ty: MessageType, text: &[u8], flags: libc::c_int) -> Result<()> {
        let mut record: Vec<libc::c_long> = Vec::with_capacity(words(text.len()));
        record.push(ty.0);
        for part in text.chunks(TYPE_LEN) {
            let mut word = [0; TYPE_LEN];
            word[..part.len()].copy_from_slice(part);
            record.push(libc::c_long::from_ne_bytes(word));
        }
        loop {
            // SAFETY: the record begins with the type, and `text.len()` bytes of text follow.
            let result =
                check(unsafe { libc::msgsnd(self.0.id(), record.as_ptr().cast::<c_void>(), text.len(), flags) });
            match result {
                Ok(_) => return Ok(()),
                Err(libc::EINTR) => {}
                Err(errno) => return Err(self.explain_send(errno, text.len())),
            }
        }
    }

    fn explain_send(&self, errno: i32, len: usize) -> SysvError {
        let error = self.0.error(errno, "send to");
        match errno {
            libc::EAGAIN => error.because(SysvReason::WouldBlock, "it is full: receive from it, or raise its bytes"),
            libc::EINVAL => {
                let max = limit("MSGMAX", "kernel.msgmax", |limits| limits.msg_max_bytes);
                if max.value().is_some_and(|max| len as u64 > max) {
                    return error
                        .limited(max)
                        .because(SysvReason::Limit, format!("a message of {len} bytes is too long"));
                }
                error.because(SysvReason::Removed, "create it again")
            }
            _ => error,
        }
    }

    fn take(&self, select: Select, buffer: &mut [u8], flags: libc::c_int) -> Result<ReceivedMessage> {
        let (ty, except) = select.raw();
        let mut record: Vec<libc::c_long> = vec![0; words(buffer.len())];
        let start = record.as_mut_ptr().cast::<c_void>();
        let len = loop {
            // SAFETY: `record` has room for a type and `buffer.len()` bytes of text.
            let result = unsafe { libc::msgrcv(self.0.id(), start, buffer.len(), ty, flags | except) };
            match usize::try_from(result) {
                Ok(len) => break len,
                Err(_) => match check(-1).err().unwrap_or(0) {
                    libc::EINTR => {}
                    errno => return Err(self.explain_recv(errno, buffer.len())),
                },
            }
        };
        let (ty, text) = record.split_first().unwrap_or((&0, &[]));
        for (part, word) in buffer[..len].chunks_mut(TYPE_LEN).zip(text) {
            part.copy_from_slice(&word.to_ne_bytes()[..part.len()]);
        }
        Ok(ReceivedMessage { ty: MessageType(*ty), len })
    }

    fn explain_recv(&self, errno: i32, room: usize) -> SysvError {
        let error = self.0.error(errno, "receive from");
        match errno {
            libc::ENOMSG => error.because(SysvReason::WouldBlock, "there is no such message"),
            libc::E2BIG => {
                let advice =
                    format!("it is longer than {room} bytes and stays there; take a larger buffer, or truncate");
                error.because(SysvReason::TooLong, advice)
            }
            libc::EINVAL => error.because(SysvReason::Removed, "create it again"),
            _ => error,
        }
    }

    /// What the kernel knows of it. Does not block.
    ///
    /// # Errors
    /// [`SysvReason::Denied`] without the permission to read, [`SysvReason::Removed`].
    pub fn stat(&self) -> Result<QueueStat> {
        Ok(QueueStat::from_raw(&self.0.stat()?))
    }

    /// Changes the owner, the group and the mode to those of `perm`. The queue's bytes stay.
    ///
    /// # Errors
    /// [`SysvReason::Denied`] unless one is owner, creator or root; [`SysvReason::Removed`]; [`SysvReason::InvalidInput`] for a user
    /// or group that cannot be.
    pub fn set_perm(&self, perm: &Perm) -> Result<()> {
        self.0.set(Some(perm), |_| {})
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// As [`stat`](Queue::stat) and [`set_perm`](Queue::set_perm).
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.0.set_mode(mode)
    }

    /// Changes how many bytes of messages it can hold. Owner and mode stay.
    ///
    /// # Errors
    /// [`SysvReason::Limit`] for more than MSGMNB, which only root may pass; otherwise as [`set_perm`](Queue::set_perm).
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "the type differs by target"
    )]
    pub fn set_max_bytes(&self, bytes: u64) -> Result<()> {
        let wanted = bytes.try_into().unwrap_or(libc::msglen_t::MAX);
        self.0.set(None, |raw| raw.msg_qbytes = wanted).map_err(|e| {
            let max = limit("MSGMNB", "kernel.msgmnb", |limits| limits.msg_queue_bytes);
            let above = max.value().is_some_and(|max| bytes > max);
            if e.raw_os_error() == Some(libc::EPERM) && above { e.limited(max) } else { e }
        })
    }

    /// Removes the queue with its messages at once. Calls that wait for it return [`SysvReason::Removed`].
    ///
    /// # Errors
    /// [`SysvReason::Denied`] unless one is owner, creator or root; [`SysvReason::Removed`].
    pub fn remove(&self) -> Result<()> {
        self.0.remove()
    }
}

/// The words of a record for so much text.
fn words(len: usize) -> usize {
    1 + len.div_ceil(TYPE_LEN)
}
