//! Ends whose peers hold the other end of a socket.

use crate::mode::WatchMode;
use crate::world::{Alerts, World, spawn, with_watcher};
use crate::{Mutant, dies, explore, is};
use rustix::fd::RawFd;
use std::sync::Arc;

/// Stands for `PeerMonitor`.
struct End {
    world: Arc<World>,
    alerts: Arc<Alerts>,
    fd: RawFd,
}

impl End {
    /// Mirrors `watcher::register_socket`. To ask before spares the watcher what has hung up already, and nothing depends on it.
    fn new(world: &Arc<World>, fd: RawFd) -> End {
        let (world, alerts) = (Arc::clone(world), Alerts::new());
        let mut registry = world.registry.lock().unwrap();
        if registry.sockets.insert(fd, Arc::clone(&alerts)).is_none() {
            world.kernel.add_socket(fd);
        }
        alerts.set_mode(WatchMode::Watched);
        drop(registry);
        End { world, alerts, fd }
    }

    fn sleep(&self) {
        self.alerts.futex.wait(|| !self.alerts.is_gone());
    }

    /// Mirrors `watcher::deregister_socket`.
    fn deregister(&self) {
        let mut registry = self.world.registry.lock().unwrap();
        if !is(Mutant::Deregister) && registry.sockets.remove(&self.fd).is_some() {
            self.world.kernel.delete_socket(self.fd);
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

/// The peer hangs up at any time.
fn a_hang_up_at_any_time() {
    with_watcher(|world| {
        let fd = world.kernel.open();
        let peer = spawn(world, move |world| world.kernel.hang_up(fd));
        End::new(world, fd).sleep();
        peer.join().unwrap();
    });
}

/// A socket hangs up and is dropped, and the next one has its number, while the watcher has the event in hand. That one is not taken
/// for dead, and its own hang-up is heard.
fn a_number_is_used_again() {
    with_watcher(|world| {
        let fd = world.kernel.open();
        let first = End::new(world, fd);
        world.kernel.hang_up(fd);
        drop(first);
        assert_eq!(world.kernel.open(), fd);
        let second = End::new(world, fd);
        loom::thread::yield_now();
        assert!(!second.alerts.is_gone(), "an event of another socket counts for this one");
        world.kernel.hang_up(fd);
        second.sleep();
    });
}

#[test]
fn a_hang_up_against_registering() {
    explore(Some(2), a_hang_up_at_any_time);
}

#[test]
fn an_event_against_the_next_socket_of_its_number() {
    explore(Some(2), a_number_is_used_again);
}

#[test]
fn each_step_about_sockets_is_needed() {
    dies(Mutant::AskSocket, a_number_is_used_again);
    dies(Mutant::CloseLast, a_number_is_used_again);
    dies(Mutant::Deregister, a_number_is_used_again);
    dies(Mutant::WakeOfAlert, a_hang_up_at_any_time);
}
