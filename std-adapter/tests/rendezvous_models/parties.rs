//! What a listener and a connector do.

use crate::region::{ACCEPTED, ARMED, HELLO, NONE, World};
use crate::{Mutant, is};
use loom::sync::atomic::Ordering;

/// How a listener ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Well,
    /// It dies after it has said ACCEPTED.
    BeforeWake,
}

/// Where a connector dies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Died {
    /// It holds the claim and has not said HELLO.
    WithClaim,
    /// It has said HELLO and not woken the listener.
    BeforeWake,
    /// There it is stopped, and keeps its claim.
    StoppedBeforeWake,
    AfterWake,
}

/// Mirrors `RegionListener::accept` and `try_accept`, until this connector is accepted (0: any). No sleep has a timeout: the kernel tells
/// the listener what happens to its name.
pub(super) fn listen(world: &World, wanted: u32, ends: Ends) {
    loop {
        let current = world.named();
        let region = &world.regions[current];
        let hello = region.connector.load();
        if hello == NONE {
            region.connector.sleep(NONE, || true);
            continue;
        }
        let lives = (hello == HELLO && world.is_claimed(current)) || is(Mutant::AskForClaim);
        if !is(Mutant::NameFirst) {
            world.publish_next();
        }
        if !lives {
            if is(Mutant::NameFirst) {
                world.publish_next();
            }
            world.leave(current);
            continue;
        }
        // Mirrors `Region::publish_state`.
        let connector = world.say_accepted(current);
        if ends == Ends::BeforeWake {
            return world.kill_listener(current);
        }
        if !is(Mutant::WakeOfAnswer) {
            region.listener.wake_all();
        }
        if is(Mutant::NameFirst) {
            world.publish_next();
        }
        if wanted == 0 || connector == wanted {
            return;
        }
    }
}

/// Mirrors `RegionAttempt::wait` and `step`: whether the connector is accepted. Otherwise it has an error.
pub(super) fn connect(world: &World, connector: u32) -> bool {
    // `Stage::Looking`.
    let claimed = loop {
        // What this connector changes itself is nothing to look again for.
        let (looked, mut changes) = (world.version(), 0);
        match look(world, connector, &mut changes) {
            Look::Claimed(region) => break region,
            Look::Failed => return false,
            Look::Later(region, seen) if is(Mutant::LookAgain) => world.regions[region].listener.sleep(seen, || true),
            Look::Later(..) => world.look_again(looked + changes),
        }
    };
    // `publish_hello`.
    let region = &world.regions[claimed];
    if is(Mutant::WakeOfHelloEarly) {
        region.connector.wake_all();
    }
    world.say_hello(claimed, connector);
    if !is(Mutant::WakeOfHelloEarly) && !is(Mutant::WakeOfHello) {
        region.connector.wake_all();
    }
    // `Stage::Asking`.
    loop {
        let early = region.listener.load();
        let alerted = region.alert.load(Ordering::Acquire);
        // After the alert: what is heard now is final if there was one.
        let peer_state = if is(Mutant::AlertFirst) { early } else { region.listener.load() };
        if peer_state == ACCEPTED {
            return true;
        }
        if alerted != 0 {
            return false;
        }
        region.listener.sleep(peer_state, || region.alert.load(Ordering::Relaxed) == alerted);
    }
}

enum Look {
    Claimed(usize),
    /// This region is in use; what the listener said there.
    Later(usize, u32),
    Failed,
}

/// Mirrors `RegionAttempt::look`.
fn look(world: &World, connector: u32, changes: &mut u32) -> Look {
    loop {
        let at = world.named();
        let region = &world.regions[at];
        if claim(world, at, connector, changes) {
            return Look::Claimed(at);
        }
        let is_named = |mutant| is(Mutant::NameLast) == mutant && world.named() != at;
        if is_named(true) {
            continue;
        }
        let peer_state = region.listener.load();
        if is_named(false) {
            continue;
        }
        if peer_state != ARMED {
            // Another name of a region in use.
            return Look::Failed;
        }
        if !world.is_listener_alive(at) {
            if world.named() == at {
                return Look::Failed;
            }
            continue;
        }
        if region.connector.load() != NONE && !is(Mutant::WakeOfNext) {
            region.connector.wake_all();
        }
        return Look::Later(at, peer_state);
    }
}

/// Mirrors `claim`.
fn claim(world: &World, at: usize, connector: u32, changes: &mut u32) -> bool {
    let region = &world.regions[at];
    if !is(Mutant::LookBeforeClaim) && region.connector.load() != NONE {
        return false;
    }
    if !world.try_lock(at, connector) {
        return false;
    }
    let free = is(Mutant::LookWithClaim)
        || (region.listener.load() == ARMED && region.connector.load() == NONE && world.is_listener_alive(at));
    if !free {
        world.unlock(at);
        *changes += 1;
    }
    free
}

/// A connector that finds the first region free, and dies.
pub(super) fn die_while_connecting(world: &World, connector: u32, died: Died) {
    if !claim(world, 0, connector, &mut 0) {
        return;
    }
    if died != Died::WithClaim {
        world.say_hello(0, connector);
    }
    if died == Died::AfterWake {
        world.regions[0].connector.wake_all();
    }
    if died != Died::StoppedBeforeWake {
        world.unlock(0);
    }
}
