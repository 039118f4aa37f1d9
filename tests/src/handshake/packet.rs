//! A packet of a hostile party, and the descriptors that come with it.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use smstream::memory::Mapping;
use smstream_core::geometry::Config;

use crate::bad_fds::not_a_segment;
use crate::rules::{Segment, WORDS};
use crate::wire::{LEN, Message, kind, segment};

/// What comes with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gift {
    /// No descriptor.
    Nothing,
    /// A segment of the party that sends it, but for these words of its header.
    Segment(Vec<(u8, u32)>),
    /// One of [`not_a_segment`], by its number, modulo how many there are.
    Lie(u8),
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// An honest message of this kind (modulo 5, plus 1), or for 0 a HELLO that proposes the channel.
    pub kind: u8,
    /// Words of it that are others (modulo 16).
    pub words: Vec<(u8, u32)>,
    /// Its length, if that is another one.
    pub len: Option<u8>,
    /// What comes with it.
    pub gift: Gift,
}

impl Packet {
    /// Its bytes, from a party that knows the channel.
    #[must_use]
    pub fn bytes(&self, channel: &Config) -> Vec<u8> {
        let honest = match u32::from(self.kind) % 6 {
            0 => Message::proposal(channel),
            kind::HELLO => Message::hello(),
            kind::WELCOME => Message::welcome(channel),
            kind => Message::new(kind),
        };
        let message = self.words.iter().fold(honest, |m, &(at, value)| m.with(usize::from(at) % (LEN / 4), value));
        let mut bytes = message.bytes().to_vec();
        bytes.resize(self.len.map_or(LEN, usize::from), 0);
        bytes
    }
}

/// A gift as it is sent.
#[derive(Debug)]
pub struct Wrapped {
    fds: Vec<Rc<OwnedFd>>,
    /// The words of the header, if it is a segment, and the length of the memory.
    pub header: Option<Segment>,
    _mapping: Option<Mapping>,
}

thread_local! {
    /// They are made once for each party.
    static LIES: RefCell<[Vec<Vec<Rc<OwnedFd>>>; 2]> = RefCell::default();
}

impl Wrapped {
    /// What `party` sends.
    ///
    /// # Panics
    /// If the system has no memory for it.
    #[must_use]
    pub fn new(gift: &Gift, channel: &Config, party: usize) -> Self {
        match gift {
            Gift::Nothing => Wrapped { fds: Vec::new(), header: None, _mapping: None },
            Gift::Lie(number) => {
                let fds = LIES.with_borrow_mut(|lies| {
                    let lies = &mut lies[party];
                    if lies.is_empty() {
                        let made = not_a_segment(channel, party).expect("descriptors");
                        lies.extend(made.into_iter().map(|(_, fds)| fds.into_iter().map(Rc::new).collect::<Vec<_>>()));
                    }
                    lies[usize::from(*number) % lies.len()].clone()
                });
                Wrapped { fds, header: None, _mapping: None }
            }
            Gift::Segment(changes) => {
                let (fd, mapping) = segment(channel, party).expect("a segment");
                let start = mapping.as_mut_ptr().expect("a mapping for writing").cast::<u32>();
                let place = |word: usize| {
                    assert!(word < WORDS);
                    start.wrapping_add(word)
                };
                for &(word, value) in changes {
                    // SAFETY: a word of the header, in memory that no other code uses yet.
                    unsafe { place(usize::from(word) % WORDS).write_volatile(value) };
                }
                // SAFETY: likewise.
                let header = std::array::from_fn(|word| unsafe { place(word).read_volatile() });
                let header = Some((header, mapping.len()));
                Wrapped { fds: vec![Rc::new(fd)], header, _mapping: Some(mapping) }
            }
        }
    }

    /// The descriptors.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.fds.iter().map(|fd| fd.as_fd()).collect()
    }
}
