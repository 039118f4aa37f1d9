//! The ring of items between two threads: what a race detector can see.

use std::thread;

use smstream_core::spsc::{Compact, Consumer, Producer, Ring, Words};

const TOTAL: u64 = 50_000;

/// Item number `i`: owned memory, so that a race, a loss or a double drop is more than a wrong number.
fn item(i: u64) -> Box<u64> {
    Box::new(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn produce<W: Words>(mut producer: Producer<'_, Box<u64>, W>) {
    let mut next = 0;
    while next < TOTAL {
        let before = next;
        match next % 7 {
            0..3 => next += u64::from(producer.push(item(next)).is_ok()),
            3 | 4 => next += producer.push_iter((next..TOTAL.min(next + 5)).map(item)) as u64,
            _ => {
                let room = producer.room().min((TOTAL - next) as usize);
                let mut chunk = producer.write_chunk(room).unwrap();
                chunk.fill((next..).map(item));
                next += chunk.commit() as u64;
            }
        }
        if next == before {
            thread::yield_now();
        }
    }
}

fn consume<W: Words>(mut consumer: Consumer<'_, Box<u64>, W>) {
    let mut next = 0;
    while next < TOTAL {
        let before = next;
        let mut check = |got: Box<u64>| {
            assert_eq!(got, item(next));
            next += 1;
        };
        match before % 5 {
            0 | 1 => consumer.pop().into_iter().for_each(check),
            2 => consumer.pop_iter().take(3).for_each(check),
            3 => {
                consumer.pop_all(check);
            }
            _ => {
                let len = consumer.len();
                let mut chunk = consumer.read_chunk(len).unwrap();
                let (first, second) = chunk.as_slices();
                first.iter().chain(second).for_each(|got| check(got.clone()));
                assert_eq!(chunk.commit_all(), len);
            }
        }
        if next == before {
            thread::yield_now();
        }
    }
    assert_eq!(consumer.pop(), None);
}

fn through<W: Words + Send + Sync>(mut ring: Ring<Box<u64>, 8, W>) {
    let (producer, consumer) = ring.split();
    thread::scope(|scope| {
        scope.spawn(|| produce(producer));
        scope.spawn(|| consume(consumer));
    });
}

#[test]
fn items_of_owned_memory_across_the_wrap() {
    through::<smstream_core::spsc::Machine>(Ring::starting_at(u32::MAX - 10_000));
}

#[test]
fn items_of_owned_memory_through_words_side_by_side() {
    through::<Compact>(Ring::starting_at(u32::MAX - 10_000));
}

#[test]
fn slices_across_the_wrap() {
    let mut ring = Ring::<u64, 16>::starting_at(u32::MAX - 10_000);
    let (mut producer, mut consumer) = ring.split();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            while next < TOTAL {
                let items: Vec<u64> = (next..TOTAL.min(next + 1 + next % 11)).collect();
                match producer.push_slice(&items) {
                    0 => thread::yield_now(),
                    n => next += n as u64,
                }
            }
        });
        scope.spawn(move || {
            let mut next = 0;
            while next < TOTAL {
                let mut out = [0; 7];
                let n = consumer.pop_slice(&mut out);
                for got in &out[..n] {
                    assert_eq!(*got, next);
                    next += 1;
                }
                if n == 0 {
                    thread::yield_now();
                }
            }
        });
    });
}
