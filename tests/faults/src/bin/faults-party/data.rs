//! The bytes that are sent, and whether those that came are these.

use std::io::{self, ErrorKind};

/// How many are sent each way: more than fit in a lane, so that both sides sleep.
pub const BYTES: usize = 10_000;
/// What a lane holds.
pub const CAPACITY: usize = 4096;
/// What is read or written at once by those that do not wait.
pub const PIECE: usize = 3000;

/// What the connector or the listener sends.
pub fn pattern(by_connector: bool) -> Vec<u8> {
    let salt = if by_connector { 1 } else { 101 };
    (0..BYTES).map(|i| (i.wrapping_mul(i).wrapping_add(i * 7 + salt) % 251) as u8).collect()
}

/// Ends the process if bytes came that were not sent: the worst that can happen.
pub fn check(came: &[u8], by_connector: bool) {
    if !pattern(by_connector).starts_with(came) {
        println!("LIE: bytes came that were not sent");
        std::process::exit(70);
    }
}

/// That all came, and then the end.
pub fn whole(came: &[u8], by_connector: bool) -> io::Result<()> {
    check(came, by_connector);
    match came.len() {
        BYTES => Ok(()),
        n => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("the stream ended after {n} of {BYTES} bytes"))),
    }
}
