//! Listeners, which sleep until a connector comes or their name is gone.

use crate::kernel::Tells;
use crate::name_events::NameEvents;
use crate::world::{World, spawn, with_watcher};
use crate::{Mutant, dies, explore, is};
use loom::sync::atomic::Ordering;
use std::sync::Arc;

/// Stands for `NameWatch`.
struct Watched {
    world: Arc<World>,
    name_events: Arc<NameEvents>,
    wd: i32,
}

impl Watched {
    /// Mirrors `NameWatch::new` and `watcher::register_name`.
    fn new(world: &Arc<World>) -> Watched {
        let name_events = Arc::new(NameEvents::new(None));
        if is(Mutant::NameMayBeGone) {
            name_events.touched.store(false, Ordering::Relaxed);
        }
        let mut registry = world.registry.lock().unwrap();
        let wd = world.kernel.add_watch(Tells::Name);
        registry.names.entry(wd).or_default().push(Arc::clone(&name_events));
        drop(registry);
        Watched { world: Arc::clone(world), name_events, wd }
    }

    /// Mirrors `NameWatch::is_watched`.
    fn is_watched(&self) -> bool {
        !self.name_events.lost.load(Ordering::Acquire)
    }

    /// Mirrors `NameWatch::take`.
    fn take(&self) -> bool {
        self.name_events.touched.swap(false, Ordering::AcqRel) || !self.is_watched()
    }

    /// Mirrors `RegionListener::check_name`: whether the name is known to be gone.
    fn is_gone(&self) -> bool {
        if is(Mutant::TakeFirst) {
            let gone = self.name_events.touched.load(Ordering::Acquire) && !self.world.kernel.is_named();
            return self.take() && gone;
        }
        self.take() && !self.world.kernel.is_named()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut registry = self.world.registry.lock().unwrap();
        if registry.leave_name(self.wd, &self.name_events) {
            self.world.kernel.remove_watch(self.wd);
        }
    }
}

/// A listener waits: mirrors `RegionListener::accept`, without connectors, until the name is gone.
fn accept(world: &Arc<World>) {
    let mut named: Option<Watched> = None;
    loop {
        let seen = world.events.seen();
        if named.as_ref().is_some_and(Watched::is_gone) {
            return;
        }
        if !named.as_ref().is_some_and(Watched::is_watched) {
            drop(named.take());
            named = Some(Watched::new(world));
            continue;
        }
        let seen = if is(Mutant::CountFirst) { world.events.seen() } else { seen };
        world.sleepers.wait(|| world.events.0.load(Ordering::Relaxed) == seen);
    }
}

/// The name is removed at any time: before, while or after it is watched, and while the listener sleeps.
fn a_name_is_removed_at_any_time() {
    with_watcher(|world| {
        let other = spawn(world, |world| world.kernel.unlink());
        accept(world);
        other.join().unwrap();
    });
}

/// The kernel removes the watch, and then the name is removed.
fn a_name_is_removed_after_its_watch() {
    with_watcher(|world| {
        let other = spawn(world, |world| {
            world.kernel.unmount();
            world.kernel.unlink();
        });
        accept(world);
        other.join().unwrap();
    });
}

/// The file of a listener is watched for closes as well, from before or from afterwards.
fn a_name_is_removed_beside_closes() {
    with_watcher(|world| {
        let other = spawn(world, |world| {
            world.kernel.add_watch(Tells::Close);
            world.kernel.unlink();
        });
        accept(world);
        other.join().unwrap();
    });
}

#[test]
fn removing_a_name_against_a_listener() {
    explore(Some(2), a_name_is_removed_at_any_time);
}

#[test]
fn removing_a_name_against_a_lost_watch() {
    explore(Some(2), a_name_is_removed_after_its_watch);
}

#[test]
fn removing_a_name_against_a_second_watch() {
    explore(Some(2), a_name_is_removed_beside_closes);
}

#[test]
fn each_step_about_names_is_needed() {
    dies(Mutant::NameMayBeGone, a_name_is_removed_at_any_time);
    dies(Mutant::TakeFirst, a_name_is_removed_at_any_time);
    dies(Mutant::CountFirst, a_name_is_removed_at_any_time);
    dies(Mutant::CountName, a_name_is_removed_at_any_time);
    dies(Mutant::AskAtEvents, a_name_is_removed_at_any_time);
    dies(Mutant::Lost, a_name_is_removed_after_its_watch);
    dies(Mutant::AddToMask, a_name_is_removed_beside_closes);
}
