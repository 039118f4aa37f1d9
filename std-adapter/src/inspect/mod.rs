//! Looking into streams from outside: what they do, why one does not go on, what a crash has left.
//!
//! Nothing here writes, locks, or sleeps on a word of a stream. Memory is copied with `pread` and never mapped, so that
//! a file that another process shortens reads short instead of raising SIGBUS. All that is found was written by others: it may be
//! damaged or made up, and no value of it leads to anything worse than a wrong line.
//!
//! | to | use |
//! |---|---|
//! | find the streams of one's processes | [`scan`] |
//! | see both lanes, once | [`InspectedStream::look`] |
//! | see rates, and since when a half sleeps | [`Follower`] |
//! | check every rule | [`examine`] |
//!
//! What it does not promise: a look copies one word after the other while the parties go on, so what it shows was so
//! nearly at one moment. A 64-bit counter may be copied while it is being carried; then it is looked at again. The
//! process numbers and the times in a header are what its owner wrote. An inspector keeps the memory alive until the
//! [`Source`] is dropped; closing it wakes the watcher of the parties once, which asks for the locks and sleeps again.
//!
//! A [`Stream::pair`](crate::Stream::pair) keeps no descriptor, so it cannot be found.
//!
//! # References
//! [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html),
//! [proc_pid_fdinfo(5)](https://man7.org/linux/man-pages/man5/proc_pid_fdinfo.5.html),
//! [pread(2)](https://man7.org/linux/man-pages/man2/pread.2.html)

mod doctor;
mod follower;
mod look;
mod names;
mod process;
mod sample;
mod scan;
mod skipped;
mod sockets;
mod source;

pub use crate::header::check::{Check, Part, Verdict};
pub use crate::header::words::{ByteOrder, HeaderCopy};
pub use doctor::{DoctorTarget, examine};
pub use follower::{Follower, HalfReport, LaneReport, Rates, Report};
pub use look::{Holder, InspectedStream, Look, State};
pub use process::printable;
pub use sample::{Channel, Lane, Phase, Sample, SleepState};
pub use scan::{ListeningSocket, Scan, scan, scan_again};
pub use skipped::Skipped;
pub use source::Source;
