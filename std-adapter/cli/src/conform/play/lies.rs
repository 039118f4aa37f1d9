//! This side puts impossible words into its segment, after a good rendezvous.

use super::bytes::there_and_back;
use crate::conform::meeting::Meeting;
use crate::conform::plan::{Over, Play};
use crate::conform::scene::Scene;
use crate::conform::segment::at;
use crate::conform::trouble::{Trouble, broke, need};
use crate::conform::words::{LAST, Speaks, add, diff};

pub const PLAYS: &[Play] = &[
    Play {
        name: "`sent` beyond the lane",
        about: &["C5", "C8"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| sent(s, |m| add(m.sent, m.capacity() + 1)),
    },
    Play {
        name: "`sent` far beyond the lane",
        about: &["C5", "C8"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| sent(s, |m| add(m.sent, 1 << 30)),
    },
    Play {
        name: "`sent` goes back",
        about: &["C5", "C8"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| sent(s, |m| add(m.sent, u32::MAX)),
    },
    Play {
        name: "`received` ahead of what it has sent",
        about: &["C6", "C8"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| received(s, |m| add(m.their_sent, 1 << 30)),
    },
    Play {
        name: "`received` goes back",
        about: &["C6", "C8"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| received(s, |m| add(m.config.start, u32::MAX)),
    },
    Play {
        name: "the capacity grows when it has attached",
        about: &["C9"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: grows,
    },
];

/// C8: FIN and STOP, which are the last that it says.
pub fn is_corrupt(meeting: &mut Meeting, what: &str) -> Result<(), Trouble> {
    let last = |meeting: &Meeting, name| meeting.peer.load(at(name)) & LAST != 0;
    let found = meeting.until(|meeting| {
        let gone = meeting.is_peer_gone()?;
        // After asking: what is said now is final if it is gone.
        let said = (last(meeting, "sent"), last(meeting, "received"));
        // A process that ends takes no next step, in which its other half would say it.
        let enough = said == (true, true) || gone && said != (false, false);
        Ok((enough || gone).then_some(enough))
    })?;
    if found == Some(true) {
        return Ok(());
    }
    let missing = match (last(meeting, "sent"), last(meeting, "received")) {
        (false, false) => "neither FIN nor STOP",
        (false, true) => "no FIN",
        _ => "no STOP",
    };
    let when = if found.is_some() { "and is gone".to_owned() } else { format!("within {:?}", meeting.patience()) };
    Err(broke(&["C8"], format!("{what}: it has said {missing}, {when}")))
}

fn sent(scene: &mut Scene, lie: fn(&Meeting) -> u32) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    there_and_back(&mut meeting, 10)?;
    meeting.need(&["W1"], "it has sent all back, and not given back the room", |meeting| {
        Ok((meeting.look_received()? == meeting.capacity()).then_some(()))
    })?;
    let before = [meeting.peer.load(at("sent")), meeting.peer.load(at("received"))];
    let word = lie(&meeting);
    let what =
        format!("`sent` went from {:#010x} to {word:#010x} in a lane of {} bytes", meeting.sent, meeting.capacity());
    meeting.own.store(at("sent"), word);
    meeting.wake_reader();
    is_corrupt(&mut meeting, &what)?;
    for (name, before) in [("sent", before[0]), ("received", before[1])] {
        let moved = diff(meeting.peer.load(at(name)), before);
        need(moved == 0, &["C5", "C8"], || format!("{what}: its `{name}` moved by {moved} bytes after that"))?;
    }
    Ok(())
}

/// A writer looks at `received` when it needs room: so it gets more to write than it knows room for.
fn received(scene: &mut Scene, lie: fn(&Meeting) -> u32) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    there_and_back(&mut meeting, 10)?;
    let word = lie(&meeting);
    let what = format!(
        "`received` went from {:#010x} to {word:#010x}, and it had sent {:#010x}",
        meeting.received, meeting.their_sent
    );
    meeting.own.store(at("received"), word);
    meeting.wake_writer();
    let mut left = 4 * (u64::from(meeting.capacity()) + u64::from(meeting.their_capacity())) + (1 << 20);
    let over =
        |meeting: &Meeting| meeting.peer.load(at("sent")) & LAST != 0 || meeting.peer.load(at("received")) & LAST != 0;
    // All of what it has said is looked at: it may have been going on until it saw the lie.
    meeting.until(|meeting| {
        let n = meeting.write(&[9; 4096])? as u64;
        left = left.saturating_sub(n);
        Ok((over(meeting) || left == 0).then_some(()))
    })?;
    is_corrupt(&mut meeting, &what)
}

fn grows(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    // It has attached when bytes come back.
    there_and_back(&mut meeting, 10)?;
    meeting.own.store(at("capacity"), 1 << 29);
    meeting.own.store(at("lane_offset"), 1 << 20);
    there_and_back(&mut meeting, 10_000)?;
    let word = add(meeting.sent, meeting.capacity() + 1);
    meeting.own.store(at("sent"), word);
    meeting.wake_reader();
    is_corrupt(&mut meeting, "`capacity` grew after it had attached, and `sent` went beyond what it was")
        .map_err(|trouble| broke(&["C9"], trouble.text))
}
