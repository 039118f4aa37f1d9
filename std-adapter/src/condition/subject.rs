//! What a condition is about.

use super::waitable::Waitable;
use crate::timed_mutex::TimedMutex;
use std::fmt;

/// Something to wait for. See the [module](super).
pub struct Condition<'a> {
    name: &'static str,
    pub(super) source: Subject<'a>,
}

/// What it is about.
pub(super) enum Subject<'a> {
    /// Something that is borrowed alone.
    Alone(&'a mut dyn Waitable),
    /// Something that other threads may be using.
    Shared {
        what: &'a TimedMutex<dyn Waitable>,
        /// What is to be published before a sleep.
        flush: Option<&'a TimedMutex<dyn Waitable>>,
    },
}

impl<'a> Condition<'a> {
    /// Of something that is borrowed alone.
    pub(crate) fn alone(name: &'static str, what: &'a mut dyn Waitable) -> Self {
        Condition { name, source: Subject::Alone(what) }
    }

    /// Of something that other threads may be using. Before a sleep `flush` is asked to publish what it has buffered.
    pub(crate) fn shared(
        name: &'static str,
        what: &'a TimedMutex<dyn Waitable>,
        flush: Option<&'a TimedMutex<dyn Waitable>>,
    ) -> Self {
        Condition { name, source: Subject::Shared { what, flush } }
    }
}

impl fmt::Debug for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what: &dyn fmt::Debug = match &self.source {
            Subject::Alone(what) => what,
            Subject::Shared { what, .. } => what,
        };
        f.debug_tuple(self.name).field(what).finish()
    }
}
