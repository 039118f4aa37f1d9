//! All rules of a region, one after the other.

use super::look::InspectedStream;
use super::sample::{self, Lane, Sample, SleepState};
use super::source::Source;
use crate::header::check::{Check, Checks, Part, Verdict};
use crate::header::rules;
use crate::header::words::HeaderCopy;
use crate::lock::Byte;
use smstream_core::cursor::{CURSOR, MAX_CAPACITY, STOPPED_HINT, diff, max_wait};
use smstream_core::layout::{Features, state};
use smstream_shm::memory::page_size;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The time between the two looks that tell what moves. Cursors come round no sooner than after 2 GiB.
const PAUSE: Duration = Duration::from_millis(20);
/// How often to look for words that fit together, while they move.
const LOOKS: usize = 50;

/// What is to be examined.
#[derive(Debug)]
#[non_exhaustive]
pub enum DoctorTarget {
    /// A file with both segments, as `file:` and `shm:` have it.
    Region(Arc<Source>),
    /// A file with one segment, of a `unix:` stream whose other segment is not at hand.
    Segment(Arc<Source>),
    /// A file for each segment: the listener's and the connector's.
    Segments(Arc<Source>, Arc<Source>),
}

/// Checks every rule of `docs/LAYOUT.md` that can be checked from outside, and says what the words mean.
///
/// It only reads. It takes what it finds for anything: a file that was cut off, or damaged, of another version or byte
/// order, or no region at all. It waits for 20 ms between two looks at a stream that may be in use.
///
/// `users` are the streams of running processes as [`scan`](super::scan) finds them; they serve to say who holds a lock.
///
/// # Errors
/// The file cannot be read.
pub fn examine(target: &DoctorTarget, users: &[InspectedStream]) -> io::Result<Vec<Check>> {
    let mut checks = Checks::default();
    match target {
        DoctorTarget::Region(source) => region(source, users, &mut checks)?,
        DoctorTarget::Segment(source) => {
            let header = sample::header(source, 0)?;
            let party = (header.party() & 1) as usize;
            segment(source, 0, &header, party, &mut checks)?;
            let meaning = "the other segment is not at hand: what the two say together is not checked";
            checks.push(Verdict::Note, Part::Channel, "half", "one segment", meaning);
        }
        DoctorTarget::Segments(listener, connector) => {
            let look =
                || -> io::Result<[HeaderCopy; 2]> { Ok([sample::header(listener, 0)?, sample::header(connector, 0)?]) };
            let headers = look()?;
            let usable = segment(listener, 0, &headers[0], 0, &mut checks)?
                & segment(connector, 0, &headers[1], 1, &mut checks)?;
            rules::agreement(&headers, &mut checks);
            if usable && !checks.any_bad() {
                let again = || sample::header(listener, 0);
                lanes(&look, &again, &mut checks)?;
            }
        }
    }
    Ok(checks.0)
}

/// One segment: its identity, and whether its lane is all there.
fn segment(source: &Source, offset: u64, header: &HeaderCopy, party: usize, checks: &mut Checks) -> io::Result<bool> {
    if !rules::identity(header, party, checks) {
        return Ok(false);
    }
    let needed = offset + u64::from(header.lane_offset()) + u64::from(header.capacity());
    let found = source.len()?;
    checks.holds(
        needed <= found,
        (Part::Segment(party), "memory"),
        format!("{found} bytes, needed are {needed}"),
        "the lane lies within the file",
        "the file ends before the lane does: it was cut off, and a process that touches what is missing is killed by SIGBUS",
    );
    Ok(rules::is_usable(header, party))
}

fn region(source: &Arc<Source>, users: &[InspectedStream], checks: &mut Checks) -> io::Result<()> {
    let first = sample::header(source, 0)?;
    file(source, checks)?;
    let usable = segment(source, 0, &first, 0, checks)?;
    if usable {
        let page = page_size();
        checks.holds(
            (first.align() as usize).is_multiple_of(page),
            (Part::Segment(0), "page"),
            format!("{} on pages of {page}", first.align()),
            "its segments can be mapped apart",
            "its segments cannot be mapped apart on this machine, and no connector can use it",
        );
    }
    if usable || first.is_ours() {
        meet(source, &first, usable, checks)?;
    }
    if usable || first.is_ours() {
        locks(source, &first, users, checks);
    }
    Ok(())
}

/// The second segment, and both together.
fn meet(source: &Arc<Source>, first: &HeaderCopy, usable: bool, checks: &mut Checks) -> io::Result<()> {
    let Some(offset) = find_second(source, first, usable)? else {
        let meaning = "where it should begin is not known, and it is not where it could be";
        checks.push(Verdict::Bad, Part::Segment(1), "place", "not found", meaning);
        return Ok(());
    };
    let stated = rules::second_segment(first) == Some(offset);
    checks.push(
        if stated { Verdict::Ok } else { Verdict::Note },
        Part::Segment(1),
        "place",
        format!("at {offset}"),
        if stated {
            "behind the first, as that says"
        } else {
            "found by looking for it: the first segment says something else"
        },
    );
    let second = sample::header(source, offset)?;
    if usable && stated && rules::awaited(first, &second, offset, source.len()?, checks) {
        steps(first, &second, checks);
        return Ok(());
    }
    let good = segment(source, offset, &second, 1, checks)? && usable;
    rules::agreement(&[first.clone(), second.clone()], checks);
    steps(first, &second, checks);
    if good && !checks.any_bad() {
        let look =
            || -> io::Result<[HeaderCopy; 2]> { Ok([sample::header(source, 0)?, sample::header(source, offset)?]) };
        lanes(&look, &|| sample::header(source, 0), checks)?;
    }
    Ok(())
}

/// Where the second segment begins. If the first is damaged, it is looked for where each capacity would put it.
fn find_second(source: &Source, first: &HeaderCopy, usable: bool) -> io::Result<Option<u64>> {
    let is_there = |offset: u64| -> io::Result<bool> { Ok(sample::header(source, offset)?.is_ours()) };
    let stated = rules::second_segment(first);
    if let Some(offset) = stated {
        // What a sound first segment says holds, whatever is there.
        if usable || is_there(offset)? {
            return Ok(Some(offset));
        }
    }
    let page = page_size() as u64;
    let capacities = (0..=MAX_CAPACITY.trailing_zeros()).map(|shift| 1u64 << shift);
    for offset in std::iter::once(0).chain(capacities).map(|capacity| page + capacity.next_multiple_of(page)) {
        if is_there(offset)? {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

/// What the file itself must be.
fn file(source: &Source, checks: &mut Checks) -> io::Result<()> {
    let stat = source.stat()?;
    let (mode, me) = (stat.st_mode & 0o777, rustix::process::geteuid().as_raw());
    checks.holds(
        mode & 0o077 == 0,
        (Part::File, "mode"),
        format!("{mode:04o}"),
        "only its owner may open it",
        "others than its owner may open it, so no connector takes it: `chmod 600`",
    );
    if stat.st_uid == me {
        checks.push(Verdict::Ok, Part::File, "owner", format!("user {me}"), "it is yours");
    } else {
        let meaning = "it is another user's: only its owner connects to it";
        checks.push(Verdict::Note, Part::File, "owner", format!("user {}", stat.st_uid), meaning);
    }
    Ok(())
}

/// The steps of the rendezvous.
fn steps(first: &HeaderCopy, second: &HeaderCopy, checks: &mut Checks) {
    let (listener, connector) = (first.state(), second.state());
    let (verdict, meaning) = match (listener, connector) {
        (state::ARMED, state::NONE) => (Verdict::Ok, "the listener waits for a connector"),
        (state::ARMED, state::HELLO) => (Verdict::Ok, "a connector waits to be accepted"),
        (state::ACCEPTED, state::HELLO) => (Verdict::Ok, "the parties have met"),
        (state::NONE, state::NONE) => (Verdict::Note, "the listener was about to set it up"),
        (state::ACCEPTED, state::NONE) => (
            Verdict::Note,
            "the listener has passed over a connector that died, and serves the name with another region",
        ),
        _ => (Verdict::Bad, "no step of the rendezvous: a word is damaged"),
    };
    checks.push(verdict, Part::Channel, "state", format!("{listener} and {connector}"), meaning);
}

/// The cursors and park words of both lanes.
fn lanes(
    look: &dyn Fn() -> io::Result<[HeaderCopy; 2]>,
    again: &dyn Fn() -> io::Result<HeaderCopy>,
    checks: &mut Checks,
) -> io::Result<()> {
    let sane = |sane: &dyn Fn(&Sample) -> bool| -> io::Result<Sample> {
        let mut sample = Sample::of(look()?, &again()?);
        for _ in 0..LOOKS {
            if sane(&sample) {
                break;
            }
            // The writer was interrupted, or is so fast: another moment.
            thread::sleep(Duration::from_micros(200));
            sample = Sample::of(look()?, &again()?);
        }
        Ok(sample)
    };
    let odd = |rest: SleepState| matches!(rest, SleepState::Odd(_));
    let fine = |lane: &Lane| lane.fill.is_some() && !odd(lane.writer) && !odd(lane.reader) && !lane.is_overdue();
    let before = sane(&|sample| sample.lanes.iter().all(fine))?;
    thread::sleep(PAUSE);
    let after = sane(&|sample| sample.lanes.iter().all(fine))?;
    for sender in 0..2 {
        cursors(&before, &after, sender, checks);
        rules::closed_lane(&after.headers, sender, checks);
        if after.lanes[sender].capacity != 0 {
            sleepers(&after, sender, checks);
            rules::fences(&after.headers, sender, checks);
            counters(&after, sender, checks);
        }
    }
    Ok(())
}

fn cursors(before: &Sample, after: &Sample, sender: usize, checks: &mut Checks) {
    let (old, new) = (&before.lanes[sender], &after.lanes[sender]);
    let part = Part::Lane(sender);
    let found = format!("sent {}, received {}, capacity {}", new.sent, new.received, new.capacity);
    match new.fill {
        Some(fill) => checks.push(Verdict::Ok, part, "cursors", found, format!("{fill} bytes are in the lane")),
        None => checks.push(
            Verdict::Bad,
            part,
            "cursors",
            found,
            "more was taken than sent, or more sent than fits: a word is damaged, and the parties find each other corrupt",
        ),
    }
    for (rule, was, is, final_then, final_now) in [
        ("sent", old.sent, new.sent, old.finished, new.finished),
        ("received", old.received, new.received, old.stopped, new.stopped),
    ] {
        let word = if rule == "sent" { "FIN" } else { "STOP" };
        let found = format!("{was}, then {is}{}", if final_now { format!(", {word}") } else { String::new() });
        // Whatever is honest has not gone through half of all values meanwhile.
        let forward = diff(is, was) <= CURSOR / 2;
        let (verdict, meaning) = match (final_then, final_now) {
            (true, false) => (Verdict::Bad, format!("{word} was taken back: it is for ever")),
            (true, true) if was != is => (Verdict::Bad, format!("it moved after {word}: it never may")),
            _ if !forward => (Verdict::Bad, "it ran backwards".into()),
            (_, true) if rule == "sent" => (Verdict::Ok, "the writer has finished: no more bytes will come".into()),
            (_, true) => (Verdict::Ok, "the reader has stopped: it takes no more bytes".into()),
            _ if was == is => (Verdict::Ok, "it did not move while looking".into()),
            _ => (Verdict::Ok, "it moves".into()),
        };
        checks.push(verdict, part, rule, found, meaning);
    }
}

/// The park words, and whether a half sleeps that should not.
fn sleepers(sample: &Sample, sender: usize, checks: &mut Checks) {
    let (part, lane) = (Part::Lane(sender), &sample.lanes[sender]);
    let records = sample.headers.iter().all(|header| header.features() & Features::RECORDS.bits() != 0);
    for (rule, who, what, rest, there) in [
        ("read_park", "reader", "bytes", lane.reader, lane.fill),
        ("write_park", "writer", "bytes of room", lane.writer, lane.room()),
    ] {
        match rest {
            SleepState::Awake => checks.push(Verdict::Ok, part, rule, "awake", format!("the {who} does not sleep")),
            SleepState::Odd(STOPPED_HINT) if who == "reader" => checks.push(
                Verdict::Bad,
                part,
                rule,
                "STOPPED_HINT",
                "it says that the reader takes no more, and `received` has no STOP: the word is damaged",
            ),
            SleepState::Odd(word) => checks.push(
                Verdict::Bad,
                part,
                rule,
                format!("{word:#010x}"),
                format!("no {who} sleeps for that: the word is damaged, or it changes too fast to be seen"),
            ),
            SleepState::Asleep { wants, .. } => {
                let found = format!("asleep for {wants} {what}, there are {}", there.unwrap_or(0));
                let ended = if who == "reader" { lane.finished } else { lane.stopped };
                let (verdict, meaning) = if wants > max_wait(lane.capacity) && !(records && who == "writer") {
                    (Verdict::Bad, "more than half a lane may not be waited for: both parties could wait for ever")
                } else if there.is_some_and(|there| there >= wants) || ended {
                    (
                        Verdict::Note,
                        "it should be awake: it is just waking, its process is stopped, or it was not woken",
                    )
                } else {
                    (Verdict::Ok, "it is woken when the other party has brought that about")
                };
                checks.push(verdict, part, rule, found, meaning);
            }
        }
    }
}

/// The counters beside the cursors: both began together.
fn counters(sample: &Sample, sender: usize, checks: &mut Checks) {
    let (part, lane, start) = (Part::Lane(sender), &sample.lanes[sender], sample.headers[sender].start());
    for (rule, cursor, counts) in [("writes", lane.sent, lane.writes), ("reads", lane.received, lane.reads)] {
        let Some(counts) = counts else { continue };
        let (by_cursor, by_count) = (diff(cursor, start), counts.bytes as u32 & CURSOR);
        let found = format!("{} bytes in {} publications", counts.bytes, counts.operations);
        let (verdict, meaning) = if by_cursor == by_count {
            (Verdict::Ok, "the counter says what the cursor says")
        } else {
            (Verdict::Note, "the counter and the cursor differ: they just move, or a word is damaged; for display only")
        };
        checks.push(verdict, part, rule, found, meaning);
    }
}

/// The lock bytes: who lives.
fn locks(source: &Source, first: &HeaderCopy, users: &[InspectedStream], checks: &mut Checks) {
    let user = users.iter().find(|user| user.channel.segment(0).0.id() == source.id());
    let mut held = [false; 3];
    for (byte, name) in [(Byte::Party0, "byte 0"), (Byte::Party1, "byte 1"), (Byte::Name, "byte 2")] {
        match source.is_held(byte) {
            Ok(is_held) => held[byte as usize] = is_held,
            Err(e) => {
                let meaning = "the system does not say whether it is held";
                checks.push(Verdict::Note, Part::Locks, name, e.to_string(), meaning);
                continue;
            }
        }
        let party = (byte as usize).min(1);
        let who: Vec<String> = match (byte, user) {
            (Byte::Name, _) | (_, None) => Vec::new(),
            (_, Some(user)) => user.of_party(party).map(|it| format!("process {} ({})", it.pid, it.command)).collect(),
        };
        let found = match (held[byte as usize], who.is_empty()) {
            (false, _) => "free".into(),
            (true, true) => "held".into(),
            (true, false) => format!("held by {}", who.join(", ")),
        };
        let meaning = match (byte, held[byte as usize]) {
            (Byte::Party0, true) => "the listener's end lives",
            (Byte::Party0, false) => "the listener's end is dead or closed",
            (Byte::Party1, true) => "the connector's end lives",
            (Byte::Party1, false) if first.state() == state::ACCEPTED => "the connector's end is dead or closed",
            (Byte::Party1, false) => "no connector has come yet",
            (Byte::Name, true) => "the listener may replace the name",
            (Byte::Name, false) => "the next listener may take the name over",
        };
        checks.push(Verdict::Ok, Part::Locks, name, found, meaning);
    }
    verdict_of_locks(source, first, held, checks);
}

/// What the locks say together with the listener's step.
fn verdict_of_locks(source: &Source, first: &HeaderCopy, held: [bool; 3], checks: &mut Checks) {
    let links = source.stat().map_or(0, |stat| stat.st_nlink);
    let orphan = match (first.state(), held) {
        (state::ACCEPTED, [false, false, _]) => Some("both parties are gone: the memory is freed with its last user"),
        (state::ACCEPTED, [false, ..]) => {
            Some("the connector lives on alone: it reads what is there, then an error or the end")
        }
        (state::ACCEPTED, [_, false, _]) => {
            Some("the listener lives on alone: it reads what is there, then an error or the end")
        }
        (_, [false, ..]) if links > 0 => Some(
            "its listener died and the name is left over: the next listener takes it over, or `smstream gc` removes it",
        ),
        _ => None,
    };
    if let Some(meaning) = orphan {
        checks.push(Verdict::Note, Part::Locks, "orphan", format!("{links} names"), meaning);
    }
    if first.state() == state::ACCEPTED && links > 0 {
        let meaning = "a stream in use has no name of its own: a second one was made, and no connector can use it";
        checks.push(Verdict::Note, Part::File, "names", format!("{links} names"), meaning);
    }
}
