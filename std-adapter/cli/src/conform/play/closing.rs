//! The end of a stream, in order: X.

use super::bytes::there_and_back;
use crate::conform::meeting::Meeting;
use crate::conform::plan::{Over, Play};
use crate::conform::scene::Scene;
use crate::conform::segment::at;
use crate::conform::trouble::{Trouble, need};
use crate::conform::words::{LAST, STOPPED_HINT, Speaks};

pub const PLAYS: &[Play] = &[
    Play {
        name: "FIN, and what comes after it",
        about: &["X1", "X3", "C1", "C7"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: ends,
    },
    Play {
        name: "it lets go of what says that it lives",
        about: &["X4"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: lets_go,
    },
    Play {
        name: "this side takes no more",
        about: &["W7"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: stops,
    },
];

/// Says FIN, and waits for the peer's FIN, STOP and the hint.
fn to_the_end(meeting: &mut Meeting) -> Result<(), Trouble> {
    meeting.finish();
    let mut bytes = [0; 100];
    meeting.need(&["X3"], "this side has said FIN, all came back, and it does not say FIN", |meeting| {
        let came = meeting.read(&mut bytes)?;
        need(came == 0, &["C5"], || format!("{came} bytes came that were never sent"))?;
        Ok(meeting.has_fin().then_some(()))
    })?;
    meeting.need(&["X3"], "it has said FIN and read the end, and does not say STOP", |meeting| {
        meeting.look_received()?;
        Ok((meeting.their_received & LAST != 0).then_some(()))
    })?;
    meeting.need(&["X1"], "it has said STOP, and does not store STOPPED_HINT in `read_park`", |meeting| {
        Ok((meeting.peer.load(at("read_park")) == STOPPED_HINT).then_some(()))
    })?;
    Ok(())
}

fn ends(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    there_and_back(&mut meeting, 5000)?;
    to_the_end(&mut meeting)?;
    meeting.until(|meeting| Ok(meeting.is_peer_gone()?.then_some(())))?;
    // After the end no word of it changes: C1, C7.
    meeting.look_sent()?;
    meeting.look_received()?;
    need(meeting.peer.load(at("read_park")) == STOPPED_HINT, &["X1"], || "STOPPED_HINT was taken back".into())?;
    meeting.close();
    Ok(())
}

fn lets_go(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    to_the_end(&mut meeting)?;
    // This side lives on: it is the peer that must go by itself.
    meeting.need(&["X4"], "it has closed in order, and still holds its lock or its socket", |meeting| {
        Ok(meeting.is_peer_gone()?.then_some(()))
    })?;
    meeting.close();
    Ok(())
}

fn stops(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    there_and_back(&mut meeting, 100)?;
    meeting.stop();
    meeting.need(
        &["W7", "X1"],
        "this side has said STOP, bytes are sent to it, and it neither stops to echo nor ends",
        |meeting| {
            meeting.write(b"still here")?;
            meeting.look_sent()?;
            Ok((meeting.has_fin() || meeting.is_peer_gone()?).then_some(()))
        },
    )?;
    meeting.close();
    Ok(())
}
