//! Whole messages over a stream.

use std::io;

use crate::convert::ConvertError;
use crate::error::{Error, Reason};
use crate::half::{Caller, ReadHalf, ReadRecord, WriteHalf, WriteRecord};
use crate::stream::{ReuniteError, Stream};

/// One end of a connection that carries whole messages, *records*: never split, never torn, never two in one.
///
/// Both ends are made with [`Builder::records`](crate::Builder::records), and then [`Stream::into_records`] makes this of
/// each. A record has a length from 0 to [`max_len`](Records::max_len) bytes. It needs four bytes more in the lane, and is
/// filled up to a multiple of four.
///
/// ```
/// use smstream::{Builder, Listener, Records};
/// use std::io::Write;
///
/// # let path = std::env::temp_dir().join(format!("smstream-doc-records-{}", std::process::id()));
/// let listener = Builder::new().records(true).bind(&path)?;
/// let client = std::thread::spawn({
///     let path = path.clone();
///     move || -> std::io::Result<Vec<u8>> {
///         let mut server = Builder::new().records(true).connect(&path)?.into_records()?;
///         server.send(b"what is six times seven?")?;
///         let mut answer = Vec::new();
///         server.recv_vec(&mut answer)?;
///         Ok(answer)
///     }
/// });
/// let mut client_here: Records = listener.accept()?.into_records()?;
/// let question = client_here.view()?.expect("a question"); // It lies in shared memory still.
/// let mut first = [0; 4];
/// question.copy_to(0, &mut first);
/// question.consume()?;
/// assert_eq!(&first, b"what");
/// let mut answer = client_here.claim(100)?; // To be built in place.
/// write!(answer, "it is {}", 6 * 7)?;
/// answer.commit_filled()?;
/// assert_eq!(client.join().unwrap()?, b"it is 42");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # What it promises
/// * A record arrives whole, once and in order, or not at all. One that was sent is in shared memory, where the peer can
///   receive it even if this process dies.
/// * A process that dies while it builds a record has sent nothing of it.
/// * When the peer closes, what it sent is received first, then `None`. When it dies without closing there is then an error of
///   [`Reason::PeerGone`].
/// * Whatever a hostile peer writes into shared memory: a record within the bytes that it has published, or an error of
///   [`Reason::Corrupt`], which stays.
///
/// Calls wait as the stream does: its timeouts, its nonblocking mode, [`shutdown`](Stream::shutdown),
/// [`abort`](Stream::abort) and the detection of deadlocks hold here, too. Set them by [`stream`](Records::stream). Each
/// record is published at once, whatever the [`BufMode`](crate::BufMode).
///
/// # What it does not promise
/// * That an error says more than that: a peer that writes bytes where records should be is `Corrupt`.
/// * Anything about bytes that are written or read by [`stream`](Records::stream) meanwhile. They are no records, and the peer
///   finds them `Corrupt`.
#[derive(Debug)]
pub struct Records {
    stream: Stream,
}

impl Stream {
    /// Whether both ends were made with [`Builder::records`](crate::Builder::records), so that
    /// [`into_records`](Stream::into_records) is possible.
    #[must_use]
    pub fn carries_records(&self) -> bool {
        self.records() == [true; 2]
    }

    /// Sends and receives whole messages from here on. What is [buffered](Stream::buffered) is published as bytes.
    ///
    /// If the ends have exchanged bytes before, both must have read all of them; where the bytes end and the records begin is
    /// agreed between the two programs.
    ///
    /// # Errors
    /// [`Reason::Unsupported`] if only one end, or none, was made with [`Builder::records`](crate::Builder::records). The
    /// stream is [given back](ConvertError::into_inner) and can be used for bytes.
    ///
    /// ```
    /// use smstream::{Builder, Listener, Reason, Stream};
    /// # let path = std::env::temp_dir().join(format!("smstream-doc-no-records-{}", std::process::id()));
    /// let listener = Builder::new().records(true).bind(&path)?;
    /// let client = std::thread::spawn({
    ///     let path = path.clone();
    ///     move || Stream::connect(&path)
    /// });
    /// let e = listener.accept()?.into_records().unwrap_err();
    /// assert_eq!(e.error().reason(), Reason::Unsupported);
    /// let bytes: Stream = e.into_inner(); // As it was.
    /// # drop((bytes, client.join()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[allow(clippy::result_large_err, reason = "the stream is given back, and is not to be put on the heap")]
    pub fn into_records(mut self) -> Result<Records, ConvertError<Stream>> {
        match self.begin_records() {
            Ok(()) => Ok(Records { stream: self }),
            Err(e) => Err(ConvertError::new(e, self)),
        }
    }

    /// Publishes what is buffered, as the last bytes before the records; or says why there can be none.
    pub(crate) fn begin_records(&mut self) -> crate::error::Result<()> {
        let why = match self.records() {
            [true, true] => {
                self.halves_mut().1.flush_buffered();
                return Ok(());
            }
            [false, _] => {
                "this end was not made for them; call `Builder::records(true)` before it is connected or accepted"
            }
            [true, false] => {
                "it does not say that it knows them; make its end with `Builder::records(true)`, too, or send it bytes"
            }
        };
        let text = format!("cannot exchange records with {}: {why}", self.peer_name());
        Err(Error::new(Reason::Unsupported, text))
    }
}

impl Records {
    /// The bytes of the longest record that can be sent: this end's lane less four.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.stream.stats().capacities[0].saturating_sub(4)
    }

    /// The bytes of the longest record that can come: the peer's lane less four. A buffer of this length is never too small.
    #[must_use]
    pub fn max_peer_len(&self) -> usize {
        self.stream.stats().capacities[1].saturating_sub(4)
    }

    /// The stream: to set timeouts, to shut it down, to ask what it has done. Bytes that are written or read through it are no
    /// records.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream of bytes again. It is up to the two programs when that makes sense.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends one record. Waits until there is room for all of it.
    ///
    /// # Errors
    /// Those of a write, and nothing was sent then: [`Reason::WriteAfterClose`], [`Reason::PeerGone`], [`Reason::Corrupt`],
    /// [`Reason::Deadlock`], [`Reason::TimedOut`], [`Reason::WouldBlock`], [`Reason::Aborted`]; and [`Reason::InvalidInput`] for
    /// one of more than [`max_len`](Records::max_len) bytes.
    pub fn send(&mut self, record: &[u8]) -> io::Result<()> {
        let (reader, writer) = self.halves();
        let result = writer.send_record_for(record, Caller::Whole(reader.consumer_mut()));
        self.stream.fail_together(result)
    }

    /// Waits until there is room for a record of up to `len` bytes, which is then built where the peer will find it.
    ///
    /// # Errors
    /// As for [`send`](Records::send).
    pub fn claim(&mut self, len: usize) -> io::Result<WriteRecord<'_>> {
        let (reader, writer) = self.halves();
        writer.claim_record_for(len, Caller::Whole(reader.consumer_mut()))
    }

    /// Waits for a record and receives it into the start of `out`. Returns its length. `None`: the peer has closed, and all was
    /// received.
    ///
    /// # Errors
    /// Those of a read, and nothing was received then: [`Reason::PeerGone`], [`Reason::Corrupt`], [`Reason::Deadlock`],
    /// [`Reason::TimedOut`], [`Reason::WouldBlock`], [`Reason::Aborted`]; and [`Reason::InvalidInput`] for a record that is
    /// longer than `out`, which is still the next one.
    pub fn recv(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let (reader, writer) = self.halves();
        let result = reader.recv_record_for(out, Caller::Whole(writer));
        self.stream.fail_together(result)
    }

    /// Waits for a record and receives it into `out`, instead of what was there. Returns its length. `None`: the peer has
    /// closed, and all was received. The memory that it takes is bounded by [`max_peer_len`](Records::max_peer_len).
    ///
    /// # Errors
    /// As for [`recv`](Records::recv), but no record is too long.
    pub fn recv_vec(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let Some(record) = self.view()? else { return Ok(None) };
        copy(record, out).map(Some)
    }

    /// Waits for a record and shows it where it lies. `None`: the peer has closed, and all was received.
    ///
    /// # Errors
    /// As for [`recv`](Records::recv), but no record is too long.
    pub fn view(&mut self) -> io::Result<Option<ReadRecord<'_>>> {
        let next = self.next_len()?;
        let (reader, writer) = self.halves();
        if next.is_none() {
            return Ok(None);
        }
        reader.view_record_for(Caller::Whole(writer))
    }

    /// Waits for a record and says how long it is. It stays. `None`: the peer has closed, and all was received.
    ///
    /// # Errors
    /// As for [`recv`](Records::recv), but no record is too long.
    pub fn next_len(&mut self) -> io::Result<Option<usize>> {
        let (reader, writer) = self.halves();
        let result = reader.record_len_for(Caller::Whole(writer));
        self.stream.fail_together(result)
    }

    /// Two halves, for two threads. Each closes its direction when it is dropped.
    #[must_use]
    pub fn split(self) -> (RecordReadHalf, RecordWriteHalf) {
        let (half, writer) = self.stream.split();
        (RecordReadHalf { half }, RecordWriteHalf { half: writer })
    }

    fn halves(&mut self) -> (&mut ReadHalf, &mut WriteHalf) {
        if self.stream.is_half_corrupt() {
            self.stream.fail_both_or_neither();
        }
        self.stream.halves_mut()
    }
}

/// The half of [`Records`] that receives: made by [`Records::split`]. Dropping it tells the peer that no more is taken.
#[derive(Debug)]
pub struct RecordReadHalf {
    half: ReadHalf,
}

impl RecordReadHalf {
    /// The half for bytes: to set a timeout, to ask who the peer is.
    #[must_use]
    pub fn half(&self) -> &ReadHalf {
        &self.half
    }

    /// [`Records::recv`].
    ///
    /// # Errors
    /// As there, but for [`Reason::Deadlock`].
    pub fn recv(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        self.half.recv_record_for(out, Caller::Half)
    }

    /// [`Records::recv_vec`].
    ///
    /// # Errors
    /// As there, but for [`Reason::Deadlock`].
    pub fn recv_vec(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let Some(record) = self.view()? else { return Ok(None) };
        copy(record, out).map(Some)
    }

    /// [`Records::view`].
    ///
    /// # Errors
    /// As there, but for [`Reason::Deadlock`].
    pub fn view(&mut self) -> io::Result<Option<ReadRecord<'_>>> {
        self.half.view_record_for(Caller::Half)
    }

    /// [`Records::next_len`].
    ///
    /// # Errors
    /// As there, but for [`Reason::Deadlock`].
    pub fn next_len(&mut self) -> io::Result<Option<usize>> {
        self.half.record_len_for(Caller::Half)
    }

    /// Says that no more will be received: the peer's sending fails from now on.
    pub fn shutdown(&mut self) {
        self.half.shutdown();
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

/// The half of [`Records`] that sends: made by [`Records::split`]. Dropping it tells the peer that no more will come.
#[derive(Debug)]
pub struct RecordWriteHalf {
    half: WriteHalf,
}

impl RecordWriteHalf {
    /// The half for bytes: to set a timeout, to ask who the peer is.
    #[must_use]
    pub fn half(&self) -> &WriteHalf {
        &self.half
    }

    /// [`Records::send`].
    ///
    /// # Errors
    /// As there, but for [`Reason::Deadlock`].
    pub fn send(&mut self, record: &[u8]) -> io::Result<()> {
        self.half.send_record_for(record, Caller::Half)
    }

    /// [`Records::claim`].
    ///
    /// # Errors
    /// As there, but for [`Reason::Deadlock`].
    pub fn claim(&mut self, len: usize) -> io::Result<WriteRecord<'_>> {
        self.half.claim_record_for(len, Caller::Half)
    }

    /// Says that no more will come: the peer receives what is left, then the end.
    pub fn shutdown(&mut self) {
        self.half.shutdown();
    }
}

/// Takes the record, as the content of `out`.
pub(crate) fn copy(record: ReadRecord<'_>, out: &mut Vec<u8>) -> io::Result<usize> {
    let len = record.len();
    // What is there is written over.
    out.resize(len, 0);
    record.copy_to(0, out);
    record.consume()?;
    Ok(len)
}

static_assertions::assert_impl_all!(Records: Send, Sync);
static_assertions::assert_impl_all!(RecordReadHalf: Send, Sync);
static_assertions::assert_impl_all!(RecordWriteHalf: Send, Sync);
