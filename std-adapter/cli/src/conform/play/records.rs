//! The peer echoes records, and this side sends good ones, padding, and headers that are lies: R.

use super::lies::is_corrupt;
use super::parking::asleep;
use crate::conform::frames::{Frames, PADDING, frame, header};
use crate::conform::meeting::Meeting;
use crate::conform::plan::{Over, Play};
use crate::conform::scene::{Role, Scene, lanes};
use crate::conform::segment::at;
use crate::conform::trouble::{Trouble, broke, need};
use crate::conform::words::{Speaks, THRESHOLD, add};

const RECORD: Play =
    Play { name: "", about: &[], level: 1, over: Over::Both, role: None, speaks: Speaks::Records, run: |_| Ok(()) };

pub const PLAYS: &[Play] = &[
    Play {
        name: "records of many lengths, across the end of the lane",
        about: &["R1", "R2", "R3"],
        run: many,
        ..RECORD
    },
    Play { name: "padding of many lengths, alone and before a record", about: &["R2"], run: padded, ..RECORD },
    Play { name: "the longest record, behind another", about: &["R1", "R4"], run: longest, ..RECORD },
    Play { name: "it sleeps until one byte is there", about: &["R4"], level: 2, run: one_byte, ..RECORD },
    Play { name: "headers of records and of padding that are not there", about: &["R2"], run: torn, ..RECORD },
    Play {
        name: "records in a lane of 16 bytes, whose cursors come round at once",
        about: &["R1", "R2"],
        role: Some(Role::Listener),
        run: tiny,
        ..RECORD
    },
];

/// The bytes of a record.
fn bytes(n: usize, seed: usize) -> Vec<u8> {
    (0..n).map(|i| ((i + seed) as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// Publishes whole frames, as soon as there is room for all of them: R1.
fn publish(meeting: &mut Meeting, frames: &[u8]) -> Result<(), Trouble> {
    meeting.need(&["R4"], "it does not make room for whole records", |meeting| {
        let room = meeting.look_received()? as usize >= frames.len();
        if room {
            meeting.write(frames)?;
        }
        Ok(room.then_some(()))
    })
}

/// Needs a record back, which it must have published whole.
fn back(meeting: &mut Meeting, frames: &mut Frames, record: &[u8], what: &str) -> Result<(), Trouble> {
    let came =
        meeting.need(&["R2"], &format!("{what} was sent, and does not come back"), |meeting| frames.next(meeting))?;
    need(came == record, &["R2"], || {
        format!("{what} of {} bytes was sent, and another one of {} bytes came back", record.len(), came.len())
    })
}

fn there_and_back(meeting: &mut Meeting, frames: &mut Frames, record: &[u8], what: &str) -> Result<(), Trouble> {
    publish(meeting, &frame(record))?;
    back(meeting, frames, record, what)
}

/// The longest record that fits both lanes.
fn most(meeting: &Meeting) -> usize {
    meeting.capacity().min(meeting.their_capacity()) as usize - 4
}

fn many(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let mut frames = Frames::default();
    need(meeting.peer.load(at("features")) & (1 << 17) != 0, &["R3"], || {
        "it is to echo records, and does not say so by bit 17 of features".into()
    })?;
    let most = most(&meeting);
    for (seed, n) in (0..13).chain((13..most.min(5000)).step_by(97)).enumerate() {
        there_and_back(&mut meeting, &mut frames, &bytes(n, seed), "a record")?;
    }
    // Several at once, of which one wraps round the end.
    let records: Vec<Vec<u8>> = (0..200).map(|k| bytes(k * 7 % 60, k)).collect();
    for some in records.chunks(20) {
        publish(&mut meeting, &some.iter().flat_map(|record| frame(record)).collect::<Vec<u8>>())?;
        for record in some {
            back(&mut meeting, &mut frames, record, "one of several records")?;
        }
    }
    meeting.close();
    Ok(())
}

fn tiny(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet_with(&lanes([16; 2]))?;
    let mut frames = Frames::default();
    for k in 0..200 {
        there_and_back(&mut meeting, &mut frames, &bytes(k % 13, k), "a record")?;
    }
    meeting.close();
    Ok(())
}

fn padded(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let mut frames = Frames::default();
    for n in [0, 1, 3, 4, 100, 1001] {
        let mut padding = frame(&bytes(n, 5));
        padding[..4].copy_from_slice(&header(PADDING | n as u32));
        // Alone: it gives the room back, and nothing comes.
        publish(&mut meeting, &padding)?;
        let what = format!("padding of {n} bytes was sent, and it does not give back the room");
        meeting.need(&["R2"], &what, |meeting| {
            frames.nothing(meeting)?;
            Ok((meeting.look_received()? == meeting.capacity()).then_some(()))
        })?;
        let record = bytes(n + 7, n);
        publish(&mut meeting, &[padding, frame(&record)].concat())?;
        back(&mut meeting, &mut frames, &record, "a record behind padding")?;
    }
    meeting.close();
    Ok(())
}

fn longest(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let mut frames = Frames::default();
    for seed in 0..3 {
        let (short, long) = (bytes(8, seed), bytes(most(&meeting), seed));
        publish(&mut meeting, &frame(&short))?;
        publish(&mut meeting, &frame(&long))?;
        back(&mut meeting, &mut frames, &short, "a short record")?;
        back(&mut meeting, &mut frames, &long, "a record that takes the whole lane")?;
    }
    meeting.close();
    Ok(())
}

fn one_byte(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let mut frames = Frames::default();
    for seed in 0..3 {
        there_and_back(&mut meeting, &mut frames, &bytes(20, seed), "a record")?;
        asleep(&mut meeting)?;
        let mut wanted = 0;
        // This side is quiet; one that looks in slices announces it again.
        let good = meeting.until(|meeting| {
            let park = meeting.peer.load(at("read_park"));
            wanted = park.wrapping_sub(meeting.peer.load(at("received"))) & THRESHOLD;
            Ok((park != 0 && wanted == 1).then_some(()))
        })?;
        need(good.is_some(), &["R4"], || format!("it waits for {wanted} bytes of a record, and not for one"))?;
    }
    meeting.close();
    Ok(())
}

fn torn(scene: &mut Scene) -> Result<(), Trouble> {
    let whole = frame(&bytes(40, 0));
    let lie = |n: u32| header(n).to_vec();
    let lies = [
        ("a record of which half was published", whole[..24].to_vec()),
        ("a record of which the last byte was not filled up", frame(&bytes(5, 0))[..9].to_vec()),
        ("a header of which two bytes were published", vec![0; 2]),
        ("a record of one byte that was not published", lie(1)),
        ("a record longer than any lane", lie(0x1fff_ffff)),
        ("a record whose length overflows when it is filled up", lie(0x7fff_fffd)),
        ("padding of one byte that was not published", lie(PADDING | 1)),
        ("padding whose length overflows when it is filled up", lie(0xffff_ffff)),
    ];
    for (what, lie) in lies {
        let mut meeting = scene.meet()?;
        let mut frames = Frames::default();
        there_and_back(&mut meeting, &mut frames, b"a good one", "a record")?;
        meeting.write(&lie)?;
        let found = is_corrupt(&mut meeting, what);
        found.map_err(|trouble| broke(&["R2"], trouble.text))?;
        // Nothing of it was taken, and nothing was sent back.
        let (took, sent) = (meeting.peer.load(at("received")), meeting.peer.load(at("sent")));
        let before = [meeting.sent.wrapping_sub(lie.len() as u32), meeting.received].map(|word| add(word, 0));
        need([took, sent].map(|word| add(word, 0)) == before, &["R2"], || {
            format!("{what}: it took or sent something of that ({took:#010x}, {sent:#010x}; before {before:#010x?})")
        })?;
    }
    Ok(())
}
