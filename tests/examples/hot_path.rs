//! One write and one read of 64 bytes on `&mut Stream`, between markers, for `tests/hot_path`, which lists the functions that
//! they enter.

use std::io::{Read, Write};

use smstream::Stream;

const BYTES: [u8; 64] = [7; 64];

fn main() {
    let (mut here, mut there) = Stream::pair().expect("a pair of streams");
    // What only the first calls do is done here: they look at the peer, and learn how much room there is.
    for _ in 0..2 {
        assert_eq!(here.write(&BYTES).expect("there is room"), BYTES.len());
        there.read_exact(&mut [0; BYTES.len()]).expect("the bytes are there");
    }
    assert_eq!(marked_write(&mut here), BYTES.len());
    assert_eq!(marked_read(&mut there), BYTES);
}

/// The script collects what runs in here. It finds it by this name, for which no other knowledge of the program is needed.
// SAFETY: no other symbol of this program has the name.
#[unsafe(no_mangle)]
#[inline(never)]
fn marked_write(stream: &mut Stream) -> usize {
    stream.write(&BYTES).expect("there is room")
}

/// The same for a read.
// SAFETY: as above.
#[unsafe(no_mangle)]
#[inline(never)]
fn marked_read(stream: &mut Stream) -> [u8; 64] {
    let mut out = [0; 64];
    assert_eq!(stream.read(&mut out).expect("the bytes are there"), out.len());
    out
}
