//! What can come of a fault.

use std::fmt;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No call failed: there were not so many uses this time.
    NotReached,
    /// All went well, in spite of the fault.
    Success,
    /// An error that says what was tried.
    Error(String),
    /// A want of memory, or of what the standard library or libc take for granted, that they answer by ending the process.
    Ended(String),
    /// None of these.
    Wrong(Wrong, String),
}

/// In what way it is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// It does not end.
    Hang,
    /// A panic, or a signal.
    Panic,
    /// Descriptors, mappings, files or names are left.
    Leak,
    /// Success, with bytes lost or changed.
    Lie,
    /// An error that does not say what was tried.
    Unclear,
    /// The same again, without a fault, does not succeed.
    Stuck,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::Hang => "hang",
            Wrong::Panic => "panic",
            Wrong::Leak => "leak",
            Wrong::Lie => "lie",
            Wrong::Unclear => "unclear",
            Wrong::Stuck => "stuck",
        })
    }
}
