#![doc = include_str!("../README.md")]
#![deny(missing_docs, unsafe_op_in_unsafe_fn)]

pub mod channel;
pub mod control;
pub mod cpus;
pub mod floor;
pub mod json;
pub mod partner;
pub mod plan;
pub mod plot;
pub mod report;
pub mod rounds;
pub mod stats;
pub mod summary;
pub mod system;
pub mod transport;
pub mod units;
pub mod usage;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use control::Control;
use floor::Words;
use plan::Plan;
use rounds::{Bench, Results};
use transport::Transport;

/// Measures with the second side in a thread of this process, for transports that know no processes. Names begin
/// with `prefix`.
///
/// `progress` hears how many turns of how many are done; if it returns `false`, the measuring ends there.
///
/// # Errors
/// What the system says, of either side.
pub fn in_threads(
    transports: &[&dyn Transport],
    prefix: &Path,
    plan: &Plan,
    progress: impl FnMut(usize, usize) -> bool,
) -> io::Result<Results> {
    let memory = floor::create()?;
    let words = Words::map(&memory)?;
    let (here, there) = UnixStream::pair()?;
    let (here, there) = (Control::over(here)?, Control::over(there)?);
    thread::scope(|threads| {
        threads.spawn(|| partner::serve(there, transports, &words));
        Bench { control: here, transports, words: &words, prefix }.run(plan, progress)
    })
}
