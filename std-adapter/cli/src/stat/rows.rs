//! What there is to say of a stream, in words: for a report and for the live view alike.

use smstream::Counts;
use smstream::inspect::{HalfReport, InspectedStream, Look, Report, SleepState};

use crate::ls::{party_name, span};
use crate::size::{Bytes, Rate};

/// The same fact about both lanes.
pub struct Row {
    /// What it is.
    pub label: &'static str,
    /// Of the listener's lane and of the connector's.
    pub cells: [String; 2],
    /// Whether something about it deserves a look, for each lane.
    pub odd: [bool; 2],
}

/// Where each lane goes.
pub const DIRECTIONS: [&str; 2] = ["listener > connector", "connector > listener"];

/// How full a lane is, in words.
pub fn fill(look: &Look, lane: usize) -> String {
    let lane = &look.sample.lanes[lane];
    match (lane.fill, lane.capacity) {
        (_, 0) => "no lane this way".into(),
        (None, _) => "not possible: see doctor".into(),
        (Some(fill), capacity) => format!("{} of {}", Bytes(fill.into()), Bytes(capacity.into())),
    }
}

/// All facts of both lanes.
pub fn rows(report: &Report) -> Vec<Row> {
    let lanes = [0, 1].map(|n| (&report.look.sample.lanes[n], &report.lanes[n]));
    let row = |label, of: &dyn Fn(usize) -> (String, bool)| {
        let [first, second] = [of(0), of(1)];
        Row { label, cells: [first.0, second.0], odd: [first.1, second.1] }
    };
    let plain = |text: String| (text, false);
    let count = |counts: Option<Counts>, which: fn(Counts) -> u64| {
        counts.map_or_else(|| "-".to_owned(), |counts| grouped(which(counts)))
    };
    vec![
        row("rate", &|n| {
            plain(lanes[n].1.writer.rates.map_or_else(|| "-".into(), |rates| Rate(rates.bytes).to_string()))
        }),
        row("total", &|n| plain(lanes[n].0.writes.map_or_else(|| "-".into(), |it| Bytes(it.bytes).to_string()))),
        row("writer", &|n| rest(&lanes[n].1.writer, lanes[n].0.finished, "finished", "of room")),
        row("reader", &|n| rest(&lanes[n].1.reader, lanes[n].0.stopped, "stopped", "")),
        row("writes", &|n| plain(count(lanes[n].0.writes, |it| it.operations))),
        row("reads", &|n| plain(count(lanes[n].0.reads, |it| it.operations))),
        row("parks", &|n| plain(two(count(lanes[n].0.writes, |it| it.parks), count(lanes[n].0.reads, |it| it.parks)))),
        row("wakes", &|n| {
            plain(two(count(lanes[n].0.writes, |it| it.wakes_sent), count(lanes[n].0.reads, |it| it.wakes_sent)))
        }),
        row("avoided", &|n| {
            plain(two(
                count(lanes[n].0.writes, |it| it.wakes_avoided()),
                count(lanes[n].0.reads, |it| it.wakes_avoided()),
            ))
        }),
    ]
}

/// Figures of the writer and of the reader.
fn two(writer: String, reader: String) -> String {
    if writer == "-" && reader == "-" { writer } else { format!("{writer} / {reader}") }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// What a half does.
fn rest(half: &HalfReport, over: bool, word: &str, unit: &str) -> (String, bool) {
    match half.rest {
        _ if over => (word.to_owned(), false),
        SleepState::Awake => ("awake".to_owned(), false),
        SleepState::Asleep { wants, .. } => {
            let space = if unit.is_empty() { "" } else { " " };
            (format!("asleep {}+ for {}{space}{unit}", span(half.seen_for), Bytes(wants.into())), false)
        }
        SleepState::Odd(word) => (format!("{word:#010x}: see doctor"), true),
    }
}

/// Who has an end of it: a line each.
pub fn parties(stream: &InspectedStream, look: &Look) -> Vec<(String, bool)> {
    let mut lines = Vec::new();
    for (party, name) in ["listener", "connector"].into_iter().enumerate() {
        let alive = match look.alive[party] {
            Some(true) => "alive",
            Some(false) if look.sample.phase() == smstream::inspect::Phase::Waiting => "not here yet",
            Some(false) => "dead or gone",
            None => "not seen",
        };
        let dead = alive == "dead or gone";
        let who: Vec<String> =
            stream.of_party(party).map(|it| format!("{}:{} {}", it.pid, it.fd, it.command)).collect();
        if who.is_empty() {
            lines.push((format!("{name:<9}  {alive}"), dead));
        }
        lines.extend(who.into_iter().map(|who| (format!("{name:<9}  {alive}  {who}"), dead)));
    }
    let others = stream.holders.iter().filter(|holder| holder.party.is_none());
    lines.extend(others.map(|it| (format!("{:<9}  {}:{} {}", party_name(it), it.pid, it.fd, it.command), false)));
    lines
}

/// The first line: what it is.
pub fn title(stream: &InspectedStream) -> String {
    stream.addr.clone().unwrap_or_else(|| stream.channel.segment(0).0.what().to_owned())
}

/// The end of a text, if all of it is too long: what distinguishes paths stands there.
pub fn shorten(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let end: String = text.chars().skip(count - width.saturating_sub(3)).collect();
    format!("...{end}").chars().take(width).collect()
}

/// How long ago it was made.
pub fn age(look: &Look) -> String {
    look.age()
        .map_or_else(String::new, |age| format!("made {} ago", span(std::time::Duration::from_secs(age.as_secs()))))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use smstream::inspect::Follower;
    use std::io::Write;

    /// A real stream of this process, asleep in the middle: the listener's, and what is seen of it twice.
    pub fn with_report(act: impl FnOnce(&InspectedStream, &Report)) {
        let dir = std::env::temp_dir().join(format!(
            "smstream-stat-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("x");
        let listener = smstream::Listener::bind(&path).expect("a listener");
        std::thread::scope(|scope| {
            let there = scope.spawn(|| smstream::Stream::connect(&path).expect("a connection"));
            let mut here = listener.accept().expect("a connection");
            let there = there.join().expect("a thread");
            here.write_all(&[1; 65536]).expect("written");
            let scan = smstream::inspect::scan(false).expect("a look");
            let wanted = format!("file:{}", path.display());
            let is_it = |it: &InspectedStream| it.addr.as_ref() == Some(&wanted) && it.of_party(1).count() == 1;
            let stream = scan.streams.into_iter().find(is_it).expect("the stream");
            let mut watch = Follower::new(stream);
            watch.look().expect("a look");
            let report = watch.look().expect("a look");
            act(watch.stream(), &report);
            drop(there);
        });
        drop(listener);
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn a_real_stream_in_words() {
        with_report(|stream, report| {
            assert_eq!(fill(&report.look, 0), "64 KiB of 256 KiB");
            assert_eq!(fill(&report.look, 1), "0 bytes of 256 KiB");
            let rows = rows(report);
            let find = |label| rows.iter().find(|row| row.label == label).expect("a row").cells.clone();
            assert_eq!(find("total"), ["64 KiB", "0 bytes"]);
            assert_eq!(find("writer"), ["awake", "awake"]);
            assert_eq!(find("writes"), ["1", "0"]);
            let parties = parties(stream, &report.look);
            assert!(parties.iter().all(|(line, dead)| line.contains("alive") && !dead), "{parties:?}");
        });
    }

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shorten("file:/tmp/x", 11), "file:/tmp/x");
        assert_eq!(shorten("file:/tmp/x", 8), "...tmp/x");
        assert_eq!(shorten("file:/tmp/x", 2), "..");
        assert_eq!(shorten("", 0), "");
    }

    #[test]
    fn thousands_apart() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1 000", "1 234 567"]);
    }
}
