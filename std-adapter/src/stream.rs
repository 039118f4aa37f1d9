//! One end of a connection.

mod chunks;
mod conditions;
mod io;
mod make;
mod relinquish;
mod split;

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use smstream_core::counter::Counts;
use smstream_core::park::ALERT_CANCEL;

use crate::buffering::BufMode;
use crate::doorbell::Doorbell;
use crate::error::{Error, Result};
use crate::half::{Peer, ReadHalf, Shared, WriteHalf};
use crate::history::Incident;
use crate::liveness::{Half, PeerMonitor, WatchMode};
use crate::timed_mutex::{FLUSH, Requests, SHUT_DOWN, TimedMutex};
use smstream_shm::Deadline;

/// One end of a connection: bytes in both directions between two processes, through shared memory.
///
/// It reads and writes like a socket. `&mut Stream` takes no lock; `&Stream` can be used from several threads, and then
/// each direction takes a lock of its own, so that one thread can read while another writes. [`split`](Stream::split)
/// gives halves that need no locks at all.
///
/// # What it promises
/// * Bytes arrive in order, once, or not at all. A write returns when the bytes are in shared memory, where the peer can
///   read them even if this process dies, unless a [`BufMode`] was chosen that holds some back.
/// * When the peer closes, what it sent is read first, then `Ok(0)`. When it dies without closing, what it sent is read
///   first, then there is an error of [`Reason::PeerGone`](crate::Reason::PeerGone).
/// * A stream whose two ends are running makes no system call per message. One that waits sleeps, after a short spin.
/// * Dropping it closes it, and never blocks.
/// * If both parties read through `&mut Stream`, without a timeout, and nothing is on its way to either, or both write into
///   full lanes, then neither can go on: the listener's call ends with [`Reason::Deadlock`](crate::Reason::Deadlock), the
///   connector's goes on waiting. The stream is as good as before: write, or read, and the connector goes on. It is never
///   reported while the other is slow, or stopped on its way to wait (one that already waits may be stopped, and still
///   waits). [`Builder::deadlock_detection`](crate::Builder::deadlock_detection) switches it off.
///
/// # What it does not promise
/// * That the peer has *read* what was written. Ask it to answer.
/// * That all deadlocks are reported: `&Stream`, the halves and calls with a timeout wait for whatever another thread or a later
///   moment may bring.
/// * To survive a `fork` in both processes: after a fork only one of them may go on using the stream, and the other lets
///   go of it by [`relinquish`](Stream::relinquish) instead of dropping it. A program that is executed inherits nothing.
#[derive(Debug)]
pub struct Stream {
    // The halves point into `shared.memory`, of which each holds a part in its own `Arc`.
    reader: TimedMutex<ReadHalf>,
    writer: TimedMutex<WriteHalf>,
    shared: Arc<Shared>,
}

/// What a stream has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The writing half.
    pub sent: Counts,
    /// The reading half.
    pub received: Counts,
    /// How the death of the peer is noticed.
    pub watch: WatchMode,
    /// The bytes that each lane holds: the one written here, the one read here.
    pub capacities: [usize; 2],
}

impl Stream {
    /// Closes one direction or both, as for a socket. `Write`: the peer reads what is left, then the end of the stream.
    /// `Read`: the peer's writes fail from now on. A thread that waits in this direction returns, and it is closed when this
    /// call returns.
    ///
    /// In a signal handler that has interrupted a call on this very stream, the direction is closed when that call returns,
    /// which it does at once. (The handler must not have interrupted an allocation: closing may write to the
    /// [history](Stream::history).)
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.shared.write.shut();
            self.shared.monitor.raise(Half::Writer, ALERT_CANCEL);
            settle(&self.writer);
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.shared.read.shut();
            self.shared.monitor.raise(Half::Reader, ALERT_CANCEL);
            settle(&self.reader);
        }
        Ok(())
    }

    /// Gives the connection up, as the death of this process would: the peer reads what was sent, and then there is an
    /// error of [`Reason::PeerGone`](crate::Reason::PeerGone) instead of the end of the stream. So an answer that broke off does not look whole.
    ///
    /// Calls that wait in this end return [`Reason::Aborted`](crate::Reason::Aborted), in any thread, and waiting for the peer to close returns
    /// `false`. A thread or task that waits for this end with `poll`, `epoll` or an executor is not woken by it; its next attempt fails. The
    /// peer notices when this end, with both halves if it was split, is dropped. A direction that was shut
    /// down before has ended in order, and stays so. The ends of a [`pair`](Stream::pair) cannot outlive one another:
    /// there this closes both directions.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("smstream-doc-abort-{}", std::process::id()));
    /// use std::io::{ErrorKind, Read, Write};
    /// let listener = smstream::Listener::bind(&path)?;
    /// let reader = std::thread::spawn({
    ///     let path = path.clone();
    ///     move || smstream::Stream::connect(&path)?.read_to_end(&mut Vec::new())
    /// });
    /// let mut stream = listener.accept()?;
    /// stream.write_all(b"half an ans")?;
    /// stream.abort();
    /// drop(stream);
    /// assert_eq!(reader.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Sets how long a read may wait for its first byte; `None`, as at the beginning: for ever. The error is
    /// [`std::io::ErrorKind::TimedOut`].
    ///
    /// # Errors
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) for a timeout of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.read.set_timeout(timeout)
    }

    /// Sets how long a write may wait for room; `None`, as at the beginning: for ever.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) for a timeout of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        self.shared.write.set_timeout(timeout)
    }

    /// How long a read may wait.
    #[must_use]
    pub fn read_timeout(&self) -> Option<Duration> {
        self.shared.read.timeout()
    }

    /// How long a write may wait.
    #[must_use]
    pub fn write_timeout(&self) -> Option<Duration> {
        self.shared.write.timeout()
    }

    /// Sets whether reading and writing give [`std::io::ErrorKind::WouldBlock`] instead of waiting.
    ///
    /// # Errors
    /// None at present; a socket has some.
    pub fn set_nonblocking(&self, on: bool) -> Result<()> {
        self.shared.read.set_nonblocking(on);
        self.shared.write.set_nonblocking(on);
        Ok(())
    }

    /// Sets when written bytes are published, from the next write on. What is buffered is published now; if another thread is
    /// writing, by that thread, before it waits or returns.
    pub fn set_buf_mode(&self, mode: BufMode) {
        self.shared.policy.set(mode);
        self.writer.request(FLUSH);
    }

    /// When written bytes are published.
    #[must_use]
    pub fn buf_mode(&self) -> BufMode {
        self.shared.policy.get()
    }

    /// An error that no call has returned: the peer's death, noticed while no call was reading or writing, or bytes that were
    /// published when the peer took no more. Each is given out once, the oldest first. What a call has returned already is
    /// not given out again, nor is what follows from it: an error of the same [`Reason`](crate::Reason).
    ///
    /// It waits for nothing. That another thread is blocked in a read or a write, and is about to return the peer's
    /// death, is not waited for either.
    ///
    /// # Errors
    /// None at present; a socket has some.
    ///
    /// # References
    /// `SO_ERROR` in socket(7), [`TcpStream::take_error`](std::net::TcpStream::take_error).
    pub fn take_error(&self) -> Result<Option<Error>> {
        self.refresh_errors();
        Ok(self.shared.history.take())
    }

    /// What has gone wrong on this stream, the oldest first: at most the last [`HISTORY`](crate::HISTORY) incidents, whether
    /// a call has returned them or not. That a call would have had to wait, or that its time was over, is not counted among
    /// them.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::net::Shutdown;
    /// let (mut here, there) = smstream::Stream::pair()?;
    /// there.shutdown(Shutdown::Read)?;
    /// assert!(here.write_all(b"hello").is_err());
    /// let history = here.history();
    /// assert_eq!(history.len(), 1);
    /// assert_eq!(history[0].during, smstream::Operation::Write);
    /// assert!(history[0].reported && here.take_error()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn history(&self) -> Vec<Incident> {
        self.refresh_errors();
        self.shared.history.all()
    }

    /// Has the peer died? A thread that is blocked in one direction returns it, so its lock is not waited for.
    fn refresh_errors(&self) {
        if self.shared.has_unrecorded_death()
            && let (Some(mut reader), Some(mut writer)) = (self.reader.try_lock(), self.writer.try_lock())
            // Both are asked, so no short-circuit.
            && (reader.has_lost_its_peer() | writer.has_lost_its_peer())
        {
            self.shared.record_death();
        }
    }

    /// Who is on the other side.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.shared.peer
    }

    /// What this stream has done so far. It waits for nothing, whatever other threads do with the stream.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let [sent, received] = self.shared.counts();
        Stats { sent, received, watch: self.shared.monitor.watch_mode(), capacities: self.shared.capacities }
    }

    /// Bytes that were written and that the peer is not shown yet: see [`BufMode`]. While another thread is writing it is 0,
    /// and nothing is waited for: what that thread buffers it publishes before it waits.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.writer.lock_unless(|| self.shared.write.is_waiting()).map_or(0, |writer| writer.buffered())
    }

    /// Bytes that were written and that the peer will never read, because it has closed or died. `None` while it may
    /// still read them, and so also while another thread waits in a write. Bytes that are buffered count as written.
    #[must_use]
    pub fn undelivered(&self) -> Option<usize> {
        self.writer.lock_unless(|| self.shared.write.is_waiting())?.undelivered()
    }

    /// Whether the peer has said that it takes no more bytes: it has shut its reading direction down, or has closed. One
    /// that died, or that [gave the connection up](Stream::abort), has not said so. It waits for nothing: `false` while
    /// another thread waits in a write, which is about to fail if the peer has said so just now.
    ///
    /// ```
    /// use std::net::Shutdown;
    /// let (here, there) = smstream::Stream::pair()?;
    /// assert!(!here.peer_stopped_reading());
    /// there.shutdown(Shutdown::Read)?;
    /// assert!(here.peer_stopped_reading());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn peer_stopped_reading(&self) -> bool {
        self.writer
            .lock_unless(|| self.shared.write.is_waiting())
            .is_some_and(|mut writer| writer.peer_stopped_reading())
    }

    /// Waits until the peer has closed its end altogether, or died: `true`; or until `timeout` has passed or this end
    /// was [given up](Stream::abort): `false`.
    ///
    /// It says nothing about bytes: there may be some left to read. The ends of a [`pair`](Stream::pair) live in one
    /// process, so none outlives the other, and this only ever times out. A peer in another language at `file:` that unlocks
    /// its byte and keeps the file open or mapped is noticed by reads, writes and conditions; this alone sleeps on until the file
    /// is closed.
    #[must_use]
    pub fn wait_peer_closed(&self, timeout: Option<Duration>) -> bool {
        // The peer may close when it has read what is buffered.
        self.writer.request(FLUSH);
        self.shared.monitor.wait_gone(timeout.map(Deadline::after))
    }

    /// If one half has found the peer corrupt, so has the other: the peer is shown FIN and STOP. A half that another
    /// thread is using has been alerted, and sees to it itself.
    #[cold]
    pub(crate) fn fail_both_or_neither(&self) {
        if let (Some(mut reader), Some(mut writer)) = (self.reader.try_lock(), self.writer.try_lock())
            && reader.consumer().is_corrupt() != writer.producer().is_corrupt()
        {
            reader.fail();
            writer.fail();
        }
    }

    /// Whether one half has found the peer corrupt, and the other has not yet.
    pub(crate) fn is_half_corrupt(&mut self) -> bool {
        let (reader, writer) = self.halves_mut();
        reader.consumer().is_corrupt() != writer.producer().is_corrupt()
    }

    /// The halves, each behind the lock of its direction.
    pub(crate) fn halves(&self) -> (&TimedMutex<ReadHalf>, &TimedMutex<WriteHalf>) {
        (&self.reader, &self.writer)
    }

    /// The doorbell, if the parties met over a socket.
    pub(crate) fn doorbell(&self) -> Option<Arc<Doorbell>> {
        self.shared.doorbell.clone()
    }

    pub(crate) fn monitor(&self) -> &Arc<PeerMonitor> {
        &self.shared.monitor
    }

    /// Whether records are spoken: by this end, by the peer.
    pub(crate) fn records(&self) -> [bool; 2] {
        self.shared.records
    }

    /// Who is on the other side, for messages.
    pub(crate) fn peer_name(&self) -> &str {
        &self.shared.peer_name
    }

    /// Both, for a call that has the whole stream.
    #[inline]
    pub(crate) fn halves_mut(&mut self) -> (&mut ReadHalf, &mut WriteHalf) {
        (self.reader.get_mut(), self.writer.get_mut())
    }
}

/// Has a direction that was shut down closed: by this thread, or by the one that uses it, which has been alerted and is waited
/// for, unless a signal handler has interrupted it.
fn settle<T: Requests>(half: &TimedMutex<T>) {
    if !half.request(SHUT_DOWN) && !half.is_mine() {
        drop(half.lock_until(None));
    }
}

pub use split::ReuniteError;

static_assertions::assert_impl_all!(Stream: Send, Sync);
static_assertions::assert_impl_all!(ReadHalf: Send, Sync);
static_assertions::assert_impl_all!(WriteHalf: Send, Sync);
