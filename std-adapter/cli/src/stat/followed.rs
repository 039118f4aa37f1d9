//! The streams of a target, from look to look.

use std::time::{Duration, Instant};

use smstream::inspect::{Follower, InspectedStream, Report};

use crate::failure::{Failure, say};
use crate::target::Target;

/// How often to look for new streams, at most: it takes a look at all processes.
const FIND: Duration = Duration::from_millis(900);

/// The streams of a target, and what was seen of them.
pub struct Followed {
    target: Target,
    /// Each, and whether a party of it was seen alive.
    watches: Vec<(Follower, bool)>,
    /// All streams of the last look at all processes.
    known: Vec<InspectedStream>,
    /// When that was.
    found: Instant,
}

impl Followed {
    /// Finds them.
    pub fn new(target: Target) -> Result<Self, Failure> {
        let mut known = Vec::new();
        let watches = target.streams(&mut known)?.into_iter().map(fresh).collect();
        Ok(Self { target, watches, known, found: Instant::now() })
    }

    /// Adds what has come since; what is known stays, with what was seen of it.
    pub fn find_more(&mut self) {
        // A descriptor that is followed stays what it was, even if its number is another file's by now.
        if matches!(self.target, Target::Descriptor { .. }) || self.found.elapsed() < FIND {
            return;
        }
        self.found = Instant::now();
        for stream in self.target.streams(&mut self.known).unwrap_or_default() {
            let id = |stream: &InspectedStream| stream.channel.segment(0).0.id();
            match self.watches.iter_mut().find(|(known, _)| id(known.stream()) == id(&stream)) {
                Some((known, _)) => known.update(stream),
                None => self.watches.push(fresh(stream)),
            }
        }
    }

    /// Looks at all of them. What both parties have left is shown once more, and then no longer followed. What cannot be looked at
    /// is said, and no longer followed either.
    pub fn look(&mut self) -> Vec<(InspectedStream, Report)> {
        let (mut reports, target) = (Vec::new(), &self.target);
        self.watches.retain_mut(|(watch, lived)| {
            let report = match watch.look() {
                Ok(report) => report,
                Err(error) => {
                    say(format_args!("could not look at a stream of {target}: {error}"));
                    return false;
                }
            };
            let alive = report.look.alive != [Some(false); 2];
            let died = *lived && !alive;
            *lived |= alive;
            reports.push((watch.stream().clone(), report));
            !died
        });
        reports
    }
}

fn fresh(stream: InspectedStream) -> (Follower, bool) {
    (Follower::new(stream), false)
}
