//! The operations of the end.

use std::mem::MaybeUninit;

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use smstream_core::error::{ReadError, ReserveError, WaitError, WriteError};
use smstream_core::geometry;
use smstream_core::lane::Announced;
use smstream_core::park::{ALERT_CANCEL, ALERT_CORRUPT, ALERT_GONE, Place};
use smstream_tests::texts::checked;

use super::checks::Looks;
use super::park::Treacherous;
use super::peer::Scribble;
use super::world::World;
use crate::bytes::Bytes;

/// All alerts that mean something.
const ALERTS: u32 = ALERT_GONE | ALERT_CANCEL | ALERT_CORRUPT;

impl World {
    /// One operation, with what the peer does before and during it. Says whether to go on.
    pub(super) fn step(&mut self, bytes: &mut Bytes<'_>) -> bool {
        let code = bytes.u8();
        self.peer.sent.borrow_mut().clear();
        self.peer.received.borrow_mut().clear();
        let before = self.before(code & 0x20 == 0);
        // The words as they stand when the operation begins are the first it may see.
        if code & 0x80 != 0 {
            self.peer.scribble(Scribble::parse(bytes));
        }
        for list in [&self.peer.sent, &self.peer.received] {
            let standing = list.borrow_mut().pop();
            list.borrow_mut().clear();
            list.borrow_mut().extend(standing);
        }
        if self.peer.sent.borrow().is_empty() {
            self.peer.sent.borrow_mut().push(self.peer.it.port.sent.word.load(Relaxed));
        }
        if self.peer.received.borrow().is_empty() {
            self.peer.received.borrow_mut().push(self.peer.it.port.received.word.load(Relaxed));
        }
        if !before.calm {
            for _ in 0..=bytes.u8() % 4 {
                let s = Scribble::parse(bytes);
                self.peer.sleeve.borrow_mut().push_back(s);
            }
        }
        self.peer.calls.set(0);
        let by_end = code & 0x40 != 0;
        let mut looks = Looks::Maybe;
        let (p, c) = (&mut self.end.producer, &mut self.end.consumer);
        let (was_writer, was_reader) = (p.is_corrupt(), c.is_corrupt());
        // What was written and taken, and whether the half's answer was `Corrupt`.
        let (mut written, mut taken) = (0, 0);
        let mut reported = [None, None];
        let mut deadlock = false;
        match code & 0x1f {
            0..=2 => {
                let len = bytes.len();
                let data = vec![code; len.into()];
                let result = checked(if by_end { self.end.write(&data) } else { p.write(&data) });
                assert!(result.is_ok_and(|n| n <= data.len()) || result.is_err());
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(WriteError::Corrupt));
            }
            3..=4 => {
                let data = vec![code; bytes.len().into()];
                let result = checked(p.write_deferred(&data));
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(WriteError::Corrupt));
            }
            5 => {
                let data = [bytes.len(), bytes.len()].map(|len| vec![code; len.into()]);
                let result = checked(p.write_vectored(data.each_ref().map(Vec::as_slice)));
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(WriteError::Corrupt));
            }
            6 => p.flush(),
            7..=8 => {
                let (len, fill, commit) = (bytes.len(), bytes.len(), bytes.len());
                let result = p.reserve(len.into()).map(|mut room| {
                    let filled = room.write(&vec![code; fill.into()]);
                    assert!(filled <= usize::from(len).min(fill.into()));
                    room.put(commit.into(), &[code; 3]);
                    if by_end { room.commit(commit.into()) } else { room.commit_filled() }
                });
                written = result.unwrap_or(0);
                reported[1] = Some(result == Err(ReserveError::Write(WriteError::Corrupt)));
            }
            9 => {
                let mut out = vec![MaybeUninit::uninit(); bytes.len().into()];
                let result = if by_end { self.end.read_uninit(&mut out) } else { c.read_uninit(&mut out) };
                taken = result.as_deref().map_or(0, <[u8]>::len);
                reported[0] = Some(result == Err(ReadError::Corrupt)).filter(|_| !out.is_empty());
            }
            10..=11 => {
                let mut out = vec![0xa5; usize::from(bytes.len()) + 1];
                let n = out.len() - 1;
                let result = checked(if by_end { self.end.read(&mut out[..n]) } else { c.read(&mut out[..n]) });
                assert!(out[n] == 0xa5 && result.is_ok_and(|read| read <= n) || result.is_err());
                taken = result.unwrap_or(0);
                reported[0] = (n > 0).then_some(result == Err(ReadError::Corrupt));
            }
            12..=13 => {
                let mut out = vec![0; usize::from(bytes.len()) + 1];
                let result = checked(c.read_deferred(&mut out));
                taken = result.unwrap_or(0);
                reported[0] = Some(result == Err(ReadError::Corrupt));
            }
            14 => {
                let mut out = [bytes.len(), bytes.len()].map(|len| vec![0; usize::from(len) + 1]);
                let result = checked(c.read_vectored(out.each_mut().map(Vec::as_mut_slice)));
                taken = result.unwrap_or(0);
                reported[0] = Some(result == Err(ReadError::Corrupt));
            }
            15 => c.flush(),
            16..=17 => {
                let (at, len, take) = (bytes.len(), bytes.len(), bytes.len());
                let result = c.peek().map(|peek| {
                    let mut out = vec![0; len.into()];
                    assert!(peek.copy_to(at.into(), &mut out) <= peek.len());
                    if by_end { peek.consume(take.into()) } else { 0 }
                });
                taken = result.unwrap_or(0);
                reported[0] = Some(result == Err(ReadError::Corrupt));
            }
            18 => taken = c.consume(bytes.len().into()),
            19 if by_end => p.finish(),
            20 if by_end => c.stop(),
            19..=23 => {
                let want = bytes.len().into();
                let result = match (code & 0x1f, by_end) {
                    (22.., true) => self.end.wait_room_exclusive(want),
                    (22.., false) => p.wait_exclusive(want, c),
                    (_, true) => self.end.wait_room(want, Some(())),
                    (_, false) => p.wait(want, Some(())),
                };
                deadlock = checked(result) == Err(WaitError::Deadlock);
                reported[1] = Some(result == Err(WaitError::Corrupt));
                if !before.finished {
                    looks = Looks::AtReceived;
                }
            }
            24..=28 => {
                let want = bytes.len().into();
                let result = match (code & 0x1f, by_end) {
                    (27.., true) => self.end.wait_bytes_exclusive(want),
                    (27.., false) => c.wait_exclusive(want, p),
                    (_, true) => self.end.wait_bytes(want, Some(())),
                    (_, false) => c.wait(want, Some(())),
                };
                deadlock = checked(result) == Err(WaitError::Deadlock);
                assert!(result.is_ok_and(|n| n <= self.peer_capacity as usize) || result.is_err());
                reported[0] = Some(result == Err(WaitError::Corrupt));
                if !before.stopped {
                    looks = Looks::AtSent;
                }
            }
            29 => {
                smstream_core::ordering::raise(&self.peer.alert, 1 << (bytes.u8() % 4));
            }
            30 => {
                let (want, withdraws) = (bytes.len().into(), bytes.bool());
                let _ = if by_end { p.is_ready(want) } else { c.is_ready(want) };
                let announced = if by_end { p.announce(want) } else { c.announce(want) };
                if let Announced::Asleep { alert, .. } = announced {
                    let alert = alert.expect("the park has an alert word");
                    assert!(alert.place == Place::Local && alert.seen & ALERTS == 0, "asleep though there is an alert");
                }
                match (withdraws, by_end) {
                    (false, _) => {}
                    (true, true) => p.withdraw(),
                    (true, false) => c.withdraw(),
                }
            }
            _ => return self.reattach(),
        }
        self.peer.sleeve.borrow_mut().clear();
        // A peer that says it sleeps may make us return `Deadlock`, if our party can.
        assert!(
            !deadlock || (self.first && self.peer.said_exclusive.get()),
            "a deadlock without a park word that said EXCLUSIVE"
        );
        let (p, c) = (&self.end.producer, &self.end.consumer);
        for (reported, was, is) in
            [(reported[0], was_reader, c.is_corrupt()), (reported[1], was_writer, p.is_corrupt())]
        {
            assert!(!was || is, "corruption is for good");
            assert!(!was || reported != Some(false), "corruption is reported each time");
            assert!(reported != Some(true) || is, "corruption that was reported stays");
        }
        self.check(&before, written as u32, taken as u32, looks);
        true
    }

    fn reattach(&mut self) -> bool {
        self.peer.sleeve.borrow_mut().clear();
        let [(mine, mine_len), (it, it_len)] = self.segments;
        // SAFETY: the memory outlives the end; the old end is dropped below and not used in between.
        let Ok(attached) = (unsafe { geometry::attach(mine, mine_len, it.cast_const(), it_len) }) else {
            return false;
        };
        self.end = attached.into_end(Treacherous(Rc::clone(&self.peer)), Treacherous(Rc::clone(&self.peer)));
        true
    }
}
