//! The arithmetic at its full width, at random: what [`exhaustive_tests`](super::exhaustive_tests) counts is computed here in
//! numbers of 64 bits, which do not wrap.

use crate::cursor::*;
use crate::lane::Ring;
use proptest::prelude::*;

/// How often each property is tried.
const CASES: u32 = 4096;

/// A cursor: anywhere, and often where the bits of a cursor or of a threshold wrap.
fn a_cursor() -> impl Strategy<Value = u32> {
    let near = |edge: u32| (0u32..200).prop_map(move |n| edge.wrapping_add(100).wrapping_sub(n) & CURSOR);
    prop_oneof![2 => 0..=CURSOR, 1 => near(0), 1 => near(THRESHOLD), 1 => near(MAX_CAPACITY)]
}

fn a_capacity() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 15 => (0u32..=29).prop_map(|shift| 1 << shift)]
}

/// A number up to `most`, often near its ends or its middle.
fn up_to(most: u32) -> BoxedStrategy<u32> {
    let few = most.min(3);
    prop_oneof![2 => 0..=most, 1 => 0..=few, 1 => most - few..=most, 1 => most / 2..=(most / 2 + 1).min(most)].boxed()
}

/// A capacity, and numbers that add up to at most it.
fn parts() -> impl Strategy<Value = (u32, u32, u32)> {
    a_capacity()
        .prop_flat_map(|capacity| (Just(capacity), up_to(capacity)))
        .prop_flat_map(|(capacity, first)| (Just(capacity), Just(first), up_to(capacity - first)))
}

/// Any word, or one within two capacities of `cursor`, or with one bit changed.
fn a_word(cursor: u32, capacity: u32) -> BoxedStrategy<u32> {
    let (reach, bit) = (2 * capacity + 3, any::<bool>().prop_map(|last| if last { FIN } else { 0 }));
    let near = (up_to(2 * reach), bit).prop_map(move |(n, bit)| add(cursor.wrapping_sub(reach), n) | bit);
    prop_oneof![1 => any::<u32>(), 6 => near, 1 => (0..32u32).prop_map(move |bit| cursor ^ (1 << bit))].boxed()
}

/// How far `to` is from `from`, in numbers that do not wrap.
fn distance(from: u32, to: u32) -> u64 {
    let (from, to, all) = (u64::from(from & CURSOR), u64::from(to & CURSOR), 1u64 << 31);
    if to >= from { to - from } else { to + all - from }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_accepts_what_lies_between(
        (capacity, used, seen, received, word) in (parts(), a_cursor()).prop_flat_map(|((capacity, used, _), received)| {
            let seen = add(received, used);
            (Just(capacity), Just(used), Just(seen), Just(received), a_word(seen, capacity))
        }),
        fin in any::<bool>(),
    ) {
        let seen = if fin { seen | FIN } else { seen };
        prop_assume!(word != seen);
        let now = distance(received, word);
        let honest = !fin && now >= used.into() && now <= capacity.into();
        prop_assert_eq!(accepts_sent(word, seen, received, capacity), honest);
        prop_assert_eq!(accepts_first(word, received, capacity), now <= capacity.into());
    }

    #[test]
    fn a_writer_accepts_what_lies_between(
        (capacity, in_flight, seen, sent, word) in (parts(), a_cursor()).prop_flat_map(|((capacity, in_flight, _), seen)| {
            (Just(capacity), Just(in_flight), Just(seen), Just(add(seen, in_flight)), a_word(seen, capacity))
        }),
        stop in any::<bool>(),
    ) {
        let seen = if stop { seen | STOP } else { seen };
        prop_assume!(word != seen);
        let honest = !stop && distance(seen, word) <= in_flight.into();
        prop_assert_eq!(accepts_received(word, seen, sent, capacity), honest);
    }

    #[test]
    fn a_reader_is_woken_by_the_publication_that_gives_it_enough(
        (capacity, before, more) in parts(), received in a_cursor(), want in any::<u32>(), exclusive in any::<bool>(),
    ) {
        let want = 1 + want % max_wait(capacity);
        let park = asleep_at(received, want) | if exclusive { EXCLUSIVE } else { 0 };
        let (old, new) = (add(received, before), add(received, before + more));
        let (short, enough) = (before < want, before + more >= want);
        prop_assert_eq!(crosses(park, old, new, false, capacity), short && enough);
        prop_assert_eq!(crosses(park, old, new, true, capacity), short && want <= capacity);
        prop_assert_eq!(is_exclusive(park), exclusive);
    }

    #[test]
    fn a_writer_is_woken_by_the_publication_that_gives_it_enough(
        (capacity, before, more) in parts(), received in a_cursor(), left in any::<u32>(), want in any::<u32>(),
    ) {
        prop_assume!(capacity != 0);
        let in_flight = before + more + left % (capacity - before - more + 1);
        let (room, sent) = (capacity - in_flight, add(received, in_flight));
        prop_assume!(room < max_wait(capacity));
        let want = room + 1 + want % (max_wait(capacity) - room);
        let park = asleep_at(sent, want.wrapping_sub(capacity));
        let (old, new) = (add(received, before), add(received, before + more));
        let (short, enough) = (room + before < want, room + before + more >= want);
        prop_assert_eq!(crosses(park, old, new, false, capacity), short && enough);
        prop_assert_eq!(crosses(park, old, new, true, capacity), short);
        prop_assert_eq!(is_ahead(park, new, capacity), !enough);
    }

    #[test]
    fn crossing_a_threshold_is_passing_it(
        (capacity, moved, _) in parts(), old in a_cursor(), word in any::<u32>(), near in any::<i8>(), any_word in any::<bool>(),
    ) {
        let new = add(old, moved);
        // Any park word, or one whose threshold is near the new cursor.
        let park = if any_word { word } else { ASLEEP | (new.wrapping_add_signed(near.into()) & THRESHOLD) };
        let ahead = u64::from(park & THRESHOLD) + (1 << 30) - u64::from(old & THRESHOLD);
        let passed = (1..=u64::from(moved)).contains(&(ahead % (1 << 30)));
        let asleep = park >= ASLEEP;
        prop_assert_eq!(crosses(park, old, new, false, capacity), asleep && passed);
        let beyond = (ahead + (1 << 30) - u64::from(moved)) % (1 << 30);
        let waits = (1..=u64::from(capacity)).contains(&beyond);
        prop_assert_eq!(crosses(park, old, new, true, capacity), asleep && (passed || waits));
    }

    #[test]
    fn runs_lie_within_the_lane((capacity, len, _) in parts(), cursor in a_cursor()) {
        let ring = Ring::new(core::ptr::null_mut(), capacity);
        let [(first, first_len), (second, second_len)] = ring.runs(cursor, len);
        prop_assert_eq!((first_len + second_len, second), (len, 0));
        prop_assert!(capacity == 0 || (first == cursor % capacity && first + first_len <= capacity));
        prop_assert!(second_len == 0 || (first + first_len == capacity && second_len < capacity));
        let quick = ring.before_end(cursor, len);
        prop_assert!(quick == 0 || (quick <= first_len && first + quick < capacity));
        prop_assert_eq!(u64::from(cursor) + u64::from(quick), u64::from(add(cursor, quick)));
    }
}
