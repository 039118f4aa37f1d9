//! Other processes to test against: the program `party`, driven by a line for each command.

mod process;
mod scratch;
mod state;

pub use process::{Party, Refusal, Reply};
pub use scratch::Scratch;
pub use state::{OLD_WATCH, asleep, belongings, until, waits};
