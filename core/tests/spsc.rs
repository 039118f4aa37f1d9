//! The ring of items in one thread: what each call does, what is dropped and when, and what panics leave behind.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use smstream_core::spsc::{AlreadySplit, BadCapacity, Compact, Full, Ring, SliceRing, Spaced, TooFew};

/// Logs its number when it is dropped, and can panic then.
struct Item(u32, Rc<RefCell<Vec<u32>>>);

impl Drop for Item {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
        assert!(self.0 != 666, "an item that panics");
    }
}

/// A log, and what makes items that write into it.
fn items() -> (Rc<RefCell<Vec<u32>>>, impl Fn(u32) -> Item + Clone) {
    let log = Rc::new(RefCell::new(Vec::new()));
    let of = log.clone();
    (log, move |number| Item(number, of.clone()))
}

/// Just below the wrap of the cursors, so that every test crosses it.
const START: u32 = u32::MAX - 2;

#[test]
fn a_static_ring_is_split_once_into_halves_that_live_for_ever() {
    static RING: Ring<u64, 4> = Ring::new();
    let (mut producer, mut consumer) = RING.try_split().unwrap();
    assert_eq!(RING.try_split().unwrap_err(), AlreadySplit);
    std::thread::spawn(move || producer.push(5).unwrap()).join().unwrap();
    assert_eq!(std::thread::spawn(move || consumer.pop()).join().unwrap(), Some(5));
    assert_eq!(RING.try_split().unwrap_err(), AlreadySplit, "the halves are gone, the split is not");
}

#[test]
fn of_many_threads_one_splits() {
    for _ in 0..200 {
        let ring = Ring::<u32, 2>::new();
        let split = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| ring.try_split().is_ok())).collect();
            threads.into_iter().map(|thread| u32::from(thread.join().unwrap())).sum::<u32>()
        });
        assert_eq!(split, 1);
    }
}

#[test]
fn a_ring_that_is_owned_can_be_split_again_and_keeps_its_items() {
    let mut ring = Ring::<u8, 4>::starting_at(START);
    ring.split().0.push(1).unwrap();
    ring.split().0.push(2).unwrap();
    assert_eq!(ring.try_split().unwrap().1.pop(), Some(1));
    assert_eq!(ring.split().1.pop(), Some(2));
    assert_eq!(ring.split().1.pop(), None);
}

#[test]
fn every_place_is_used_and_a_full_ring_gives_the_item_back() {
    let mut ring = Ring::<String, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    for i in 0..4 {
        assert_eq!(producer.room(), 4 - i);
        producer.push(i.to_string()).unwrap();
    }
    assert!(producer.is_full());
    assert_eq!(producer.push("five".into()), Err(Full("five".into())));
    assert_eq!((producer.len(), consumer.len()), (4, 4));
    for i in 0..4 {
        assert_eq!(consumer.pop(), Some(i.to_string()));
    }
    assert_eq!((consumer.pop(), consumer.is_empty(), producer.is_empty(), producer.len()), (None, true, true, 0));
}

#[test]
fn slices_go_in_and_out_as_far_as_they_fit() {
    let mut ring = Ring::<u16, 8, Compact>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    assert_eq!(producer.push_slice(&[1, 2, 3, 4, 5]), 5);
    let mut out = [0; 4];
    assert_eq!((consumer.pop_slice(&mut out), out), (4, [1, 2, 3, 4]));
    assert_eq!(producer.push_slice(&[6, 7, 8, 9, 10, 11, 12, 13, 14]), 7);
    assert_eq!(producer.push_slice(&[15]), 0);
    let mut out = [MaybeUninit::uninit(); 9];
    assert_eq!(consumer.pop_uninit(&mut out), 8);
    // SAFETY: eight items were popped into it.
    let out: Vec<u16> = out[..8].iter().map(|item| unsafe { item.assume_init() }).collect();
    assert_eq!(out, [5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!((consumer.pop_slice(&mut [0; 3]), consumer.pop_slice(&mut [])), (0, 0));
}

#[test]
fn what_is_left_is_dropped_once_with_the_ring() {
    let (log, item) = items();
    let mut ring = Ring::<Item, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    for i in 1..=4 {
        assert!(producer.push(item(i)).is_ok());
    }
    let Err(Full(fifth)) = producer.push(item(5)) else { panic!("there is no room for it") };
    assert_eq!(*log.borrow(), []);
    drop(fifth);
    assert_eq!(consumer.pop().unwrap().0, 1);
    assert_eq!(*log.borrow(), [5, 1]);
    drop(ring);
    assert_eq!(*log.borrow(), [5, 1, 2, 3, 4]);
}

#[test]
fn an_iterator_takes_items_one_by_one_even_if_it_is_forgotten() {
    let (log, item) = items();
    let mut ring = Ring::<Item, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    assert_eq!(producer.push_iter((1..).map(item.clone())), 4, "as many as fit");
    assert_eq!(*log.borrow(), [], "none was made that did not fit");
    let mut taken = consumer.pop_iter();
    drop(taken.next());
    drop(taken.next());
    let _forgotten = std::mem::ManuallyDrop::new(taken);
    assert_eq!(producer.room(), 2);
    drop(ring);
    assert_eq!(*log.borrow(), [1, 2, 3, 4]);
}

#[test]
fn looks_leave_items_where_they_are() {
    let mut ring = Ring::<u32, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    assert_eq!(consumer.peek(), None);
    assert_eq!(consumer.peek_mut(), None);
    producer.push_slice(&[1, 2, 3, 4]);
    *consumer.peek_mut().unwrap() = 10;
    assert_eq!(consumer.peek(), Some(&10));
    assert_eq!(consumer.as_slices(), (&[10, 2, 3][..], &[4][..]));
    assert_eq!(consumer.iter().rev().copied().collect::<Vec<_>>(), [4, 3, 2, 10]);
    assert_eq!(consumer.pop_iter().collect::<Vec<_>>(), [10, 2, 3, 4]);
    assert_eq!(consumer.iter().next(), None);
}

#[test]
fn all_that_is_there_is_popped_at_once() {
    let mut ring = Ring::<u32, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    producer.push_slice(&[1, 2, 3]);
    let mut seen = Vec::new();
    assert_eq!(consumer.pop_all(|item| seen.push((item, producer.room()))), 3);
    assert_eq!(seen, [(1, 1), (2, 1), (3, 1)], "places are given back together");
    assert_eq!((producer.room(), consumer.pop_all(|_| unreachable!())), (4, 0));
}

#[test]
fn a_panic_amid_pop_all_loses_one_item_and_doubles_none() {
    let (log, item) = items();
    let mut ring = Ring::<Item, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    producer.push_iter((1..=4).map(item));
    let all = catch_unwind(AssertUnwindSafe(|| consumer.pop_all(|item| assert!(item.0 != 2, "the second"))));
    assert!(all.is_err());
    assert_eq!(*log.borrow(), [1, 2]);
    assert_eq!((producer.room(), consumer.pop().unwrap().0), (2, 3));
    drop(ring);
    assert_eq!(*log.borrow(), [1, 2, 3, 4]);
}

#[test]
fn a_panic_amid_push_iter_keeps_what_came_before() {
    let (log, item) = items();
    let mut ring = Ring::<Item, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    let two_and_a_panic = (1..=3).map(|i| if i == 3 { panic!("the third") } else { item(i) });
    assert!(catch_unwind(AssertUnwindSafe(|| producer.push_iter(two_and_a_panic))).is_err());
    assert_eq!((producer.room(), consumer.len()), (2, 2));
    drop(ring);
    assert_eq!(*log.borrow(), [1, 2]);
}

#[test]
fn a_destructor_that_panics_is_not_run_twice() {
    let (log, item) = items();
    let mut ring = Ring::<Item, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    producer.push_iter([1, 666, 3, 4].map(item));
    assert!(catch_unwind(AssertUnwindSafe(|| consumer.skip(3))).is_err());
    assert_eq!(*log.borrow(), [1, 666], "3 is leaked");
    assert_eq!(consumer.skip(9), 1);
    assert_eq!((producer.room(), &log.borrow()[..]), (4, &[1, 666, 4][..]));
}

#[test]
fn a_chunk_is_filled_in_place_and_seen_at_once() {
    let mut ring = Ring::<u32, 4, Spaced>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    assert_eq!(producer.write_chunk(5).unwrap_err(), TooFew { wanted: 5, available: 4 });
    let mut chunk = producer.write_chunk(4).unwrap();
    assert_eq!((chunk.len(), chunk.is_empty(), chunk.push(1)), (4, false, Ok(())));
    let (first, second) = chunk.as_mut_slices();
    assert_eq!((first.len(), second.len()), (2, 1));
    first[0].write(2);
    first[1].write(3);
    second[0].write(4);
    assert!(consumer.is_empty());
    // SAFETY: two more places were written.
    unsafe { chunk.assume_filled(2) };
    assert_eq!((chunk.filled(), chunk.commit()), (3, 3));
    assert_eq!(consumer.read_chunk(4).unwrap_err(), TooFew { wanted: 4, available: 3 });
    let mut chunk = consumer.read_chunk(3).unwrap();
    assert_eq!(chunk.as_slices(), (&[1, 2, 3][..], &[][..]));
    chunk.as_mut_slices().0[2] = 30;
    assert_eq!(chunk.commit(2), 2);
    assert_eq!(producer.room(), 3);
    assert_eq!(consumer.read_chunk(1).unwrap().commit_all(), 1);
    assert_eq!(producer.write_chunk(usize::MAX).unwrap_err(), TooFew { wanted: usize::MAX, available: 4 });
}

#[test]
fn a_chunk_that_is_given_up_drops_what_it_had() {
    let (log, item) = items();
    let mut ring = Ring::<Item, 4>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    let mut chunk = producer.write_chunk(2).unwrap();
    assert_eq!(chunk.fill((1..).map(item.clone())), 2);
    assert!(matches!(chunk.push(item(3)), Err(Full(_))));
    drop(chunk);
    assert_eq!(*log.borrow(), [3, 1, 2]);
    assert!(consumer.is_empty());
    let mut chunk = producer.write_chunk(3).unwrap();
    chunk.fill([4, 5].map(item));
    assert_eq!(chunk.commit(), 2);
    assert_eq!(consumer.read_chunk(2).unwrap().len(), 2, "a look takes nothing");
    assert_eq!(consumer.read_chunk(2).unwrap().commit(1), 1);
    drop(ring);
    assert_eq!(*log.borrow(), [3, 1, 2, 4, 5]);
}

#[test]
fn items_without_size_are_counted() {
    let mut ring = Ring::<(), 2>::starting_at(START);
    let (mut producer, mut consumer) = ring.split();
    assert_eq!((producer.push_slice(&[(); 3]), producer.push(())), (2, Err(Full(()))));
    assert_eq!((consumer.pop(), consumer.pop_slice(&mut [(); 3]), consumer.pop()), (Some(()), 1, None));
}

#[test]
fn a_ring_in_borrowed_memory_drops_what_is_left_and_lets_the_memory_go() {
    let (log, item) = items();
    let mut memory = [const { MaybeUninit::uninit() }; 2];
    {
        let ring = SliceRing::<Item>::new(&mut memory).unwrap();
        let (mut producer, mut consumer) = ring.try_split().unwrap();
        assert_eq!(ring.try_split().unwrap_err(), AlreadySplit);
        assert_eq!((ring.capacity(), producer.push_iter((1..).map(item.clone()))), (2, 2));
        assert_eq!(consumer.pop().unwrap().0, 1);
    }
    assert_eq!(*log.borrow(), [1, 2]);
    let mut ring = SliceRing::<Item, Compact>::new(&mut memory).unwrap();
    assert!(ring.split().0.push(item(3)).is_ok());
    drop(ring);
    assert_eq!(*log.borrow(), [1, 2, 3]);
    let mut three = [const { MaybeUninit::<u8>::uninit() }; 3];
    assert_eq!(SliceRing::<u8>::new(&mut three).unwrap_err(), BadCapacity(3));
    assert_eq!(SliceRing::<u8>::new(&mut []).unwrap_err(), BadCapacity(0));
}

#[test]
fn a_half_has_at_most_32_bytes_and_a_small_ring_16_over_its_items() {
    use smstream_core::spsc::{Consumer, Producer};
    assert!(size_of::<Producer<'_, u8, Compact>>() <= 32);
    assert!(size_of::<Consumer<'_, u8, Compact>>() <= 32);
    assert!(size_of::<Ring<u8, 64, Compact>>() <= 64 + 16);
}
