//! A third process shortens the file of a region. A party with a guard gets an error: the stream is corrupt; who has none is
//! killed when it touches what is gone, as documented.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use smstream_tests::flow::{NEAR_WRAP, Random};
use smstream_tests::kinds::{Kind, Place};
use smstream_tests::party::{OLD_WATCH, Party, Reply, Scratch};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: u64 = 1 << 16;

/// How much of the file is left.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Nothing.
    All,
    /// The listener's segment, about.
    Half,
    /// All but the last page, which is in the connector's lane.
    Page,
}

const CUTS: [Cut; 3] = [Cut::All, Cut::Half, Cut::Page];

/// A file that a process is about to shorten.
struct Victim {
    file: File,
    len: u64,
}

impl Victim {
    fn of(scratch: &Scratch) -> Self {
        Self::named(scratch.name())
    }

    fn named(path: impl AsRef<Path>) -> Self {
        let file = File::options().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        Victim { file, len }
    }

    fn cut(&self, cut: Cut) {
        let page = rustix::param::page_size() as u64;
        let len = match cut {
            Cut::All => 0,
            Cut::Half => (self.len / 2).next_multiple_of(page),
            Cut::Page => self.len - page,
        };
        self.file.set_len(len).unwrap();
    }
}

fn guarded(more: &[&str]) -> Party {
    Party::start_with(PARTY, &[&["--guard", "on"], more].concat())
}

/// Connects a listener and a connector.
fn meet(mut parties: [Party; 2]) -> ([Party; 2], Victim) {
    let scratch = Scratch::new();
    let [a, b] = &mut parties;
    a.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", scratch.addr()));
    // Now it has the name; once a connector is accepted it has none.
    let victim = Victim::of(&scratch);
    a.does("seeds 1 2");
    b.does("seeds 2 1");
    a.tell("accept");
    b.does(format!("connect {}", scratch.addr()));
    a.hear().unwrap();
    (parties, victim)
}

fn couple() -> ([Party; 2], Victim) {
    meet([guarded(&[]), guarded(&[])])
}

#[track_caller]
fn is_cut_short(reply: Reply) {
    let e = reply.unwrap_err();
    assert_eq!((e.kind.as_str(), e.reason.as_str()), ("InvalidData", "Corrupt"), "{e:?}");
    assert!(e.text.contains("shortened") && (e.text.contains("/dev/shm/") || e.text.contains("shm:/")), "{e:?}");
}

/// An end becomes corrupt, whatever was done when it happened, and stays so.
#[track_caller]
fn is_over(party: &mut Party) {
    // Where the words of the peer are still there, it may have said before that this is the end. The watcher says
    // the rest. What it has not said yet a read waits for, and a write until the lane is full.
    while party.does("drain").ends_with(" eof") {}
    let has_error = |said: String| said.contains("err InvalidData Corrupt");
    while !has_error(party.does("fill")) {}
    assert!(has_error(party.does("drain")));
    for _ in 0..2 {
        is_cut_short(party.ask("read 1"));
        is_cut_short(party.ask("write 1"));
    }
}

/// Both ends become corrupt, and then they can be closed.
#[track_caller]
fn are_over(parties: &mut [Party; 2]) {
    parties.iter_mut().for_each(is_over);
    for party in parties {
        party.does("close");
        assert_eq!(party.reap().code(), Some(0));
    }
}

#[test]
fn while_nothing_is_done() {
    let _watchdog = Watchdog::new();
    for cut in CUTS {
        let (mut parties, victim) = couple();
        parties[0].does("send 1000 all");
        parties[1].does("receive 1000 all");
        victim.cut(cut);
        are_over(&mut parties);
    }
}

#[test]
fn while_one_is_parked_to_read() {
    let _watchdog = Watchdog::new();
    for (cut, sleeper) in CUTS.into_iter().flat_map(|cut| [(cut, 0), (cut, 1)]) {
        let (mut parties, victim) = couple();
        parties[sleeper].tell("read 10");
        parties[sleeper].is_asleep();
        victim.cut(cut);
        // The other one does nothing: the kernel's word is enough.
        is_cut_short(parties[sleeper].hear());
        are_over(&mut parties);
    }
}

#[test]
fn while_one_is_parked_to_write() {
    let _watchdog = Watchdog::new();
    for (cut, sleeper) in CUTS.into_iter().flat_map(|cut| [(cut, 0), (cut, 1)]) {
        let (mut parties, victim) = couple();
        parties[sleeper].tell(format!("send {} all", 2 * CAPACITY));
        parties[sleeper].is_asleep();
        victim.cut(cut);
        is_cut_short(parties[sleeper].hear());
        are_over(&mut parties);
    }
}

/// Without inotify sleepers ask for themselves; without `futex_waitv` they have to be found.
#[test]
fn while_one_is_parked_on_a_poorer_system() {
    let _watchdog = Watchdog::new();
    for denied in ["inotify_init1=EMFILE", "futex_waitv=ENOSYS"] {
        for (cut, command) in CUTS.into_iter().flat_map(|cut| [(cut, "read 10"), (cut, "send 200000 all")]) {
            let deny = ["--deny", denied];
            let (mut parties, victim) = meet([guarded(&deny), guarded(&deny)]);
            let [sleeper, other] = &mut parties;
            sleeper.tell(command);
            sleeper.is_asleep();
            victim.cut(cut);
            is_cut_short(sleeper.hear());
            is_over(sleeper);
            // The first one said that this is the end, or finds out itself when it touches what is gone; it has
            // no reason to sleep and then to ask.
            let said = other.does("fill");
            assert!(said.contains("Corrupt") || said.contains("BrokenPipe"), "{said}");
            for party in &mut parties {
                party.does("close");
                assert_eq!(party.reap().code(), Some(0));
            }
        }
    }
}

/// At any moment of a transfer both ways. Every byte that is read is checked: zeros are not handed out.
#[test]
fn while_both_read_and_write() {
    let _watchdog = Watchdog::new();
    let mut random = Random::new(0xc07ed);
    let mut corrupt = 0;
    for round in 0..60 {
        let (mut parties, victim) = couple();
        for party in &mut parties {
            // With a half for each thread, or with two threads at one stream.
            let how = if round % 2 == 0 { "both" } else { "halves" };
            party.tell(format!("{how} 1000000000 1000000000 mixed"));
        }
        thread::sleep(Duration::from_micros(random.below(4000)));
        victim.cut(CUTS[round % 3]);
        let mut here = 0;
        for party in &mut parties {
            let e = party.hear().unwrap_err();
            match e.kind.as_str() {
                "InvalidData" => {
                    assert!(e.text.contains("shortened"), "{e:?}");
                    here += 1;
                }
                // The other one has found it first, and could still say so.
                "UnexpectedEof" | "BrokenPipe" => {}
                _ => panic!("round {round}: {e:?}"),
            }
        }
        assert!(here > 0, "round {round}: no party reported it");
        corrupt += here;
        if round % 2 == 0 {
            are_over(&mut parties);
        } else {
            parties.iter_mut().for_each(|party| assert_eq!(party.reap().code(), Some(0)));
        }
    }
    println!("{corrupt} of 120 ends found it themselves");
}

#[test]
fn while_it_is_closed() {
    let _watchdog = Watchdog::new();
    for cut in CUTS {
        // The close itself meets it, and does not block.
        let (mut parties, victim) = couple();
        parties[0].does("send 1000 all");
        parties[1].tell("read 1");
        parties[1].hear().unwrap();
        parties.iter().for_each(|party| party.signal(libc::SIGSTOP));
        parties.iter().for_each(|party| party.is_in_state('T'));
        victim.cut(cut);
        parties.iter_mut().for_each(|party| party.tell("close"));
        parties.iter().for_each(|party| party.signal(libc::SIGCONT));
        for party in &mut parties {
            party.hear().unwrap();
            assert_eq!(party.reap().code(), Some(0));
        }
    }
}

#[test]
fn while_a_party_waits_to_accept_or_to_be_accepted() {
    let _watchdog = Watchdog::new();
    for cut in CUTS {
        let scratch = Scratch::new();
        let [mut a, mut b] = [guarded(&[]), guarded(&[])];
        let bind = format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", scratch.addr());
        a.does(&bind);
        a.tell("accept");
        a.is_asleep();
        Victim::of(&scratch).cut(cut);
        is_cut_short(a.hear());
        is_cut_short(a.ask("accept"));
        // A new connector finds out what it is, too.
        let e = b.ask(format!("connect {}", scratch.addr())).unwrap_err();
        assert_eq!(e.kind, "InvalidData", "{e:?}");
        a.does("unlisten");
        a.does(&bind);
        b.tell(format!("connect {}", scratch.addr()));
        b.is_asleep();
        Victim::of(&scratch).cut(cut);
        is_cut_short(b.hear());
        is_cut_short(a.ask("accept"));
        a.does("unlisten");
        // All is well afterwards.
        a.does(&bind);
        a.tell("accept");
        b.does(format!("connect {}", scratch.addr()));
        a.hear().unwrap();
        a.does("send 100 all");
        b.does("receive 100 some");
    }
}

/// A connector that finds the region cut short gives its claim up. A listener that accepts after that learns of the cut, too,
/// and does not take the connector for dead, though the kernel tells this listener nothing.
#[test]
fn while_nothing_tells_the_listener() {
    let _watchdog = Watchdog::new();
    for cut in CUTS {
        let scratch = Scratch::new();
        let [mut a, mut b] = [guarded(&["--deny", "inotify_init1=EMFILE"]), guarded(&[])];
        let bind = format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", scratch.addr());
        a.does(&bind);
        b.tell(format!("connect {}", scratch.addr()));
        b.is_asleep();
        Victim::of(&scratch).cut(cut);
        is_cut_short(b.hear());
        is_cut_short(a.ask("accept"));
        is_cut_short(a.ask("accept"));
        a.does("unlisten");
        // And while it waits.
        a.does(&bind);
        a.tell("accept");
        a.is_asleep();
        Victim::of(&scratch).cut(cut);
        is_cut_short(a.hear());
    }
}

/// At any moment on the way to each other. No party hangs and none dies; both meet, or get an error.
#[test]
fn while_they_meet() {
    let _watchdog = Watchdog::new();
    let mut random = Random::new(0x3ee7);
    let mut met = 0;
    for round in 0..60 {
        let scratch = Scratch::new();
        let mut parties = [guarded(&[]), guarded(&[])];
        let [a, b] = &mut parties;
        a.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", scratch.addr()));
        let victim = Victim::of(&scratch);
        a.tell("accept 500");
        b.tell(format!("connect {}", scratch.addr()));
        thread::sleep(Duration::from_micros(random.below(1500)));
        victim.cut(CUTS[round % 3]);
        let mut found = 0;
        for party in parties.iter_mut().rev() {
            match party.hear() {
                Ok(_) => is_over(party),
                Err(e) => {
                    assert_eq!(e.kind, "InvalidData", "{e:?}");
                    found += 1;
                }
            }
        }
        met += u32::from(found == 0);
        parties.iter_mut().for_each(|party| assert_eq!(party.reap().code(), Some(0)));
    }
    println!("{met} of 60 met before they got an error");
}

#[test]
fn a_forked_child_is_guarded() {
    let _watchdog = Watchdog::new();
    for cut in CUTS {
        let ([mut a, mut b], victim) = couple();
        a.does("send 10 all");
        b.tell("fork-and-poll");
        // Whether the child has read them by now or not.
        thread::sleep(Duration::from_millis(5));
        victim.cut(cut);
        let said = b.hear().unwrap();
        assert!(["Corrupt after 0", "Corrupt after 10"].contains(&said.as_str()), "{cut:?}: {said}");
    }
}

#[test]
fn a_small_stack_for_signals_is_enough() {
    let _watchdog = Watchdog::new();
    for bus in ["info", "default"] {
        let (mut parties, victim) = meet([guarded(&[]), guarded(&["--bus", bus])]);
        parties[0].does("send 100 all");
        parties[1].signal(libc::SIGSTOP);
        parties[1].is_in_state('T');
        parties[1].tell("drain-on-small-stack");
        victim.cut(Cut::All);
        parties[1].signal(libc::SIGCONT);
        let said = parties[1].hear().unwrap();
        assert!(said.starts_with("0 err InvalidData Corrupt"), "{said}");
        are_over(&mut parties);
    }
}

#[test]
fn faults_elsewhere_are_for_the_handler_that_was_there() {
    let _watchdog = Watchdog::new();
    for (bus, seen) in [("info", "seen=there masked=true"), ("plain", "seen=nowhere masked=false")] {
        let (mut parties, victim) = meet([guarded(&[]), guarded(&["--bus", bus])]);
        assert_eq!(parties[1].does("bus-elsewhere"), format!("0 calls=1 {seen}"));
        parties[0].does("send 100 all");
        victim.cut(Cut::All);
        let said = parties[1].does("drain");
        assert!(said.contains("Corrupt"), "{said}");
        // Our own faults were none of its business, and it still works. So it does when more ends are guarded.
        assert_eq!(parties[1].does("bus-elsewhere"), format!("0 calls=2 {seen}"));
        let scratch = Scratch::new();
        parties[1].does(format!("bind {} 64 64 0", scratch.addr()));
        assert_eq!(parties[1].does("bus-elsewhere"), format!("0 calls=3 {seen}"));
        are_over(&mut parties);
    }
}

/// The default, a program that ignores the signal, and Rust's own handler.
#[test]
fn faults_elsewhere_kill_without_a_handler() {
    let _watchdog = Watchdog::new();
    for more in [&["--bus", "default"][..], &["--bus", "ignore"], &[]] {
        let ([_a, mut b], _) = meet([guarded(&[]), guarded(more)]);
        b.tell("bus-elsewhere");
        assert_eq!(b.reap().signal(), Some(libc::SIGBUS), "{more:?}");
    }
    // A handler that was to be called once is.
    let ([_a, mut b], _) = meet([guarded(&[]), guarded(&["--bus", "once"])]);
    assert_eq!(b.does("bus-elsewhere"), "0 calls=1 seen=nowhere masked=false");
    b.tell("bus-elsewhere");
    assert_eq!(b.reap().signal(), Some(libc::SIGBUS));
}

/// A SIGBUS that another process sends is no fault: it is handled, kills, or is ignored, as before.
#[test]
fn a_signal_that_was_sent() {
    let _watchdog = Watchdog::new();
    let ([_a, mut b], _) = meet([guarded(&[]), guarded(&["--bus", "default"])]);
    b.signal(libc::SIGBUS);
    assert_eq!(b.reap().signal(), Some(libc::SIGBUS));
    let ([mut a, mut b], _) = meet([guarded(&[]), guarded(&["--bus", "ignore"])]);
    b.signal(libc::SIGBUS);
    a.does("send 10 all");
    b.does("receive 10 all");
}

/// Without a guard no party dies before it touches what is gone; then it does.
#[test]
fn without_a_guard_it_kills() {
    let _watchdog = Watchdog::new();
    let unguarded = || Party::start(PARTY);
    let ([mut a, b], victim) = meet([unguarded(), unguarded()]);
    a.does("send 10 all");
    victim.cut(Cut::All);
    a.tell("write 1");
    assert_eq!(a.reap().signal(), Some(libc::SIGBUS));
    drop(b);
    // A sleeper sleeps on: it does not spin, and its process lives until something wakes it.
    let ([a, mut b], victim) = meet([unguarded(), unguarded()]);
    b.tell("read 1");
    b.is_asleep();
    // While its watch is young it asks for itself, and looks at the memory then.
    thread::sleep(OLD_WATCH);
    victim.cut(Cut::All);
    let before = run_time(&b);
    thread::sleep(Duration::from_millis(300));
    b.is_asleep();
    assert!(run_time(&b) - before <= 2, "it runs, and does not sleep");
    let mut a = a;
    a.kill_and_reap();
    assert_eq!(b.reap().signal(), Some(libc::SIGBUS));
}

/// `shm:` is a file, too. Other kinds have memory that no process can shorten.
#[test]
fn over_shm() {
    let _watchdog = Watchdog::new();
    for cut in CUTS {
        let place = Place::new(Kind::Shm);
        let mut parties = [guarded(&[]), guarded(&[])];
        let [a, b] = &mut parties;
        a.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", place.addr()));
        let name = place.addr().replace("shm:/", "/dev/shm/");
        let victim = Victim::named(&name);
        a.does("seeds 1 2");
        b.does("seeds 2 1");
        a.tell("accept");
        b.does(format!("connect {}", place.addr()));
        a.hear().unwrap();
        b.tell("read 10");
        b.is_asleep();
        victim.cut(cut);
        is_cut_short(b.hear());
        are_over(&mut parties);
    }
}

/// A guarded end beside one that has none: it does not depend on the other.
#[test]
fn one_guard_is_enough_for_its_end() {
    let _watchdog = Watchdog::new();
    for cut in CUTS {
        let ([mut a, b], victim) = meet([guarded(&[]), Party::start(PARTY)]);
        a.tell("read 1");
        a.is_asleep();
        victim.cut(cut);
        is_cut_short(a.hear());
        is_cut_short(a.ask("write 1"));
        drop(b);
        is_cut_short(a.ask("read 1"));
        a.does("close");
        assert_eq!(a.reap().code(), Some(0));
    }
}

/// The clock ticks, hundredths of a second, that a process has run.
fn run_time(party: &Party) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", party.pid())).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let words: Vec<u64> = rest.split(' ').skip(1).take(13).map(|word| word.parse().unwrap_or(0)).collect();
    words[10] + words[11]
}
