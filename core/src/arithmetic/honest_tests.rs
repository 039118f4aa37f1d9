//! The acceptance rules are exact: they let pass what an honest peer can say, and nothing else. Two honest parties are run
//! through every state that they can reach, at widths where that is possible; what they say there is what is to pass.

use super::Word;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

/// One lane: what the writer has published and seen, and what the reader has. Whole words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    sent: u32,
    received_seen: u32,
    received: u32,
    sent_seen: u32,
}

/// The words from `seen` to `word`, each cursor between them and at last `word` itself: one of them is what a look finds,
/// because the cursor has gone through all of them.
fn looks<const BITS: u32>(seen: u32, word: u32) -> Vec<u32> {
    let mut found = Vec::new();
    if seen & Word::<BITS>::FINAL == 0 {
        let mut at = seen;
        while at != word & Word::<BITS>::CURSOR {
            at = Word::<BITS>::add(at, 1);
            found.push(at);
        }
        found.push(word);
    }
    found.retain(|&look| look != seen);
    found
}

/// All that one of two honest parties may do next.
fn steps<const BITS: u32>(lane: Lane, capacity: u32) -> Vec<Lane> {
    let last = Word::<BITS>::FINAL;
    let Lane { sent, received_seen, received, sent_seen } = lane;
    let mut next = Vec::new();
    if sent & last == 0 {
        next.push(Lane { sent: sent | last, ..lane });
        // In flight by what the writer has seen, counted and not computed.
        let full = (0..capacity).all(|k| Word::<BITS>::add(received_seen, k) != sent);
        if !full && received_seen & last == 0 {
            next.push(Lane { sent: Word::<BITS>::add(sent, 1), ..lane });
        }
    }
    if received & last == 0 {
        next.push(Lane { received: received | last, ..lane });
        if received != sent_seen & Word::<BITS>::CURSOR {
            next.push(Lane { received: Word::<BITS>::add(received, 1), ..lane });
        }
    }
    next.extend(looks::<BITS>(received_seen, received).into_iter().map(|received_seen| Lane { received_seen, ..lane }));
    next.extend(looks::<BITS>(sent_seen, sent).into_iter().map(|sent_seen| Lane { sent_seen, ..lane }));
    next
}

/// Every state that two honest parties reach from `start`.
fn reachable<const BITS: u32>(capacity: u32, start: u32) -> BTreeSet<Lane> {
    let first = Lane { sent: start, received_seen: start, received: start, sent_seen: start };
    let (mut all, mut new) = (BTreeSet::from([first]), Vec::from([first]));
    while let Some(lane) = new.pop() {
        for next in steps::<BITS>(lane, capacity) {
            if all.insert(next) {
                new.push(next);
            }
        }
    }
    all
}

fn the_rules_are_exact<const BITS: u32>() {
    let words = || 0..=(Word::<BITS>::FINAL | Word::<BITS>::CURSOR);
    for capacity in (0..=Word::<BITS>::MAX_CAPACITY).filter(|&c| Word::<BITS>::is_capacity(c)) {
        // What the peer may say to a half that has published and seen this.
        let (mut to_reader, mut to_writer) = (BTreeMap::new(), BTreeMap::new());
        for lane in reachable::<BITS>(capacity, 0) {
            let Lane { sent, received_seen, received, sent_seen } = lane;
            let published = [sent, received].map(|word| word & Word::<BITS>::CURSOR);
            assert!(Word::<BITS>::accepts_first(published[0], published[1], capacity), "width {BITS}: {lane:?}");
            let said: &mut BTreeSet<u32> = to_reader.entry((published[1], sent_seen)).or_default();
            said.extend(looks::<BITS>(sent_seen, sent));
            let said: &mut BTreeSet<u32> = to_writer.entry((published[0], received_seen)).or_default();
            said.extend(looks::<BITS>(received_seen, received));
        }
        for ((received, seen), said) in to_reader {
            for word in words().filter(|&word| word != seen) {
                let accepted = Word::<BITS>::accepts_sent(word, seen, received, capacity);
                let case = (capacity, received, seen, word);
                assert_eq!(accepted, said.contains(&word), "width {BITS}: {case:x?}");
            }
        }
        for ((sent, seen), said) in to_writer {
            for word in words().filter(|&word| word != seen) {
                let accepted = Word::<BITS>::accepts_received(word, seen, sent, capacity);
                let case = (capacity, sent, seen, word);
                assert_eq!(accepted, said.contains(&word), "width {BITS}: {case:x?}");
            }
        }
    }
}

#[test]
fn the_rules_let_pass_what_honest_parties_say_and_nothing_else() {
    the_rules_are_exact::<4>();
    the_rules_are_exact::<5>();
    the_rules_are_exact::<6>();
}

/// A lane between any two honest parties is one that a third, which attaches, believes; and no other is.
#[test]
fn who_attaches_believes_the_lanes_of_honest_parties_and_no_others() {
    fn at<const BITS: u32>() {
        for capacity in (0..=Word::<BITS>::MAX_CAPACITY).filter(|&c| Word::<BITS>::is_capacity(c)) {
            // A lane without room stays where it began; any other goes round.
            let starts = if capacity == 0 { 0..=Word::<BITS>::CURSOR } else { 0..=0 };
            let honest: BTreeSet<_> = starts
                .flat_map(|start| reachable::<BITS>(capacity, start))
                .map(|lane| (lane.sent & Word::<BITS>::CURSOR, lane.received & Word::<BITS>::CURSOR))
                .collect();
            for sent in 0..=Word::<BITS>::CURSOR {
                for received in 0..=Word::<BITS>::CURSOR {
                    let accepted = Word::<BITS>::accepts_first(sent, received, capacity);
                    assert_eq!(
                        accepted,
                        honest.contains(&(sent, received)),
                        "width {BITS}: {capacity} {sent} {received}"
                    );
                }
            }
        }
    }
    at::<4>();
    at::<5>();
    at::<6>();
}
