//! This side hangs or dies, at each step.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::bytes::there_and_back;
use crate::conform::lock::Byte;
use crate::conform::packet::{Message, Wire, kind};
use crate::conform::plan::{Over, Play};
use crate::conform::region::Region;
use crate::conform::scene::{Role, Scene, usual};
use crate::conform::segment::{Segment, at};
use crate::conform::socket;
use crate::conform::trouble::{Trouble, broke, need, unreached};
use crate::conform::words::{ASLEEP, Speaks};

pub const PLAYS: &[Play] = &[
    Play {
        name: "this side dies with bytes in its lane",
        about: &["X2"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: with_bytes,
    },
    Play {
        name: "this side dies while it sleeps",
        about: &["K6", "S12"],
        level: 2,
        over: Over::Socket,
        role: None,
        speaks: Speaks::Bytes,
        run: asleep,
    },
    Play {
        name: "this side dies while it sleeps",
        about: &["K6", "F9"],
        level: 2,
        over: Over::File,
        role: None,
        speaks: Speaks::Bytes,
        run: asleep,
    },
    Play {
        name: "a connector dies at each step",
        about: &["S12", "S13"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: connector_steps,
    },
    Play {
        name: "connectors that say nothing",
        about: &["S13"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: silent,
    },
    Play {
        name: "a connector dies at each step",
        about: &["F6", "F10"],
        level: 1,
        over: Over::File,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: claim_steps,
    },
    Play {
        name: "a claim without HELLO, for seven seconds",
        about: &["F12"],
        level: 1,
        over: Over::File,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: silent_claim,
    },
    Play {
        name: "a listener dies at each step",
        about: &["S12"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: listener_steps,
    },
    Play {
        name: "a listener dies while it is waited for",
        about: &["F10"],
        level: 1,
        over: Over::File,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: region_dies,
    },
];

/// The listener still serves.
fn serves(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    there_and_back(&mut meeting, 1000)?;
    meeting.close();
    Ok(())
}

fn with_bytes(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    meeting.write(b"last words")?;
    let ghost = meeting.die()?;
    need(ghost.all_is_read(), &["X2"], || "this side has died, and what it had published before was not read".into())
}

fn asleep(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let sleeps = meeting.until(|meeting| Ok((meeting.peer.load(at("read_park")) & ASLEEP != 0).then_some(())))?;
    if sleeps.is_none() {
        return Err(unreached("its reading half never sleeps"));
    }
    let patience = meeting.patience();
    let ghost = meeting.die()?;
    need(ghost.is_let_go()?, &["K6"], || {
        format!("this side has died, and within {patience:?} the peer neither let go nor closed")
    })
}

fn connector_steps(scene: &mut Scene) -> Result<(), Trouble> {
    for step in 0..5 {
        let wire = Wire::connect(&scene.addr, scene.patience)?;
        if step >= 1 {
            wire.say(&Message::hello(socket::MOST), &[])?;
        }
        if step >= 2 {
            let (welcome, _) = wire.expect(kind::WELCOME, &["S2"])?;
            let (fd, _) = Segment::sealed(&welcome.welcomed(), 1)?;
            if step >= 3 {
                wire.say(&Message::new(kind::SEGMENT), &[std::os::fd::AsFd::as_fd(&fd)])?;
            }
            if step >= 4 {
                wire.expect(kind::ACCEPTED, &["S8"])?;
            }
        }
        drop(wire);
        serves(scene).map_err(|trouble| {
            broke(&["S13"], format!("after a connector that died at step {step}: {}", trouble.text))
        })?;
    }
    Ok(())
}

fn silent(scene: &mut Scene) -> Result<(), Trouble> {
    let mut held = Vec::new();
    for number in 0..8 {
        let wire = Wire::connect(&scene.addr, scene.patience)?;
        if number % 2 == 1 {
            wire.say(&Message::hello(socket::MOST), &[])?;
        }
        held.push(wire);
    }
    serves(scene).map_err(|trouble| broke(&["S13"], format!("while eight connectors hang: {}", trouble.text)))
}

fn claim_steps(scene: &mut Scene) -> Result<(), Trouble> {
    let Some(path) = scene.file() else { return Ok(()) };
    for step in 0..3 {
        let region = Region::claim_any(&path, scene.patience)?;
        match step {
            0 => {}
            1 => {
                // Half set up: the version is still 0.
                let own = region.segment(1, smstream::memory::Access::ReadWrite)?;
                own.store(at("version"), 0);
                own.store(at("capacity"), u32::MAX);
            }
            _ => {
                region.greet(Speaks::Bytes)?;
            }
        }
        region.die(1)?;
        drop(region);
        serves(scene).map_err(|trouble| {
            broke(&["F6", "F10"], format!("after a connector that died at step {step}: {}", trouble.text))
        })?;
    }
    Ok(())
}

fn silent_claim(scene: &mut Scene) -> Result<(), Trouble> {
    let Some(path) = scene.file() else { return Ok(()) };
    let region = Region::claim_any(&path, scene.patience)?;
    let end = Instant::now() + Duration::from_secs(7);
    while region.has_name() && Instant::now() < end {
        sleep(Duration::from_millis(5));
    }
    let (evicted, early) = (!region.has_name(), Instant::now() + Duration::from_secs(3) < end);
    region.die(1)?;
    drop(region);
    serves(scene).map_err(|trouble| broke(&["F10"], format!("after a claim without HELLO: {}", trouble.text)))?;
    need(!evicted || !early, &["F12"], || {
        "a connector that had claimed was put out before 4 seconds were over".into()
    })?;
    if evicted { Ok(()) } else { Err(unreached("the listener waits for HELLO without an end, which it may")) }
}

/// How the program ends that had to do with a listener that died.
fn gives_up(scene: &mut Scene, clause: &'static str, when: &str) -> Result<(), Trouble> {
    let patience = scene.patience;
    let Some(program) = &mut scene.program else {
        return Err(unreached("whether a connector gives up shows only if this command starts it"));
    };
    match program.ended(patience)? {
        None => Err(broke(&[clause], format!("{when}, and the connector still waits after {patience:?}"))),
        Some(status) if status.success() => {
            Err(broke(&[clause], format!("{when}, and the connector ended as if all were well")))
        }
        Some(status) if status.code().is_none() => {
            Err(broke(&[clause], format!("{when}, and the connector was ended: {status}")))
        }
        Some(_) => Ok(()),
    }
}

fn listener_steps(scene: &mut Scene) -> Result<(), Trouble> {
    for step in 0..2 {
        scene.start_connector()?;
        let (wire, _, _) = scene.door()?.hello()?;
        if step == 1 {
            let (fd, _) = Segment::sealed(&usual(), 0)?;
            wire.say(&Message::welcome(&usual()), &[std::os::fd::AsFd::as_fd(&fd)])?;
            wire.expect(kind::SEGMENT, &["S2"])?;
        }
        drop(wire);
        gives_up(scene, "S12", &format!("a listener has died at step {step}"))?;
    }
    Ok(())
}

fn region_dies(scene: &mut Scene) -> Result<(), Trouble> {
    let Some(path) = scene.file() else { return Ok(()) };
    let region = Region::listen(&path, &usual(), Speaks::Bytes)?;
    scene.start_connector()?;
    let met = region.hello(scene.patience).map(drop);
    let held = region.is_held(Byte::Connector)?;
    region.unname();
    // With its mappings and its description.
    drop(region);
    met?;
    need(held, &["F8"], || "it said HELLO without holding its byte".into())?;
    gives_up(scene, "F10", "the listener has died before it answered HELLO")
}
