//! What a ring answers when it cannot.

use core::fmt;

/// The ring is full. The item comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring is full: the consumer must pop first")
    }
}

impl<T> core::error::Error for Full<T> {}

/// The ring has been split before, and has one producer and one consumer.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadySplit;

impl fmt::Display for AlreadySplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring was split before: keep the halves of the first split")
    }
}

impl core::error::Error for AlreadySplit {}

/// A chunk of that many items cannot be had now.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFew {
    /// How many were asked for.
    pub wanted: usize,
    /// How many there are: free places for a producer, items for a consumer.
    pub available: usize,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} were asked for, and there are {}", self.wanted, self.available)
    }
}

impl core::error::Error for TooFew {}

/// The memory has a length that is not a power of two, or is above 2³¹.
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCapacity(pub usize);

impl fmt::Display for BadCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a ring has a capacity that is a power of two, at most 2³¹, and not {}", self.0)
    }
}

impl core::error::Error for BadCapacity {}
