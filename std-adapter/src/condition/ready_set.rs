//! Which conditions are ready.

/// Which of the conditions that were asked about are ready: a set of their places in the slice.
///
/// ```
/// use smstream::{Stream, try_wait};
///
/// let (a, b) = Stream::pair()?;
/// let ready = try_wait(&mut [a.readable(), b.writable()])?;
/// assert!(!ready.contains(0) && ready.contains(1));
/// assert_eq!(ready.iter().collect::<Vec<_>>(), [1]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadySet {
    ready: u128,
    of: usize,
}

impl ReadySet {
    /// None of `of` conditions, of which there are at most [`MOST`](super::MOST).
    pub(super) fn none(of: usize) -> Self {
        ReadySet { ready: 0, of }
    }

    pub(super) fn insert(&mut self, place: usize) {
        self.ready |= 1 << place;
    }

    /// Whether the condition at this place is ready. `false` if there is none.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        place < self.of && self.ready >> place & 1 == 1
    }

    /// The places of those that are ready, from the first to the last.
    #[must_use]
    pub fn iter(&self) -> Places {
        Places(self.ready)
    }

    /// How many are ready.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.count_ones() as usize
    }

    /// Whether none is ready: the timeout has passed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready == 0
    }

    /// Whether all that were asked about are ready.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.len() == self.of
    }
}

impl IntoIterator for ReadySet {
    type Item = usize;
    type IntoIter = Places;
    fn into_iter(self) -> Places {
        self.iter()
    }
}

impl IntoIterator for &ReadySet {
    type Item = usize;
    type IntoIter = Places;
    fn into_iter(self) -> Places {
        self.iter()
    }
}

/// The places of a [`ReadySet`], from the first to the last.
#[derive(Clone, Debug)]
pub struct Places(u128);

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = self.0.trailing_zeros();
        // 0 if there is none left.
        self.0 &= self.0.wrapping_sub(1);
        (place < u128::BITS).then_some(place as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.count_ones() as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Places {}

#[cfg(test)]
mod tests {
    use super::super::MOST;
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut set = ReadySet::none(MOST);
        assert!(set.is_empty() && !set.is_all());
        for place in [0, 63, 64, 126] {
            set.insert(place);
            set.insert(place);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 126]);
        assert_eq!((set.len(), set.iter().len()), (4, 4));
        assert!(set.contains(126) && !set.contains(125) && !set.contains(MOST) && !set.contains(usize::MAX));
        (0..MOST).for_each(|place| set.insert(place));
        assert!(set.is_all());
        assert_eq!(set.into_iter().max(), Some(MOST - 1));
    }

    #[test]
    fn all_of_none_are_ready() {
        assert!(ReadySet::none(0).is_all() && ReadySet::none(0).is_empty());
    }
}
