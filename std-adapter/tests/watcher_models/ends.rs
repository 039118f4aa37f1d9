//! Ends whose peers hold a lock.

use crate::kernel::{Byte, Tells, is_held};
use crate::mode::WatchMode;
use crate::registry::WatchedEnd;
use crate::world::{Alerts, World, spawn, with_watcher};
use crate::{Mutant, dies, explore, is};
use rustix::fd::{BorrowedFd, RawFd};
use std::cell::Cell;
use std::sync::Arc;

/// Stands for `PeerMonitor`.
struct End {
    world: Arc<World>,
    alerts: Arc<Alerts>,
    fd: RawFd,
    wd: Option<i32>,
    /// Stands for `Young`.
    young: Cell<bool>,
    /// What there was to find out when it asked last.
    asked: Cell<u32>,
}

impl End {
    /// Mirrors `PeerMonitor::ensure_registered_in`. Without a `watch` the kernel has none left.
    fn new(world: &Arc<World>, watch: bool) -> End {
        let (world, alerts) = (Arc::clone(world), Alerts::new());
        let fd = world.kernel.open();
        let mut end = End { world, alerts, fd, wd: None, young: Cell::new(false), asked: Cell::new(0) };
        if watch {
            end.wd = Some(end.register());
            end.young.set(!is(Mutant::Young));
        } else {
            end.alerts.set_mode(WatchMode::Timed);
        }
        if !is(Mutant::AskAfterRegistering) {
            end.probe();
        }
        end
    }

    /// Mirrors `watcher::register`.
    fn register(&self) -> i32 {
        let mut registry = self.world.registry.lock().unwrap();
        let wd = self.world.kernel.add_watch(Tells::Close);
        let alerts = Arc::clone(&self.alerts);
        registry.enter(wd, WatchedEnd { fd: self.fd, byte: Some(Byte), cut: None, alerts });
        self.alerts.set_mode(WatchMode::Watched);
        wd
    }

    /// Mirrors `PeerMonitor::probe` and `Young::ask`.
    fn probe(&self) -> bool {
        // SAFETY: the number is this kernel's, and the system is not asked about it.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        if self.alerts.is_gone() {
            return true;
        }
        let (version, is_old) = self.world.kernel.now();
        self.asked.set(version);
        let gone = !is_held(fd, Byte).unwrap();
        let is_old = if is(Mutant::AgeFirst) { self.world.kernel.now().1 } else { is_old };
        if gone {
            self.alerts.raise_gone();
        } else if is_old {
            self.young.set(false);
        }
        gone
    }

    /// Mirrors `PeerMonitor::is_timed`.
    fn is_timed(&self) -> bool {
        (self.alerts.is_timed() && !is(Mutant::Slices)) || self.young.get()
    }

    /// A half sleeps on the peer's cursor and its alert: mirrors `sleep::sleep`, until the peer is gone. No cursor changes here.
    fn sleep(&self) {
        while !self.alerts.is_gone() {
            if self.is_timed() {
                self.world.kernel.slice(self.asked.get());
                self.probe();
                continue;
            }
            self.alerts.futex.wait(|| !self.alerts.is_gone());
            if !self.alerts.is_gone() && !is(Mutant::AskAfterWake) {
                self.probe();
            }
        }
        self.alerts.futex.end();
    }

    /// Mirrors the `Drop` of `PeerMonitor`, with `watcher::deregister`.
    fn deregister(&self) {
        let Some(wd) = self.wd.filter(|_| !is(Mutant::Deregister)) else { return };
        let mut registry = self.world.registry.lock().unwrap();
        if registry.leave(wd, &self.alerts) || is(Mutant::KeepShared) {
            self.world.kernel.remove_watch(wd);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if is(Mutant::CloseLast) {
            self.world.kernel.close(self.fd);
        }
        self.deregister();
        if !is(Mutant::CloseLast) {
            self.world.kernel.close(self.fd);
        }
    }
}

/// The peer dies at any time: before, while or after the end registers, and while it sleeps. The close comes before the lock is free.
fn death_at_any_time() {
    with_watcher(|world| {
        let peer = spawn(world, |world| world.kernel.kill());
        End::new(world, true).sleep();
        peer.join().unwrap();
    });
}

/// A peer that is dead already is found so at once, and not after a slice.
fn death_before() {
    with_watcher(|world| {
        world.kernel.kill();
        let other = spawn(world, |world| world.kernel.close_file());
        let end = End::new(world, true);
        assert!(end.alerts.is_gone());
        other.join().unwrap();
    });
}

/// Another process looks at the file and closes it, beside the death.
fn death_beside_a_close_for_nothing() {
    with_watcher(|world| {
        let peer = spawn(world, |world| world.kernel.kill());
        let end = End::new(world, true);
        world.kernel.close_file();
        end.sleep();
        peer.join().unwrap();
    });
}

/// More happens than the kernel's queue holds, so that the close is not in it.
fn death_while_the_queue_is_full() {
    with_watcher(|world| {
        world.kernel.fill();
        let peer = spawn(world, |world| world.kernel.kill());
        End::new(world, true).sleep();
        peer.join().unwrap();
    });
}

/// The kernel removes the watch while the end sleeps, and then the peer dies: no event tells of that.
fn death_after_the_watch_was_lost() {
    with_watcher(|world| {
        let peer = spawn(world, |world| {
            world.kernel.unmount();
            world.kernel.kill();
        });
        End::new(world, true).sleep();
        peer.join().unwrap();
    });
}

/// There is no watch.
fn death_without_a_watch() {
    with_watcher(|world| {
        let peer = spawn(world, |world| world.kernel.kill());
        End::new(world, false).sleep();
        peer.join().unwrap();
    });
}

/// The peer gives its lock up and does not close the file, which another process has open. It wakes the sleeper, again and again.
fn a_lock_given_up_with_wakes() {
    with_watcher(|world| {
        let end = End::new(world, true);
        let theirs = Arc::clone(&end.alerts);
        let peer = spawn(world, move |world| {
            if is(Mutant::WakeOfLeaverEarly) {
                theirs.futex.wake_when_asleep();
            }
            world.kernel.unlock();
            if !is(Mutant::WakeOfLeaverEarly) && !is(Mutant::WakeOfLeaver) {
                theirs.futex.wake_when_asleep();
            }
        });
        end.sleep();
        peer.join().unwrap();
    });
}

/// The same. It opens the file once more and closes that.
fn a_lock_given_up_with_a_close() {
    with_watcher(|world| {
        let end = End::new(world, true);
        let peer = spawn(world, move |world| {
            world.kernel.unlock();
            if !is(Mutant::CloseOfLeaver) {
                world.kernel.close_file();
            }
        });
        end.sleep();
        peer.join().unwrap();
    });
}

/// Two ends of one region share a watch. One is dropped while the other sleeps.
fn the_other_end_of_the_region_is_dropped() {
    with_watcher(|world| {
        let other = End::new(world, true);
        let end = End::new(world, true);
        let peer = spawn(world, |world| world.kernel.kill());
        drop(other);
        end.sleep();
        peer.join().unwrap();
        assert!(!end.alerts.is_timed(), "the watch is lost");
    });
}

/// An end is dropped while an event for it is on its way. Its descriptor is closed then, and the next end has the same number and watches
/// the same file: that one learns of the death, and the other one is not alerted any more.
fn an_end_is_dropped_while_an_event_is_on_its_way() {
    with_watcher(|world| {
        let peer = spawn(world, |world| world.kernel.kill());
        let first = End::new(world, true);
        let alerts = Arc::clone(&first.alerts);
        drop(first);
        let knew = alerts.is_gone();
        let second = End::new(world, true);
        second.sleep();
        peer.join().unwrap();
        assert_eq!(alerts.is_gone(), knew, "an end was alerted that was dropped");
        assert!(!second.alerts.is_timed(), "the watch that was lost is another one");
        assert_eq!(Arc::strong_count(&alerts), 1, "the registry knows an end that was dropped");
    });
}

#[test]
fn death_against_registering() {
    explore(Some(3), death_at_any_time);
    explore(Some(2), death_before);
}

#[test]
fn death_against_a_close() {
    explore(Some(2), death_beside_a_close_for_nothing);
}

#[test]
fn death_against_a_full_queue() {
    explore(Some(2), death_while_the_queue_is_full);
}

#[test]
fn death_against_a_lost_watch() {
    explore(Some(2), death_after_the_watch_was_lost);
}

#[test]
fn death_against_slices() {
    explore(Some(2), death_without_a_watch);
}

#[test]
fn giving_the_lock_up_against_a_sleeper() {
    explore(Some(2), a_lock_given_up_with_wakes);
    explore(Some(2), a_lock_given_up_with_a_close);
}

#[test]
fn death_against_dropping_another_end() {
    explore(Some(2), the_other_end_of_the_region_is_dropped);
}

#[test]
fn an_event_against_dropping_its_end() {
    explore(Some(2), an_end_is_dropped_while_an_event_is_on_its_way);
}

#[test]
fn each_step_of_registering_is_needed() {
    dies(Mutant::AskAfterRegistering, death_before);
    dies(Mutant::Slices, death_without_a_watch);
    dies(Mutant::Young, death_at_any_time);
    dies(Mutant::AgeFirst, death_at_any_time);
}

#[test]
fn each_step_of_the_watcher_is_needed() {
    dies(Mutant::AskLater, death_at_any_time);
    dies(Mutant::AskAtEvents, death_at_any_time);
    dies(Mutant::Overflow, death_while_the_queue_is_full);
    dies(Mutant::Lost, death_after_the_watch_was_lost);
    dies(Mutant::WakeOfAlert, death_at_any_time);
    dies(Mutant::WakeOfAlertEarly, death_at_any_time);
}

#[test]
fn each_step_of_giving_the_lock_up_is_needed() {
    dies(Mutant::AskAfterWake, a_lock_given_up_with_wakes);
    dies(Mutant::WakeOfLeaver, a_lock_given_up_with_wakes);
    dies(Mutant::WakeOfLeaverEarly, a_lock_given_up_with_wakes);
    dies(Mutant::CloseOfLeaver, a_lock_given_up_with_a_close);
}

#[test]
fn each_step_of_dropping_is_needed() {
    dies(Mutant::KeepShared, the_other_end_of_the_region_is_dropped);
    dies(Mutant::CloseLast, an_end_is_dropped_while_an_event_is_on_its_way);
    dies(Mutant::Deregister, an_end_is_dropped_while_an_event_is_on_its_way);
    dies(Mutant::AskLocked, an_end_is_dropped_while_an_event_is_on_its_way);
}
