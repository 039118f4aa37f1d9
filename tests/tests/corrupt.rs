//! A third process writes where only the parties may: into the words of a connection in use.

use std::fs::File;
use std::os::unix::fs::FileExt;

use smstream_core::layout::FIELDS;
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{Party, Refusal, Scratch, until};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: u32 = 4096;

fn offset(name: &str) -> u64 {
    FIELDS.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no field {name}")).offset as u64
}

/// A connection of two processes, and its file in a third.
struct Scene {
    /// The listener and the connector.
    parties: [Party; 2],
    file: File,
    /// Where the segments begin.
    starts: [u64; 2],
}

impl Scene {
    fn new() -> Self {
        let scratch = Scratch::new();
        let [mut a, mut b] = [Party::start(PARTY), Party::start(PARTY)];
        a.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", scratch.addr()));
        // Now it has the name; once a connector is accepted it has none.
        let file = File::options().read(true).write(true).open(scratch.name()).unwrap();
        a.does("seeds 1 2");
        b.does("seeds 2 1");
        a.tell("accept");
        b.does(format!("connect {}", scratch.addr()));
        a.hear().unwrap();
        let mut scene = Scene { parties: [a, b], file, starts: [0, 0] };
        let [lane, align] = ["lane_offset", "align"].map(|name| u64::from(scene.word(0, name)));
        scene.starts[1] = (lane + u64::from(CAPACITY)).next_multiple_of(align);
        assert_eq!(scene.word(1, "party"), 1);
        scene
    }

    /// A word of the segment of party `of`.
    fn word(&self, of: usize, name: &str) -> u32 {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, self.starts[of] + offset(name)).unwrap();
        u32::from_ne_bytes(bytes)
    }

    fn scribble(&self, of: usize, name: &str, value: u32) {
        self.file.write_all_at(&value.to_ne_bytes(), self.starts[of] + offset(name)).unwrap();
    }
}

#[track_caller]
fn is_corrupt(reply: Result<String, Refusal>) {
    let e = reply.unwrap_err();
    assert_eq!((e.kind.as_str(), e.reason.as_str()), ("InvalidData", "Corrupt"), "{e:?}");
    assert!(e.text.contains("break the rules") && e.text.contains("file:"), "{e:?}");
}

/// A party that finds the other one corrupt never believes it again, and tells it that it is over.
#[track_caller]
fn is_over(scene: &mut Scene, finder: usize) {
    for _ in 0..2 {
        is_corrupt(scene.parties[finder].ask("read 1"));
        is_corrupt(scene.parties[finder].ask("write 1"));
    }
    let end = scene.parties[1 - finder].does("drain");
    assert!(end.ends_with(" eof"), "{end}");
    assert_eq!(scene.parties[1 - finder].ask("write 1").unwrap_err().kind, "BrokenPipe");
    is_corrupt(scene.parties[finder].ask("read 1"));
}

#[test]
fn the_cursor_of_what_was_sent() {
    let _watchdog = Watchdog::new();
    for finder in [0, 1] {
        let other = 1 - finder;
        // Too far; back; far away.
        for wrong in [100 + CAPACITY + 1, 99, 1 << 30] {
            let mut scene = Scene::new();
            scene.parties[other].does("send 100 all");
            scene.parties[finder].does("receive 100 all");
            scene.scribble(other, "sent", (NEAR_WRAP + wrong) & 0x7fff_ffff);
            is_corrupt(scene.parties[finder].ask("read 10"));
            is_over(&mut scene, finder);
        }
        // Back, but not behind what was read: there were 50 bytes more.
        let mut scene = Scene::new();
        scene.parties[other].does("send 100 all");
        scene.parties[finder].does("receive 50 some");
        scene.scribble(other, "sent", NEAR_WRAP + 60);
        is_corrupt(scene.parties[finder].ask("read 90"));
        is_over(&mut scene, finder);
        // A word that has changed after its last value.
        let mut scene = Scene::new();
        scene.parties[other].does("shutdown write");
        assert_eq!(scene.parties[finder].does("read 1"), "0");
        let end = scene.word(other, "sent");
        assert_eq!(end, NEAR_WRAP | 1 << 31);
        scene.scribble(other, "sent", end + 1);
        assert_eq!(scene.parties[finder].does("read 1"), "0", "it is not looked at any more");
    }
}

#[test]
fn the_cursor_of_what_was_received() {
    let _watchdog = Watchdog::new();
    for finder in [0, 1] {
        let other = 1 - finder;
        // More than was sent; less than was received before.
        for wrong in [CAPACITY + 1, 99] {
            let mut scene = Scene::new();
            scene.parties[finder].does("send 100 all");
            scene.parties[other].does("receive 100 all");
            // It has seen that there is room again, when it sends a whole lane.
            scene.parties[finder].does(format!("send {} all", 100 + CAPACITY));
            scene.scribble(other, "received", (NEAR_WRAP + wrong + if wrong == 99 { 0 } else { 100 }) & 0x7fff_ffff);
            is_corrupt(scene.parties[finder].ask("write 10"));
            for _ in 0..2 {
                is_corrupt(scene.parties[finder].ask("read 1"));
                is_corrupt(scene.parties[finder].ask("write 1"));
            }
            // What had been sent before is still there for the other one.
            let end = scene.parties[other].does("drain");
            assert_eq!(end, format!("{} eof", 100 + CAPACITY));
            assert_eq!(scene.parties[other].ask("write 1").unwrap_err().kind, "BrokenPipe");
        }
    }
}

/// Back, but not farther than the lane is long.
#[test]
fn the_cursor_of_what_was_received_goes_back_a_little() {
    let _watchdog = Watchdog::new();
    for finder in [0, 1] {
        let other = 1 - finder;
        let mut scene = Scene::new();
        scene.parties[finder].does(format!("send {CAPACITY} all"));
        scene.parties[other].does("receive 2000 all");
        // It has seen that there is room, and has used the half of it.
        scene.parties[finder].does("write 1000");
        scene.scribble(other, "received", (NEAR_WRAP + 1400) & 0x7fff_ffff);
        is_corrupt(scene.parties[finder].ask("write 1500"));
        is_corrupt(scene.parties[finder].ask("read 1"));
    }
}

/// One thread reads, another writes. The reader sees what is wrong; the writer, whose lane is full, gets the error.
#[test]
fn a_blocked_writer_learns_what_the_reader_found() {
    let _watchdog = Watchdog::new();
    let mut scene = Scene::new();
    scene.parties[1].does("send 100 all");
    scene.parties[0].does("receive 100 all");
    scene.parties[0].does("handle-signals");
    // It sends until the lane is full, while its first thread waits for byte 101.
    scene.parties[0].tell("both 10000 101 all");
    scene.parties[0].is_asleep();
    until("the lane is full", || scene.word(0, "sent") == (NEAR_WRAP + CAPACITY) & 0x7fff_ffff);
    scene.scribble(1, "sent", NEAR_WRAP - 1);
    // The third process does not wake it. A signal does, and then the reader looks again.
    let mut reply = None;
    until("both have the error", || {
        scene.parties[0].signal(libc::SIGUSR1);
        reply = scene.parties[0].has_replied();
        reply.is_some()
    });
    assert!(reply.as_ref().unwrap().starts_with("err InvalidData Corrupt - cannot write"), "{reply:?}");
    assert!(scene.parties[1].does("drain").ends_with("eof"));
}

/// Who the parties are was copied when they met: nothing changes when a process writes there.
#[test]
fn the_words_of_the_identity() {
    let _watchdog = Watchdog::new();
    let mut scene = Scene::new();
    let names: Vec<_> = FIELDS.iter().filter(|f| f.offset < offset("sent") as usize).map(|f| f.name).collect();
    assert!(names.contains(&"capacity") && names.contains(&"start") && names.len() > 10, "{names:?}");
    let mut at = 0;
    for name in names {
        for of in [0, 1] {
            scene.scribble(of, name, 0xffff_ffff);
        }
        at += 3 * u64::from(CAPACITY) + 5;
        for party in &mut scene.parties {
            party.tell(format!("both {at} {at} mixed"));
        }
        for party in &mut scene.parties {
            party.hear().unwrap_or_else(|e| panic!("{name}: {e:?}"));
        }
    }
    let [a, b] = &mut scene.parties;
    a.does("close");
    assert_eq!(b.does("drain"), format!("{at} eof"));
}

/// Nor do counters, the words of parking and of the rendezvous lead to anything worse than a look too many.
#[test]
fn the_words_that_are_hints() {
    let _watchdog = Watchdog::new();
    let mut scene = Scene::new();
    let all: Vec<_> = FIELDS.iter().filter(|f| f.offset >= offset("read_park") as usize).map(|f| f.name).collect();
    let mut at = 0;
    for value in [0xffff_ffff, 0x8000_0000, 0x7fff_ffff] {
        for name in &all {
            for of in [0, 1] {
                scene.scribble(of, name, value);
            }
            at += u64::from(CAPACITY) / 2;
            // One after the other, so that no real mark is overwritten.
            let [a, b] = &mut scene.parties;
            a.does(format!("send {at} all"));
            b.does(format!("receive {at} all"));
            b.does(format!("send {at} all"));
            a.does(format!("receive {at} all"));
        }
    }
}
