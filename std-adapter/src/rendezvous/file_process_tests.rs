//! The same between processes, some of which are killed.

use super::*;
use std::sync::atomic::AtomicBool;

/// A process that listens or connects, says so, and stays.
#[test]
fn helper_party() {
    let Some(role) = role() else { return };
    let Some((role, path)) = role.split_once(' ') else { return };
    match role {
        "listen" => {
            let mut listener = RegionListener::bind(path, &Config::new(CAPACITIES), None).unwrap();
            println!("ready");
            let mut kept = Vec::new();
            loop {
                kept.push(listener.accept(None).unwrap());
                println!("ready");
            }
        }
        "connect" => {
            let connected = connect(path, None).unwrap();
            println!("ready");
            connected.monitor.wait_gone(None);
        }
        "claim" => {
            let name = RegionName::of(Path::new(path)).unwrap();
            let region = Region::open(&name, None).unwrap();
            assert!(claim(&name, &region).unwrap());
            region.set_up_mine(&name).unwrap();
            region.publish_state(state::HELLO);
            println!("ready");
            loop {
                thread::park();
            }
        }
        "hello-and-no-wake" => {
            let name = RegionName::of(Path::new(path)).unwrap();
            let region = Region::open(&name, None).unwrap();
            assert!(claim(&name, &region).unwrap());
            region.set_up_mine(&name).unwrap();
            region.publish_unheard(state::HELLO);
            println!("ready");
            loop {
                thread::park();
            }
        }
        "limit" => limited(Path::new(path)),
        other => panic!("{other}"),
    }
}

struct Party(Child, Box<dyn Iterator<Item = std::io::Result<String>>>);

impl Party {
    fn start(role: &str, path: &Path) -> Self {
        let mut child =
            helper("rendezvous::file::tests::processes::helper_party", &format!("{role} {}", path.display()))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, Box::new(lines))
    }

    fn ready(mut self) -> Self {
        assert!(self.1.any(|line| line.unwrap().ends_with("ready")));
        self
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_killed_listener_leaves_a_name_that_is_taken_over() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let listener = Party::start("listen", &path).ready();
    let connected = connect(&path, patience()).unwrap();
    let listener = listener.ready();
    listener.kill();
    assert!(connected.monitor.wait_gone(patience()));
    assert_eq!(scratch.names(), ["name"]);
    let e = connect(&path, None).unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::ConnectionRefused, Some(ErrorCode::PartnerNotAlive)), "{e}");
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    let (a, b) = meet(&mut listener, &path);
    talk(&a, &b);
}

#[test]
fn a_killed_connector_is_noticed_after_and_skipped_before_it_is_accepted() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    let connector = Party::start("connect", &path);
    let accepted = listener.accept(patience()).unwrap();
    let connector = connector.ready();
    assert!(!accepted.monitor.probe());
    connector.kill();
    assert!(accepted.monitor.wait_gone(patience()));
    Party::start("claim", &path).ready().kill();
    assert!(listener.is_pending());
    let (a, b) = meet(&mut listener, &path);
    talk(&a, &b);
}

#[test]
fn a_connector_learns_that_its_listener_was_killed() {
    let scratch = Scratch::new();
    let path = scratch.path();
    // A listener that never accepts.
    let mut listener = Party::start("limit", &path).ready();
    thread::scope(|scope| {
        let connector = scope.spawn(|| connect(&path, patience()).unwrap_err().kind());
        // It waits at the word of the region once it has said HELLO; the helper says when it has seen that.
        listener = listener.ready();
        listener.kill();
        assert_eq!(connector.join().unwrap(), ErrorKind::ConnectionRefused);
    });
}

/// Only one of many takes a stale name over.
#[test]
fn one_listener_wins_a_stale_name() {
    let scratch = Scratch::new();
    let path = scratch.path();
    Party::start("listen", &path).ready().kill();
    let stale = fs::read(&path).unwrap();
    for _ in 0..50 {
        let start = std::sync::Barrier::new(4);
        let winners: Vec<_> = thread::scope(|scope| {
            let bind = || {
                start.wait();
                match RegionListener::bind(&path, &Config::new(CAPACITIES), None) {
                    Ok(listener) => Some(listener),
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::AddrInUse, "{e}");
                        None
                    }
                }
            };
            let binders: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
            binders.into_iter().filter_map(|b| b.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(scratch.names(), ["name"]);
        drop(winners);
        leave_over(&path, &stale);
    }
}

/// In a process of its own: a listener that cannot make the next region.
fn limited(path: &Path) {
    let mut listener = RegionListener::bind(path, &Config::new(CAPACITIES), None).unwrap();
    let low = Rlimit { current: Some(4096), maximum: None };
    setrlimit(Resource::Fsize, low).unwrap();
    println!("ready");
    let e = listener.accept(None).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::FileTooLarge, "{e}");
    assert!(listener.is_pending());
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    if line.is_empty() {
        loop {
            thread::park();
        }
    }
    setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    let accepted = listener.accept(None).unwrap();
    println!("ready");
    accepted.monitor.wait_gone(None);
}

#[test]
fn a_connector_stays_pending_while_no_next_region_can_be_made() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut child = helper("rendezvous::file::tests::processes::helper_party", &format!("limit {}", path.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let party = Party(child, Box::new(lines)).ready();
    thread::scope(|scope| {
        let connector = scope.spawn(|| connect(&path, patience()).unwrap());
        let party = party.ready();
        std::io::Write::write_all(&mut { stdin }, b"go on\n").unwrap();
        let mut party = party.ready();
        drop(connector.join().unwrap());
        assert!(party.0.wait().unwrap().success());
    });
}

/// A connector says HELLO, and is killed or stopped before it wakes the listener, which sleeps. The next one sees to it.
#[test]
fn a_hello_without_its_wake_holds_up_no_other() {
    for killed in [true, false] {
        let scratch = Scratch::new();
        let path = scratch.path();
        let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
        thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let (bury, dead) = std::sync::mpsc::channel();
            let accepting = scope.spawn(move || {
                sender.send(rustix::thread::gettid()).unwrap();
                let accept = |listener: &mut RegionListener| listener.accept(patience()).unwrap();
                let mut first = accept(&mut listener);
                // A connector that is being killed holds its lock until the kernel has closed its files. If the listener looks
                // just then, it accepts an end whose peer is gone: then the next one is the other connector.
                if !killed {
                    return (accept(&mut listener), Some(first));
                }
                dead.recv().unwrap();
                if first.monitor.probe() {
                    first = accept(&mut listener);
                }
                (first, None)
            });
            asleep(receiver.recv().unwrap());
            let silent = Party::start("hello-and-no-wake", &path).ready();
            let mut kept = None;
            if killed {
                silent.kill();
                bury.send(()).unwrap();
            } else {
                kept = Some(silent);
            }
            let b = connect(&path, patience()).unwrap();
            let (a, _first) = accepting.join().unwrap();
            talk(&a, &b);
            if let Some(silent) = kept {
                silent.kill();
            }
        });
    }
}

/// Waits until a thread of this process sleeps in a futex.
fn asleep(thread: rustix::thread::Pid) {
    let path = format!("/proc/self/task/{}/syscall", thread.as_raw_nonzero());
    let is_futex = |line: String| {
        let call = line.split_whitespace().next().and_then(|word| word.parse::<i64>().ok());
        call == Some(libc::SYS_futex_waitv) || call == Some(libc::SYS_futex)
    };
    while !fs::read_to_string(&path).is_ok_and(is_futex) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// A connector whose header is wrong is refused, with the reason, and the next one gets on.
#[test]
fn a_connector_with_a_bad_header_costs_itself_only() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    // Party, capacities, start, version: words of the identity that a listener checks.
    for word in [0x0c, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28] {
        let name = RegionName::of(&path).unwrap();
        let region = Region::open(&name, None).unwrap();
        assert!(claim(&name, &region).unwrap());
        region.set_up_mine(&name).unwrap();
        let second = second_segment(&fs::read(&path).unwrap());
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&0x8000_0011_u32.to_ne_bytes(), second + word).unwrap();
        region.publish_state(state::HELLO);
        assert!(listener.try_accept().unwrap().is_none(), "a connection with a wrong word at {word:#x}");
        assert_eq!(region.peer_state(), state::REFUSED | (Refusal::Memory as u32) << 8);
        drop(region);
        let (a, b) = meet(&mut listener, &path);
        talk(&a, &b);
    }
}

/// The word of a listener that refuses is an error with its reason.
#[test]
fn a_refusal_says_why() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    thread::scope(|scope| {
        let connector = scope.spawn(|| connect(&path, patience()).unwrap_err());
        while listener.current.peer_state() == state::NONE {
            thread::yield_now();
        }
        listener.current.publish_state(state::REFUSED | (Refusal::Memory as u32) << 8);
        let e = connector.join().unwrap();
        assert!(matches!(e.reason(), RendezvousReason::Refused(Refusal::Memory)), "{e}");
    });
}

/// A connector that has given up holds no claim any more, also while the watcher asks about the file.
#[test]
fn who_has_given_up_is_not_accepted() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    let mut connecting = RegionAttempt::to(&path, None).unwrap();
    assert!(connecting.step().unwrap().is_none());
    // As a thread has it that is just asking.
    let Stage::Asking { region, .. } = &connecting.stage else { panic!("it has not said HELLO") };
    let asked = Arc::clone(region.fd());
    drop(connecting);
    assert!(listener.try_accept().unwrap().is_none(), "a dead connection was handed out");
    drop(asked);
}

/// The lane of the listener's segment may begin anywhere behind the header, up to the next multiple of the alignment.
#[test]
fn the_listener_says_where_its_lane_begins() {
    let scratch = Scratch::new();
    let path = scratch.path();
    for offset in [768_u32, 896, 3968] {
        let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&offset.to_ne_bytes(), 0x1c).unwrap();
        let (a, b) = meet(&mut listener, &path);
        talk(&a, &b);
    }
}

/// Connectors that try again and again claim what a dead listener has left, each for a moment: that keeps no new listener from
/// its name.
#[test]
fn connectors_that_try_do_not_keep_a_listener_from_its_name() {
    let scratch = Scratch::new();
    let (path, fresh) = (scratch.path(), scratch.0.join("left"));
    let region = {
        let _living = RegionListener::bind(&fresh, &Config::new(CAPACITIES), None).unwrap();
        fs::read(&fresh).unwrap()
    };
    let is_over = AtomicBool::new(false);
    let bound = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = connect(&path, soon());
                }
            });
        }
        let bind = |_| {
            leave_over(&fresh, &region);
            fs::rename(&fresh, &path).unwrap();
            RegionListener::bind(&path, &Config::new(CAPACITIES), None).map(drop)
        };
        let bound: Result<Vec<()>, RendezvousError> = (0..300).map(bind).collect();
        is_over.store(true, Ordering::Relaxed);
        bound
    });
    bound.unwrap();
}
