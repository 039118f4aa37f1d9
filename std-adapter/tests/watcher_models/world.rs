//! What the models share: the watcher's thread, alerts and the event count.

use crate::count::Count;
use crate::kernel::Kernel;
use crate::mode::WatchMode;
use crate::registry::{Event, Registry};
use crate::{Mutant, is};
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use smstream_shm::Deadline;
use std::cell::RefCell;
use std::mem;
use std::sync::Arc;

/// One process that has a watcher.
pub(super) struct World {
    pub(super) kernel: Kernel,
    pub(super) registry: Mutex<Registry>,
    pub(super) events: Count,
    pub(super) sleepers: Futex,
}

thread_local! {
    /// Of the model at hand: the library's own files ask the system by global functions.
    static CURRENT: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

impl World {
    pub(super) fn current() -> Arc<World> {
        CURRENT.with_borrow(|world| world.clone().expect("a model runs"))
    }
}

/// Runs a model in a world of its own, with the watcher's thread.
pub(super) fn with_watcher(model: impl FnOnce(&Arc<World>)) {
    /// Loom's objects end with the execution, also one that fails.
    struct Current;
    impl Drop for Current {
        fn drop(&mut self) {
            CURRENT.set(None);
        }
    }
    let world = Arc::new(World {
        kernel: Kernel::new(),
        registry: Mutex::new(Registry::default()),
        events: Count(AtomicU32::new(0)),
        sleepers: Futex::default(),
    });
    CURRENT.set(Some(Arc::clone(&world)));
    let _current = Current;
    let watcher = spawn(&world, watch);
    model(&world);
    world.kernel.end();
    watcher.join().unwrap();
}

pub(super) fn spawn(world: &Arc<World>, does: impl FnOnce(&World) + 'static) -> JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || does(&world))
}

/// The watcher's thread: mirrors `Watcher::run`, but for what it is called back for.
fn watch(world: &World) {
    let mut now = Deadline::now();
    let mut asked = 0;
    loop {
        let due = world.registry.lock().unwrap().next();
        let Some((hung_up, events)) = world.kernel.wait(due.map(|_| asked)) else { return };
        if !hung_up.is_empty() {
            let mut registry = world.registry.lock().unwrap();
            for token in hung_up {
                registry.hung_up(token);
            }
        }
        let mut registry = world.registry.lock().unwrap();
        now = due.map_or(now, |due| due.max(now));
        for event in events.into_iter().filter(|event| !is_left_out(event)) {
            registry.note(event, now);
        }
        (asked, _) = world.kernel.now();
        if is(Mutant::AskLocked) {
            let mut taken = mem::take(&mut *registry);
            drop(registry);
            taken.probe(now);
            registry = world.registry.lock().unwrap();
            *registry = taken;
        }
        registry.probe(now);
        if is(Mutant::AskLater) {
            registry.later.clear();
        }
    }
}

fn is_left_out(event: &Event) -> bool {
    is(match event {
        Event::Touched(_) => Mutant::AskAtEvents,
        Event::Lost(_) => Mutant::Lost,
        Event::Overflow => Mutant::Overflow,
    })
}

/// The sleepers of some words.
#[derive(Default)]
pub(super) struct Futex {
    state: Mutex<FutexState>,
    changed: Condvar,
}

#[derive(Default)]
struct FutexState {
    wakes: u32,
    asleep: bool,
    /// No thread sleeps here any more.
    over: bool,
}

impl Futex {
    /// Sleeps while the words are as they were seen: until the next wake.
    pub(super) fn wait(&self, as_seen: impl Fn() -> bool) {
        let mut state = self.state.lock().unwrap();
        let before = state.wakes;
        while state.wakes == before && as_seen() {
            state.asleep = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap();
        }
        state.asleep = false;
    }

    pub(super) fn wake_all(&self) {
        self.state.lock().unwrap().wakes += 1;
        self.changed.notify_all();
    }

    pub(super) fn end(&self) {
        self.state.lock().unwrap().over = true;
        self.changed.notify_all();
    }

    /// Stands for waking again and again.
    pub(super) fn wake_when_asleep(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.asleep && !state.over {
            state = self.changed.wait(state).unwrap();
        }
        state.wakes += 1;
        self.changed.notify_all();
    }
}

/// Stands for `event_count::notify`.
pub(super) fn notify() {
    let world = World::current();
    if !is(Mutant::CountName) {
        world.events.raise();
    }
    world.sleepers.wake_all();
}

/// Stands for the alerts of an end with one half, which sleeps on its alert word, too.
pub(super) struct Alerts {
    gone: AtomicU32,
    /// The peer's cursor, which does not change, and the alert word.
    pub(super) futex: Futex,
    timed: AtomicBool,
}

impl Alerts {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Alerts { gone: AtomicU32::new(0), futex: Futex::default(), timed: AtomicBool::new(false) })
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) != 0
    }

    /// Mirrors `Alerts::raise`.
    pub(super) fn raise_gone(&self) {
        if is(Mutant::WakeOfAlertEarly) {
            self.futex.wake_all();
        }
        self.gone.store(1, Ordering::Release);
        if !is(Mutant::WakeOfAlertEarly) && !is(Mutant::WakeOfAlert) {
            self.futex.wake_all();
        }
    }

    pub(super) fn raise_corrupt(&self) {
        unreachable!("no memory is guarded here");
    }

    pub(super) fn all_answered(&self) -> bool {
        true
    }

    pub(super) fn set_mode(&self, mode: WatchMode) {
        self.timed.store(mode == WatchMode::Timed, Ordering::Relaxed);
    }

    pub(super) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Relaxed)
    }
}
