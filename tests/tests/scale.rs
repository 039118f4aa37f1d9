//! Many streams: what they cost while nothing happens on them, and whether each gets its share while much does.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use smstream::memory::{Access, Mapping};
use smstream::{Builder, Stream, wait_any};
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Scratch};
use smstream_tests::watchdog::{PATIENCE, Watchdog};

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const STREAMS: usize = 1000;
const CAPACITY: usize = 4096;

/// A number of `/proc/PID/status`.
fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A thousand streams between two processes: two threads in each, a descriptor or two for each stream, and the pages that
/// are used. Nothing is left of them when they are closed.
#[test]
fn a_thousand_streams_need_no_threads() {
    let _watchdog = Watchdog::after(5 * PATIENCE);
    for (kind, each) in [("file", 1), ("unix", 2)] {
        let scratch = Scratch::new();
        let addr = format!("{kind}:{}", scratch.name().display());
        let [mut here, mut there] = [Party::start(PARTY), Party::start(PARTY)];
        let before = [&here, &there].map(|party| (descriptors(party.pid()), status(party.pid(), "VmRSS")));
        for party in [&mut here, &mut there] {
            // The watcher has to be there before its descriptors are counted.
            party.does("limit nofile 4096");
        }
        here.does(format!("crowd bind {addr} {CAPACITY}"));
        here.tell(format!("crowd accept {STREAMS}"));
        there.does(format!("crowd connect {addr} {STREAMS}"));
        here.hear().unwrap();
        for (party, (fds, memory)) in [&here, &there].into_iter().zip(before) {
            let pid = party.pid();
            let grown = status(pid, "VmRSS") - memory;
            println!(
                "{kind}: {STREAMS} idle streams of {CAPACITY} bytes each way: {} threads, {} descriptors, {grown} KiB \
                 of memory in use ({:.1} KiB for each), {} KiB of it shared",
                status(pid, "Threads"),
                descriptors(pid) - fds,
                grown as f64 / STREAMS as f64,
                status(pid, "RssShmem"),
            );
            assert_eq!(status(pid, "Threads"), 2, "the first one and the watcher");
            // The watcher's two, and those of the listener.
            assert!(descriptors(pid) - fds <= each * STREAMS + 8);
            // A page for the words of each party is touched, and what this process remembers of a stream.
            assert!(grown < 32 * STREAMS as u64, "{grown} KiB");
        }
        // All of them work, each for itself.
        there.tell("crowd ping");
        here.does("crowd pong");
        there.hear().unwrap();
        here.tell("crowd wait");
        here.is_asleep();
        there.does("crowd close");
        here.hear().unwrap();
        here.does("crowd close");
        for (party, (fds, _)) in [&here, &there].into_iter().zip(before) {
            assert!(descriptors(party.pid()) <= fds + 2, "only the watcher's are left");
        }
        assert!(scratch.names().iter().all(|name| name.ends_with(".lock")), "{:?}", scratch.names());
    }
}

/// One server, 64 clients, each of which asks again as soon as it has its answer. Between a request and its answer the
/// server answers at most the rest of those that it had found before, and then each client once: 63 + 64.
#[test]
fn none_of_64_clients_waits_more_than_its_share() {
    const CLIENTS: usize = 64;
    const REQUESTS: u64 = 500;
    let _watchdog = Watchdog::after(5 * PATIENCE);
    for kind in ["file", "unix"] {
        let scratch = Scratch::new();
        let counter = scratch.path().join("answered");
        let file = File::options().read(true).write(true).create_new(true).open(&counter).unwrap();
        file.set_len(size_of::<AtomicU64>() as u64).unwrap();
        let mapping = Mapping::new(&file, 0, size_of::<AtomicU64>(), Access::ReadWrite).unwrap();
        // SAFETY: the mapping is page-aligned, of that length, and lives to the end of this round; the file is only ever
        // accessed as one atomic word, and never shortened.
        let answered = unsafe { &*mapping.as_ptr().cast::<AtomicU64>() };
        let addr = format!("{kind}:{}", scratch.name().display());
        let listener = Builder::new().capacity(64).start_cursor(NEAR_WRAP).bind(addr.as_str()).unwrap();
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| Party::start(PARTY)).collect();
        let mut streams = Vec::new();
        for client in &mut clients {
            client.tell(format!("crowd connect {addr} 1"));
            streams.push(listener.accept().unwrap());
            client.hear().unwrap();
        }
        for client in &mut clients {
            client.tell(format!("crowd ask {} {REQUESTS}", counter.display()));
        }
        let (mut rounds, mut count) = (0, 0);
        while count < CLIENTS as u64 * REQUESTS {
            let mut conditions: Vec<_> = streams.iter().map(Stream::readable).collect();
            let ready = wait_any(&mut conditions, None).unwrap();
            drop(conditions);
            rounds += 1;
            for place in ready {
                assert_eq!((&streams[place]).read(&mut [0]).unwrap(), 1);
                count += 1;
                answered.store(count, Ordering::Relaxed);
                (&streams[place]).write_all(&u64::to_ne_bytes(count)).unwrap();
            }
        }
        let waits: Vec<u64> = clients.iter_mut().map(|client| client.hear().unwrap().parse().unwrap()).collect();
        let most = *waits.iter().max().unwrap();
        println!("{kind}: {CLIENTS} clients, {REQUESTS} requests each, {rounds} rounds: at most {most} answers later");
        assert!(most < 2 * CLIENTS as u64, "{waits:?}");
        assert!(most > 1, "the clients did not ask at the same time: this shows nothing");
    }
}

/// All of 64 streams always have something: none is served twice while another one waits.
#[test]
fn a_busy_client_is_served_in_turn() {
    let _watchdog = Watchdog::new();
    let pairs: Vec<_> = (0..64).map(|_| Builder::new().capacity(64).start_cursor(NEAR_WRAP).pair().unwrap()).collect();
    for (_, there) in &pairs {
        (&*there).write_all(&[0; 64]).unwrap();
    }
    let mut served = [0; 64];
    for round in 1..=64 {
        let mut conditions: Vec<_> = pairs.iter().map(|(here, _)| here.readable()).collect();
        for place in wait_any(&mut conditions, None).unwrap() {
            assert_eq!((&pairs[place].0).read(&mut [0]).unwrap(), 1);
            served[place] += 1;
        }
        assert_eq!(served, [round; 64]);
    }
}
