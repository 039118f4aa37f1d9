//! Message queues.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

use super::error::Object;
use super::limits::limit;
use super::perm::Perm;
use super::{Error, Key, Kind, QueueOptions, QueueStat, Reason, Received, Result, Select, Type, check, limits};

/// The bytes in front of a message's text.
const TYPE_LEN: usize = size_of::<libc::c_long>();

/// A message queue: its id, and the key it was found by.
///
/// A message keeps its length, and it is received by one process, once. Dropping this does nothing to the queue, which
/// stays until it is [removed](Queue::remove).
///
/// ```
/// use smstream_shm::sysv::{Key, Queue, RemoveOnDrop, Select, Type};
///
/// let queue = RemoveOnDrop::new(Queue::create(Key::PRIVATE)?);
/// queue.send(Type::ONE, b"hello")?;
/// let mut buffer = [0; 100];
/// let received = queue.recv(Select::Any, &mut buffer)?;
/// assert_eq!(&buffer[..received.len], b"hello");
/// # Ok::<(), smstream_shm::sysv::Error>(())
/// ```
///
/// # References
/// msgget(2), msgop(2), msgctl(2); Free Pascal `msgget`, `msgsnd`, `msgrcv`, `msgctl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    id: libc::c_int,
    key: Option<Key>,
}

impl Queue {
    pub(super) fn new(id: libc::c_int, key: Option<Key>) -> Self {
        Self { id, key }
    }

    /// How to find or make one.
    #[must_use]
    pub const fn options() -> QueueOptions {
        QueueOptions::new()
    }

    /// Makes a queue that only its owner can use.
    ///
    /// # Errors
    /// As [`QueueOptions::open`]; [`Reason::Exists`] if the key is in use.
    pub fn create(key: Key) -> Result<Self> {
        Self::options().create_new(true).open(key)
    }

    /// Finds a queue.
    ///
    /// # Errors
    /// As [`QueueOptions::open`]; [`Reason::NotFound`] if there is none, and for [`Key::PRIVATE`].
    pub fn open(key: Key) -> Result<Self> {
        if key.is_private() {
            let object = Object { kind: Kind::Msg, key: Some(key), id: None };
            return Err(Error::refuse(Reason::NotFound, object, "open", "an object without a key is found by its id"));
        }
        Self::options().open(key)
    }

    /// A queue whose id somebody told.
    ///
    /// # Errors
    /// [`Reason::NotFound`], or [`Reason::Denied`] if it may not be read.
    pub fn from_id(id: i32) -> Result<Self> {
        let stat = Self::new(id, None).stat().map_err(|e| match e.reason() {
            Reason::Removed => e.because(Reason::NotFound, "`ipcs -q` shows the ids there are"),
            _ => e,
        })?;
        Ok(Self::new(id, Some(stat.perm.key)))
    }

    /// The id, which means the same to every process of the IPC namespace.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The key it was found by.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.key
    }

    /// Sends a message, which may be empty; blocks while the queue is full. A message that is longer than the queue's
    /// bytes ([`QueueStat::max_bytes`]) would block for ever.
    ///
    /// # Errors
    /// [`Reason::Limit`] for a message longer than MSGMAX; [`Reason::Removed`], also while it waits; [`Reason::Denied`];
    /// [`Reason::NoMemory`].
    pub fn send(&self, ty: Type, text: &[u8]) -> Result<()> {
        self.put(ty, text, 0)
    }

    /// Sends a message if there is room for it. Does not block.
    ///
    /// # Errors
    /// [`Reason::WouldBlock`] if the queue is full, and as [`send`](Queue::send).
    pub fn try_send(&self, ty: Type, text: &[u8]) -> Result<()> {
        self.put(ty, text, libc::IPC_NOWAIT)
    }

    /// Receives a message; blocks until there is one that fits `select`.
    ///
    /// # Errors
    /// [`Reason::TooLong`] if it is longer than `buffer`: it stays in the queue. [`Reason::Removed`], also while it waits;
    /// [`Reason::Denied`].
    pub fn recv(&self, select: Select, buffer: &mut [u8]) -> Result<Received> {
        self.take(select, buffer, 0)
    }

    /// Receives a message if there is one. Does not block.
    ///
    /// # Errors
    /// [`Reason::WouldBlock`] if there is none, and as [`recv`](Queue::recv).
    pub fn try_recv(&self, select: Select, buffer: &mut [u8]) -> Result<Received> {
        self.take(select, buffer, libc::IPC_NOWAIT)
    }

    /// As [`recv`](Queue::recv), but of a longer message only the beginning, and the rest of it is lost.
    ///
    /// # Errors
    /// As `recv`, but [`Reason::TooLong`].
    pub fn recv_truncated(&self, select: Select, buffer: &mut [u8]) -> Result<Received> {
        self.take(select, buffer, libc::MSG_NOERROR)
    }

    /// As [`try_recv`](Queue::try_recv), but of a longer message only the beginning, and the rest of it is lost.
    ///
    /// # Errors
    /// As `try_recv`, but [`Reason::TooLong`].
    pub fn try_recv_truncated(&self, select: Select, buffer: &mut [u8]) -> Result<Received> {
        self.take(select, buffer, libc::MSG_NOERROR | libc::IPC_NOWAIT)
    }

    /// As [`recv`](Queue::recv), with room for any message.
    ///
    /// # Errors
    /// As `recv`.
    pub fn recv_vec(&self, select: Select) -> Result<(Type, Vec<u8>)> {
        let mut room = limits().map_or(8192, |limits| usize::try_from(limits.msg_max_bytes).unwrap_or(8192));
        loop {
            let mut buffer = vec![0; room];
            match self.recv(select, &mut buffer) {
                Ok(received) => {
                    buffer.truncate(received.len);
                    return Ok((received.ty, buffer));
                }
                // It was sent when messages might be longer.
                Err(e) if e.reason() == Reason::TooLong => room = room.max(1) * 2,
                Err(e) => return Err(e),
            }
        }
    }

    fn put(&self, ty: Type, text: &[u8], flags: libc::c_int) -> Result<()> {
        let mut record: Vec<libc::c_long> = Vec::with_capacity(words(text.len()));
        record.push(ty.0);
        for part in text.chunks(TYPE_LEN) {
            let mut word = [0; TYPE_LEN];
            word[..part.len()].copy_from_slice(part);
            record.push(libc::c_long::from_ne_bytes(word));
        }
        loop {
            // SAFETY: the record begins with the type, and `text.len()` bytes of text follow.
            let result = check(unsafe { libc::msgsnd(self.id, record.as_ptr().cast::<c_void>(), text.len(), flags) });
            match result {
                Ok(_) => return Ok(()),
                Err(libc::EINTR) => {}
                Err(errno) => return Err(self.explain_send(errno, text.len())),
            }
        }
    }

    fn explain_send(&self, errno: i32, len: usize) -> Error {
        let error = self.error(errno, "send to");
        match errno {
            libc::EAGAIN => error.because(Reason::WouldBlock, "it is full: receive from it, or raise its bytes"),
            libc::EINVAL => {
                let max = limit("MSGMAX", "kernel.msgmax", |limits| limits.msg_max_bytes);
                if max.value().is_some_and(|max| len as u64 > max) {
                    return error.limited(max).because(Reason::Limit, format!("a message of {len} bytes is too long"));
                }
                error.because(Reason::Removed, "create it again")
            }
            _ => error,
        }
    }

    fn take(&self, select: Select, buffer: &mut [u8], flags: libc::c_int) -> Result<Received> {
        let (ty, except) = select.raw();
        let mut record: Vec<libc::c_long> = vec![0; words(buffer.len())];
        let start = record.as_mut_ptr().cast::<c_void>();
        let len = loop {
            // SAFETY: `record` has room for a type and `buffer.len()` bytes of text.
            let result = unsafe { libc::msgrcv(self.id, start, buffer.len(), ty, flags | except) };
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
        Ok(Received { ty: Type(*ty), len })
    }

    fn explain_recv(&self, errno: i32, room: usize) -> Error {
        let error = self.error(errno, "receive from");
        match errno {
            libc::ENOMSG => error.because(Reason::WouldBlock, "there is no such message"),
            libc::E2BIG => {
                let advice =
                    format!("it is longer than {room} bytes and stays there; take a larger buffer, or truncate");
                error.because(Reason::TooLong, advice)
            }
            libc::EINVAL => error.because(Reason::Removed, "create it again"),
            _ => error,
        }
    }

    /// What the kernel knows of it. Does not block.
    ///
    /// # Errors
    /// [`Reason::Denied`] without the permission to read, [`Reason::Removed`].
    pub fn stat(&self) -> Result<QueueStat> {
        Ok(QueueStat::from_raw(&self.raw_stat()?))
    }

    fn raw_stat(&self) -> Result<libc::msqid_ds> {
        let mut raw = MaybeUninit::<libc::msqid_ds>::zeroed();
        self.control(libc::IPC_STAT, Some(&mut raw), "look at")?;
        // SAFETY: numbers only, for which zeros are values; the kernel has filled it in.
        Ok(unsafe { raw.assume_init() })
    }

    /// Changes the owner, the group and the mode to those of `perm`. The queue's bytes stay.
    ///
    /// # Errors
    /// [`Reason::Denied`] unless one is owner, creator or root; [`Reason::Removed`]; [`Reason::InvalidInput`] for a user
    /// or group that cannot be.
    pub fn set_perm(&self, perm: &Perm) -> Result<()> {
        let mut raw = self.raw_stat()?;
        perm.put(&mut raw.msg_perm);
        self.control(libc::IPC_SET, Some(&mut MaybeUninit::new(raw)), "change")
    }

    /// Changes the mode.
    ///
    /// # Errors
    /// As [`stat`](Queue::stat) and [`set_perm`](Queue::set_perm).
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.set_perm(&Perm { mode, ..self.stat()?.perm })
    }

    /// Changes how many bytes of messages it can hold. Owner and mode stay.
    ///
    /// # Errors
    /// [`Reason::Limit`] for more than MSGMNB, which only root may pass; otherwise as [`set_perm`](Queue::set_perm).
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "the type differs by target"
    )]
    pub fn set_max_bytes(&self, bytes: u64) -> Result<()> {
        let mut raw = self.raw_stat()?;
        raw.msg_qbytes = bytes.try_into().unwrap_or(libc::msglen_t::MAX);
        self.control(libc::IPC_SET, Some(&mut MaybeUninit::new(raw)), "change").map_err(|e| {
            let max = limit("MSGMNB", "kernel.msgmnb", |limits| limits.msg_queue_bytes);
            let above = max.value().is_some_and(|max| bytes > max);
            if e.raw_os_error() == Some(libc::EPERM) && above { e.limited(max) } else { e }
        })
    }

    /// Removes the queue with its messages at once. Whoever waits gets [`Reason::Removed`].
    ///
    /// # Errors
    /// [`Reason::Denied`] unless one is owner, creator or root; [`Reason::Removed`].
    pub fn remove(&self) -> Result<()> {
        self.control(libc::IPC_RMID, None, "remove")
    }

    /// One `msgctl`: IPC_STAT and IPC_SET with a record, IPC_RMID without.
    fn control(
        &self,
        command: libc::c_int,
        record: Option<&mut MaybeUninit<libc::msqid_ds>>,
        tried: &'static str,
    ) -> Result<()> {
        let record = record.map_or(ptr::null_mut(), MaybeUninit::as_mut_ptr);
        // SAFETY: the commands used here take one `msqid_ds`, or nothing; with a null pointer the kernel gives an error.
        check(unsafe { libc::msgctl(self.id, command, record) }).map(drop).map_err(|errno| match errno {
            libc::EINVAL if command == libc::IPC_SET && self.stat().is_ok() => {
                self.error(errno, tried).because(Reason::InvalidInput, "no such user or group can be")
            }
            libc::EINVAL => self.error(errno, tried).because(Reason::Removed, "create it again"),
            _ => self.error(errno, tried),
        })
    }

    fn error(&self, errno: i32, tried: &'static str) -> Error {
        Error::system(errno, Object { kind: Kind::Msg, key: self.key, id: Some(self.id) }, tried)
    }
}

/// The words of a record for so much text.
fn words(len: usize) -> usize {
    1 + len.div_ceil(TYPE_LEN)
}
