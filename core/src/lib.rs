#![doc = include_str!("../README.md")]
#![no_std]
#![deny(missing_docs, unsafe_op_in_unsafe_fn, clippy::as_conversions)]
#![warn(missing_debug_implementations)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(loom, test, smstream_mutants))]
extern crate std;

mod arithmetic;
#[cfg(not(loom))]
pub mod block;
mod bytes;
#[cfg(not(loom))]
mod config;
pub mod counter;
pub mod cursor;
mod deadlock;
pub mod error;
#[cfg(not(loom))]
pub mod findings;
#[cfg(not(loom))]
pub mod geometry;
pub mod identity;
#[cfg(feature = "zerocopy")]
#[cfg_attr(docsrs, doc(cfg(feature = "zerocopy")))]
pub mod items;
pub mod lane;
pub mod layout;
pub mod local;
mod mutant;
pub mod ordering;
pub mod park;
mod publication;
pub mod record;
mod size;
pub mod spsc;
pub mod stream;
pub mod sync;
#[cfg(all(test, not(loom)))]
mod testing;
mod traits;
pub mod wait;
mod waiting;
pub mod word;
