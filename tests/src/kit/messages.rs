//! Messages of the rendezvous over a socket, and what a listener or a connector answers.

use std::fmt::Write as _;

use smstream_core::geometry::Config;
use smstream_core::layout::{BYTE_ORDER, VERSION};

use super::image::hex;
use crate::wire::{LEN, Message, kind, word};

/// The channel that the player describes and proposes; a listener under test has other lanes, so that no proposal fits by
/// chance.
fn config() -> Config {
    Config { align: 4096, channel: 0x0123_4567_89ab_cdef, ..Config::new([8192, 8192]) }
}

/// What kinds of descriptor come along: none, or a letter each. `m`: a good segment 1 of the channel. Others: see the README.
fn send(message: &Message, fds: &str) -> String {
    packet(&message.bytes(), fds)
}

fn packet(bytes: &[u8], fds: &str) -> String {
    if fds.is_empty() { format!(">{}", hex(bytes)) } else { format!(">{}+{fds}", hex(bytes)) }
}

/// `messages.csv`.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("# name;rules;what is tested;steps\n");
    let mut line = |name: &str, rules: &str, whom: &str, steps: &[String]| {
        writeln!(text, "{name};{rules};{whom};{}", steps.join(" ")).unwrap();
    };
    let hello = Message::hello();
    let segment = Message::new(kind::SEGMENT);
    let refused = |n: u32| format!("<REFUSED:{n}");
    let welcome = || "<WELCOME".to_owned();
    let end = || "end".to_owned();
    let mut listener = |name: &str, rules: &str, steps: &[String]| line(name, rules, "listener", steps);

    listener(
        "four-messages",
        "S3 S8",
        &[send(&hello, ""), welcome(), send(&segment, "m"), "<ACCEPTED".into(), "echo".into()],
    );
    listener(
        "hello-with-a-descriptor",
        "S3",
        &[send(&hello, "m"), welcome(), send(&segment, "m"), "<ACCEPTED".into(), "echo".into()],
    );
    listener("words-without-meaning", "S1", &[send(&hello.with(10, 7).with(13, 9).with(15, 9), ""), welcome()]);
    listener("features-without-meaning", "S1", &[send(&hello.with(word::FEATURES, 0x3fff_ffff), ""), welcome()]);
    listener(
        "a-proposal-of-other-lanes",
        "S9",
        &[send(&Message::proposal(&config()), "m"), welcome(), send(&segment, "m"), "<ACCEPTED".into(), "echo".into()],
    );
    listener(
        "a-proposal-of-another-version",
        "S9",
        &[send(&Message::proposal(&config()).with(word::VERSION, 2), "m"), welcome()],
    );
    listener("versions-1-to-9", "S1", &[send(&hello.with(word::HIGHEST, 9), ""), welcome()]);
    listener(
        "versions-2-to-9",
        "S2",
        &[send(&hello.with(word::LOWEST, 2).with(word::HIGHEST, 9), ""), refused(1), end()],
    );
    listener(
        "versions-upside-down",
        "S2",
        &[send(&hello.with(word::LOWEST, 2).with(word::HIGHEST, 1), ""), refused(1), end()],
    );
    listener("a-small-limit", "S14", &[send(&hello.with(8, 4096).with(9, 4096), ""), refused(3), end()]);
    for (name, at, value) in [
        ("magic", 0, 0x7473_6d73),
        ("byte-order", 2, BYTE_ORDER.swap_bytes()),
        ("kind-0", 3, 0),
        ("kind-6", 3, 6),
        ("kind-largest", 3, u32::MAX),
    ] {
        listener(&format!("wrong-{name}"), "S2", &[send(&hello.with(at, value), ""), refused(5), end()]);
    }
    let bytes = hello.bytes();
    let mut long = bytes.to_vec();
    long.push(0);
    listener("63-bytes", "S2", &[packet(&bytes[..LEN - 1], ""), refused(5), end()]);
    listener("65-bytes", "S2", &[packet(&long, ""), refused(5), end()]);
    listener("no-bytes", "S2", &[packet(&[], ""), refused(5), end()]);
    listener("4096-bytes", "S2", &[packet(&[0x89; 4096], ""), refused(5), end()]);
    listener("hello-twice", "S2", &[send(&hello, ""), welcome(), send(&hello, ""), refused(5), end()]);
    listener("segment-first", "S2", &[send(&segment, "m"), refused(5), end()]);
    listener("welcome-first", "S2", &[send(&Message::welcome(&config()), "m"), refused(5), end()]);
    listener("accepted-first", "S2", &[send(&Message::new(kind::ACCEPTED), "m"), refused(5), end()]);
    listener(
        "refused-first",
        "S10",
        &[send(&Message::new(kind::REFUSED).with(word::REFUSAL, 2), ""), refused(5), end()],
    );
    for (name, fds) in [
        ("no-descriptor", ""),
        ("two-descriptors", "mm"),
        ("many-descriptors", "mmmmmmmmmmmmmmmmmmmmmmmm"),
        ("not-sealed", "u"),
        ("future-writes-allowed", "w"),
        ("an-ordinary-file", "f"),
        ("a-pipe", "p"),
        ("a-socket", "s"),
        ("too-short", "t"),
        ("far-too-long", "l"),
        ("a-bad-header", "h"),
        ("version-0", "v"),
        ("the-wrong-party", "0"),
        ("other-lanes", "c"),
        ("a-cursor-beyond", "b"),
    ] {
        listener(
            &format!("segment-{name}"),
            "S3 S7 S8",
            &[send(&hello, ""), welcome(), send(&segment, fds), refused(4), end()],
        );
    }
    listener("silence", "S13", &["others".into()]);
    listener("gone-after-connecting", "S13", &["close".into(), "others".into()]);
    listener("gone-after-hello", "S13", &[send(&hello, ""), "close".into(), "others".into()]);
    listener("gone-after-welcome", "S13", &[send(&hello, ""), welcome(), "close".into(), "others".into()]);
    listener(
        "wakes-by-the-thousand",
        "S11",
        &[send(&hello, ""), welcome(), send(&segment, "m"), "<ACCEPTED".into(), "flood".into(), "echo".into()],
    );
    listener(
        "descriptors-instead-of-wakes",
        "S11",
        &[send(&hello, ""), welcome(), send(&segment, "m"), "<ACCEPTED".into(), "fds".into(), "echo".into()],
    );

    let mut connector = |name: &str, rules: &str, steps: &[String]| line(name, rules, "connector", steps);
    let welcomes = Message::welcome(&config()).with(12, 0x89ab_cdef).with(13, 0x0123_4567);
    let accepted = Message::new(kind::ACCEPTED);
    let greets = || "<HELLO".to_owned();
    let fails = |name: &str| format!("fails:{name}");
    connector(
        "four-messages",
        "S3 S8",
        &[greets(), send(&welcomes, "m"), "<SEGMENT".into(), send(&accepted, ""), "echo".into()],
    );
    connector(
        "accepted-with-a-descriptor",
        "S3",
        &[greets(), send(&welcomes, "m"), "<SEGMENT".into(), send(&accepted, "m"), "echo".into()],
    );
    connector(
        "words-without-meaning",
        "S1",
        &[
            greets(),
            send(&welcomes.with(14, 7).with(15, 9), "m"),
            "<SEGMENT".into(),
            send(&accepted.with(9, 1), ""),
            "echo".into(),
        ],
    );
    for reason in [1, 2, 3, 4, 5, 6, 7, 0] {
        let refused = Message::new(kind::REFUSED).with(word::REFUSAL, reason);
        connector(&format!("refused-{reason}"), "S10 S1", &[send(&refused, ""), "close".into(), fails("Refused")]);
    }
    connector(
        "refused-after-welcome",
        "S10",
        &[
            greets(),
            send(&welcomes, "m"),
            "<SEGMENT".into(),
            send(&Message::new(kind::REFUSED).with(word::REFUSAL, 4), ""),
            "close".into(),
            fails("Refused"),
        ],
    );
    connector("hang-up", "S12", &["close".into(), fails("HungUp")]);
    connector("hang-up-after-welcome", "S12", &[greets(), send(&welcomes, "m"), "close".into(), fails("HungUp")]);
    connector(
        "welcome-to-version-2",
        "S2",
        &[greets(), send(&welcomes.with(word::VERSION, VERSION + 1), "m"), fails("Protocol")],
    );
    connector("welcome-to-large-lanes", "S14", &[greets(), send(&welcomes.with(8, 1 << 29), "m"), fails("TooLarge")]);
    for (name, at, value) in
        [("capacity-3", 8, 3), ("align-128", 10, 128), ("align-3", 10, 3), ("start-bit-31", 11, 1 << 31)]
    {
        connector(
            &format!("welcome-{name}"),
            "A9 A11 A13 P4",
            &[greets(), send(&welcomes.with(at, value), "m"), fails("Protocol")],
        );
    }
    connector("welcome-to-nothing", "C2", &[greets(), send(&welcomes.with(8, 0).with(9, 0), "m"), fails("Protocol")]);
    for (name, fds) in [
        ("no-descriptor", ""),
        ("two-descriptors", "mm"),
        ("not-sealed", "u"),
        ("an-ordinary-file", "f"),
        ("too-short", "t"),
        ("far-too-long", "l"),
        ("a-bad-header", "h"),
        ("version-0", "v"),
        ("other-lanes", "c"),
        ("a-cursor-beyond", "b"),
    ] {
        connector(&format!("welcome-{name}"), "S3 S7 S8", &[greets(), send(&welcomes, fds), fails("Memory")]);
    }
    connector("accepted-before-welcome", "S2", &[greets(), send(&accepted, ""), fails("Memory|Protocol")]);
    connector("hello-back", "S2", &[greets(), send(&hello, ""), fails("Protocol")]);
    connector("65-bytes", "S2", &[greets(), packet(&[&welcomes.bytes()[..], &[0]].concat(), "m"), fails("Protocol")]);
    connector(
        "other-byte-order",
        "S2",
        &[greets(), send(&welcomes.with(2, BYTE_ORDER.swap_bytes()), "m"), fails("Protocol")],
    );
    text
}
