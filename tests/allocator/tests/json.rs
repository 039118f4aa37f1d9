//! Threads parse JSON and give each other the values to free. The allocator ends the process at a double free; this counts
//! what is left.

use std::process::Command;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use smstream_allocator::Slabs;

#[global_allocator]
static ALLOCATOR: Slabs = Slabs;

const THREADS: usize = 6;
const DOCUMENTS: usize = 400;

fn document(seed: usize) -> String {
    let list: Vec<Value> = (0..seed % 40 + 5)
        .map(|i| json!({"name": format!("item {i} of {seed}"), "at": [i, i * 2, seed], "text": "x".repeat(i * seed % 700)}))
        .collect();
    json!({"seed": seed, "list": list, "nested": {"a": {"b": {"c": [1.5, null, true]}}}}).to_string()
}

/// Each thread parses and sends to the next one, which looks at the value and frees it.
fn parse_and_pass_on() {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::sync_channel::<Value>(8)).unzip();
    // Joined one by one: a scope does not wait for what threads free when they end.
    let mut threads = Vec::new();
    for (number, receiver) in receivers.into_iter().enumerate() {
        let next = senders[(number + 1) % THREADS].clone();
        threads.push(thread::spawn(move || {
            for i in 0..DOCUMENTS {
                let text = document(number * DOCUMENTS + i);
                next.send(serde_json::from_str(&text).unwrap()).unwrap();
            }
        }));
        let before = (number + THREADS - 1) % THREADS;
        threads.push(thread::spawn(move || {
            for i in 0..DOCUMENTS {
                let value = receiver.recv().unwrap();
                assert_eq!(value["seed"], before * DOCUMENTS + i);
                assert_eq!(value.to_string().len(), document(before * DOCUMENTS + i).len());
            }
        }));
    }
    drop(senders);
    for thread in threads {
        thread.join().unwrap();
    }
}

fn main() {
    if std::env::args().any(|argument| argument == "double-free") {
        let twice = Box::into_raw(Box::new(5u64));
        for _ in 0..2 {
            // SAFETY: none, and that is the point: the second must end this process.
            drop(unsafe { Box::from_raw(twice) });
        }
        return;
    }
    // What the standard library allocates once, and keeps, is there after the first round.
    parse_and_pass_on();
    let (live, before) = (Slabs::live(), Slabs::counts());
    for _ in 0..3 {
        parse_and_pass_on();
    }
    let after = Slabs::counts();
    assert_eq!(Slabs::live(), live, "blocks were leaked");
    assert!(after.sent - before.sent > 10_000, "{after:?}");
    assert!(after.received > 0 && after.received <= after.sent, "{after:?}");
    assert!(after.adopted - before.adopted >= 3 * THREADS, "{after:?}");
    let kept = Box::new(1u8);
    assert_eq!(Slabs::live(), live + 1, "a block that is not freed is seen");
    drop(kept);

    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).arg("double-free").output().unwrap();
    assert!(!output.status.success(), "a double free was not caught");
    assert!(String::from_utf8_lossy(&output.stderr).contains("freed twice"), "{output:?}");
    println!("{after:?}");
}
