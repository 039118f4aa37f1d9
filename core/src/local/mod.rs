//! A ring of bytes for one producer and one consumer in one process, which can sleep and close, in as little memory as that takes.
//!
//! It is a lane without what other processes need: no identity, no lines of 128 bytes, no check of the other half's words. [`ByteRing`]
//! has at most 32 bytes beside its bytes, and a half has at most 32, if its [`Park`](crate::park::Park) has none. The two halves
//! may sleep in different ways, or not at all:
//!
//! ```
//! use smstream_core::local::ByteRing;
//! use smstream_core::park::Spin;
//!
//! static UART: ByteRing<64> = ByteRing::new();
//!
//! let (mut producer, mut consumer) = UART.try_split(Spin, Spin).expect("this is the only split");
//! assert_eq!(producer.write(b"hello"), Ok(5));
//! let mut out = [0; 16];
//! assert_eq!(consumer.wait(1, None), Ok(5));
//! assert_eq!(consumer.read(&mut out), Ok(5));
//! producer.finish();
//! assert_eq!(consumer.read(&mut out), Ok(0)); // the end
//! ```
//!
//! # What it promises
//! * Bytes arrive in order, each once. What was written before [`finish`](ByteProducer::finish) is read, and then the end.
//! * Calls but `wait` take bounded time and never block. Nothing panics or allocates.
//! * A half that sleeps is woken when there is as much as it waits for, by the other half's [`wake`](crate::park::Park::wake).
//!
//! # What it does not promise
//! * Anything if a process that is not trusted can write the memory: take a [lane](crate::lane).
//! * That a half learns that the other one was dropped, or its thread has died. Say [`finish`](ByteProducer::finish) or
//!   [`stop`](ByteConsumer::stop).
//! * Speed between two CPUs: the two cursors lie side by side, and each call looks at the other one.
//!   [`spsc::Ring`](crate::spsc::Ring) of `u8` keeps them apart.
//!
//! Capacities are powers of two, up to 2²⁹. Others do not compile:
//!
//! ```compile_fail
//! static UART: smstream_core::local::ByteRing<48> = smstream_core::local::ByteRing::new();
//! ```

mod consumer;
mod producer;
mod ring;
mod words;

pub use consumer::ByteConsumer;
pub use producer::ByteProducer;
pub use ring::ByteRing;
