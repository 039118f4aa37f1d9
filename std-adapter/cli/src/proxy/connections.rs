//! The connections of the moment, and the counts of all.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::failure::Failure;
use crate::link::Link;

/// The connections of the moment, and the counts of all.
#[derive(Debug, Default)]
pub struct Connections {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<u64, Option<Arc<Link>>>,
    tally: Tally,
    interrupted: Option<i32>,
    last: Option<Failure>,
}

/// The counts of all connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// That came in.
    pub connections: u64,
    /// That could not be joined, or broke off.
    pub failed: u64,
    /// That were cut off because this process was interrupted.
    pub interrupted: u64,
    /// Bytes, by who sent them.
    pub moved: [u64; 2],
    /// Bytes that the other side did not take, by who sent them.
    pub dropped: [u64; 2],
}

/// What to count at the end of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// It could not be joined, or broke off.
    pub failed: bool,
    /// It was cut off because this process was interrupted.
    pub interrupted: bool,
    /// Bytes that the other side did not take, by who sent them.
    pub dropped: [u64; 2],
}

impl Connections {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection came in: its number.
    pub fn begin(&self) -> u64 {
        let mut state = self.state();
        state.tally.connections += 1;
        let number = state.tally.connections;
        state.open.insert(number, None);
        number
    }

    /// A connection has two sides now. If this process was interrupted it is cut off at once.
    pub fn joined(&self, number: u64, link: &Arc<Link>) {
        let interrupted = {
            let mut state = self.state();
            state.open.insert(number, Some(Arc::clone(link)));
            state.interrupted.is_some()
        };
        if interrupted {
            link.cut();
        }
    }

    /// A connection has ended.
    pub fn end(&self, number: u64, count: Count, failure: Option<Failure>) {
        let mut state = self.state();
        let link = state.open.remove(&number).flatten();
        let (there, back) = link.map_or((0, 0), |link| link.meter().read());
        let tally = &mut state.tally;
        tally.failed += u64::from(count.failed);
        tally.interrupted += u64::from(count.interrupted);
        for (total, more) in tally.moved.iter_mut().zip([there, back]) {
            *total += more;
        }
        for (total, more) in tally.dropped.iter_mut().zip(count.dropped) {
            *total += more;
        }
        state.last = failure;
        self.changed.notify_all();
    }

    /// Cuts all connections off, now and later.
    pub fn interrupt(&self, signal: i32) {
        let links: Vec<_> = {
            let mut state = self.state();
            state.interrupted = Some(signal);
            state.open.values().flatten().cloned().collect()
        };
        for link in links {
            link.cut();
        }
        self.changed.notify_all();
    }

    /// The signal that interrupted this process, if one did.
    pub fn interrupted(&self) -> Option<i32> {
        self.state().interrupted
    }

    /// Waits until no connection is open. After an interrupt, not for one that has only one side yet.
    pub fn wait(&self) {
        let mut state = self.state();
        while state.open.values().any(|link| link.is_some() || state.interrupted.is_none()) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until fewer connections than this are open, or this process was interrupted.
    pub fn wait_for_less_than(&self, most: usize) {
        let mut state = self.state();
        while state.open.len() >= most && state.interrupted.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The counts while it goes on, with what open connections have moved, and how many those are.
    pub fn so_far(&self) -> (Tally, u64) {
        let state = self.state();
        let mut tally = state.tally;
        for link in state.open.values().flatten() {
            let (there, back) = link.meter().read();
            for (total, more) in tally.moved.iter_mut().zip([there, back]) {
                *total += more;
            }
        }
        (tally, state.open.len() as u64)
    }

    /// The counts.
    pub fn tally(&self) -> Tally {
        let state = self.state();
        let mut tally = state.tally;
        // Those that have only one side.
        tally.interrupted += state.open.len() as u64;
        tally
    }

    /// What went wrong with the connection that ended last.
    pub fn last(&self) -> Option<Failure> {
        self.state().last.take()
    }
}
