//! POSIX shared memory, semaphores and clean-up between real processes, and with programs in C.
//!
//! A test that needs another process of its kind runs this program again, with one test, in a role.

mod cleanup;
mod facts;
mod foreign;
mod forks;
mod limits;
mod objects;
mod synchronized;
mod tools;
