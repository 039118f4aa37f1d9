//! Whole messages that two processes know without having spoken about them.

use crate::flow::Random;

/// Messages of any length up to a longest one, each unlike all others, the same for the same seed.
#[derive(Debug)]
pub struct Messages {
    random: Random,
    longest: usize,
    count: u32,
}

impl Messages {
    /// Of up to `longest` bytes.
    #[must_use]
    pub fn new(seed: u64, longest: usize) -> Self {
        Messages { random: Random::new(seed), longest, count: 0 }
    }

    /// How many there were.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.count
    }

    fn len(&mut self) -> usize {
        match self.random.below(8) {
            0 => 0,
            1 => self.longest,
            2 | 3 => self.random.below(self.longest as u64 + 1) as usize,
            _ => self.random.below(self.longest.min(40) as u64 + 1) as usize,
        }
    }
}

impl Iterator for Messages {
    type Item = Vec<u8>;

    /// The next one. There is always one.
    fn next(&mut self) -> Option<Vec<u8>> {
        let len = self.len();
        self.count += 1;
        let number = self.count.to_ne_bytes();
        Some((0..len).map(|i| number[i % 4] ^ (i / 4) as u8).collect())
    }
}
