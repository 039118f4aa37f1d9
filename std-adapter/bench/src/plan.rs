//! What is measured: patterns, sizes, ways of waiting, and where the two sides run.

use crate::transport::{Transport, Waiting};

/// What the two sides do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Messages one way, as fast as they go.
    Throughput,
    /// One message there and back, again and again.
    RoundTrip,
}

impl Pattern {
    /// The name in orders and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::RoundTrip => "round_trip",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Throughput, Self::RoundTrip].into_iter().find(|pattern| pattern.name() == name)
    }
}

/// Where the sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placement {
    /// Each side may use one CPU only, a different one.
    Pinned,
    /// Where the scheduler puts them.
    Free,
}

impl Placement {
    /// The name in options and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Free => "free",
        }
    }
}

/// One table of the report: all transports do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Course {
    /// Where the sides run.
    pub placement: Placement,
    /// What they do.
    pub pattern: Pattern,
    /// How they wait.
    pub waiting: Waiting,
    /// The length of a message in bytes.
    pub size: usize,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The lengths of messages, in bytes.
    pub sizes: Vec<usize>,
    /// Where the sides run.
    pub placements: Vec<Placement>,
    /// What they do.
    pub patterns: Vec<Pattern>,
    /// How they wait.
    pub waitings: Vec<Waiting>,
    /// How many rounds.
    pub rounds: usize,
    /// How long one turn lasts, in nanoseconds.
    pub turn: u64,
}

impl Plan {
    /// The tables, in the order in which they are shown.
    ///
    /// Throughput is not measured asleep: a transport that is kept full does not sleep for each message.
    pub fn courses(&self) -> Vec<Course> {
        let mut courses = Vec::new();
        for &placement in &self.placements {
            for &pattern in &self.patterns {
                for &waiting in &self.waitings {
                    if pattern == Pattern::Throughput && waiting == Waiting::Asleep {
                        continue;
                    }
                    courses.extend(self.sizes.iter().map(|&size| Course { placement, pattern, waiting, size }));
                }
            }
        }
        courses
    }

    /// The longest message.
    pub fn longest(&self) -> usize {
        self.sizes.iter().copied().max().unwrap_or(1)
    }
}

/// Whether this transport can do that.
pub fn is_possible(transport: &dyn Transport, course: Course) -> bool {
    course.size <= transport.longest() && transport.can_wait(course.waiting)
}
