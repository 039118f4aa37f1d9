//! Every case of the arithmetic, at widths from 4 to 8 bits, against counting one byte at a time.

use super::Word;
use crate::cursor::max_wait;
use crate::lane::Ring;
use crate::size::to_usize;

/// Calls a test for each width.
macro_rules! at_each_width {
    ($test:ident) => {
        $test::<4>();
        $test::<5>();
        $test::<6>();
        $test::<7>();
        $test::<8>();
    };
}

fn cursors<const BITS: u32>() -> impl Iterator<Item = u32> + Clone {
    0..=Word::<BITS>::CURSOR
}

fn words<const BITS: u32>() -> impl Iterator<Item = u32> + Clone {
    0..=(Word::<BITS>::FINAL | Word::<BITS>::CURSOR)
}

fn capacities<const BITS: u32>() -> impl Iterator<Item = u32> + Clone {
    [0].into_iter().chain((0..=BITS - 3).map(|shift| 1 << shift))
}

/// The cursor after `at`.
fn after<const BITS: u32>(at: u32) -> u32 {
    if at == Word::<BITS>::CURSOR { 0 } else { at + 1 }
}

/// The cursors from `at` on: itself, and `len` more.
fn from<const BITS: u32>(at: u32, len: u32) -> impl Iterator<Item = u32> {
    core::iter::successors(Some(at), |&at| Some(after::<BITS>(at))).zip(0..=len).map(|(at, _)| at)
}

#[test]
fn sums_and_differences_are_what_counting_says() {
    fn at<const BITS: u32>() {
        for a in cursors::<BITS>() {
            for (n, b) in (0..).zip(from::<BITS>(a, Word::<BITS>::CURSOR)) {
                assert_eq!(Word::<BITS>::add(a, n), b);
                for [a, b] in [[a, b], [a | Word::<BITS>::FINAL, b], [a, b | Word::<BITS>::FINAL]] {
                    assert_eq!(Word::<BITS>::diff(b, a), n, "the highest bits do not count");
                }
            }
        }
    }
    at_each_width!(at);
}

#[test]
fn capacities_are_what_divides_the_cursors_and_leaves_thresholds_apart() {
    fn at<const BITS: u32>() {
        for n in words::<BITS>() {
            assert_eq!(Word::<BITS>::is_capacity(n), capacities::<BITS>().any(|c| c == n), "{n}");
        }
        // The farthest honest threshold is a capacity ahead; a stale one lies a capacity behind. They are different words.
        assert_eq!(2 * Word::<BITS>::MAX_CAPACITY, Word::<BITS>::THRESHOLD + 1);
    }
    at_each_width!(at);
}

/// What an honest peer can say next: the cursors from what was seen on, as far as the lane goes, with FIN or without.
#[test]
fn a_reader_accepts_what_counting_says() {
    fn at<const BITS: u32>() {
        for capacity in capacities::<BITS>() {
            for received in cursors::<BITS>() {
                for (used, seen) in (0..).zip(from::<BITS>(received, capacity)) {
                    let mut possible = [false; 256];
                    for cursor in from::<BITS>(seen, capacity - used) {
                        possible[to_usize(cursor)] = true;
                        possible[to_usize(cursor | Word::<BITS>::FINAL)] = true;
                    }
                    for word in words::<BITS>().filter(|&word| word != seen) {
                        let accepted = Word::<BITS>::accepts_sent(word, seen, received, capacity);
                        assert_eq!(accepted, possible[to_usize(word)], "{capacity} {received} {seen} {word:#x}");
                        let finished = seen | Word::<BITS>::FINAL;
                        assert!(word == finished || !Word::<BITS>::accepts_sent(word, finished, received, capacity));
                    }
                }
            }
        }
    }
    at_each_width!(at);
}

/// The cursors from what was seen on, as far as bytes were sent, with STOP or without.
#[test]
fn a_writer_accepts_what_counting_says() {
    fn at<const BITS: u32>() {
        for capacity in capacities::<BITS>() {
            for seen in cursors::<BITS>() {
                for (in_flight, sent) in (0..).zip(from::<BITS>(seen, capacity)) {
                    let mut possible = [false; 256];
                    for cursor in from::<BITS>(seen, in_flight) {
                        possible[to_usize(cursor)] = true;
                        possible[to_usize(cursor | Word::<BITS>::FINAL)] = true;
                    }
                    for word in words::<BITS>().filter(|&word| word != seen) {
                        let accepted = Word::<BITS>::accepts_received(word, seen, sent, capacity);
                        assert_eq!(accepted, possible[to_usize(word)], "{capacity} {sent} {seen} {word:#x}");
                        let stopped = seen | Word::<BITS>::FINAL;
                        assert!(word == stopped || !Word::<BITS>::accepts_received(word, stopped, sent, capacity));
                    }
                }
            }
        }
    }
    at_each_width!(at);
}

/// Any park word, also one that no honest peer would store.
#[test]
fn crossing_is_what_counting_says() {
    fn at<const BITS: u32>() {
        let threshold_of = |word: u32| word & Word::<BITS>::THRESHOLD;
        for capacity in capacities::<BITS>() {
            for old in cursors::<BITS>() {
                // Whether a threshold was passed on the way to the new cursor.
                let mut passed = [false; 128];
                for (moved, new) in (0..).zip(from::<BITS>(old, capacity)) {
                    if moved != 0 {
                        passed[to_usize(threshold_of(new))] = true;
                    }
                    let mut ahead = [false; 128];
                    from::<BITS>(new, capacity).skip(1).for_each(|at| ahead[to_usize(threshold_of(at))] = true);
                    for park in words::<BITS>() {
                        let asleep = park & Word::<BITS>::FINAL != 0;
                        let threshold = to_usize(threshold_of(park));
                        assert_eq!(Word::<BITS>::is_ahead(park, new, capacity), ahead[threshold]);
                        let crosses = |last| Word::<BITS>::crosses(park, old, new, last, capacity);
                        assert_eq!(crosses(false), asleep && passed[threshold], "{capacity} {old} {new} {park:#x}");
                        assert_eq!(crosses(true), asleep && (passed[threshold] || ahead[threshold]));
                    }
                }
            }
        }
    }
    at_each_width!(at);
}

/// A reader that sleeps for more bytes than it knows of, and a writer that publishes any number at once.
#[test]
fn a_reader_is_woken_by_the_publication_that_gives_it_enough_and_by_no_other() {
    fn at<const BITS: u32>() {
        for capacity in capacities::<BITS>() {
            for received in cursors::<BITS>() {
                for want in 1..=max_wait(capacity) {
                    let park = Word::<BITS>::asleep_at(received, want);
                    for (before, old) in (0..).zip(from::<BITS>(received, capacity)) {
                        for (more, new) in (0..).zip(from::<BITS>(old, capacity - before)) {
                            let enough = before < want && before + more >= want;
                            let case = (capacity, received, want, old, new);
                            assert_eq!(Word::<BITS>::crosses(park, old, new, false, capacity), enough, "{case:?}");
                            // The last publication wakes the reader that still waits, if the lane can hold what it waits for.
                            let waits = before < want && want <= capacity;
                            assert_eq!(Word::<BITS>::crosses(park, old, new, true, capacity), waits, "{case:?}");
                            // The peer is stuck as long as it waits for more than there is.
                            let stuck = Word::<BITS>::is_ahead(park, new, capacity);
                            assert_eq!(stuck, before + more < want && want <= capacity, "{case:?}");
                        }
                    }
                }
            }
        }
    }
    at_each_width!(at);
}

/// A writer that sleeps for more room than it knows of, and a reader that gives back any number of bytes at once.
#[test]
fn a_writer_is_woken_by_the_publication_that_gives_it_enough_and_by_no_other() {
    fn at<const BITS: u32>() {
        for capacity in capacities::<BITS>().filter(|&capacity| capacity != 0) {
            for received in cursors::<BITS>() {
                for (in_flight, sent) in (0..).zip(from::<BITS>(received, capacity)) {
                    let room = capacity - in_flight;
                    for want in room + 1..=max_wait(capacity) {
                        // As the writing half says it: the cursor at which there will be `want`.
                        let park = Word::<BITS>::asleep_at(sent, want.wrapping_sub(capacity));
                        for (before, old) in (0..).zip(from::<BITS>(received, in_flight)) {
                            for (more, new) in (0..).zip(from::<BITS>(old, in_flight - before)) {
                                let enough = room + before < want && room + before + more >= want;
                                let case = (capacity, sent, want, old, new);
                                assert_eq!(Word::<BITS>::crosses(park, old, new, false, capacity), enough, "{case:?}");
                                let last = room + before < want;
                                assert_eq!(Word::<BITS>::crosses(park, old, new, true, capacity), last, "{case:?}");
                                let stuck = room + before + more < want;
                                assert_eq!(Word::<BITS>::is_ahead(park, new, capacity), stuck, "{case:?}");
                            }
                        }
                    }
                }
            }
        }
    }
    at_each_width!(at);
}

/// A reader that lacks bytes and a writer that lacks room: never both, within what a half may wait for.
#[test]
fn both_ends_of_a_lane_never_wait() {
    fn at<const BITS: u32>() {
        for capacity in capacities::<BITS>().filter(|&capacity| capacity != 0) {
            for (bytes, room) in (0..=capacity).map(|bytes| (bytes, capacity - bytes)) {
                assert!(bytes >= max_wait(capacity) || room >= max_wait(capacity), "{capacity}: {bytes}");
            }
        }
    }
    at_each_width!(at);
}

/// Where bytes lie: each in the place of its cursor, in one run or two, and the quick way takes none beyond the end.
#[test]
fn runs_are_where_counting_says() {
    fn at<const BITS: u32>() {
        for capacity in capacities::<BITS>() {
            let ring = Ring::new(core::ptr::null_mut(), capacity);
            for cursor in cursors::<BITS>() {
                for len in 0..=capacity {
                    let [(first, first_len), (second, second_len)] = ring.runs(cursor, len);
                    assert!(first_len + second_len == len && second == 0 && (len == 0 || first_len != 0));
                    let places = (first..first + first_len).chain(second..second + second_len);
                    let counted = from::<BITS>(cursor, len).take(to_usize(len)).map(|at| at % capacity.max(1));
                    assert!(places.eq(counted), "{capacity} {cursor} {len}");
                    let quick = ring.before_end(cursor, len);
                    assert!(quick <= len && (quick == 0 || ring.place(cursor) + quick < capacity));
                    // As many as can be: one more would reach the end, or is not there.
                    assert!(quick == len || ring.place(cursor) + quick + 1 >= capacity);
                    assert_eq!(
                        cursor + quick,
                        Word::<BITS>::add(cursor, quick),
                        "no cursor wraps before the end of a lane"
                    );
                }
            }
        }
    }
    at_each_width!(at);
}

/// The quick way to read finds exactly as many bytes as were asked for, more than were known, and not to the end of the lane. It
/// compares one word, and does not ask the rule.
#[test]
fn what_the_quick_way_takes_the_rule_accepts() {
    fn at<const BITS: u32>() {
        for capacity in capacities::<BITS>() {
            let ring = Ring::new(core::ptr::null_mut(), capacity);
            for received in cursors::<BITS>() {
                for (known, seen) in (0..).zip(from::<BITS>(received, capacity)) {
                    let quick = ring.before_end(received, known);
                    for len in (quick + 1..=capacity).filter(|len| ring.place(received) + len < capacity) {
                        let word = received + len;
                        assert!(word != seen && Word::<BITS>::accepts_sent(word, seen, received, capacity));
                        assert_eq!(Word::<BITS>::diff(word, received), len);
                    }
                }
            }
        }
    }
    at_each_width!(at);
}
