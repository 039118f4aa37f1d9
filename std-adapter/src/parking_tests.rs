use super::*;
use crate::testing::{helper, role};
use rustix::process::Pid;
use smstream_core::park::ALERT_CANCEL;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A monitor, with `futex_waitv` or without.
fn monitor(waitv: bool) -> Arc<PeerMonitor> {
    PeerMonitor::none_with(waitv)
}

fn parker(waitv: bool) -> Parker {
    Parker::new(monitor(waitv), Half::Reader, DEFAULT_SPIN)
}

/// Both ways to sleep, where the kernel has both.
fn ways() -> impl Iterator<Item = bool> {
    [true, false].into_iter().filter(|waitv| !waitv || futex::has_waitv())
}

fn shared(word: &AtomicU32, seen: u32) -> Watch<'_> {
    Watch { word: SharedWord::new(word), seen, place: Place::Shared }
}

fn local(word: SharedWord<'_>, seen: u32) -> Watch<'_> {
    Watch { word, seen, place: Place::Local }
}

/// Whether the thread `tid` of this process sleeps in a futex call.
fn sleeps(tid: Pid) -> bool {
    let path = format!("/proc/self/task/{}/syscall", tid.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let number = text.split(' ').next().and_then(|n| n.parse::<libc::c_long>().ok());
    matches!(number, Some(libc::SYS_futex | libc::SYS_futex_waitv))
}

/// Runs `wait` in a thread, `then` when it sleeps, and returns what `wait` did.
fn while_asleep<T: Send>(wait: impl FnOnce() -> T + Send, then: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        let sleeper = scope.spawn(move || {
            send.send(rustix::thread::gettid()).unwrap();
            wait()
        });
        let tid = receive.recv().unwrap();
        while !sleeps(tid) {
            thread::yield_now();
        }
        then();
        sleeper.join().unwrap()
    })
}

#[test]
fn a_changed_word_ends_the_wait_before_it_begins() {
    for waitv in ways() {
        let park = parker(waitv);
        let words = [AtomicU32::new(1), AtomicU32::new(2), AtomicU32::new(3)];
        for changed in 0..3 {
            let mut watches = [shared(&words[0], 1), shared(&words[1], 2), local(SharedWord::new(&words[2]), 3)];
            watches[changed].seen = 7;
            assert_eq!(park.wait(&watches, None), Wake::Maybe);
        }
    }
}

#[test]
fn no_watches_are_no_reason_to_sleep_for_ever() {
    for waitv in ways() {
        let soon = Deadline::after(Duration::from_millis(1));
        let _ = parker(waitv).wait(&[], Some(soon));
    }
}

#[test]
fn a_wake_ends_the_wait() {
    for waitv in ways() {
        let (park, word, other) = (parker(waitv), AtomicU32::new(0), AtomicU32::new(0));
        let alert = park.alert().unwrap();
        let wake = while_asleep(
            || park.wait(&[shared(&word, 0), local(alert, 0)], None),
            || {
                word.store(1, Ordering::Release);
                park.wake(SharedWord::new(&word), 0);
                park.wake(SharedWord::new(&other), 99);
            },
        );
        assert_eq!(wake, Wake::Maybe);
    }
}

#[test]
fn any_of_three_words_ends_the_wait() {
    for waitv in ways() {
        for changed in 0..2 {
            let (park, words) = (parker(waitv), [AtomicU32::new(0), AtomicU32::new(0)]);
            let watches = [shared(&words[0], 0), shared(&words[1], 0), local(park.alert().unwrap(), 0)];
            let wake = while_asleep(
                || park.wait(&watches, None),
                || {
                    words[changed].store(1, Ordering::Release);
                    park.wake(SharedWord::new(&words[changed]), 0);
                },
            );
            assert_eq!(wake, Wake::Maybe, "word {changed}, waitv {waitv}");
        }
    }
}

#[test]
fn an_alert_ends_the_wait() {
    for waitv in ways() {
        let park = parker(waitv);
        let word = AtomicU32::new(0);
        let alert = park.alert().unwrap();
        while_asleep(
            || {
                // Until the alert is seen: a wake without cause is allowed.
                while alert.load_alert() == 0 {
                    assert_eq!(park.wait(&[shared(&word, 0), local(alert, 0)], None), Wake::Maybe);
                }
            },
            || park.monitor().raise(Half::Reader, ALERT_CANCEL),
        );
        assert_eq!(park.monitor().alert(Half::Writer).load(), 0);
    }
}

/// The half may be anywhere between its last look and its sleep when the alert comes.
#[test]
fn no_alert_is_lost_between_the_check_and_the_sleep() {
    for waitv in ways() {
        for _ in 0..2_000 {
            let park = parker(waitv);
            let word = AtomicU32::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let alert = park.alert().unwrap();
                    loop {
                        let seen = alert.load_alert();
                        if seen != 0 {
                            return;
                        }
                        assert_eq!(park.wait(&[shared(&word, 0), local(alert, seen)], None), Wake::Maybe);
                    }
                });
                park.monitor().raise_both(ALERT_CANCEL);
            });
        }
    }
}

#[test]
fn a_known_alert_needs_no_answer() {
    let park = parker(false);
    let word = AtomicU32::new(0);
    park.monitor().raise(Half::Reader, ALERT_CANCEL);
    let alert = park.alert().unwrap();
    let wake = while_asleep(
        || park.wait(&[shared(&word, 0), local(alert, ALERT_CANCEL)], None),
        || {
            // This must return although the half goes on sleeping.
            park.monitor().raise(Half::Writer, ALERT_CANCEL);
            word.store(1, Ordering::Release);
            park.wake(SharedWord::new(&word), 0);
        },
    );
    assert_eq!(wake, Wake::Maybe);
}

#[test]
fn a_deadline_ends_the_wait_not_early() {
    for waitv in ways() {
        let park = parker(waitv);
        let word = AtomicU32::new(0);
        for milliseconds in [0, 3, 45] {
            let deadline = Deadline::after(Duration::from_millis(milliseconds));
            let watches = [shared(&word, 0), shared(&word, 0), local(park.alert().unwrap(), 0)];
            while park.wait(&watches, Some(deadline)) != Wake::TimedOut {}
            assert!(deadline.has_passed());
            while park.wait(&watches[..1], Some(deadline)) != Wake::TimedOut {}
        }
    }
}

#[test]
fn a_spin_is_bounded_by_time() {
    let mut park = parker(true);
    park.spin = Duration::from_millis(2);
    let mut spin = park.spin_start();
    let start = Instant::now();
    while park.spin(&mut spin) {}
    assert!(start.elapsed() >= Duration::from_millis(2));
    park.spin = Duration::ZERO;
    assert!(!park.spin(&mut park.spin_start()));
}

/// How many of so many waits begin with looks, if each of these looks in vain for `spin`.
fn looks_in(waits: u32, park: &Parker) -> u32 {
    (0..waits).map(|_| u32::from(spins_in_vain(park))).sum()
}

/// A wait in which nothing comes: whether it looked for longer than a moment.
fn spins_in_vain(park: &Parker) -> bool {
    let mut spin = park.spin_start();
    let mut looks = 0;
    while park.spin(&mut spin) {
        looks += 1;
    }
    looks >= LOOKS_PER_CHECK
}

#[test]
fn who_spins_in_vain_spins_less_and_less_and_never_gives_up() {
    let mut park = parker(true);
    (park.spin, park.adapts) = (Duration::from_micros(1), true);
    // Not where a program has asked for the time.
    park.adapts = false;
    assert_eq!(looks_in(100, &park), 100);
    park.adapts = true;
    let looked = looks_in(2000, &park);
    assert!((9..20).contains(&looked), "{looked}");
    // From now on what it waits for comes at once: found out within as many waits as it skips, and then it looks each time.
    let found = |park: &Parker| {
        let mut spin = park.spin_start();
        let looks = park.spin(&mut spin);
        if looks {
            park.spin_found(spin);
        }
        looks
    };
    let until = (0..).find(|_| found(&park)).unwrap();
    assert!(until <= 32, "a moment is enough to find out: {until}");
    assert!((0..1000).all(|_| found(&park)));
}

/// A process that is pinned to one CPU has a peer on another one: that is how this library is used best.
#[test]
fn a_process_that_is_pinned_to_a_cpu_spins() {
    const NAME: &str = "parking::tests::a_process_that_is_pinned_to_a_cpu_spins";
    if role().is_none() {
        assert!(helper(NAME, "pinned").status().unwrap().success());
        return;
    }
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    let mut one = rustix::thread::CpuSet::new();
    one.set((0..1024).find(|cpu| all.is_set(*cpu)).unwrap());
    rustix::thread::sched_setaffinity(Some(rustix::process::getpid()), &one).unwrap();
    assert!(!default_spin().is_zero());
    let park = Parker::new(PeerMonitor::none(), Half::Reader, default_spin()).adapting(true);
    assert!(spins_in_vain(&park));
}

/// The watcher finds a file whole that was cut and made long again; but a thread that has touched the hole has a page of
/// its own.
#[test]
fn no_half_sleeps_on_an_empty_page() {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use smstream_shm::memory::guard::{Cut, install};
    use smstream_shm::memory::{Access, Mapping, SharedMemory, page_size};
    let installed = install().unwrap();
    let len = 2 * page_size();
    let fd = memfd_create("guard-test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, len as u64).unwrap();
    let cut = Cut::new(installed, len as u64);
    let see = Mapping::guarded(&fd, 0, len, Access::ReadOnly, Some(&cut)).unwrap();
    ftruncate(&fd, 0).unwrap();
    assert_eq!(see.load_u32(0), Some(0));
    ftruncate(&fd, len as u64).unwrap();
    let monitor = PeerMonitor::none_guarded(cut);
    let parker = Parker::new(Arc::clone(&monitor), Half::Reader, Duration::ZERO);
    // SAFETY: the mapping is aligned and longer than a word, and outlives this. Only relaxed loads are made of it.
    let word = unsafe { AtomicU32::from_ptr(see.start().cast()) };
    assert_eq!(parker.wait(&[shared(word, 0)], None), Wake::Maybe);
    for half in [Half::Reader, Half::Writer] {
        assert_eq!(monitor.alert(half).load(), ALERT_CORRUPT);
    }
}
