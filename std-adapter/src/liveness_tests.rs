use super::*;
use crate::lock::tests::reopen;
use crate::parking::{DEFAULT_SPIN, Parker};
use crate::testing::{helper, role};
use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, setrlimit};
use smstream_core::park::Place;
use smstream_core::park::{ALERT_GONE, Park};
use smstream_shm::memory::memfd;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;
use std::thread;
use std::time::Instant;

/// A file with both parties' locks held, each on a description of its own. The kernel reports no close of the
/// description that `memfd_create` made, so that neither party uses it.
fn region() -> (Arc<OwnedFd>, OwnedFd) {
    let mine = reopen(&memfd("liveness-test", 4096).unwrap(), OFlags::RDWR);
    let theirs = reopen(&mine, OFlags::RDWR);
    assert!(lock::try_lock(&mine, Byte::Party0).unwrap());
    assert!(lock::try_lock(&theirs, Byte::Party1).unwrap());
    (Arc::new(mine), theirs)
}

/// So that a lost notice is a failure and not a test that hangs.
fn patience() -> Option<Deadline> {
    Some(Deadline::after(Duration::from_secs(20)))
}

/// (watch, waitv): all the ways there are here.
fn ways() -> impl Iterator<Item = (bool, bool)> {
    [(true, true), (true, false), (false, true), (false, false)].into_iter().filter(|w| !w.1 || futex::has_waitv())
}

/// What a reader does: waits on a word that never changes, until it learns that the peer is gone.
fn wait_as(half: Half, monitor: &Arc<PeerMonitor>) {
    let park = Parker::new(Arc::clone(monitor), half, DEFAULT_SPIN);
    let word = AtomicU32::new(0);
    loop {
        let seen = park.alert().unwrap().load_alert();
        if seen & ALERT_GONE != 0 {
            return;
        }
        let cursor = Watch { word: SharedWord::new(&word), seen: 0, place: Place::Shared };
        let alert = Watch { word: park.alert().unwrap(), seen, place: Place::Local };
        assert_eq!(park.wait(&[cursor, alert], patience()), Wake::Maybe, "{half:?} was not alerted");
    }
}

#[test]
fn both_halves_and_other_waiters_are_woken() {
    for (watch, waitv) in ways() {
        for _ in 0..20 {
            let (mine, theirs) = region();
            let monitor = PeerMonitor::of_lock_with(mine, Byte::Party1, watch, waitv, None);
            assert_eq!(monitor.watch_mode(), if watch { WatchMode::Watched } else { WatchMode::Timed });
            assert!(!monitor.probe());
            monitor.young.end();
            thread::scope(|scope| {
                scope.spawn(|| wait_as(Half::Reader, &monitor));
                scope.spawn(|| wait_as(Half::Writer, &monitor));
                scope.spawn(|| assert!(monitor.wait_gone(patience())));
                drop(theirs);
            });
            assert!(monitor.is_gone());
        }
    }
}

#[test]
fn a_peer_that_is_gone_before_is_found_at_once() {
    for (watch, waitv) in ways() {
        let (mine, theirs) = region();
        drop(theirs);
        let monitor = PeerMonitor::of_lock_with(mine, Byte::Party1, watch, waitv, None);
        assert!(monitor.is_gone());
        assert!(monitor.wait_gone(None));
    }
}

#[test]
fn only_the_last_holder_counts() {
    let (mine, theirs) = region();
    let inspector = reopen(&theirs, OFlags::RDONLY);
    let copy = theirs.try_clone().unwrap();
    let monitor = PeerMonitor::of_lock(mine, Byte::Party1);
    monitor.young.end();
    drop(theirs);
    drop(inspector);
    assert!(!monitor.wait_gone(Some(Deadline::after(Duration::from_millis(5)))));
    assert!(!monitor.probe());
    drop(copy);
    assert!(monitor.wait_gone(patience()));
}

/// A lock that is given up without a close is no event for the kernel. A thread that asks finds out.
#[test]
fn asking_tells_the_halves() {
    let (mine, theirs) = region();
    let monitor = PeerMonitor::of_lock(mine, Byte::Party1);
    lock::unlock(&theirs, Byte::Party1).unwrap();
    assert!(monitor.probe());
    wait_as(Half::Reader, &monitor);
    wait_as(Half::Writer, &monitor);
}

/// The kernel had reported the close before the watch was there, and releases the lock afterwards: no event tells of that.
#[test]
fn a_death_that_had_begun_before_is_noticed() {
    for (watch, waitv) in ways() {
        let (mine, theirs) = region();
        let monitor = PeerMonitor::of_lock_with(mine, Byte::Party1, watch, waitv, None);
        assert!(!monitor.is_gone());
        thread::scope(|scope| {
            scope.spawn(|| wait_as(Half::Reader, &monitor));
            scope.spawn(|| assert!(monitor.wait_gone(patience())));
            lock::unlock(&theirs, Byte::Party1).unwrap();
        });
    }
}

/// The questions for that have an end.
#[test]
fn an_end_is_young_for_a_while() {
    let (mine, _theirs) = region();
    let monitor = PeerMonitor::of_lock(mine, Byte::Party1);
    assert!(monitor.is_timed());
    assert!(!monitor.wait_gone(Some(Deadline::after(young::YOUNG * 2))));
    assert!(!monitor.is_timed());
    assert_eq!(monitor.watch_mode(), WatchMode::Watched);
}

/// A thread that only looks and never sleeps learns of it as well, in the end.
#[test]
fn looking_after_is_enough() {
    for (watch, waitv) in ways() {
        let (mine, theirs) = region();
        let monitor = PeerMonitor::of_lock_with(mine, Byte::Party1, watch, waitv, None);
        drop(theirs);
        while !monitor.is_gone() {
            monitor.maintain();
            thread::yield_now();
        }
        assert_eq!(monitor.alert(Half::Reader).load(), ALERT_GONE);
    }
    PeerMonitor::none().maintain();
}

#[test]
fn a_peer_in_this_process_is_not_watched() {
    let monitor = PeerMonitor::none();
    assert_eq!(monitor.watch_mode(), WatchMode::None);
    assert!(!monitor.probe());
    assert!(!monitor.wait_gone(Some(Deadline::after(Duration::from_millis(1)))));
}

#[test]
fn two_ends_of_one_region_share_a_watch() {
    let (mine, theirs) = region();
    let theirs = Arc::new(theirs);
    let a = PeerMonitor::of_lock(Arc::clone(&mine), Byte::Party1);
    let b = PeerMonitor::of_lock(Arc::clone(&theirs), Byte::Party0);
    b.young.end();
    assert_eq!(a.watch_id.load(Ordering::Relaxed), b.watch_id.load(Ordering::Relaxed));
    drop(a);
    drop(mine);
    assert!(b.wait_gone(patience()));
}

#[test]
fn registering_comes_and_goes_on_many_threads() {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200 {
                    let (mine, theirs) = region();
                    let theirs = Arc::new(theirs);
                    let a = PeerMonitor::of_lock(Arc::clone(&mine), Byte::Party1);
                    let b = PeerMonitor::of_lock(Arc::clone(&theirs), Byte::Party0);
                    a.young.end();
                    b.young.end();
                    if round % 2 == 0 {
                        drop((a, mine));
                        assert!(b.wait_gone(patience()));
                    } else {
                        drop((b, theirs));
                        assert!(a.wait_gone(patience()));
                    }
                }
            });
        }
    });
}

/// A peer in another process: takes the claim on the file that it inherits as its standard input, and lives for ever.
#[test]
fn helper_peer() {
    if role().as_deref() != Some("peer") {
        return;
    }
    let file = reopen(&std::io::stdin().as_fd().try_clone_to_owned().unwrap(), OFlags::RDWR);
    assert!(lock::try_lock(&file, Byte::Party1).unwrap());
    println!("ready");
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_process_is_noticed() {
    for (watch, waitv) in ways() {
        let mine = memfd("liveness-test", 4096).unwrap();
        let mut peer = helper("liveness::tests::helper_peer", "peer")
            .stdin(mine.try_clone().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(peer.stdout.take().unwrap());
        assert!(output.lines().any(|line| line.unwrap().ends_with("ready")));
        let monitor = PeerMonitor::of_lock_with(Arc::new(mine), Byte::Party1, watch, waitv, None);
        assert!(!monitor.is_gone());
        monitor.young.end();
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait_as(Half::Reader, &monitor));
            let start = Instant::now();
            peer.kill().unwrap();
            sleeper.join().unwrap();
            eprintln!("watch {watch}, waitv {waitv}: noticed after {:?}", start.elapsed());
        });
        peer.wait().unwrap();
    }
}

/// The threads of this process that are watchers.
fn watchers() -> Vec<std::path::PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|t| t.unwrap().path());
    tasks.filter(|t| std::fs::read_to_string(t.join("comm")).is_ok_and(|c| c == "smstream-watch\n")).collect()
}

/// The one watcher, as soon as it has its name.
fn watcher() -> std::path::PathBuf {
    loop {
        if let [watcher] = &watchers()[..] {
            return watcher.clone();
        }
        thread::yield_now();
    }
}

/// The inotify watches of this process.
fn watches() -> usize {
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap().map(|f| f.unwrap().path());
    infos.map(|f| std::fs::read_to_string(f).unwrap_or_default().matches("inotify wd:").count()).sum()
}

#[test]
fn helper_alone() {
    match role().as_deref() {
        Some("idle") => idle(),
        Some("order") => order(),
        Some("fork") => fork(),
        Some("no-descriptors") => no_descriptors(),
        _ => {}
    }
}

#[test]
fn in_a_process_of_its_own() {
    for role in ["idle", "order", "fork", "no-descriptors"] {
        let status = helper("liveness::tests::helper_alone", role).status().unwrap();
        assert!(status.success(), "{role}: {status}");
    }
}

/// The watcher sleeps without a timeout, has all signals blocked, and the last end takes its watch away.
fn idle() {
    assert!(watchers().is_empty());
    let (mine, theirs) = region();
    let theirs = Arc::new(theirs);
    let a = PeerMonitor::of_lock(mine, Byte::Party1);
    let b = PeerMonitor::of_lock(theirs, Byte::Party0);
    let task = watcher();
    let sleeping = || {
        let text = std::fs::read_to_string(task.join("syscall")).unwrap();
        let words: Vec<_> = text.split_whitespace().collect();
        let number = words[0].parse::<libc::c_long>().unwrap_or(-1);
        // The timeout is the fourth argument: -1, or no pointer.
        [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2].contains(&number)
            && ["0xffffffff", "0xffffffffffffffff", "0x0"].contains(&words[4])
            || cfg!(target_arch = "x86_64") && number == 232 && words[4].ends_with("ffffffff")
    };
    while !sleeping() {
        thread::yield_now();
    }
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let blocked = status.lines().find_map(|l| l.strip_prefix("SigBlk:\t")).unwrap();
    // All but KILL and STOP, and the two that the C library keeps to itself.
    let blocked = u64::from_str_radix(blocked, 16).unwrap();
    assert_eq!(blocked | 0x1_8004_0100, u64::MAX, "{blocked:x}");
    assert_eq!(watches(), 1);
    drop(a);
    assert_eq!(watches(), 1);
    drop(b);
    assert_eq!(watches(), 0);
    assert_eq!(watchers().len(), 1);
}

/// The descriptors of ends lie above those of the watcher, so that the kernel releases them first.
fn order() {
    let before = memfd("liveness-test", 4096).unwrap();
    assert!(lock::try_lock(&before, Byte::Party0).unwrap());
    let moved = move_above_watcher_fds(before);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|f| f.unwrap().path());
    let inotify = open.filter(|f| std::fs::read_link(f).is_ok_and(|to| to.as_os_str() == "anon_inode:inotify"));
    let number = |f: std::path::PathBuf| f.file_name().unwrap().to_str().unwrap().parse::<i32>().unwrap();
    let highest = inotify.map(number).max().unwrap();
    assert!(moved.as_raw_fd() > highest, "{moved:?} {highest}");
    assert!(lock::is_held(reopen(&moved, OFlags::RDWR), Byte::Party0).unwrap(), "it is the same description");
    let number = moved.as_raw_fd();
    assert_eq!(move_above_watcher_fds(moved).as_raw_fd(), number);
}

/// A forked child makes a watcher of its own when it waits.
fn fork() {
    let (mine, theirs) = region();
    let monitor = PeerMonitor::of_lock(mine, Byte::Party1);
    watcher();
    // SAFETY: the test harness waits for this test and holds no lock meanwhile. The child leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        assert!(watchers().is_empty());
        // The parent's instance has been inherited.
        let before = watches();
        assert!(!monitor.wait_gone(Some(Deadline::now())));
        watcher();
        let made = watches();
        let mode = monitor.watch_mode();
        drop(theirs);
        let gone = monitor.wait_gone(patience());
        drop(monitor);
        let good = made == before + 1 && mode == WatchMode::Watched && gone && watches() == before;
        // SAFETY: ends this process without running anything else.
        unsafe { libc::_exit(if good { 0 } else { 1 }) };
    }
    drop(theirs);
    assert!(monitor.wait_gone(patience()));
    let mut status = 0;
    // SAFETY: the pointer is to an integer of the right type.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
}

/// No descriptor is left for inotify: sleepers ask for themselves. When there are some again, later ends are watched.
fn no_descriptors() {
    let (mine, theirs) = region();
    let next = theirs.try_clone().unwrap().as_raw_fd();
    let full = Rlimit { current: u64::try_from(next).ok(), maximum: Some(1024) };
    setrlimit(Resource::Nofile, full).unwrap();
    let timed = PeerMonitor::of_lock(Arc::clone(&mine), Byte::Party1);
    assert_eq!(timed.watch_mode(), WatchMode::Timed);
    setrlimit(Resource::Nofile, Rlimit { current: Some(1024), maximum: Some(1024) }).unwrap();
    let watched = PeerMonitor::of_lock(mine, Byte::Party1);
    assert_eq!(watched.watch_mode(), WatchMode::Watched);
    drop(theirs);
    assert!(timed.wait_gone(patience()));
    assert!(watched.wait_gone(patience()));
}
