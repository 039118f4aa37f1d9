//! Each operation, done to the ends and to the model.

use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use smstream_core::cursor::{ASLEEP, EXCLUSIVE, STOPPED_HINT, THRESHOLD};
use smstream_core::error::{ReadError, ReserveError, WriteError};
use smstream_core::lane::Announced;
use smstream_core::park::Place;

use super::model::Wait;
use super::operation::{Fill, Half, Op, Outcome, Patience};
use super::world::World;
use crate::texts::{check_debug, checked};

impl World {
    pub(super) fn run(&mut self, op: &Op) {
        match *op {
            Op::Write { party, len, by_end } => {
                let (party, bytes) = (usize::from(party % 2), self.bytes(len));
                let end = self.end(party);
                let real = if by_end { end.write(&bytes) } else { end.producer.write(&bytes) };
                let model = self.model.write_deferred(party, &bytes).inspect(|_| self.model.flush(party));
                self.same("write", checked(real), model);
            }
            Op::WriteDeferred { party, len } => {
                let (party, bytes) = (usize::from(party % 2), self.bytes(len));
                let real = self.end(party).producer.write_deferred(&bytes);
                let model = self.model.write_deferred(party, &bytes);
                self.same("write_deferred", checked(real), model);
            }
            Op::WriteVectored { party, lens } => {
                let (party, bytes) = (usize::from(party % 2), lens.map(|len| self.bytes(len)));
                let buffers = bytes.each_ref().map(Vec::as_slice);
                let real = self.end(party).producer.write_vectored(buffers);
                let model = self.model.write_vectored(party, &buffers);
                self.same("write_vectored", checked(real), model);
            }
            Op::Flush { party } => {
                let party = usize::from(party % 2);
                self.end(party).producer.flush();
                self.model.flush(party);
            }
            Op::Reserve { party, len, fills, outcome } => self.reserve(usize::from(party % 2), len, fills, outcome),
            Op::Read { party, len, by_end } => {
                let (party, mut out) = (usize::from(party % 2), vec![0; len.into()]);
                let end = self.end(party);
                let real = if by_end { end.read(&mut out) } else { end.consumer.read(&mut out) };
                let model = self.model.read(party, len.into());
                self.compare_read("read", real, &out, model);
            }
            Op::ReadUninit { party, len, by_end } => {
                let (party, mut out) = (usize::from(party % 2), vec![MaybeUninit::new(0); len.into()]);
                let (end, start) = (self.end(party), out.as_ptr().cast());
                let real = if by_end { end.read_uninit(&mut out) } else { end.consumer.read_uninit(&mut out) };
                let real = real.map(|read| (read.as_ptr(), read.len()));
                let model = self.model.read(party, len.into());
                assert!(real.is_err() || real.is_ok_and(|(at, _)| at == start), "{}: {real:?}", self.context());
                // SAFETY: it was initialised when it was made.
                let out: Vec<u8> = out.iter().map(|byte| unsafe { byte.assume_init() }).collect();
                self.compare_read("read_uninit", real.map(|(_, n)| n), &out, model);
            }
            Op::ReadDeferred { party, len } => {
                let (party, mut out) = (usize::from(party % 2), vec![0; len.into()]);
                let real = self.end(party).consumer.read_deferred(&mut out);
                let model = self.model.read_deferred(party, len.into());
                self.compare_read("read_deferred", real, &out, model);
            }
            Op::ReadVectored { party, lens } => {
                let party = usize::from(party % 2);
                let mut out = lens.map(|len| vec![0; len.into()]);
                let real = self.end(party).consumer.read_vectored(out.each_mut().map(Vec::as_mut_slice));
                let model = self.model.read(party, lens.iter().map(|&len| usize::from(len)).sum());
                self.compare_read("read_vectored", real, &out.concat(), model);
            }
            Op::GiveBack { party } => {
                let party = usize::from(party % 2);
                self.end(party).consumer.flush();
                self.model.give_back(party);
            }
            Op::Peek { party, at, len, take } => self.peek(usize::from(party % 2), at.into(), len.into(), take),
            Op::Consume { party, len } => {
                let party = usize::from(party % 2);
                // It takes what is known, and `check` has seen to it that this is there.
                let n = usize::from(len).min(self.end(party).consumer.known_bytes());
                let real = self.end(party).consumer.consume(len.into());
                self.same("consume", real, n);
                if !self.model.lanes[1 - party].stop {
                    self.model.lanes[1 - party].taken += n;
                    self.model.give_back(party);
                }
            }
            Op::Finish { party } => {
                let party = usize::from(party % 2);
                self.end(party).finish();
                self.model.finish(party);
            }
            Op::Stop { party } => {
                let party = usize::from(party % 2);
                self.end(party).stop();
                self.model.stop(party);
            }
            Op::Close { party } => {
                let party = usize::from(party % 2);
                self.end(party).close();
                self.model.finish(party);
                self.model.stop(party);
            }
            Op::WaitRoom { party, want, patience, by_end, exclusive } => {
                let (party, want) = (usize::from(party % 2), usize::from(want));
                // With enough room the deadline is left out: a half that sleeps then sleeps for ever, which is reported.
                let deadline = (!self.model.enough(party, Half::Write, want)).then_some(());
                self.be_patient(patience);
                self.log.untimed.set(exclusive);
                self.log.exclusive.set(exclusive && !self.model.lanes[1 - party].stop);
                let end = self.end(party);
                let real = match (exclusive, by_end) {
                    (true, true) => end.wait_room_exclusive(want),
                    (true, false) => end.producer.wait_exclusive(want, &mut end.consumer),
                    (false, true) => end.wait_room(want, deadline),
                    (false, false) => end.producer.wait(want, deadline),
                };
                if by_end || exclusive {
                    self.model.give_back(party);
                }
                let model = self.model.wait_room(party, want, Wait { maybes: patience.maybes, exclusive });
                self.same("wait for room", checked(real), model);
            }
            Op::WaitBytes { party, want, patience, by_end, exclusive } => {
                let (party, want) = (usize::from(party % 2), usize::from(want));
                let deadline = (!self.model.enough(party, Half::Read, want)).then_some(());
                self.be_patient(patience);
                self.log.untimed.set(exclusive);
                self.log.exclusive.set(exclusive && !self.model.lanes[party].fin);
                let end = self.end(party);
                let real = match (exclusive, by_end) {
                    (true, true) => end.wait_bytes_exclusive(want),
                    (true, false) => end.consumer.wait_exclusive(want, &mut end.producer),
                    (false, true) => end.wait_bytes(want, deadline),
                    (false, false) => end.consumer.wait(want, deadline),
                };
                if by_end || exclusive {
                    self.model.flush(party);
                }
                let model = self.model.wait_bytes(party, want, Wait { maybes: patience.maybes, exclusive });
                self.same("wait for bytes", checked(real), model);
            }
            Op::Announce { party, half, want, in_steps, withdraw } => {
                self.announce(usize::from(party % 2), half, want.into(), in_steps);
                if withdraw {
                    self.withdraw(usize::from(party % 2), half);
                }
            }
            Op::Text { party, len } => {
                let (party, mut bytes) = (usize::from(party % 2), self.bytes(len));
                bytes.iter_mut().for_each(|byte| *byte = byte.to_ascii_lowercase() & 0x7f);
                let real = self.end(party).producer.write_str(std::str::from_utf8(&bytes).expect("letters")).is_ok();
                let fits = bytes.len() <= self.model.lanes[party].room() && self.model.open(party).is_ok();
                self.same("write_str", real, fits);
                if fits {
                    self.model.lanes[party].pending.extend(bytes.iter().map(|&byte| Some(byte)));
                    self.model.flush(party);
                }
            }
            Op::Reattach { party } => {
                let party = usize::from(party % 2);
                self.ends[party] = None;
                self.attach(party);
                self.model.lanes[party].pending.clear();
                self.model.lanes[1 - party].taken = 0;
            }
            Op::Asleep { party, half, ahead, exclusive, method } => {
                let party = usize::from(party % 2);
                let awaited = match half {
                    Half::Read => &self.model.lanes[1 - party],
                    Half::Write => &self.model.lanes[party],
                };
                if half == Half::Read && awaited.stop {
                    return;
                }
                let cursor = if half == Half::Read { awaited.sent } else { awaited.received };
                let exclusive = if exclusive { EXCLUSIVE } else { 0 };
                let park = ASLEEP | exclusive | (cursor.wrapping_add(ahead.into()) & THRESHOLD);
                self.set_park(party, half, park, method.into());
            }
            Op::Awake { party, half, bits } => {
                let party = usize::from(party % 2);
                if half == Half::Read && self.model.lanes[1 - party].stop {
                    return;
                }
                let bits = bits & !ASLEEP;
                let method = self.model.words[party][half as usize].method;
                self.set_park(party, half, if bits == STOPPED_HINT { 0 } else { bits }, method);
            }
        }
        self.check();
    }

    fn announce(&mut self, party: usize, half: Half, want: usize, in_steps: bool) {
        let enough = self.model.enough(party, half, want);
        let end = self.end(party);
        let ready = match half {
            Half::Read => end.consumer.is_ready(want),
            Half::Write => end.producer.is_ready(want),
        };
        let announced = match (half, in_steps) {
            (Half::Read, false) => end.consumer.announce(want),
            (Half::Write, false) => end.producer.announce(want),
            (Half::Read, true) => {
                end.consumer.say_asleep(want);
                assert!(!end.consumer.needs_barrier());
                end.consumer.look_again(want)
            }
            (Half::Write, true) => {
                end.producer.say_asleep(want);
                assert!(!end.producer.needs_barrier());
                end.producer.look_again(want)
            }
        };
        let seen = match announced {
            Announced::Ready => None,
            Announced::Asleep { cursor, alert } => {
                assert!(alert.is_none() && cursor.place == Place::Shared && cursor.word.load() == cursor.seen);
                check_debug(&cursor.word);
                Some(cursor.seen)
            }
        };
        self.same("is_ready", ready, enough);
        let model = self.model.announce(party, half, want);
        self.same("announce", seen, model);
    }

    fn withdraw(&mut self, party: usize, half: Half) {
        let end = self.end(party);
        match half {
            Half::Read => end.consumer.withdraw(),
            Half::Write => end.producer.withdraw(),
        }
        let stopped = half == Half::Read && self.model.lanes[1 - party].stop;
        // The hint that STOP was said is left.
        self.model.words[party][half as usize].park = if stopped { STOPPED_HINT } else { 0 };
    }

    fn be_patient(&self, patience: Patience) {
        self.log.spins.set(patience.spins);
        self.log.maybes.set(patience.maybes);
    }

    fn set_park(&mut self, party: usize, half: Half, park: u32, method: u32) {
        let line = &self.headers[party].port.park;
        let (park_word, wake_method_word) = match half {
            Half::Read => (&line.read_park, &line.read_wake_method),
            Half::Write => (&line.write_park, &line.write_wake_method),
        };
        park_word.store(park, Ordering::Relaxed);
        wake_method_word.store(method, Ordering::Relaxed);
        let words = &mut self.model.words[party][half as usize];
        (words.park, words.method) = (park, method);
    }

    #[track_caller]
    fn compare_read(
        &self,
        what: &str,
        real: Result<usize, ReadError>,
        out: &[u8],
        model: Result<Vec<Option<u8>>, ReadError>,
    ) {
        self.same(what, checked(real), model.as_ref().map(Vec::len).map_err(|&e| e));
        if let (Ok(n), Ok(bytes)) = (real, model) {
            self.same_bytes(&out[..n], &bytes);
            assert!(out[n..].iter().all(|&b| b == 0), "{}: {what} wrote beyond what it read", self.context());
        }
    }

    fn reserve(&mut self, party: usize, len: u16, fills: [Fill; 2], outcome: Outcome) {
        let contents = fills.map(|fill| match fill {
            Fill::Append(len) | Fill::Put { len, .. } => self.bytes(len),
        });
        let lane = &self.model.lanes[party];
        let expected = match self.model.open(party) {
            Err(closed) => Err(ReserveError::Write(closed)),
            Ok(()) if len as u32 > lane.capacity => Err(ReserveError::TooLong),
            Ok(()) if usize::from(len) > lane.room() => Err(ReserveError::Write(WriteError::Full)),
            Ok(()) => Ok(usize::from(len)),
        };
        let mut room: Vec<Option<u8>> = vec![None; len.into()];
        let (mut filled, mut committed, mut counts, mut expected_counts) = (0, None, Vec::new(), Vec::new());
        let real = match self.end(party).producer.reserve(len.into()) {
            Err(e) => Err(e),
            Ok(mut reservation) => {
                let got = reservation.len();
                assert_eq!(reservation.is_empty(), got == 0);
                for (fill, bytes) in fills.into_iter().zip(&contents) {
                    let (at, n) = match fill {
                        Fill::Append(_) => (filled, reservation.write(bytes)),
                        Fill::Put { at, .. } => (usize::from(at), reservation.put(at.into(), bytes)),
                    };
                    let fits = bytes.len().min(room.len().saturating_sub(at));
                    counts.push(n);
                    expected_counts.push(fits);
                    for (slot, &byte) in room.iter_mut().skip(at).zip(bytes) {
                        *slot = Some(byte);
                    }
                    if let Fill::Append(_) = fill {
                        filled += fits;
                    }
                }
                counts.push(reservation.filled());
                expected_counts.push(filled);
                counts.push(reservation.parts().map(|(_, len)| len).iter().sum());
                expected_counts.push(room.len());
                match outcome {
                    Outcome::Commit(n) => {
                        counts.push(reservation.commit(n.into()));
                        expected_counts.push(room.len().min(n.into()));
                        committed = Some(room.len().min(n.into()));
                    }
                    Outcome::Filled => {
                        counts.push(reservation.commit_filled());
                        expected_counts.push(filled);
                        committed = Some(filled);
                    }
                    Outcome::Abort => reservation.abort(),
                    Outcome::Drop => drop(reservation),
                }
                Ok(got)
            }
        };
        self.same("reserve", checked(real), expected);
        self.same("bytes into a reservation", counts, expected_counts);
        if let Some(n) = committed {
            self.model.lanes[party].pending.extend(&room[..n]);
            self.model.flush(party);
        }
    }

    fn peek(&mut self, party: usize, at: usize, len: usize, take: Option<u16>) {
        let lane = &self.model.lanes[1 - party];
        let expected = if lane.stop {
            Ok(Vec::new())
        } else if lane.visible() == 0 && !lane.fin {
            Err(ReadError::Empty)
        } else {
            Ok(lane.flow.iter().skip(lane.taken).copied().collect::<Vec<_>>())
        };
        let mut out = vec![0; len];
        let mut taken = None;
        let real = match self.end(party).consumer.peek() {
            Err(e) => Err(e),
            Ok(peek) => {
                let found = [peek.len(), peek.parts().map(|(_, len)| len).iter().sum(), peek.copy_to(at, &mut out)];
                assert_eq!(peek.is_empty(), found[0] == 0);
                if let Some(n) = take {
                    taken = Some(peek.consume(n.into()));
                }
                Ok(found)
            }
        };
        let looked = expected.as_ref().map(|bytes| {
            let copied = bytes.len().saturating_sub(at).min(len);
            [bytes.len(), bytes.len(), copied]
        });
        self.same("peek", checked(real), looked.map_err(|&e| e));
        if let Ok(bytes) = expected {
            let copied = bytes.len().saturating_sub(at).min(len);
            if copied > 0 {
                self.same_bytes(&out[..copied], &bytes[at..at + copied]);
            }
            assert!(out[copied..].iter().all(|&b| b == 0), "{}: peek wrote beyond what it copied", self.context());
            let expected = take.map(|n| bytes.len().min(n.into()));
            self.same("taken after a peek", taken, expected);
            if let Some(n) = expected.filter(|_| !self.model.lanes[1 - party].stop) {
                self.model.lanes[1 - party].taken += n;
                self.model.give_back(party);
            }
        }
    }
}
