//! Messages on a stream of bytes: each has its length in front. They are built and looked at in the shared memory itself.
//!
//! `cargo run --example framing`

use std::io::{self, Write};
use std::thread;

use smstream::Stream;

/// The bytes of a length.
const HEAD: usize = 4;
/// No message is longer. It must fit into half a lane, which is 128 KiB here.
const LONGEST: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let (mut here, mut there) = Stream::pair()?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || -> io::Result<usize> {
            let mut count = 0;
            while let Some(message) = receive(&mut there)? {
                println!("{}", String::from_utf8_lossy(&message));
                count += 1;
            }
            Ok(count)
        });
        for number in 1..=10 {
            send(&mut here, |message| write!(message, "message {number} of 10"))?;
        }
        drop(here);
        let count = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        assert_eq!(count, 10);
        Ok(())
    })
}

/// Has `fill` build a message in place; the peer sees all of it or nothing.
fn send(stream: &mut Stream, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut chunk = stream.reserve(HEAD + LONGEST)?;
    chunk.write_all(&[0; HEAD])?;
    // If this fails the chunk is dropped, and nothing is sent.
    fill(&mut chunk)?;
    let len = chunk.filled() - HEAD;
    chunk.put(0, &(len as u32).to_le_bytes());
    chunk.commit_filled()?;
    Ok(())
}

/// The next message; `None`: the stream has ended after the last one.
fn receive(stream: &mut Stream) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    match stream.peek(HEAD)?.copy_to(0, &mut head) {
        0 => return Ok(None),
        HEAD => {}
        _ => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    // What another process says is checked before it is believed.
    let len = u32::from_le_bytes(head) as usize;
    if len > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
    }
    let chunk = stream.peek(HEAD + len)?;
    if chunk.len() < HEAD + len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut message = vec![0; len];
    chunk.copy_to(HEAD, &mut message);
    chunk.consume(HEAD + len)?;
    Ok(Some(message))
}
