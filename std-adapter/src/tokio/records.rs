//! Whole messages over a stream, for tokio.

use super::half::{Borrowed, ReadHalf, WriteHalf};
use super::stream::{ReuniteError, Stream};
use crate::convert::ConvertError;
use crate::half::{Caller, ForRecord};
use crate::liveness::Half;
use crate::records::copy;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// One end of a connection that carries whole messages, for tokio: what [`smstream::Records`](crate::Records) is for threads,
/// which says what is promised.
///
/// Both ends are made with [`Builder::records`](crate::Builder::records), and then [`Stream::into_records`] makes this of
/// each. The peer may be of any kind: it need not use tokio.
///
/// ```
/// use smstream::tokio::{Listener, connect_with};
/// use smstream::{Builder, Kind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let builder = Builder::new().records(true);
/// let listener = Listener::from_std(builder.bind_temp(Kind::Abstract)?)?;
/// let addr = listener.local_addr().clone();
/// let client = tokio::spawn(async move {
///     let mut server = connect_with(&builder, addr).await?.into_records()?;
///     server.send(b"what is six times seven?").await?;
///     let mut answer = Vec::new();
///     server.recv_vec(&mut answer).await?;
///     Ok::<_, std::io::Error>(answer)
/// });
/// let mut client_here = listener.accept().await?.into_records()?;
/// let mut question = Vec::new();
/// assert_eq!(client_here.recv_vec(&mut question).await?, Some(24));
/// client_here.send(b"42").await?;
/// assert_eq!(client.await??, b"42");
/// # Ok(())
/// # }
/// ```
///
/// # Cancelling
/// All futures here are cancel safe, so they may stand in `tokio::select!` and under a timeout. A record moves in one step, in
/// the poll that makes the future ready: a `recv` that is dropped before has taken nothing, and the record is still the next
/// one; a `send` that is dropped before has sent nothing of its record.
#[derive(Debug)]
pub struct Records {
    stream: Stream,
}

impl Stream {
    /// Whether both ends were made with [`Builder::records`](crate::Builder::records), so that
    /// [`into_records`](Stream::into_records) is possible.
    #[must_use]
    pub fn carries_records(&self) -> bool {
        self.get_ref().carries_records()
    }

    /// Sends and receives whole messages from here on, as
    /// [`smstream::Stream::into_records`](crate::Stream::into_records) does.
    ///
    /// # Errors
    /// [`Reason::Unsupported`](crate::Reason::Unsupported) if only one end, or none, was made with
    /// [`Builder::records`](crate::Builder::records). The stream is [given back](ConvertError::into_inner) and can be used for
    /// bytes.
    #[allow(clippy::result_large_err, reason = "the stream is given back, and is not to be put on the heap")]
    pub fn into_records(mut self) -> Result<Records, ConvertError<Stream>> {
        match self.get_mut().begin_records() {
            Ok(()) => Ok(Records { stream: self }),
            Err(e) => Err(ConvertError::new(e, self)),
        }
    }
}

impl Records {
    /// The bytes of the longest record that can be sent: this end's lane less four.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.stream.get_ref().stats().capacities[0].saturating_sub(4)
    }

    /// The bytes of the longest record that can come: the peer's lane less four. A buffer of this length is never too small.
    #[must_use]
    pub fn max_peer_len(&self) -> usize {
        self.stream.get_ref().stats().capacities[1].saturating_sub(4)
    }

    /// The stream: to ask who the peer is, to abort it. Bytes that are written or read through it are no records.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream of bytes again. It is up to the two programs when that makes sense.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends one record. Waits until there is room for all of it. It is cancel safe: if the future is dropped, nothing was sent.
    ///
    /// # Errors
    /// Those of a write, and nothing was sent then: see [`smstream::Records::send`](crate::Records::send).
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) for a record of more than [`max_len`](Records::max_len) bytes.
    pub async fn send(&mut self, record: &[u8]) -> io::Result<()> {
        let result = poll_fn(|cx| self.stream.borrowed().1.poll_send(cx, record)).await;
        self.stream.get_ref().fail_together(result)
    }

    /// Sends one record, without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no room for all of it, and those of [`send`](Records::send). Nothing was sent
    /// then.
    pub fn try_send(&mut self, record: &[u8]) -> io::Result<()> {
        let result = self.stream.borrowed().1.try_send(record);
        self.stream.get_ref().fail_together(result)
    }

    /// Waits for a record and receives it into the start of `out`. Returns its length. `None`: the peer has closed, and all was
    /// received. It is cancel safe: if the future is dropped, the record is still the next one.
    ///
    /// # Errors
    /// Those of a read, and nothing was received then: see [`smstream::Records::recv`](crate::Records::recv).
    /// [`Reason::InvalidInput`](crate::Reason::InvalidInput) for a record that is longer than `out`, which is still the next one.
    pub async fn recv(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let result = poll_fn(|cx| self.stream.borrowed().0.poll_record(cx, |half| recv(half, out))).await;
        self.stream.get_ref().fail_together(result)
    }

    /// Receives a record into the start of `out`, without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is none, and those of [`recv`](Records::recv).
    pub fn try_recv(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let result = self.stream.borrowed().0.try_record(|half| recv(half, out));
        self.stream.get_ref().fail_together(result)
    }

    /// Waits for a record and receives it into `out`, instead of what was there. Returns its length. `None`: the peer has
    /// closed, and all was received. The memory that it takes is bounded by [`max_peer_len`](Records::max_peer_len). It is
    /// cancel safe, as [`recv`](Records::recv) is.
    ///
    /// # Errors
    /// As for [`recv`](Records::recv), but no record is too long.
    pub async fn recv_vec(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let result = poll_fn(|cx| self.stream.borrowed().0.poll_record(cx, |half| recv_vec(half, out))).await;
        self.stream.get_ref().fail_together(result)
    }

    /// Says that no more records will come: the peer receives what is left, then the end. Receiving here goes on.
    pub fn shutdown(&mut self) {
        self.stream.borrowed().1.shutdown();
    }

    /// The two halves, to be used by two tasks. Each closes its direction when it is dropped.
    #[must_use]
    pub fn into_split(self) -> (RecordReadHalf, RecordWriteHalf) {
        let (half, writer) = self.stream.into_split();
        (RecordReadHalf { half }, RecordWriteHalf { half: writer })
    }
}

/// The half of [`Records`] that receives: made by [`Records::into_split`]. Dropping it tells the peer that no more is taken.
#[derive(Debug)]
pub struct RecordReadHalf {
    half: ReadHalf,
}

impl RecordReadHalf {
    /// The half for bytes: to ask who the peer is.
    #[must_use]
    pub fn half(&self) -> &ReadHalf {
        &self.half
    }

    /// [`Records::recv`]; cancel safe.
    ///
    /// # Errors
    /// As there.
    pub async fn recv(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        poll_fn(|cx| self.half.borrowed().poll_record(cx, |half| recv(half, out))).await
    }

    /// [`Records::try_recv`].
    ///
    /// # Errors
    /// As there.
    pub fn try_recv(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        self.half.borrowed().try_record(|half| recv(half, out))
    }

    /// [`Records::recv_vec`]; cancel safe.
    ///
    /// # Errors
    /// As there.
    pub async fn recv_vec(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        poll_fn(|cx| self.half.borrowed().poll_record(cx, |half| recv_vec(half, out))).await
    }

    /// [`Records`] again, of the two halves.
    ///
    /// # Errors
    /// [`ReuniteError`] with the halves for bytes if they are of different streams.
    #[allow(clippy::result_large_err, reason = "both halves are given back, and are not to be put on the heap")]
    pub fn reunite(self, writer: RecordWriteHalf) -> Result<Records, ReuniteError> {
        self.half.reunite(writer.half).map(|stream| Records { stream })
    }
}

/// The half of [`Records`] that sends: made by [`Records::into_split`]. Dropping it tells the peer that no more will come.
#[derive(Debug)]
pub struct RecordWriteHalf {
    half: WriteHalf,
}

impl RecordWriteHalf {
    /// The half for bytes: to ask who the peer is.
    #[must_use]
    pub fn half(&self) -> &WriteHalf {
        &self.half
    }

    /// [`Records::send`]; cancel safe.
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, record: &[u8]) -> io::Result<()> {
        poll_fn(|cx| self.half.borrowed().poll_send(cx, record)).await
    }

    /// [`Records::try_send`].
    ///
    /// # Errors
    /// As there.
    pub fn try_send(&mut self, record: &[u8]) -> io::Result<()> {
        self.half.borrowed().try_send(record)
    }

    /// Says that no more will come: the peer receives what is left, then the end.
    pub fn shutdown(&mut self) {
        self.half.borrowed().shutdown();
    }
}

fn recv(half: &mut crate::ReadHalf, out: &mut [u8]) -> io::Result<Option<usize>> {
    half.recv_record_for(out, Caller::Half)
}

fn recv_vec(half: &mut crate::ReadHalf, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
    half.view_record_for(Caller::Half)?.map(|record| copy(record, out)).transpose()
}

impl Borrowed<'_, crate::ReadHalf> {
    /// Waits for bytes until `get` gets a record out of them. Padding is no record.
    fn poll_record<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut get: impl FnMut(&mut crate::ReadHalf) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.readiness.poll_ready(Half::Reader, self.side, self.half, cx, || {}))?;
            match get(self.half) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.inspect_err(|_| self.readiness.wake_other(Half::Reader))),
            }
        }
    }

    fn try_record<T>(&mut self, get: impl FnOnce(&mut crate::ReadHalf) -> io::Result<T>) -> io::Result<T> {
        self.side.withdraw(self.half);
        get(self.half).inspect_err(|_| self.readiness.wake_other(Half::Reader))
    }
}

impl Borrowed<'_, crate::WriteHalf> {
    /// Waits until there is room for all of `record`.
    fn poll_send(&mut self, cx: &mut Context<'_>, record: &[u8]) -> Poll<io::Result<()>> {
        loop {
            // No room is enough for a record that is too long: that is an error at once.
            if record.len() <= self.half.producer().max_record() {
                let mut waiting = ForRecord(self.half, record.len());
                ready!(self.readiness.poll_ready(Half::Writer, self.side, &mut waiting, cx, || {}))?;
            }
            match self.half.send_record_for(record, Caller::Half) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.inspect_err(|_| self.readiness.wake_other(Half::Writer))),
            }
        }
    }

    fn try_send(&mut self, record: &[u8]) -> io::Result<()> {
        self.side.withdraw(self.half);
        self.half.send_record_for(record, Caller::Half).inspect_err(|_| self.readiness.wake_other(Half::Writer))
    }
}

static_assertions::assert_impl_all!(Records: Send, Sync, Unpin);
static_assertions::assert_impl_all!(RecordReadHalf: Send, Sync, Unpin);
static_assertions::assert_impl_all!(RecordWriteHalf: Send, Sync, Unpin);
