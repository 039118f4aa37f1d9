//! Models of the core's protocols. Each test explores the executions of a few threads, weak memory included, and holds
//! in all of them. `README.md` of this package says what that shows and what it cannot.

mod alert;
mod barrier;
mod close;
mod common;
mod deadlock;
mod duplex;
mod local;
mod no_deadlock;
mod owning;
mod park;
mod poll;
mod record;
mod setup;
mod several;
mod spsc;
mod transfer;
mod wakers;
