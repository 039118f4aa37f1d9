//! The operations on streams, and what a survivor may see of each.

use std::io::{Read, Write};
use std::net::Shutdown;

use smstream::{BufMode, Builder, Stream};

use crate::exchange::{
    BEFORE, BYTES, Exchange, LANE, builder, drain, drained, drained_all, drains_meanwhile, left_unread, pattern,
    written,
};
use crate::operation::Shape;

const SLEEPING_SURVIVOR: Shape = Shape { survivor_sleeps: true, never_ends: false };
const FOR_GOOD: Shape = Shape { survivor_sleeps: false, never_ends: true };
const USUAL: Shape = Shape { survivor_sleeps: false, never_ends: false };

/// Most of them write.
const WRITE: Exchange = Exchange {
    name: "write, wrapping",
    after_a_kill: &["0 bytes, `PeerGone`", "2000 bytes, `PeerGone`"],
    whole: "2000 bytes, end",
    ordered: true,
    shape: USUAL,
    builder,
    before: |stream| stream.write_all(pattern(0, BEFORE)).expect("there is room"),
    meanwhile: |stream| take(stream, BEFORE),
    act: |mut stream| {
        assert_eq!(stream.write(pattern(BEFORE, BYTES)).expect("there is room"), BYTES);
        Some(stream)
    },
    finish: drop,
    see: drained,
};

const READ: Exchange = Exchange {
    name: "read, wrapping",
    after_a_kill: &["2000 bytes unread, `PeerGone`", "0 bytes unread, `PeerGone`"],
    whole: "0 bytes unread, end",
    before: |stream| {
        take(stream, BEFORE);
        assert_eq!(stream.peek(BYTES).expect("they come").len(), BYTES);
    },
    meanwhile: |stream| {
        stream.write_all(pattern(0, BEFORE)).expect("there is room");
        stream.write_all(pattern(BEFORE, BYTES)).expect("the subject makes room");
    },
    act: |mut stream| {
        let mut bytes = [0; BYTES];
        assert_eq!(stream.read(&mut bytes).expect("they are there"), BYTES);
        assert_eq!(bytes[..], *pattern(BEFORE, BYTES));
        Some(stream)
    },
    see: left_unread,
    ..WRITE
};

/// Nine bytes with the end of a line among them, and then a flush.
const FLUSH: Exchange = Exchange {
    name: "write and flush, `BufMode::None`",
    after_a_kill: &["0 bytes, `PeerGone`", "16 bytes, `PeerGone`"],
    whole: "16 bytes, end",
    before: |_| {},
    meanwhile: |_| {},
    act: |mut stream| {
        hold(&mut stream);
        stream.flush().expect("the survivor lives");
        Some(stream)
    },
    see: drained_all,
    ..WRITE
};

/// What was held back goes with the end.
const SHUT: Exchange = Exchange {
    name: "shut down writing, bytes held back",
    after_a_kill: &["0 bytes, `PeerGone`", "16 bytes, end"],
    whole: "16 bytes, end",
    builder: full,
    before: hold,
    act: |stream| {
        stream.shutdown(Shutdown::Write).expect("it can be shut down");
        Some(stream)
    },
    ..FLUSH
};

/// All of them.
pub const ALL: &[Exchange] = &[
    WRITE,
    READ,
    Exchange {
        name: "reserve and commit, wrapping",
        act: |mut stream| {
            let mut room = stream.reserve(BYTES).expect("there is room");
            room.write_all(pattern(BEFORE, BYTES)).expect("it was reserved");
            assert_eq!(room.commit_filled().expect("it was filled"), BYTES);
            Some(stream)
        },
        ..WRITE
    },
    Exchange {
        name: "peek and consume, wrapping",
        act: |mut stream| {
            let mut bytes = [0; BYTES];
            let there = stream.peek(BYTES).expect("they are there");
            assert_eq!(there.copy_to(0, &mut bytes), BYTES);
            assert_eq!(there.consume(BYTES).expect("they are there"), BYTES);
            assert_eq!(bytes[..], *pattern(BEFORE, BYTES));
            Some(stream)
        },
        ..READ
    },
    FLUSH,
    Exchange {
        name: "write and flush, `BufMode::Line`",
        after_a_kill: &["0 bytes, `PeerGone`", "11 bytes, `PeerGone`", "16 bytes, `PeerGone`"],
        builder: || builder().buf_mode(BufMode::Line { terminator: 10 }),
        ..FLUSH
    },
    Exchange { name: "write and flush, `BufMode::Full`", builder: full, ..FLUSH },
    Exchange { name: "write, and wake the reader", shape: SLEEPING_SURVIVOR, see: drains_meanwhile, ..FLUSH },
    Exchange {
        name: "read, and wake the writer",
        after_a_kill: &["a write fails: `PeerGone`", "16 bytes written, `PeerGone`"],
        whole: "16 bytes written, end",
        ordered: false,
        shape: SLEEPING_SURVIVOR,
        before: |stream| assert_eq!(stream.peek(LANE / 2).expect("they come").len(), LANE),
        meanwhile: |stream| stream.write_all(pattern(0, LANE)).expect("there is room"),
        act: |mut stream| {
            take(&mut stream, LANE);
            Some(stream)
        },
        // Otherwise the survivor may find the end before it writes.
        finish: |stream| {
            let mut bytes = [0; 16];
            stream.expect("it was not used up").read_exact(&mut bytes).expect("the survivor writes");
        },
        see: |stream, cue| {
            let saw = stream.write_all(pattern(LANE, 16)).map(|()| "16 bytes written".to_owned());
            cue.end();
            let saw = match saw {
                Ok(saw) => saw,
                Err(e) => return format!("a write fails: {}", crate::exchange::reason(&e)),
            };
            format!("{saw}, {}", stream.read(&mut [0]).map_or_else(|e| crate::exchange::reason(&e), |_| "end".into()))
        },
        ..WRITE
    },
    Exchange {
        name: "read, asleep until it is woken",
        after_a_kill: &["nothing written, `PeerGone`", "16 bytes unread, `PeerGone`", "0 bytes unread, `PeerGone`"],
        whole: "0 bytes unread, end",
        ordered: false,
        act: |mut stream| {
            take(&mut stream, 16);
            Some(stream)
        },
        see: |stream, cue| {
            cue.asleep();
            match stream.write(pattern(0, 16)) {
                Ok(n) => {
                    assert_eq!(n, 16, "the lane is empty");
                    left_unread(stream, cue)
                }
                Err(e) => {
                    cue.end();
                    format!("nothing written, {}", crate::exchange::reason(&e))
                }
            }
        },
        ..FLUSH
    },
    Exchange {
        name: "write, asleep until it is woken",
        after_a_kill: &["4096 bytes, `PeerGone`", "4112 bytes, `PeerGone`"],
        whole: "4112 bytes, end",
        ordered: false,
        before: |stream| stream.write_all(pattern(0, LANE)).expect("there is room"),
        meanwhile: |_| {},
        act: |mut stream| {
            stream.write_all(pattern(LANE, 16)).expect("the survivor reads");
            Some(stream)
        },
        see: |stream, cue| {
            cue.asleep();
            let saw = drain(stream, 0);
            cue.end();
            saw
        },
        ..WRITE
    },
    Exchange {
        name: "read, asleep for good",
        after_a_kill: &["0 bytes, `PeerGone`"],
        shape: FOR_GOOD,
        act: |mut stream| {
            take(&mut stream, 16);
            Some(stream)
        },
        ..FLUSH
    },
    SHUT,
    Exchange {
        name: "shut down reading",
        after_a_kill: &["writing: `PeerGone`", "writing: `WriteAfterClose`"],
        whole: "writing: `WriteAfterClose`",
        before: |_| {},
        act: |stream| {
            stream.shutdown(Shutdown::Read).expect("it can be shut down");
            Some(stream)
        },
        see: |stream, cue| {
            cue.end();
            // Over the death of the peer there is no doubt when it has been read.
            drain(stream, 0);
            format!("writing: {}", written(stream))
        },
        ..FLUSH
    },
    Exchange {
        name: "drop, bytes held back",
        after_a_kill: &[
            "0 bytes, `PeerGone`; writing: `PeerGone`",
            "0 bytes, `PeerGone`; writing: `WriteAfterClose`",
            "16 bytes, end; writing: `WriteAfterClose`",
        ],
        whole: "16 bytes, end; writing: `WriteAfterClose`",
        act: |stream| {
            drop(stream);
            None
        },
        see: |stream, cue| {
            cue.end();
            let saw = drain(stream, 0);
            format!("{saw}; writing: {}", written(stream))
        },
        ..SHUT
    },
    Exchange {
        name: "abort, bytes held back",
        after_a_kill: &["0 bytes, `PeerGone`", "16 bytes, `PeerGone`"],
        whole: "16 bytes, `PeerGone`",
        act: |stream| {
            stream.abort();
            drop(stream);
            None
        },
        ..SHUT
    },
];

fn full() -> Builder {
    builder().buf_mode(BufMode::Full)
}

/// Writes 16 bytes; the 11th is a line feed.
fn hold(stream: &mut Stream) {
    assert_eq!(stream.write(pattern(0, 16)).expect("there is room"), 16);
}

/// Reads so many bytes, from the first on.
fn take(stream: &mut Stream, len: usize) {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("they come");
    assert_eq!(bytes, *pattern(0, len));
}
