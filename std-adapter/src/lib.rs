//! Byte streams between processes through shared memory.
