//! Other crates as transports: what people use instead of a stream.

mod iceoryx;
mod rings;
mod shmem;
mod tokio_unix;

use smstream_bench::transport::Transport;

/// Between processes.
pub const PROCESSES: &[&dyn Transport] = &[&iceoryx::Iceoryx, &shmem::ShmemIpc, &tokio_unix::TokioUnix];

/// Between threads of one process, for they know no other.
pub const THREADS: &[&dyn Transport] =
    &[&rings::RTRB, &rings::RINGBUF, &rings::BBQUEUE, &rings::CROSSBEAM, &rings::CORE];
