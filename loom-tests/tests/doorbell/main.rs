//! Models of a stream that is waited for by `poll`: a direction that has found nothing is shown when it is worth another attempt.
//!
//! The halves are the core's own source with Loom's atomics, and the order of the steps is the adapter's own
//! (`std-adapter/src/poll/directions.rs`). The rest of `Pollable`, the doorbell and the kernel are copies (see [`pollable`]). For each
//! step there is a *mutant* without it, under which a model must fail.

#[path = "../models/common.rs"]
#[allow(dead_code, reason = "the models of the core use the rest")]
mod common;
#[path = "../../../std-adapter/src/poll/directions.rs"]
mod directions;
#[path = "../models/owning.rs"]
#[allow(dead_code, reason = "the models of the core use the rest")]
mod owning;
mod pollable;
mod polls;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::check;

/// What is left out, or done at the wrong time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// What was rung is not taken before announcing, but afterwards.
    TakeFirst,
    /// A direction that became ready while it announced itself waits all the same.
    LookAgain,
    /// The other direction, whose ring may have been taken, is not looked at.
    LookForOther,
    /// What is worth an attempt is not shown.
    Show,
    /// A poller that is edge-triggered does not see it again.
    ShowAnew,
    /// A direction that has got something is not shown as worth another attempt.
    ShowMore,
    /// A half that is awake leaves it to the peer to find that out.
    Withdraw,
    /// A ring is lost if no poller waits just then.
    KeepRings,
    /// A ring is thrown away, and the socket emptied, if it is full.
    FullIsRung,
    /// A hang-up raises no alert.
    AlertOfHangUp,
    /// The watcher is not asked to look again.
    Arm,
    /// The watcher is asked to look again before the mark is taken away.
    UnmarkFirst,
    /// The watcher marks one direction only.
    MarkBoth,
}

thread_local! {
    /// Loom runs all threads of a model in the thread that asks for it, so each test has its own.
    static MUTANT: Cell<Mutant> = const { Cell::new(Mutant::None) };
}

fn is(mutant: Mutant) -> bool {
    MUTANT.get() == mutant
}

/// What the file takes for the rest of the adapter.
mod doorbell {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Remaining {
        Nothing,
        More,
        HangUp,
    }
}

mod liveness {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Half {
        Reader = 0,
        Writer = 1,
    }
}

/// The model fails without this.
fn dies(mutant: Mutant, model: fn()) {
    MUTANT.set(mutant);
    let outcome = catch_unwind(AssertUnwindSafe(|| check(Some(2), model)));
    MUTANT.set(Mutant::None);
    assert!(outcome.is_err(), "the model does not notice that {mutant:?} is missing");
}
