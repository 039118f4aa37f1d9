//! This side rings too much, announces what cannot be, and is slow.

use std::os::fd::AsFd;

use super::bytes::there_and_back;
use crate::conform::meeting::Link;
use crate::conform::plan::{Over, Play};
use crate::conform::scene::Scene;
use crate::conform::segment::at;
use crate::conform::trouble::Trouble;
use crate::conform::words::Speaks;

pub const PLAYS: &[Play] = &[
    Play {
        name: "ten thousand wakes for no reason",
        about: &["K9"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: wakes,
    },
    Play {
        name: "ten thousand bytes on the socket, and descriptors",
        about: &["S11"],
        level: 1,
        over: Over::Socket,
        role: None,
        speaks: Speaks::Bytes,
        run: rings,
    },
    Play {
        name: "park words and wake methods without sense",
        about: &["W6", "K7"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: nonsense,
    },
    Play {
        name: "this side takes nothing until nothing fits any more",
        about: &["C6"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: slow,
    },
];

fn wakes(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    for round in 0..10_000 {
        meeting.own.wake(at(if round % 2 == 0 { "sent" } else { "received" }));
    }
    there_and_back(&mut meeting, 10_000)?;
    meeting.close();
    Ok(())
}

fn rings(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let null = std::fs::File::open("/dev/null")?;
    for round in 0..10_000 {
        let Link::Socket(wire) = &meeting.link else { break };
        if round % 50 == 0 {
            wire.ring_with(&[null.as_fd(), null.as_fd()]);
        } else {
            wire.ring();
        }
    }
    there_and_back(&mut meeting, 10_000)?;
    meeting.close();
    Ok(())
}

fn nonsense(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    // Not 1 in read_park, which says that STOP is set.
    for word in [u32::MAX, 0x8000_0000, 0x4000_0000, 0xbfff_ffff, 2, 0x7fff_fffe] {
        for name in ["read_park", "write_park", "read_wake_method", "write_wake_method"] {
            meeting.own.store(at(name), word);
        }
        there_and_back(&mut meeting, 3000)?;
    }
    meeting.close();
    Ok(())
}

fn slow(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let mut sent = 0;
    meeting.need(&["C6"], "nothing is taken, and its lane does not become full", |meeting| {
        sent += meeting.write(&[3; 1000])?;
        let full = meeting.look_sent()? == meeting.their_capacity();
        Ok((full && meeting.look_received()? == 0).then_some(()))
    })?;
    let mut bytes = [0; 1000];
    while sent > 0 {
        sent -= meeting.need(&["C6", "W1"], "its lane was full, room was made, and nothing more came", |meeting| {
            let came = meeting.read(&mut bytes)?;
            Ok((came > 0).then_some(came))
        })?;
    }
    there_and_back(&mut meeting, 5000)?;
    meeting.close();
    Ok(())
}
