//! What a play finds wrong.

use std::io;

/// Something was not as it has to be.
#[derive(Debug)]
pub struct Trouble {
    /// The clauses that are broken. None: those that the play is about.
    pub clauses: Vec<&'static str>,
    /// What happened.
    pub text: String,
    /// Whether the peer did what the play is about at all. If not, that is no fault.
    pub reached: bool,
}

/// The peer broke these clauses.
pub fn broke(clauses: &[&'static str], text: impl Into<String>) -> Trouble {
    Trouble { clauses: clauses.to_vec(), text: text.into(), reached: true }
}

/// The peer need not do what the play is about, and does not.
pub fn unreached(text: impl Into<String>) -> Trouble {
    Trouble { reached: false, ..broke(&[], text) }
}

/// The clauses are broken unless it holds.
pub fn need(holds: bool, clauses: &[&'static str], text: impl FnOnce() -> String) -> Result<(), Trouble> {
    if holds { Ok(()) } else { Err(broke(clauses, text())) }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        broke(&[], format!("this side could not go on: {error}"))
    }
}
