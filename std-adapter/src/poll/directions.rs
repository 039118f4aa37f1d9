//! The two directions of a stream that is waited for by `poll`: which have said that they sleep, and which are worth an attempt
//! though no ring may come.
//!
//! ```text
//! a direction that has found nothing                       the peer
//! take what was rung                                       publish
//! say that it sleeps, and look again                       it sleeps: ring, which stays until it is taken
//! look for the other one, whose ring may have been taken
//! it has become ready: try again
//! ```
//!
//! `loom-tests/tests/doorbell` runs this file with the core's halves through all executions of a few threads.

use crate::doorbell::Remaining;
use crate::liveness::Half;

/// The halves of an end, and its doorbell.
pub(super) trait Ends {
    /// Whether an attempt would not have to wait.
    fn is_ready(&mut self, half: Half) -> bool;
    /// Says to the peer that this half sleeps until it is ready, and looks again. `false`: it is ready, and awake.
    fn announce(&mut self, half: Half) -> bool;
    /// Takes that back.
    fn withdraw(&mut self, half: Half);
    /// Takes what the peer has rung.
    fn take(&mut self) -> Remaining;
}

/// What is known about the two directions.
#[derive(Debug)]
pub(super) struct Directions {
    /// Which have said to the peer that they sleep.
    announced: [bool; 2],
    /// Which are worth an attempt though no ring may come: the reading one until it has found nothing; either one if what was
    /// rung for it was taken by the other.
    pending: [bool; 2],
    /// One of these is new.
    anew: bool,
    /// Whether there is a descriptor that shows each by itself.
    duplex: bool,
}

impl Directions {
    /// Nothing has been tried yet.
    pub(super) fn new(duplex: bool) -> Self {
        Directions { announced: [false; 2], pending: [true, duplex], anew: false, duplex }
    }

    /// Which are worth an attempt though no ring may come.
    pub(super) fn pending(&self) -> [bool; 2] {
        self.pending
    }

    /// This direction is awake.
    pub(super) fn withdraw(&mut self, ends: &mut impl Ends, half: Half) {
        if std::mem::take(&mut self.announced[half as usize]) {
            ends.withdraw(half);
        }
    }

    /// An attempt has not had to wait. There may be more.
    pub(super) fn tried(&mut self, half: Half) {
        self.pending[half as usize] = half == Half::Reader || self.duplex;
    }

    /// An attempt has found nothing. `true`: the next ring is for this direction. `false`: try again.
    pub(super) fn wait(&mut self, ends: &mut impl Ends, half: Half) -> bool {
        // What was rung until now is taken first. What is rung after announcing stays, and is shown.
        let left = ends.take();
        let announced = ends.announce(half);
        self.announced[half as usize] = announced;
        if announced {
            // A full socket cannot be rung: the rest is to be taken as well.
            self.pending[half as usize] = left == Remaining::More;
            self.anew |= left == Remaining::More;
        }
        // Also if this direction is ready, and is not going to wait: what was taken may have been rung for the other.
        self.mark_pending(ends, other(half));
        announced
    }

    /// Whether an edge-triggered poller is to come back at once. It is said once.
    pub(super) fn take_anew(&mut self) -> bool {
        std::mem::take(&mut self.anew)
    }

    /// What was taken from the socket may have been rung for a half that announced itself before. If it has become ready,
    /// the descriptor is to say so until that direction is tried.
    fn mark_pending(&mut self, ends: &mut impl Ends, half: Half) {
        if self.announced[half as usize] && ends.is_ready(half) {
            self.withdraw(ends, half);
            self.pending[half as usize] = true;
            self.anew = true;
        }
    }
}

fn other(half: Half) -> Half {
    match half {
        Half::Reader => Half::Writer,
        Half::Writer => Half::Reader,
    }
}
