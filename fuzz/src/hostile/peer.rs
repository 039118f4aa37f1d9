//! The peer: what it writes into its own segment, and when.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use smstream_core::cursor::{ASLEEP, CURSOR, EXCLUSIVE, FIN, STOP, STOPPED_HINT, is_exclusive};
use smstream_core::layout::{HEADER_LEN, Header};

use crate::bytes::Bytes;

pub(super) const WORDS: usize = HEADER_LEN as usize / 4;

/// What the peer writes, and when: the value is made up at that moment, from what my words say.
#[derive(Clone, Copy)]
pub(super) struct Scribble {
    target: u8,
    form: u8,
    delta: u16,
}

impl Scribble {
    pub(super) fn parse(bytes: &mut Bytes<'_>) -> Scribble {
        let (target, form) = (bytes.u8(), bytes.u8());
        // Mostly a few steps; sometimes far.
        let delta = if form & 0x80 == 0 { u16::from(bytes.u8() % 24) } else { bytes.u16() };
        Scribble { target, form, delta }
    }
}

/// The peer, with what it still has up its sleeve.
pub(super) struct Peer {
    pub(super) me: &'static Header,
    pub(super) it: &'static Header,
    pub(super) lane: *mut u8,
    pub(super) lane_len: usize,
    pub(super) sleeve: RefCell<VecDeque<Scribble>>,
    /// Every value given to `sent` and `received` since the operation began, in order.
    pub(super) sent: RefCell<Vec<u32>>,
    pub(super) received: RefCell<Vec<u32>>,
    /// What the peer's header holds: only the peer writes there.
    pub(super) image: RefCell<[u32; WORDS]>,
    pub(super) alert: AtomicU32,
    pub(super) calls: Cell<u32>,
    /// Some park word has said EXCLUSIVE.
    pub(super) said_exclusive: Cell<bool>,
}

pub(super) fn words_of(header: &Header) -> &[AtomicU32; WORDS] {
    // SAFETY: `layout` pins the size of a header, and every word of it is an `AtomicU32`.
    unsafe { &*(&raw const *header).cast() }
}

pub(super) fn image_of(header: &Header) -> [u32; WORDS] {
    words_of(header).each_ref().map(|word| word.load(Relaxed))
}

impl Peer {
    pub(super) fn scribble(&self, s: Scribble) {
        let flag = if s.form & 0x10 != 0 { FIN } else { 0 };
        let far = u32::from(s.delta) << 16 | u32::from(s.delta);
        let (my_sent, my_received) = (self.me.port.sent.word.load(Relaxed), self.me.port.received.word.load(Relaxed));
        let delta = u32::from(s.delta);
        let port = &self.it.port;
        match s.target % 12 {
            0..=3 => {
                let old = port.sent.word.load(Relaxed);
                let word = match s.form % 8 {
                    0..=1 => my_received.wrapping_add(delta) & CURSOR | flag,
                    2..=4 => old.wrapping_add(delta) & CURSOR | flag,
                    5 => old.wrapping_sub(delta) & CURSOR | flag,
                    6 => old ^ FIN,
                    _ => far,
                };
                self.set(&port.sent.word, word);
            }
            4..=7 => {
                let old = port.received.word.load(Relaxed);
                let word = match s.form % 8 {
                    0..=1 => my_sent.wrapping_sub(delta) & CURSOR | flag,
                    2..=4 => old.wrapping_add(delta) & CURSOR | flag,
                    5 => old.wrapping_sub(delta) & CURSOR | flag,
                    6 => old ^ STOP,
                    _ => far,
                };
                self.set(&port.received.word, word);
            }
            half @ 8..=9 => {
                let (word, cursor) =
                    if half == 8 { (&port.park.read_park, my_sent) } else { (&port.park.write_park, my_received) };
                self.set(
                    word,
                    match s.form % 4 {
                        0 => ASLEEP | cursor.wrapping_add(delta),
                        1 => ASLEEP | EXCLUSIVE | cursor.wrapping_add(delta),
                        2 => STOPPED_HINT,
                        _ => far,
                    },
                );
            }
            10 => self.set(&words_of(self.it)[usize::from(s.form & 0x7f) * 3 % WORDS], far),
            _ if self.lane_len > 0 => {
                let at = usize::from(s.delta) % self.lane_len;
                let at = self.lane.wrapping_add(at);
                // SAFETY: it lies in the peer's lane, which only the peer writes; no reference to its bytes exists.
                unsafe { at.write_volatile(s.form) };
            }
            _ => {}
        }
    }

    fn set(&self, word: &AtomicU32, value: u32) {
        word.store(value, Relaxed);
        let at = ((&raw const *word).addr() - (&raw const *self.it).addr()) / 4;
        self.image.borrow_mut()[at] = value;
        let parks = [&self.it.port.park.read_park, &self.it.port.park.write_park];
        if parks.iter().any(|park| std::ptr::eq(*park, word)) && is_exclusive(value) {
            self.said_exclusive.set(true);
        }
        if std::ptr::eq(word, &self.it.port.sent.word) {
            self.sent.borrow_mut().push(value);
        }
        if std::ptr::eq(word, &self.it.port.received.word) {
            self.received.borrow_mut().push(value);
        }
    }

    /// The end is in the middle of something: the peer's moment.
    pub(super) fn interfere(&self) -> bool {
        self.calls.set(self.calls.get() + 1);
        assert!(self.calls.get() < 10_000, "an operation that does not end");
        let next = self.sleeve.borrow_mut().pop_front();
        if let Some(s) = next {
            self.scribble(s);
        }
        next.is_some()
    }
}
