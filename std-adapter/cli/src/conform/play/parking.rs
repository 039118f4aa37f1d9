//! The peer sleeps, and this side wakes it exactly when the rules ask for it.

use crate::conform::meeting::{Link, Meeting, Waking};
use crate::conform::plan::{Over, Play};
use crate::conform::scene::Scene;
use crate::conform::segment::at;
use crate::conform::trouble::{Trouble, need, unreached};
use crate::conform::words::{ASLEEP, EXCLUSIVE, Speaks, THRESHOLD, diff};

pub const PLAYS: &[Play] = &[
    Play {
        name: "it sleeps, and what it announces can be",
        about: &["K1", "K2", "K5"],
        level: 2,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: announces,
    },
    Play {
        name: "two hundred round trips, waked by the rules alone",
        about: &["K3", "K5"],
        level: 2,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: exactly,
    },
    Play {
        name: "its wake methods",
        about: &["K4", "K8"],
        level: 2,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: methods,
    },
];

/// Waits until its reading half sleeps. The park word.
pub fn asleep(meeting: &mut Meeting) -> Result<u32, Trouble> {
    let park = meeting.until(|meeting| {
        let word = meeting.peer.load(at("read_park"));
        Ok((word & ASLEEP != 0).then_some(word))
    })?;
    park.ok_or_else(|| unreached("its reading half never sleeps"))
}

fn byte_and_back(meeting: &mut Meeting, byte: u8) -> Result<(), Trouble> {
    meeting.write(&[byte])?;
    let mut came = [0];
    meeting.need(
        &["K3"],
        "a byte was published, it was waked by the rules, and the byte did not come back",
        |meeting| Ok((meeting.read(&mut came)? == 1).then_some(())),
    )?;
    need(came[0] == byte, &["P1"], || format!("{:#04x} came back and not {byte:#04x}", came[0]))
}

fn announces(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    for byte in 0..10 {
        let park = asleep(&mut meeting)?;
        // This side is quiet: nothing of this changes, but for one that looks in slices.
        let most = (meeting.capacity() / 2).max(1);
        let mut wanted = 0;
        let good = meeting.until(|meeting| {
            let park = meeting.peer.load(at("read_park"));
            let received = meeting.peer.load(at("received"));
            wanted = park.wrapping_sub(received) & THRESHOLD;
            let there = diff(meeting.sent, received);
            Ok((park & ASLEEP != 0 && (1..=most).contains(&wanted) && there < wanted).then_some(()))
        })?;
        need(good.is_some(), &["K1"], || {
            format!("it sleeps for {wanted} bytes of a lane of {}, park word {park:#010x}", meeting.capacity())
        })?;
        need(park & EXCLUSIVE == 0 || park & ASLEEP != 0, &["E1"], || {
            format!("EXCLUSIVE without ASLEEP: {park:#010x}")
        })?;
        let held = diff(meeting.sent, meeting.peer.load(at("received")));
        need(held == 0, &["K2"], || format!("it sleeps, and has not given back the room of {held} bytes"))?;
        byte_and_back(&mut meeting, byte)?;
    }
    meeting.close();
    Ok(())
}

fn exactly(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    meeting.waking = Waking::Exactly;
    for round in 0..200u8 {
        // Now it sleeps when the byte comes, and now it does not yet.
        if round % 4 == 0 {
            asleep(&mut meeting)?;
        }
        byte_and_back(&mut meeting, round)?;
    }
    meeting.close();
    Ok(())
}

fn methods(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    asleep(&mut meeting)?;
    for name in ["read_wake_method", "write_wake_method"] {
        let method = meeting.peer.load(at(name));
        let by_socket = matches!(meeting.link, Link::Socket(_));
        let known = method == 0 || method == 1 && by_socket || (0x100..0x200).contains(&method);
        need(known, &["K8"], || format!("its {name} is {method:#x}"))?;
    }
    meeting.close();
    Ok(())
}
