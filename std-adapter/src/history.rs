//! What has gone wrong on a stream: the last few errors, also those that no call returned.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use heapless::Deque;

use crate::error::{Error, Reason};

/// How many different incidents a stream remembers: the latest.
pub const HISTORY: usize = 16;

/// What a stream was doing when something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Publishing what was held back: see [`BufMode`](crate::BufMode).
    Flush,
    /// Closing the direction that writes.
    Close,
    /// Nothing: the peer's death was noticed while no call was reading or writing.
    Watch,
}

/// Something that went wrong on a stream.
///
/// The same thing again, with the same operation and reason, is the same incident: a death stays, so that every later
/// call says the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incident {
    /// What went wrong, as it was the first time.
    pub error: Error,
    /// What the stream was doing.
    pub during: Operation,
    /// When it happened first, by the system's clock.
    pub first: SystemTime,
    /// When it happened last.
    pub last: SystemTime,
    /// How often it happened.
    pub times: u64,
    /// Whether the program knows: a call has returned an error of this reason, or
    /// [`take_error`](crate::Stream::take_error) this very one.
    pub reported: bool,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Flush => "flush",
            Operation::Close => "close",
            Operation::Watch => "watch",
        })
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.times == 1 { String::new() } else { format!(" ({} times)", self.times) };
        write!(f, "{}{times}: {}", self.during, self.error)
    }
}

/// The incidents of one stream. Nothing here is touched while nothing goes wrong.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Deque<Incident, HISTORY>>);

impl History {
    /// Remembers an error. `reported`: the call at hand returns it. Says whether it is a new incident.
    pub(crate) fn note(&self, during: Operation, error: &Error, reported: bool, at: SystemTime) -> bool {
        let mut log = self.lock();
        let reason = error.reason();
        if reported {
            log.iter_mut().filter(|i| i.error.reason() == reason).for_each(|i| i.reported = true);
        }
        if let Some(again) = log.iter_mut().find(|i| i.during == during && i.error.reason() == reason) {
            again.times += 1;
            again.last = at;
            return false;
        }
        let reported = reported || log.iter().any(|i| i.reported && i.error.reason() == reason);
        if log.is_full() {
            log.pop_front();
        }
        // There is room: if there was none, one has just gone.
        let _ = log.push_back(Incident { error: error.clone(), during, first: at, last: at, times: 1, reported });
        true
    }

    /// Whether there is an incident of this reason.
    pub(crate) fn knows(&self, reason: Reason) -> bool {
        self.lock().iter().any(|i| i.error.reason() == reason)
    }

    /// The oldest error that has not been reported; now it has.
    pub(crate) fn take(&self) -> Option<Error> {
        let mut log = self.lock();
        let incident = log.iter_mut().find(|i| !i.reported)?;
        incident.reported = true;
        Some(incident.error.clone())
    }

    /// All that is remembered, the oldest first.
    pub(crate) fn all(&self) -> Vec<Incident> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Deque<Incident, HISTORY>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const OPERATIONS: [Operation; 5] =
        [Operation::Read, Operation::Write, Operation::Flush, Operation::Close, Operation::Watch];

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn error(reason: Reason, text: &str) -> Error {
        Error::new(reason, text)
    }

    #[test]
    fn what_no_call_returned_is_taken_once_and_in_order() {
        let history = History::default();
        assert!(history.take().is_none());
        assert!(history.note(Operation::Flush, &error(Reason::WriteAfterClose, "a"), false, at(1)));
        assert!(history.note(Operation::Watch, &error(Reason::PeerGone, "b"), false, at(2)));
        assert!(history.note(Operation::Read, &error(Reason::Corrupt, "c"), true, at(3)));
        assert_eq!(history.take().unwrap().to_string(), "a");
        assert_eq!(history.take().unwrap().to_string(), "b");
        assert!(history.take().is_none());
        let all: Vec<_> = history.all().iter().map(|i| (i.during, i.first, i.reported)).collect();
        let expected =
            [(Operation::Flush, at(1), true), (Operation::Watch, at(2), true), (Operation::Read, at(3), true)];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_a_call_has_returned_is_not_pending() {
        let history = History::default();
        history.note(Operation::Watch, &error(Reason::PeerGone, "noticed"), false, at(1));
        history.note(Operation::Read, &error(Reason::PeerGone, "reported"), true, at(2));
        history.note(Operation::Close, &error(Reason::PeerGone, "after it was reported"), false, at(3));
        assert!(history.take().is_none());
        assert_eq!(history.all().len(), 3);
        assert!(history.knows(Reason::PeerGone) && !history.knows(Reason::Corrupt));
    }

    #[test]
    fn the_same_again_is_counted() {
        let history = History::default();
        assert!(history.note(Operation::Read, &error(Reason::PeerGone, "first"), true, at(1)));
        for second in 2..1000 {
            assert!(!history.note(Operation::Read, &error(Reason::PeerGone, "again"), true, at(second)));
        }
        let [only] = &history.all()[..] else { panic!("{history:?}") };
        assert_eq!((only.first, only.last, only.times), (at(1), at(999), 999));
        assert_eq!(only.to_string(), "read (999 times): first");
    }

    #[test]
    fn only_the_last_are_kept() {
        let history = History::default();
        let reasons = [Reason::PeerGone, Reason::WriteAfterClose, Reason::Corrupt, Reason::System];
        let mut second = 0;
        for reason in reasons {
            for during in OPERATIONS {
                history.note(during, &error(reason, "x"), false, at(second));
                second += 1;
            }
        }
        let all = history.all();
        assert!(second as usize > HISTORY && all.len() == HISTORY);
        let kept: Vec<_> = all.iter().map(|i| i.first).collect();
        assert_eq!(kept, (second - HISTORY as u64..second).map(at).collect::<Vec<_>>());
    }
}
