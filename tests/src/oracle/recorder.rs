//! A [`Park`] that never blocks, and the log of what the halves asked it for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use smstream_core::park::{Park, Place, Wake, Watch};
use smstream_core::word::SharedWord;

use super::operation::Half;

/// What a half did to its `Park`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It woke the sleepers of the cursor it had published.
    Wake { party: usize, half: Half, method: u32 },
    /// It woke a peer that may wait for it, too.
    Ring { party: usize, half: Half, method: u32 },
    /// It asked whether the peer lives.
    Ask { party: usize, half: Half },
    /// It went to sleep on the peer's cursor, having seen this value, with this park word announced.
    Sleep { party: usize, half: Half, seen: u32, park: u32 },
    /// It did something else; what, is the message.
    Wrong(&'static str),
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) events: RefCell<Vec<Event>>,
    pub(super) spins: Cell<u8>,
    pub(super) maybes: Cell<u8>,
    /// The wait was asked for without a deadline.
    pub(super) untimed: Cell<bool>,
    /// And it can be one for the whole party.
    pub(super) exclusive: Cell<bool>,
}

/// A [`Park`] that never blocks and remembers what it was asked for.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) log: Rc<Log>,
    pub(super) party: usize,
    pub(super) half: Half,
    /// The cursor this half publishes.
    pub(super) own: SharedWord<'static>,
    /// The cursor that the other half publishes.
    pub(super) other: SharedWord<'static>,
    /// The cursor it waits for.
    pub(super) awaited: SharedWord<'static>,
    /// Its park word.
    pub(super) word: SharedWord<'static>,
    /// The park word of the peer's half that does the same.
    pub(super) peer_word: SharedWord<'static>,
    pub(super) method: u32,
}

impl Recorder {
    fn push(&self, event: Event) {
        self.log.events.borrow_mut().push(event);
    }
}

impl Park for Recorder {
    type Deadline = ();
    type Spin = u8;

    fn spin_start(&self) -> u8 {
        self.log.spins.get()
    }

    fn spin(&self, left: &mut u8) -> bool {
        let more = *left > 0;
        *left = left.saturating_sub(1);
        more
    }

    fn wait(&self, watches: &[Watch<'_>], deadline: Option<()>) -> Wake {
        let (party, half) = (self.party, self.half);
        let exclusive = self.log.exclusive.get();
        let [cursor, others @ ..] = watches else { panic!("slept on nothing") };
        // Party 0 sleeps on the peer's park word as well: it is the one that reports.
        let also = match others {
            [] => !(exclusive && party == 0),
            [w] => {
                let as_it_is = w.seen == self.peer_word.load() && w.place == Place::Shared;
                exclusive && party == 0 && w.word == self.peer_word && as_it_is
            }
            _ => false,
        };
        if also && cursor.word == self.awaited && cursor.place == Place::Shared {
            let park = self.word.load();
            self.push(Event::Sleep { party, half, seen: cursor.seen, park });
        } else {
            self.push(Event::Wrong("slept on something else"));
        }
        assert!(deadline.is_some() || self.log.untimed.get(), "slept for ever, though there was enough: {self:?}");
        assert!(deadline.is_none() || !exclusive, "a whole party has no deadline: {self:?}");
        match self.log.maybes.get() {
            0 => Wake::TimedOut,
            left => {
                self.log.maybes.set(left - 1);
                Wake::Maybe
            }
        }
    }

    fn wake(&self, word: SharedWord<'_>, method: u32) {
        let (party, half) = (self.party, self.half);
        self.push(if word == self.own {
            Event::Wake { party, half, method }
        } else if word == self.other && self.log.exclusive.get() {
            Event::Ring { party, half, method }
        } else {
            Event::Wrong("woke the sleepers of something else")
        });
    }

    fn ask(&self) {
        self.push(Event::Ask { party: self.party, half: self.half });
    }

    fn wake_method(&self) -> u32 {
        self.method
    }
}

/// How a half of the oracle says it wants to be rung.
pub(super) fn wake_method_of(party: usize, half: Half) -> u32 {
    40 + 2 * party as u32 + half as u32
}
