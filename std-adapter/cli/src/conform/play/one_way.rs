//! A channel of which one lane has no bytes: C2.

use crate::conform::header;
use crate::conform::meeting::Meeting;
use crate::conform::plan::{Over, Play};
use crate::conform::scene::{Role, Scene, lanes};
use crate::conform::segment::at;
use crate::conform::trouble::{Trouble, need};
use crate::conform::words::{LAST, Speaks};

pub const PLAYS: &[Play] = &[
    Play {
        name: "a channel that goes to it only",
        about: &["C2"],
        level: 1,
        over: Over::Both,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: |scene| one_way(scene, [4096, 0]),
    },
    Play {
        name: "a channel that comes from it only",
        about: &["C2"],
        level: 1,
        over: Over::Both,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: |scene| one_way(scene, [0, 4096]),
    },
];

/// What the peer keeps for the lane of no bytes: its cursor and its park word.
fn is_closed(meeting: &Meeting) -> Result<(), Trouble> {
    let (cursor, park) = if meeting.their_capacity() == 0 { ("sent", "write_park") } else { ("received", "read_park") };
    let [word, asleep] = [cursor, park].map(|name| meeting.peer.load(at(name)));
    need(word == meeting.config.start | LAST && asleep == 0, &["C2"], || {
        format!("of a lane of no bytes its `{cursor}` is {word:#010x} and its `{park}` {asleep:#010x}")
    })
}

fn one_way(scene: &mut Scene, capacities: [u32; 2]) -> Result<(), Trouble> {
    let mut meeting = scene.meet_with(&lanes(capacities))?;
    header::is_fresh(&meeting.peer, &meeting.config, 1)?;
    is_closed(&meeting)?;
    if meeting.capacity() != 0 {
        meeting.write(b"one way")?;
        meeting.need(&["C2"], "bytes were sent over the only lane, and it does not take them", |meeting| {
            is_closed(meeting)?;
            Ok((meeting.look_received()? == meeting.capacity()).then_some(()))
        })?;
        meeting.finish();
    }
    // It cannot echo: it finds its own lane closed, or the end of what it reads, and ends.
    let cursor = if meeting.capacity() != 0 { "received" } else { "sent" };
    meeting.need(&["C2"], "there is nothing more that it can do, and it does not end", |meeting| {
        is_closed(meeting)?;
        let over = meeting.peer.load(at(cursor)) & LAST != 0;
        Ok((over || meeting.is_peer_gone()?).then_some(()))
    })?;
    meeting.close();
    Ok(())
}
