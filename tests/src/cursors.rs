//! Words that a peer may say, near the truth and far from it.

use smstream_core::cursor::{CURSOR, FIN};

/// Every word within two capacities of `near`, each with and without bit 31; and words farther away: each bit of `near`
/// flipped, each power of two added and subtracted.
#[must_use]
pub fn words(near: u32, capacity: u32) -> Vec<u32> {
    let reach = 2 * capacity + 3;
    let mut words: Vec<u32> = (0..=2 * reach).map(|k| near.wrapping_sub(reach).wrapping_add(k)).collect();
    words.extend((4..31).flat_map(|bit| [near ^ (1 << bit), near.wrapping_add(1 << bit), near.wrapping_sub(1 << bit)]));
    words.iter_mut().for_each(|word| *word &= CURSOR);
    words.extend(words.clone().iter().map(|word| word | FIN));
    words
}
