//! Bytes go there and come back.

use crate::conform::header;
use crate::conform::meeting::Meeting;
use crate::conform::plan::{Over, Play};
use crate::conform::scene::{Role, Scene, lanes, usual};
use crate::conform::trouble::{Trouble, need};
use crate::conform::words::Speaks;

pub const PLAYS: &[Play] = &[
    Play {
        name: "the rendezvous, message by message, and the header",
        about: &["H1", "H2", "H3", "H4", "P2", "P4", "S1", "S3", "S6", "S8", "S14"],
        level: 1,
        over: Over::Socket,
        role: None,
        speaks: Speaks::Bytes,
        run: meets,
    },
    Play {
        name: "the rendezvous, step by step, and the header",
        about: &["H1", "H2", "H3", "H4", "P2", "P3", "P4", "F2", "F6"],
        level: 1,
        over: Over::File,
        role: None,
        speaks: Speaks::Bytes,
        run: meets,
    },
    Play {
        name: "the file, its name and its locks",
        about: &["H6", "F1", "F3", "F4", "F5"],
        level: 1,
        over: Over::File,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: meets,
    },
    Play {
        name: "its claim, and its segment",
        about: &["F8"],
        level: 1,
        over: Over::File,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: meets,
    },
    Play {
        name: "100,000 bytes go there and come back",
        about: &["P1", "C1", "C5", "C6", "C7", "W1", "H5"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: echo,
    },
    Play {
        name: "lanes of 1, 2 and 16 bytes, whose cursors come round at once",
        about: &["P1", "C5", "C6", "W4"],
        level: 1,
        over: Over::Both,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: tiny,
    },
    Play {
        name: "a proposal of lanes that it does not want, and one of those that it wants",
        about: &["S9"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: proposals,
    },
    Play {
        name: "its proposal is taken as it is",
        about: &["S9"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: its_proposal,
    },
];

fn meets(scene: &mut Scene) -> Result<(), Trouble> {
    scene.meet().map(Meeting::close)
}

/// The byte at a place.
fn byte_at(at: usize) -> u8 {
    (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[1]
}

/// Sends `n` bytes, and needs the same back.
pub fn there_and_back(meeting: &mut Meeting, n: usize) -> Result<(), Trouble> {
    let (mut sent, mut got) = (0, 0);
    let mut buffer = vec![0; 5000];
    while got < n {
        let (was_sent, was_got) = (sent, got);
        meeting.need(
            &["W1", "K3"],
            &format!("{sent} of {n} bytes were sent, {got} came back, and then"),
            |meeting| {
                let piece: Vec<u8> = (sent..n.min(sent + 1 + sent % 3000)).map(byte_at).collect();
                sent += meeting.write(&piece)?;
                let came = meeting.read(&mut buffer)?;
                let wrong = (0..came).find(|i| buffer[*i] != byte_at(got + i));
                need(wrong.is_none(), &["P1", "W1"], || {
                    format!("byte {} came back as another one", got + wrong.unwrap_or_default())
                })?;
                got += came;
                need(got <= sent, &["C5"], || format!("{got} bytes came back of {sent}"))?;
                Ok((sent + got > was_sent + was_got).then_some(()))
            },
        )?;
    }
    Ok(())
}

fn echo(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    there_and_back(&mut meeting, 100_000)?;
    meeting.need(&["W1"], "all came back, and its `received` does not say that all was taken", |meeting| {
        Ok((meeting.look_received()? == meeting.capacity()).then_some(()))
    })?;
    // Counters follow the cursors: wait for the last.
    let words = [meeting.their_sent, meeting.their_received];
    let mut last = Ok(());
    meeting.until(|meeting| {
        last = header::counted(&meeting.peer, &meeting.config, words);
        Ok(last.is_ok().then_some(()))
    })?;
    last?;
    meeting.close();
    Ok(())
}

fn tiny(scene: &mut Scene) -> Result<(), Trouble> {
    for capacity in [1, 2, 16] {
        let mut meeting = scene.meet_with(&lanes([capacity; 2]))?;
        there_and_back(&mut meeting, 1500)?;
        meeting.close();
    }
    Ok(())
}

fn proposals(scene: &mut Scene) -> Result<(), Trouble> {
    use crate::conform::packet::{Message, PROPOSES, Wire, kind};
    use crate::conform::segment::Segment;
    use crate::conform::socket::{MOST, propose, welcomed};
    use std::os::fd::AsFd;
    // No listener has lanes of 2 and 4 bytes whose cursors begin at 77.
    let odd = smstream::smstream_core::geometry::Config { start: 77, ..lanes([2, 4]) };
    let wire = Wire::connect(&scene.addr, scene.patience)?;
    let (fd, _) = Segment::sealed(&odd, 1)?;
    wire.say(&Message::proposal(&odd, MOST), &[fd.as_fd()])?;
    let (welcome, fds) = wire.expect(kind::WELCOME, &["S9"])?;
    let wanted = welcomed(&welcome)?;
    crate::conform::socket::segment_of(&fds, &wanted, 0)?;
    let (fd, _) = Segment::sealed(&wanted, 1)?;
    wire.say(&Message::new(kind::SEGMENT), &[fd.as_fd()])?;
    wire.expect(kind::ACCEPTED, &["S9"])?;
    drop(wire);
    let mut meeting = propose(&scene.addr, &usual_number(&wanted), scene.patience)?;
    there_and_back(&mut meeting, 1000)?;
    meeting.close();
    // A number of 0, or a layout that it does not know, does not count.
    for bad in [Message::proposal(&wanted, MOST).with(12, 0).with(13, 0), Message::proposal(&wanted, MOST).with(7, 2)] {
        let wire = Wire::connect(&scene.addr, scene.patience)?;
        let (fd, _) = Segment::sealed(&wanted, 1)?;
        debug_assert!(bad.0[6] & PROPOSES != 0);
        wire.say(&bad, &[fd.as_fd()])?;
        wire.expect(kind::WELCOME, &["S9"])?;
    }
    Ok(())
}

fn usual_number(config: &smstream::smstream_core::geometry::Config) -> smstream::smstream_core::geometry::Config {
    smstream::smstream_core::geometry::Config { channel: usual().channel, ..*config }
}

fn its_proposal(scene: &mut Scene) -> Result<(), Trouble> {
    scene.start_connector()?;
    if let Some(mut meeting) = scene.door()?.meet_as_proposed()? {
        there_and_back(&mut meeting, 10_000)?;
        meeting.close();
    }
    Ok(())
}
