//! The ring of items: they arrive in order across the wrap of the cursors, places are used again only when they were given
//! back, what is left is dropped once, and of two callers at most one splits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::thread;
use smstream_core::spsc::{Claim, Compact, Consumer, Full, Producer, Ring, Spaced, Words};

use crate::common::check;

type Halves<W> = (Producer<'static, u32, W>, Consumer<'static, u32, W>);

/// A ring just below the wrap, and its halves, which must not outlive it.
fn ring<const N: usize, W: Words>() -> (Arc<Ring<u32, N, W>>, Halves<W>) {
    let ring = Arc::new(Ring::<u32, N, W>::starting_at(u32::MAX));
    // SAFETY: the models keep the `Arc` until the halves are gone; nothing of the ring moves.
    let borrowed: &'static Ring<u32, N, W> = unsafe { &*Arc::as_ptr(&ring) };
    (ring, borrowed.try_split().unwrap())
}

fn push<W: Words>(producer: &mut Producer<'_, u32, W>, mut item: u32) {
    while let Err(Full(back)) = producer.push(item) {
        item = back;
        thread::yield_now();
    }
}

fn pop<W: Words>(consumer: &mut Consumer<'_, u32, W>) -> u32 {
    loop {
        match consumer.pop() {
            Some(item) => return item,
            None => thread::yield_now(),
        }
    }
}

fn items_arrive<const N: usize, W: Words + Send + Sync + 'static>(preemptions: Option<usize>) {
    check(preemptions, || {
        let (kept, (mut producer, mut consumer)) = ring::<N, W>();
        let other = thread::spawn(move || (1..=3).for_each(|item| push(&mut producer, item)));
        for expected in 1..=3 {
            assert_eq!(pop(&mut consumer), expected);
        }
        other.join().unwrap();
        assert_eq!(consumer.pop(), None);
        drop(kept);
    });
}

#[test]
fn items_arrive_through_one_place() {
    items_arrive::<1, Spaced>(Some(3));
}

#[test]
fn items_arrive_through_two_places_side_by_side() {
    items_arrive::<2, Compact>(None);
}

#[test]
fn a_slice_is_seen_at_once_and_its_places_are_given_back_at_once() {
    check(None, || {
        let (kept, (mut producer, mut consumer)) = ring::<2, Spaced>();
        let other = thread::spawn(move || {
            assert_eq!(producer.push_slice(&[1, 2]), 2);
            // Room comes for two at once, or not at all.
            loop {
                match producer.push_iter([3, 4]) {
                    0 => thread::yield_now(),
                    n => break assert_eq!(n, 2),
                }
            }
        });
        let mut out = [0; 3];
        while consumer.is_empty() {
            thread::yield_now();
        }
        assert_eq!(consumer.pop_slice(&mut out), 2);
        assert_eq!(out, [1, 2, 0]);
        let mut seen = Vec::new();
        while consumer.pop_all(|item| seen.push(item)) == 0 {
            thread::yield_now();
        }
        assert_eq!(seen, [3, 4]);
        other.join().unwrap();
        drop(kept);
    });
}

/// Counts its drops, which loom does not see.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn each_item_is_dropped_once() {
    check(None, || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let ring = Arc::new(Ring::<Counted, 2, Compact>::starting_at(u32::MAX));
        let (of, items) = (ring.clone(), dropped.clone());
        let other = thread::spawn(move || {
            // SAFETY: the thread keeps `of` longer than the producer.
            let borrowed: &'static Ring<Counted, 2, Compact> = unsafe { &*Arc::as_ptr(&of) };
            let (mut producer, mut consumer) = borrowed.try_split().unwrap();
            let keeper = of.clone();
            let popper = thread::spawn(move || {
                let popped = (0..2).filter_map(|_| consumer.pop()).count();
                drop(keeper);
                popped
            });
            let pushed = (0..3).filter(|_| producer.push(Counted(items.clone())).is_ok()).count();
            assert!(pushed >= 2 && popper.join().unwrap() <= pushed);
        });
        other.join().unwrap();
        drop(ring);
        assert_eq!(dropped.load(Relaxed), 3, "popped, refused, or left in the ring");
    });
}

#[test]
fn of_two_that_split_one_gets_the_halves() {
    check(None, || {
        let ring = Arc::new(Ring::<u32, 1, Spaced>::starting_at(0));
        let of = ring.clone();
        let other = thread::spawn(move || of.try_split().is_ok());
        let mine = ring.try_split().is_ok();
        assert!(mine != other.join().unwrap());
    });
}

#[test]
fn of_two_that_claim_by_loads_and_stores_at_most_one_gets_it() {
    check(None, || {
        let claim = Arc::new(Claim::new());
        let of = claim.clone();
        let other = thread::spawn(move || of.take_as(1));
        let mine = claim.take_as(2);
        let theirs = other.join().unwrap();
        assert!(!(mine && theirs), "both have got it");
        assert!(!claim.take_as(3), "it was asked for before");
    });
}

#[test]
fn who_claims_alone_gets_it() {
    check(None, || {
        let claim = Claim::new();
        assert!(claim.take_as(1));
        assert!(!claim.take_as(1));
    });
}
