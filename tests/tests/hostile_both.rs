//! Both segments of a stream over `file:` are written by a third thread, every word of them, headers and lanes, while both ends are at
//! work. A process that can open the file can do that, so nothing is promised of the bytes; but no call panics, strays or fails to come back.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use smstream::{Builder, Reason, Stream};
use smstream_core::cursor::{ASLEEP, CURSOR, EXCLUSIVE, FIN};
use smstream_core::layout::{FIELDS, HEADER_LEN};
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::Scratch;
use smstream_tests::watchdog::Watchdog;

const CAPACITY: usize = 4096;
/// Longer than this no call waits.
const SHORT: Duration = Duration::from_micros(300);
/// Connections that are attacked, and calls of each end.
const LIVES: u64 = 60;
const CALLS: u32 = 150;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }
}

fn offset(name: &str) -> u64 {
    FIELDS.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("no field {name}")).offset as u64
}

/// Writes to the file until the calls are over: words of the ports mostly, of values that could be or not, and any word of any place.
fn scribble(file: &File, seed: u64, done: &AtomicBool) -> u64 {
    let mut random = Random(seed);
    let len = file.metadata().expect("the file").len();
    let word = |at: u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).expect("a word");
        u32::from_ne_bytes(bytes)
    };
    // The second segment begins where the layout says.
    let [lane, align] = ["lane_offset", "align"].map(|name| u64::from(word(offset(name))));
    let second = (lane + CAPACITY as u64).next_multiple_of(align);
    let busy = ["sent", "received", "read_park", "write_park"].map(offset);
    let mut n = 0;
    while !done.load(Relaxed) {
        let segment = [0, second][random.below(2)];
        let (at, value) = match random.below(8) {
            // A little further than it is, as an honest party goes; with the end, sometimes.
            0..=2 => {
                let at = segment + busy[random.below(2)];
                let end = if random.below(100) == 0 { FIN } else { 0 };
                (at, word(at).wrapping_add(random.below(300) as u32) & CURSOR | end)
            }
            3..=4 => {
                (segment + busy[2 + random.below(2)], [0, ASLEEP, ASLEEP | EXCLUSIVE][random.below(3)] | random.next())
            }
            5 => (segment + busy[random.below(4)], random.next()),
            6 => (segment + random.below(HEADER_LEN as usize / 4) as u64 * 4, random.next()),
            _ => (random.below(len as usize / 4) as u64 * 4, random.next()),
        };
        file.write_all_at(&value.to_ne_bytes(), at).expect("a word");
        n += 1;
    }
    n
}

/// Calls of one end until there have been enough, also after errors. Whether some call said `Corrupt`.
fn use_it(mut stream: Stream, seed: u64, calls: &AtomicU64) -> bool {
    let mut random = Random(seed);
    stream.set_read_timeout(Some(SHORT)).expect("a time");
    stream.set_write_timeout(Some(SHORT)).expect("a time");
    let (mut out, bytes) = (vec![0; 3 * CAPACITY], vec![7; 3 * CAPACITY]);
    let mut corrupt = false;
    for _ in 0..CALLS {
        let n = random.below(3 * CAPACITY);
        let result = match random.below(10) {
            0..=2 => (&stream).write(&bytes[..n]).inspect(|&written| assert!(written <= n.min(CAPACITY))).map(drop),
            3..=5 => (&stream).read(&mut out[..n]).inspect(|&read| assert!(read <= n.min(CAPACITY))).map(drop),
            6 => (&stream).write_all(&bytes[..n]),
            7 => stream.reserve(1 + n % CAPACITY).and_then(|mut room| {
                let filled = room.put(0, &bytes[..n]);
                assert_eq!(filled, n.min(room.len()));
                room.commit(filled).map(drop)
            }),
            8 => stream.peek(1 + n % CAPACITY).map(|peek| assert!(peek.len() <= CAPACITY)),
            _ => {
                let _ = (stream.stats(), stream.history(), stream.undelivered(), stream.peer_stopped_reading());
                (&stream).flush()
            }
        };
        if let Err(e) = result {
            corrupt |= smstream::Error::from_io(&e).is_some_and(|e| e.reason() == Reason::Corrupt);
        }
        calls.fetch_add(1, Relaxed);
    }
    let _ = stream.shutdown(Shutdown::Both);
    corrupt
}

#[test]
fn words_of_both_segments_do_no_harm() {
    let _watchdog = Watchdog::new();
    let (calls, corrupt, written) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    for life in 0..LIVES {
        let scratch = Scratch::new();
        let builder = Builder::new().capacity(CAPACITY).start_cursor(NEAR_WRAP);
        let listener = builder.bind(scratch.addr()).expect("a listener");
        // Once a connector is accepted it has no name any more.
        let file = File::options().read(true).write(true).open(scratch.name()).expect("the region");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let connecting = scope.spawn(|| Stream::connect(scratch.addr()).expect("a stream"));
            let ends = [listener.accept().expect("a stream"), connecting.join().expect("no panic")];
            let attacker = scope.spawn(|| scribble(&file, 0x9e37_79b9_7f4a_7c15 + life, &done));
            let users: Vec<_> = (1..)
                .zip(ends)
                .map(|(n, end)| {
                    scope.spawn({
                        let calls = &calls;
                        move || use_it(end, 2 * life + n, calls)
                    })
                })
                .collect();
            let found: Vec<_> = users.into_iter().map(|user| user.join()).collect();
            done.store(true, Relaxed);
            written.fetch_add(attacker.join().expect("the attacker"), Relaxed);
            for found in found {
                corrupt.fetch_add(u64::from(found.expect("no call panics")), Relaxed);
            }
        });
    }
    let [calls, corrupt, written] = [calls, corrupt, written].map(AtomicU64::into_inner);
    println!("{calls} calls, {written} words written, {corrupt} of {} ends found it corrupt", 2 * LIVES);
    assert_eq!(calls, 2 * LIVES * u64::from(CALLS));
    assert!(corrupt >= LIVES / 4, "the attack was none");
}
