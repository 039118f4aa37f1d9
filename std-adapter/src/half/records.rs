//! Records on the halves: sent and received as the mode of the half says.

use std::io;

use smstream_core::error::{ReadError, WriteError};
use smstream_core::park::ALERT_CORRUPT;
use smstream_core::record::{RecvError, SendError};
use smstream_shm::Deadline;

use super::record_views::{ReadRecord, WriteRecord};
use super::writer::{ReadingEnd, Room};
use super::{Caller, ReadHalf, WriteHalf, is_cut};
use crate::error::{Error, Reason};
use crate::history::Operation;

impl WriteHalf {
    /// [`Records::send`](crate::Records::send), for `caller`.
    pub(crate) fn send_record_for(&mut self, record: &[u8], mut caller: Caller<'_, ReadingEnd>) -> io::Result<()> {
        let mut waited = false;
        loop {
            match self.producer.send_record(record) {
                Ok(()) if is_cut(&self.cut) => return Err(self.cut_short()),
                Ok(()) => return Ok(()),
                Err(e) => self.wait_for_record(e, record.len(), &mut waited, &mut caller)?,
            }
        }
    }

    /// [`Records::claim`](crate::Records::claim), for `caller`.
    pub(crate) fn claim_record_for(
        &mut self,
        len: usize,
        mut caller: Caller<'_, ReadingEnd>,
    ) -> io::Result<WriteRecord<'_>> {
        let mut waited = false;
        loop {
            match self.producer.claim_record(len) {
                Ok(claim) => {
                    claim.abort();
                    break;
                }
                Err(e) => self.wait_for_record(e, len, &mut waited, &mut caller)?,
            }
        }
        if is_cut(&self.cut) {
            return Err(self.cut_short());
        }
        let (producer, cut, shared) = self.parts();
        match producer.claim_record(len) {
            Ok(claim) => Ok(WriteRecord { claim, cut, shared }),
            Err(e) => Err(shared.report(Operation::Write, shared.lost_room(write_error(&e), "send a record"))),
        }
    }

    /// Waits after `e`, the first time; fails otherwise.
    #[cold]
    fn wait_for_record(
        &mut self,
        e: SendError,
        len: usize,
        waited: &mut bool,
        caller: &mut Caller<'_, ReadingEnd>,
    ) -> io::Result<()> {
        let e = match e {
            SendError::TooLong if !self.producer.is_finished() => {
                let e = too_long(len, self.producer.max_record(), self.producer.capacity());
                return Err(self.shared.report(Operation::Write, e));
            }
            SendError::Full if *waited => {
                let e = self.gave_up_waiting();
                return Err(self.shared.report(Operation::Write, e));
            }
            e => write_error(&e),
        };
        self.resolve(Some(e), Room::Record(len), caller)?;
        *waited = true;
        Ok(())
    }

    #[cold]
    fn cut_short(&mut self) -> io::Error {
        match self.check_cut() {
            Err(e) => self.shared.report(Operation::Write, e),
            Ok(()) => self.shared.report(Operation::Write, self.shared.corrupt("send a record")),
        }
    }
}

impl ReadHalf {
    /// [`Records::recv`](crate::Records::recv), for `caller`.
    pub(crate) fn recv_record_for(
        &mut self,
        out: &mut [u8],
        mut caller: Caller<'_, WriteHalf>,
    ) -> io::Result<Option<usize>> {
        let mut until = None;
        loop {
            let e = match self.consumer.recv_record(out) {
                Ok(n) if !is_cut(&self.cut) => return Ok(n),
                Ok(_) => None,
                Err(RecvError::TooSmall { needed }) if !is_cut(&self.cut) => {
                    return Err(self.shared.report(Operation::Read, too_small(needed, out.len())));
                }
                Err(e) => read_error(e),
            };
            if !self.wait_for_a_record(e, &mut until, &mut caller)? {
                return Ok(None);
            }
        }
    }

    /// [`Records::next_len`](crate::Records::next_len), for `caller`.
    pub(crate) fn record_len_for(&mut self, mut caller: Caller<'_, WriteHalf>) -> io::Result<Option<usize>> {
        let mut until = None;
        loop {
            let e = match self.consumer.record_len() {
                Ok(len) if !is_cut(&self.cut) => return Ok(len),
                Ok(_) => None,
                Err(e) => read_error(e),
            };
            if !self.wait_for_a_record(e, &mut until, &mut caller)? {
                return Ok(None);
            }
        }
    }

    /// [`Records::view`](crate::Records::view), for `caller`.
    pub(crate) fn view_record_for(&mut self, caller: Caller<'_, WriteHalf>) -> io::Result<Option<ReadRecord<'_>>> {
        if self.record_len_for(caller)?.is_none() {
            return Ok(None);
        }
        let (consumer, cut, shared) = self.parts();
        match consumer.record() {
            Ok(Some(record)) if !is_cut(cut) => Ok(Some(ReadRecord { record, cut, shared })),
            // There was a record just now. Only a peer that changes what it has sent has made it something else.
            _ => {
                shared.monitor.raise_both(ALERT_CORRUPT);
                Err(shared.report(Operation::Read, shared.corrupt("receive a record")))
            }
        }
    }

    /// Waits after `e`: see [`resolve`](Self::resolve). What came may be padding only, after which the call waits again: then it
    /// looks first whether its time, which `until` says from the first wait on, has passed, or this end was given up. A peer that
    /// sends padding without an end does not keep it.
    #[cold]
    fn wait_for_a_record(
        &mut self,
        e: Option<ReadError>,
        until: &mut Option<Option<Deadline>>,
        caller: &mut Caller<'_, WriteHalf>,
    ) -> io::Result<bool> {
        let timeout = self.shared.read.timeout();
        if let (Some(ReadError::Empty), Some(until)) = (&e, *until) {
            if self.shared.is_aborted() {
                return Err(self.shared.report(Operation::Read, self.shared.given_up("receive a record")));
            }
            if until.is_some_and(Deadline::has_passed) {
                return Err(self.shared.report(Operation::Read, self.shared.read_timed_out(timeout)));
            }
        }
        until.get_or_insert_with(|| caller.deadline(timeout));
        self.resolve(e, 1, caller)
    }
}

/// What writing bytes would give.
fn write_error(e: &SendError) -> WriteError {
    match e {
        SendError::Full => WriteError::Full,
        SendError::Closed | SendError::TooLong => WriteError::Closed,
        SendError::PeerGone => WriteError::PeerGone,
        _ => WriteError::Corrupt,
    }
}

/// What the half makes of it. `None`: it is the memory that is wrong.
fn read_error(e: RecvError) -> Option<ReadError> {
    match e {
        RecvError::Empty => Some(ReadError::Empty),
        RecvError::PeerGone => Some(ReadError::PeerGone),
        RecvError::Corrupt => Some(ReadError::Corrupt),
        _ => None,
    }
}

fn too_long(len: usize, most: usize, capacity: usize) -> Error {
    let text = if capacity < 4 {
        format!("cannot send records through a lane of {capacity} bytes: take a larger one (`Builder::capacity`)")
    } else {
        format!(
            "cannot send a record of {len} bytes: {most}, the lane less four, is the most; take larger lanes \
             (`Builder::capacity`), or smaller records"
        )
    };
    Error::new(Reason::InvalidInput, text)
}

fn too_small(needed: usize, len: usize) -> Error {
    let text = format!(
        "cannot receive a record of {needed} bytes into a buffer of {len}: take a larger buffer; the record is still the next \
         one"
    );
    Error::new(Reason::InvalidInput, text)
}
