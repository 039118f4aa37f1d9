//! The messages, word by word.

use smstream_core::geometry::Config;
use smstream_core::layout::{BYTE_ORDER, MAGIC, VERSION};

/// The bytes of a message.
pub const LEN: usize = 64;
/// The most bytes of a lane.
const LARGEST: u32 = 1 << 29;

/// What a message is.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod kind {
    pub const HELLO: u32 = 1;
    pub const WELCOME: u32 = 2;
    pub const SEGMENT: u32 = 3;
    pub const ACCEPTED: u32 = 4;
    pub const REFUSED: u32 = 5;
}

/// Which word of a message says what.
#[allow(missing_docs, reason = "the names are the documentation")]
pub mod word {
    pub const MAGIC: usize = 0;
    pub const BYTE_ORDER: usize = 2;
    pub const KIND: usize = 3;
    pub const LOWEST: usize = 4;
    pub const HIGHEST: usize = 5;
    pub const FEATURES: usize = 6;
    pub const VERSION: usize = 7;
    pub const CAPACITIES: [usize; 2] = [8, 9];
    pub const ALIGN: usize = 10;
    pub const START: usize = 11;
    pub const CHANNEL: [usize; 2] = [12, 13];
    pub const REFUSAL: usize = 14;
    /// The capacities of a channel that HELLO proposes.
    pub const PROPOSED: [usize; 2] = [14, 15];
}

/// Bits of a message's features.
pub mod feature {
    /// HELLO brings the connector's segment, and says which channel it is for.
    pub const PROPOSES: u32 = 1 << 30;
    /// The sender wants signals.
    pub const WANTS_SIGNAL: u32 = 1 << 31;
}

/// A message: sixteen words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message(pub [u32; 16]);

impl Message {
    /// An honest one of this kind.
    #[must_use]
    pub fn new(kind: u32) -> Self {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = MAGIC;
        let mut words = [0; 16];
        words[0] = u32::from_ne_bytes([m0, m1, m2, m3]);
        words[1] = u32::from_ne_bytes([m4, m5, m6, m7]);
        words[word::BYTE_ORDER] = BYTE_ORDER;
        words[word::KIND] = kind;
        [words[word::LOWEST], words[word::HIGHEST]] = [VERSION; 2];
        Message(words)
    }

    /// HELLO of a connector that accepts lanes of any size, and proposes nothing.
    #[must_use]
    pub fn hello() -> Self {
        Message::new(kind::HELLO).with(word::CAPACITIES[0], LARGEST).with(word::CAPACITIES[1], LARGEST)
    }

    /// HELLO of one that proposes this channel.
    #[must_use]
    pub fn proposal(config: &Config) -> Self {
        Message::hello()
            .with(word::FEATURES, feature::PROPOSES)
            .with(word::VERSION, VERSION)
            .with(word::ALIGN, config.align)
            .with(word::START, config.start)
            .with(word::CHANNEL[0], config.channel as u32)
            .with(word::CHANNEL[1], (config.channel >> 32) as u32)
            .with(word::PROPOSED[0], config.capacities[0])
            .with(word::PROPOSED[1], config.capacities[1])
    }

    /// The channel that a HELLO proposes.
    #[must_use]
    pub fn proposed(&self) -> Option<Config> {
        let proposes = self.kind() == kind::HELLO && self.0[word::FEATURES] & feature::PROPOSES != 0;
        let capacities = word::PROPOSED.map(|at| self.0[at]);
        let channel = u64::from(self.0[word::CHANNEL[1]]) << 32 | u64::from(self.0[word::CHANNEL[0]]);
        proposes.then(|| Config { capacities, channel, ..self.config() })
    }

    /// WELCOME to this channel.
    #[must_use]
    pub fn welcome(config: &Config) -> Self {
        Message::new(kind::WELCOME)
            .with(word::VERSION, VERSION)
            .with(word::CAPACITIES[0], config.capacities[0])
            .with(word::CAPACITIES[1], config.capacities[1])
            .with(word::ALIGN, config.align)
            .with(word::START, config.start)
    }

    /// The same with another value of a word.
    #[must_use]
    pub fn with(mut self, word: usize, value: u32) -> Self {
        self.0[word] = value;
        self
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        for (place, word) in bytes.chunks_exact_mut(4).zip(self.0) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// What came, if it has the length of a message.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = [0; 16];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(place.try_into().ok()?);
        }
        (bytes.len() == LEN).then_some(Message(words))
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.0[word::KIND]
    }

    /// The channel that a WELCOME describes.
    #[must_use]
    pub fn config(&self) -> Config {
        let capacities = word::CAPACITIES.map(|at| self.0[at]);
        Config { align: self.0[word::ALIGN], start: self.0[word::START], ..Config::new(capacities) }
    }
}
