//! What a listener says of connectors that it did not accept.

use std::fmt;
use std::sync::Arc;

use crate::trace;

/// A connector that a listener did not accept, or that had gone before it could be accepted.
///
/// [`Builder::on_turned_away`](crate::Builder::on_turned_away) gets it.
#[derive(Clone, Debug)]
pub struct TurnedAway {
    addr: String,
    why: String,
    is_shortage: bool,
}

impl TurnedAway {
    /// Where it had connected.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Why it was not accepted.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Whether this process was short of descriptors, memory or another thing that the system limits. If so, the next connector will
    /// not fare better before some are given back.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        self.is_shortage
    }
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turned a connector away at {}: {}", self.addr, self.why)
    }
}

type Report = Arc<dyn Fn(&TurnedAway) + Send + Sync>;

/// What a program wants to do then: nothing, or what it gave.
#[derive(Clone, Default)]
pub(crate) struct OnTurnedAway(Option<Report>);

impl OnTurnedAway {
    pub(crate) fn new(report: impl Fn(&TurnedAway) + Send + Sync + 'static) -> Self {
        OnTurnedAway(Some(Arc::new(report)))
    }

    pub(crate) fn report(&self, addr: &dyn fmt::Display, why: &dyn fmt::Display, is_shortage: bool) {
        trace::turned_away(addr, why);
        if let OnTurnedAway(Some(report)) = self {
            report(&TurnedAway { addr: addr.to_string(), why: why.to_string(), is_shortage });
        }
    }
}

impl fmt::Debug for OnTurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a function" } else { "nothing" })
    }
}
