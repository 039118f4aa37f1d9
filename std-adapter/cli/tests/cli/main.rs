//! The command `smstream`, run as its users run it: real processes, real files and pipes.
//!
//! A test waits for the thing that it is about. Only a test that would hang for ever is ended by the clock.

mod bench;
mod command;
mod completions;
mod conform;
mod demo;
mod examine;
mod exec;
mod failed_binds;
mod interactive;
mod keep_open;
mod keys;
mod leftovers;
mod looking;
mod losses;
mod oneway;
mod proxy;
mod proxy_server;
mod segments;
mod servers;
mod signals;
mod sockets;
mod stat;
mod terminal;
mod transfer;
mod trouble;
mod usage;
mod users;
