//! Messages and segments that are wrong, during the rendezvous: S2 to S10, A, F6.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::conform::packet::{Came, Message, Wire, kind};
use crate::conform::plan::{Over, Play};
use crate::conform::region::Region;
use crate::conform::scene::{Role, Scene, usual};
use crate::conform::segment::{Segment, at, whole};
use crate::conform::socket;
use crate::conform::trouble::{Trouble, broke, need, unreached};
use crate::conform::words::Speaks;
use smstream::memory::{memfd, unnamed_file};
use smstream::smstream_core::geometry::Config;

pub const PLAYS: &[Play] = &[
    Play {
        name: "messages that are wrong or not due",
        about: &["S2"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: to_a_listener,
    },
    Play {
        name: "descriptors that are no segment",
        about: &["S3", "S7", "S8"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: no_segment,
    },
    Play {
        name: "one word of a header wrong",
        about: HEADER,
        level: 1,
        over: Over::Socket,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: headers_to_a_listener,
    },
    Play {
        name: "lanes larger than HELLO allows",
        about: &["S14"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: small_limit,
    },
    Play {
        name: "one word of a header wrong",
        about: HEADER_IN_FILE,
        level: 1,
        over: Over::File,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: headers_in_a_file,
    },
    Play {
        name: "messages that are wrong or not due",
        about: &["S2", "S3", "S14"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: to_a_connector,
    },
    Play {
        name: "one word of a header wrong",
        about: HEADER,
        level: 1,
        over: Over::Socket,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: headers_to_a_connector,
    },
    Play {
        name: "REFUSED before HELLO, and after",
        about: &["S10"],
        level: 1,
        over: Over::Socket,
        role: Some(Role::Listener),
        speaks: Speaks::Bytes,
        run: refuses,
    },
];

const HEADER: &[&str] = &["A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A11", "A12", "A13", "A14", "A16", "S8"];
const HEADER_IN_FILE: &[&str] =
    &["A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A11", "A12", "A13", "A14", "A16", "F6"];

/// Words of a header, each with a value that it cannot have, and the clause.
fn faults(config: &Config, party: usize) -> Vec<(&'static str, &'static str, u32)> {
    vec![
        ("A3", "version", 0),
        ("A4", "magic", 0x7478_6574),
        ("A5", "byte_order", 0x0403_0201),
        ("A6", "version", 2),
        ("A7", "features", 1 << 15),
        ("A8", "party", 1 - party as u32),
        ("A9", "align", 64),
        ("A10", "lane_offset", 640),
        ("A11", "capacity", 3),
        ("A12", "peer_capacity", 12),
        ("A13", "start", 1 << 31),
        ("A14", "sent", (config.start + config.capacities[party] + 1) & 0x7fff_ffff),
    ]
}

/// A sealed segment with one wrong word.
fn wrong(config: &Config, party: usize, word: &str, value: u32) -> Result<OwnedFd, Trouble> {
    let (fd, segment) = Segment::sealed(config, party)?;
    segment.store(at(word), value);
    Ok(fd)
}

/// The listener refuses, for this reason, and hangs up.
fn is_refused(wire: &Wire, reason: u32, clauses: &[&'static str], what: &str) -> Result<(), Trouble> {
    match wire.hear()? {
        Came::Message(message, _) if message.0[3] == kind::REFUSED && message.0[14] == reason => {}
        Came::Message(message, _) => {
            return Err(broke(
                clauses,
                format!("{what} was answered by {} and not by REFUSED {reason}", message.name()),
            ));
        }
        Came::Bytes(len) => return Err(broke(clauses, format!("{what} was answered by a packet of {len} bytes"))),
        Came::End => return Err(broke(clauses, format!("after {what} it hung up and did not say REFUSED {reason}"))),
        Came::Nothing => return Err(broke(clauses, format!("{what} was not answered"))),
    }
    need(matches!(wire.hear()?, Came::End), &["S10"], || format!("it refused {what}, and did not hang up"))
}

fn to_a_listener(scene: &mut Scene) -> Result<(), Trouble> {
    let hello = Message::hello(socket::MOST);
    let bytes = hello.bytes();
    let packets: [(&str, Vec<u8>); 9] = [
        ("a packet of 63 bytes", bytes[..63].to_vec()),
        ("a packet of 65 bytes", [&bytes[..], &[0]].concat()),
        ("a packet of 1 byte", vec![1]),
        ("HELLO with another magic", hello.with(0, 0).bytes().to_vec()),
        ("HELLO of the other byte order", hello.with(2, 0x0403_0201).bytes().to_vec()),
        ("a message of kind 9", Message::new(9).bytes().to_vec()),
        ("SEGMENT before HELLO", Message::new(kind::SEGMENT).bytes().to_vec()),
        ("WELCOME to a listener", Message::welcome(&usual()).bytes().to_vec()),
        ("ACCEPTED to a listener", Message::new(kind::ACCEPTED).bytes().to_vec()),
    ];
    for (what, packet) in packets {
        let wire = Wire::connect(&scene.addr, scene.patience)?;
        wire.send(&packet, &[])?;
        is_refused(&wire, 5, &["S2"], what)?;
    }
    let wire = Wire::connect(&scene.addr, scene.patience)?;
    wire.say(&hello.with(4, 2).with(5, 3), &[])?;
    is_refused(&wire, 1, &["S2"], "HELLO of a later layout")?;
    let greeting = socket::greet(&scene.addr, scene.patience)?;
    greeting.wire.say(&hello, &[])?;
    is_refused(&greeting.wire, 5, &["S2"], "a second HELLO")
}

fn no_segment(scene: &mut Scene) -> Result<(), Trouble> {
    for what in [
        "no descriptor",
        "two descriptors",
        "memory that is not sealed",
        "an ordinary file",
        "a pipe",
        "memory that is too short",
    ] {
        let greeting = socket::greet(&scene.addr, scene.patience)?;
        let config = greeting.config;
        let (good, _) = Segment::sealed(&config, 1)?;
        let fds: Vec<OwnedFd> = match what {
            "no descriptor" => Vec::new(),
            "two descriptors" => vec![good.try_clone()?, good],
            "memory that is not sealed" => {
                let fd = memfd("smstream:unsealed", whole(&config, 1) as u64)?;
                vec![socket::set_up(fd, &config, 1)?]
            }
            "an ordinary file" => {
                let fd = unnamed_file(std::fs::File::open(std::env::temp_dir())?, whole(&config, 1) as u64)?;
                vec![socket::set_up(fd, &config, 1)?]
            }
            "a pipe" => vec![rustix::pipe::pipe().map_err(std::io::Error::from)?.0],
            _ => {
                let short = Config { capacities: [config.capacities[0], 0], ..config };
                vec![Segment::sealed(&short, 1)?.0]
            }
        };
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        greeting.wire.say(&Message::new(kind::SEGMENT), &fds)?;
        let clauses: &[&str] =
            if what.ends_with("descriptor") || what.ends_with("descriptors") { &["S3"] } else { &["S7"] };
        is_refused(&greeting.wire, 4, clauses, what)?;
    }
    Ok(())
}

fn headers_to_a_listener(scene: &mut Scene) -> Result<(), Trouble> {
    let config = socket::greet(&scene.addr, scene.patience)?.config;
    for (clause, word, value) in faults(&config, 1) {
        let greeting = socket::greet(&scene.addr, scene.patience)?;
        // Each channel has a number of its own.
        let fd = wrong(&greeting.config, 1, word, value)?;
        greeting.wire.say(&Message::new(kind::SEGMENT), &[fd.as_fd()])?;
        is_refused(&greeting.wire, 4, &[clause, "S8"], &format!("a segment whose `{word}` is {value:#x}"))?;
    }
    Ok(())
}

fn small_limit(scene: &mut Scene) -> Result<(), Trouble> {
    let config = socket::greet(&scene.addr, scene.patience)?.config;
    let most = config.capacities[0].max(config.capacities[1]);
    let wire = Wire::connect(&scene.addr, scene.patience)?;
    wire.say(&Message::hello(most - 1), &[])?;
    is_refused(&wire, 3, &["S14"], &format!("HELLO that accepts lanes of up to {} bytes, and it has {most},", most - 1))
}

fn headers_in_a_file(scene: &mut Scene) -> Result<(), Trouble> {
    let Some(path) = scene.file() else { return Ok(()) };
    let config = {
        let region = Region::claim_any(&path, scene.patience)?;
        region.die(1)?;
        *region.config()
    };
    for (clause, word, value) in faults(&config, 1) {
        let region = Region::claim_any(&path, scene.patience)?;
        let [own, peer] = region.set_up()?;
        own.store(at(word), value);
        region.say_hello(&own);
        let state = region.verdict(&peer, scene.patience)?;
        need(state & 0xff == 3, &[clause, "F6"], || {
            format!("HELLO with a segment whose `{word}` is {value:#x} was answered by state {state}")
        })?;
    }
    Ok(())
}

/// The connector hangs up, and says nothing.
pub fn hangs_up(wire: &Wire, clauses: &[&'static str], what: &str) -> Result<(), Trouble> {
    match wire.hear()? {
        Came::End => Ok(()),
        Came::Message(message, _) => Err(broke(clauses, format!("{what} was answered by {}", message.name()))),
        Came::Bytes(len) => Err(broke(clauses, format!("{what} was answered by a packet of {len} bytes"))),
        Came::Nothing => Err(broke(clauses, format!("after {what} it neither hung up nor went on"))),
    }
}

fn to_a_connector(scene: &mut Scene) -> Result<(), Trouble> {
    let good = Message::welcome(&usual());
    let [_, large] = [0, 1 << 29];
    let lies: [(&str, &'static str, Message, usize); 9] = [
        ("WELCOME to version 2", "S2", good.with(7, 2), 1),
        ("WELCOME of the other byte order", "S2", good.with(2, 0x0403_0201), 1),
        ("HELLO", "S2", Message::hello(socket::MOST), 0),
        ("SEGMENT", "S2", Message::new(kind::SEGMENT), 1),
        ("WELCOME to a lane of 512 MiB", "S14", good.with(8, large), 1),
        ("WELCOME to a lane of 3 bytes", "A11", good.with(9, 3), 1),
        ("WELCOME with an align of 128", "P4", good.with(10, 128), 1),
        ("WELCOME without a descriptor", "S3", good, 0),
        ("WELCOME with two descriptors", "S3", good, 2),
    ];
    for (what, clause, message, descriptors) in lies {
        scene.start_connector()?;
        let (wire, _, _) = scene.door()?.hello()?;
        let (fd, _) = Segment::sealed(&usual(), 0)?;
        wire.say(&message, &vec![fd.as_fd(); descriptors])?;
        hangs_up(&wire, &[clause], what)?;
    }
    scene.start_connector()?;
    let (wire, _, _) = scene.door()?.hello()?;
    let (fd, _) = Segment::sealed(&usual(), 0)?;
    wire.send(&[&good.bytes()[..], &[0]].concat(), &[fd.as_fd()])?;
    hangs_up(&wire, &["S2"], "a packet of 65 bytes")
}

fn headers_to_a_connector(scene: &mut Scene) -> Result<(), Trouble> {
    let config = usual();
    for (clause, word, value) in faults(&config, 0) {
        scene.start_connector()?;
        let (wire, _, _) = scene.door()?.hello()?;
        let fd = wrong(&config, 0, word, value)?;
        wire.say(&Message::welcome(&config), &[fd.as_fd()])?;
        hangs_up(&wire, &[clause, "S8"], &format!("WELCOME with a segment whose `{word}` is {value:#x}"))?;
    }
    Ok(())
}

/// The connector says why it ends, and it must have heard why: it ends soon, and not as if all were well.
fn refuses(scene: &mut Scene) -> Result<(), Trouble> {
    for early in [true, false] {
        scene.start_connector()?;
        let wire = scene.door()?.accept()?;
        if !early {
            wire.expect(kind::HELLO, &["S2"])?;
        }
        wire.say(&Message::new(kind::REFUSED).with(14, 6), &[])?;
        drop(wire);
        let patience = scene.patience;
        let Some(program) = &mut scene.program else {
            return Err(unreached("whether a connector gives up shows only if this command starts it"));
        };
        let status = program.ended(patience)?;
        need(status.is_some_and(|status| !status.success() && status.code().is_some()), &["S10"], || {
            format!("REFUSED came{}, and the connector ended so: {status:?}", if early { " before HELLO" } else { "" })
        })?;
    }
    Ok(())
}
