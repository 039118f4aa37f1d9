//! `smstream ls`: who listens, and who is connected with whom.

use std::time::Duration;

use clap::Args;
use smstream::inspect::{Holder, InspectedStream, ListeningSocket, Look, Scan, State};

use crate::failure::Failure;
use crate::json::Json;
use crate::size::Bytes;
use crate::stdio::Output;
use crate::style::{self, Paint, Role};
use crate::target;

/// What the help says beside the options.
pub const MORE: &str = "\
The command looks at this user's processes and opens the memory of their streams for reading. It
lists what it could not see, and why. It cannot see streams within one process, nor those of
processes in another PID namespace. A socket at unix:@NAME may be another program's: it counts as
not seen until a stream shows that it is a listener.

States:
  listening    waits for a connector           half-closed  one direction has ended
  connecting   waits to be accepted            closed       both directions have ended
  connected    both parties live               peer dead    a party died without closing
  orphaned     the listener died; the next one takes the name over

AGE is the time since the region was made, or since the listener's socket got its path. A name
unix:@NAME has no such time.

Examples:
  smstream ls
  smstream ls --json | jq '.streams[] | select(.state == \"peer dead\")'

Keys of --json:
  streams         a list:
    state         one of the above
    address       where the parties met, or null
    address_hex   its bytes, if it is not UTF-8, or null
    capacities    bytes of the listener's lane and of the connector's
    fill          bytes in each, or null
    age_seconds   or null
    alive         whether the listener and the connector live: true, false, null
    holders       a list:
      pid, fd, command
      party       0 listener, 1 connector, or null
  socket_listeners  listeners at unix: addresses, a list:
    address, address_hex
    age_seconds   of the socket's path; null at unix:@NAME
    holder        as one of holders:
      pid, fd, command, party
  unseen          a list:
    what, why

Exit codes:
  0  done, whatever was found
  1  standard output could not be written
  2  the command line is wrong
  3  there is no /proc to look into";

/// `smstream ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Look at the processes of all users, as far as the system allows
    #[arg(short, long)]
    pub all: bool,
    /// Write one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Shows what there is.
pub fn run(args: &LsArgs) -> Result<(), Failure> {
    let mut scan = target::scan(args.all)?;
    let mut found = Vec::new();
    for stream in std::mem::take(&mut scan.streams) {
        match stream.look() {
            Ok(look) => found.push((stream, look)),
            Err(error) => scan.unseen.push(smstream::inspect::Skipped::by_error("a stream", &error)),
        }
    }
    let text = match args.json {
        true => format!("{}\n", json(&found, &scan)),
        false => table(&found, &scan, Paint::for_stdout(), style::columns()),
    };
    Output::new().print(&text)
}

/// A time as one would say it.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// An age: the times from which it counts are no more precise.
fn whole_seconds(age: Duration) -> String {
    span(Duration::from_secs(age.as_secs()))
}

/// An age for programs.
fn age_json(age: Option<Duration>) -> Json {
    Json::maybe(age.map(|age| age.as_secs() as f64))
}

/// The two capacities of a channel.
pub fn capacities(look: &Look) -> String {
    let [first, second] = look.sample.lanes.each_ref().map(|lane| Bytes(lane.capacity.into()));
    if first.0 == second.0 { first.to_string() } else { format!("{first}, {second}") }
}

/// How a state looks.
pub fn role(state: State) -> Role {
    match state {
        State::Listening | State::Connecting | State::Connected => Role::Good,
        State::PeerDead | State::Orphaned => Role::Bad,
        _ => Role::Note,
    }
}

/// What a holder is.
pub fn party_name(holder: &Holder) -> &'static str {
    match holder.party {
        Some(0) => "listener",
        Some(1) => "connector",
        _ => "either",
    }
}

fn ends(stream: &InspectedStream, party: usize) -> String {
    let ends: Vec<String> = stream.of_party(party).map(|it| format!("{}:{}", it.pid, it.fd)).collect();
    if ends.is_empty() { "-".to_owned() } else { ends.join(",") }
}

/// For people.
fn table(found: &[(InspectedStream, Look)], scan: &Scan, paint: Paint, columns: usize) -> String {
    let head = ["STATE", "LISTENER", "CONNECTOR", "LANES", "AGE", "ADDRESS"].map(str::to_owned);
    let rows: Vec<[String; 6]> = found
        .iter()
        .map(|(stream, look)| {
            let age = look.age().map_or_else(|| "?".into(), whole_seconds);
            let addr = stream.addr.clone().unwrap_or_else(|| "(not known)".into());
            [look.state().name().into(), ends(stream, 0), ends(stream, 1), capacities(look), age, addr]
        })
        .collect();
    let waiting = scan.listeners.iter().map(|it| {
        let end = format!("{}:{}", it.holder.pid, it.holder.fd);
        let age = it.age().map_or_else(|| "-".into(), whole_seconds);
        [State::Listening.name().into(), end, "-".into(), "-".into(), age, it.addr.clone()]
    });
    let waiting: Vec<[String; 6]> = waiting.collect();
    let widths = [0, 1, 2, 3, 4, 5]
        .map(|n| rows.iter().chain(&waiting).chain([&head]).map(|row| row[n].chars().count()).max().unwrap_or(0));
    let line = |cells: &[String; 6], state: Role| {
        let mut line = paint.text(state, format!("{:1$}", cells[0], widths[0]));
        let mut rest = String::new();
        for (cell, width) in cells.iter().zip(widths).skip(1) {
            rest += &format!("  {cell:width$}");
        }
        // The state, which may have a colour, is short.
        let room = if columns == 0 { 0 } else { columns.saturating_sub(widths[0]).max(1) };
        line += style::fitted(rest.trim_end(), room).trim_end();
        format!("{line}\n")
    };
    let mut text = String::new();
    if rows.is_empty() && waiting.is_empty() {
        text += "no listener and no stream was found\n";
    } else {
        text += &line(&head, Role::Strong);
    }
    let who = |holder: &Holder| {
        let who = format!("  {:<9} {:>7}  {}", party_name(holder), holder.pid, holder.command);
        format!("{}\n", paint.text(Role::Faint, style::fitted(&who, columns)))
    };
    for (row, listener) in waiting.iter().zip(&scan.listeners) {
        text += &line(row, role(State::Listening));
        text += &who(&listener.holder);
    }
    for (row, (stream, look)) in rows.iter().zip(found) {
        text += &line(row, role(look.state()));
        text.extend(stream.holders.iter().map(who));
    }
    if !scan.unseen.is_empty() {
        text += &format!("\n{}\n", paint.text(Role::Strong, "not seen, and why"));
        for unseen in &scan.unseen {
            text += &format!("{}\n", style::fitted(&format!("  {unseen}"), columns));
        }
    }
    text
}

/// A holder for programs.
pub fn holder_json(holder: &Holder) -> Json {
    Json::Object(vec![
        ("pid", Json::Whole(holder.pid.into())),
        ("fd", Json::Whole(holder.fd.into())),
        ("command", Json::text(holder.command.clone())),
        ("party", holder.party.map_or(Json::Null, |party| Json::Whole(party as u64))),
    ])
}

/// What both `ls` and `stat` say of a stream, for programs.
pub fn stream_json(stream: &InspectedStream, look: &Look) -> Vec<(&'static str, Json)> {
    let lanes = &look.sample.lanes;
    let fill = lanes.iter().map(|lane| lane.fill.map_or(Json::Null, |fill| Json::Whole(fill.into()))).collect();
    vec![
        ("state", Json::text(look.state().name())),
        ("address", stream.written.as_deref().map_or(Json::Null, Json::name)),
        ("address_hex", stream.written.as_deref().map_or(Json::Null, Json::hex)),
        ("capacities", Json::List(lanes.iter().map(|lane| Json::Whole(lane.capacity.into())).collect())),
        ("fill", Json::List(fill)),
        ("age_seconds", age_json(look.age())),
        ("alive", Json::List(look.alive.iter().map(|it| it.map_or(Json::Null, Json::Bool)).collect())),
        ("holders", Json::List(stream.holders.iter().map(holder_json).collect())),
    ]
}

/// For programs.
fn json(found: &[(InspectedStream, Look)], scan: &Scan) -> Json {
    let streams = found.iter().map(|(stream, look)| Json::Object(stream_json(stream, look))).collect();
    let unseen = |it: &smstream::inspect::Skipped| {
        Json::Object(vec![("what", Json::text(it.what.clone())), ("why", Json::text(it.why.clone()))])
    };
    let listener = |it: &ListeningSocket| {
        Json::Object(vec![
            ("address", Json::name(&it.written)),
            ("address_hex", Json::hex(&it.written)),
            ("age_seconds", age_json(it.age())),
            ("holder", holder_json(&it.holder)),
        ])
    };
    Json::Object(vec![
        ("streams", Json::List(streams)),
        ("socket_listeners", Json::List(scan.listeners.iter().map(listener).collect())),
        ("unseen", Json::List(scan.unseen.iter().map(unseen).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_one_would_say_them() {
        let text = |millis| span(Duration::from_millis(millis));
        assert_eq!(text(0), "0.0 s");
        assert_eq!(text(3240), "3.2 s");
        assert_eq!(text(59_999), "59 s");
        assert_eq!(text(61_000), "1 m 1 s");
        assert_eq!(text(7_260_000), "2 h 1 m");
        assert_eq!(text(90_000_000), "1 d 1 h");
    }

    #[test]
    fn nothing_found_is_said() {
        assert_eq!(table(&[], &Scan::default(), Paint::off(), 0), "no listener and no stream was found\n");
        assert_eq!(json(&[], &Scan::default()).to_string(), r#"{"streams":[],"socket_listeners":[],"unseen":[]}"#);
    }
}
