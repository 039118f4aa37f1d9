//! The regions of a listener, one after the other, and the kernel: their name, their locks and the sleepers on their words.

use crate::{Mutant, is};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use std::sync::Arc;

/// The steps that a party publishes.
pub(super) const NONE: u32 = 0;
pub(super) const HELLO: u32 = 1;
pub(super) const ARMED: u32 = 1;
pub(super) const ACCEPTED: u32 = 2;

/// The regions that a listener makes at most.
const REGIONS: usize = 3;

pub(super) struct World {
    pub(super) regions: [Region; REGIONS],
    kernel: Mutex<Kernel>,
    changed: Condvar,
    /// Which connectors were accepted. Loom does not see it.
    accepted: std::sync::Mutex<Vec<u32>>,
}

pub(super) struct Region {
    /// The word of the listener, and that of the connector.
    pub(super) listener: Word,
    pub(super) connector: Word,
    /// Of the connector: the listener is dead.
    pub(super) alert: AtomicU32,
}

/// A word of shared memory and its sleepers.
pub(super) struct Word {
    word: AtomicU32,
    wakes: Mutex<u32>,
    woken: Condvar,
}

struct Kernel {
    /// The region that has the name.
    name: usize,
    listens: bool,
    /// Which regions the listener has let go of.
    left: [bool; REGIONS],
    /// Which connector holds the claim; 0: none.
    claim: [u32; REGIONS],
    /// Which connector said HELLO.
    said: [u32; REGIONS],
    /// Changes with all this.
    version: u32,
}

impl World {
    pub(super) fn new() -> Arc<World> {
        let region = |at: usize| Region {
            listener: Word::new(if at == 0 { ARMED } else { NONE }),
            connector: Word::new(NONE),
            alert: AtomicU32::new(0),
        };
        let kernel = Kernel {
            name: 0,
            listens: true,
            left: [false; REGIONS],
            claim: [0; REGIONS],
            said: [0; REGIONS],
            version: 0,
        };
        Arc::new(World {
            regions: [0, 1, 2].map(region),
            kernel: Mutex::new(kernel),
            changed: Condvar::new(),
            accepted: std::sync::Mutex::default(),
        })
    }

    fn step<T>(&self, does: impl FnOnce(&mut Kernel) -> T) -> T {
        does(&mut self.kernel.lock().unwrap())
    }

    fn change<T>(&self, does: impl FnOnce(&mut Kernel) -> T) -> T {
        let mut kernel = self.kernel.lock().unwrap();
        let result = does(&mut kernel);
        kernel.version += 1;
        self.changed.notify_all();
        result
    }

    /// What there was to find out so far.
    pub(super) fn version(&self) -> u32 {
        self.step(|kernel| kernel.version)
    }

    /// Stands for `LOOK_AGAIN`: of the times to look again those count at which there is something else to find out.
    pub(super) fn look_again(&self, looked: u32) {
        let mut kernel = self.kernel.lock().unwrap();
        while kernel.version == looked {
            kernel = self.changed.wait(kernel).unwrap();
        }
    }

    /// The region that the name leads to.
    pub(super) fn named(&self) -> usize {
        self.step(|kernel| kernel.name)
    }

    /// Stands for `RegionListener::publish_next`: the name leads to a fresh region, which is armed.
    pub(super) fn publish_next(&self) {
        let next = self.named() + 1;
        self.regions[next].listener.word.store(ARMED, Ordering::Release);
        self.change(|kernel| kernel.name = next);
    }

    /// The listener lets go of a region without accepting. Its watchers tell those who wait there.
    pub(super) fn leave(&self, region: usize) {
        self.change(|kernel| kernel.left[region] = true);
        self.alert(region);
    }

    /// The listener dies.
    pub(super) fn kill_listener(&self, region: usize) {
        self.change(|kernel| kernel.listens = false);
        self.alert(region);
    }

    fn alert(&self, region: usize) {
        self.regions[region].alert.store(1, Ordering::Release);
        self.regions[region].listener.wake_all();
    }

    pub(super) fn is_listener_alive(&self, region: usize) -> bool {
        self.step(|kernel| kernel.listens && !kernel.left[region])
    }

    /// Takes the claim, unless another connector has it.
    pub(super) fn try_lock(&self, region: usize, connector: u32) -> bool {
        self.step(|kernel| {
            let free = kernel.claim[region] == 0;
            if free {
                kernel.claim[region] = connector;
            }
            free
        })
    }

    pub(super) fn unlock(&self, region: usize) {
        self.change(|kernel| kernel.claim[region] = 0);
    }

    pub(super) fn is_claimed(&self, region: usize) -> bool {
        self.step(|kernel| kernel.claim[region] != 0)
    }

    /// Says HELLO, and wakes no sleeper.
    pub(super) fn say_hello(&self, region: usize, connector: u32) {
        self.step(|kernel| kernel.said[region] = connector);
        self.regions[region].connector.word.store(HELLO, Ordering::Release);
        self.change(|_| {});
    }

    /// Says ACCEPTED, and wakes no sleeper. Which connector it is for.
    pub(super) fn say_accepted(&self, region: usize) -> u32 {
        self.regions[region].listener.word.store(ACCEPTED, Ordering::Release);
        let connector = self.step(|kernel| kernel.said[region]);
        self.accepted.lock().unwrap().push(connector);
        connector
    }

    pub(super) fn accepted(&self) -> Vec<u32> {
        self.accepted.lock().unwrap().clone()
    }
}

impl Word {
    fn new(value: u32) -> Self {
        Word { word: AtomicU32::new(value), wakes: Mutex::new(0), woken: Condvar::new() }
    }

    pub(super) fn load(&self) -> u32 {
        self.word.load(Ordering::Acquire)
    }

    /// Sleeps while the word is as it was seen, and the other one, too: until the next wake.
    pub(super) fn sleep(&self, seen: u32, other: impl Fn() -> bool) {
        let mut wakes = self.wakes.lock().unwrap();
        let before = *wakes;
        let as_seen = || (self.word.load(Ordering::Relaxed) == seen && other()) || is(Mutant::Compare);
        if as_seen() {
            while *wakes == before {
                wakes = self.woken.wait(wakes).unwrap();
            }
        }
    }

    pub(super) fn wake_all(&self) {
        *self.wakes.lock().unwrap() += 1;
        self.woken.notify_all();
    }
}

pub(super) fn spawn(world: &Arc<World>, does: impl FnOnce(&World) + 'static) -> JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || does(&world))
}
