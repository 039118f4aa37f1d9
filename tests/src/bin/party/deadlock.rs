//! Rounds in which two parties wait for each other, one after the other, for as long as one likes.
//!
//! Both make the same plan of each round from a common seed, and keep no step but that of the stream itself. In a round
//! both read, or both write into full lanes. The stream must report that to party 0, once; then party 0 does what
//! helps, and party 1's call ends as if nothing had been. A *witness*, a word of shared memory beside the stream, says
//! in which round's call party 1 is: what the stream reports while party 1 is elsewhere, it reports for nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use smstream::memory::{Access, Mapping, SharedMemory, page_size};
use smstream::{ErrorCode, Reason, Stream};
use smstream_tests::flow::{Flow, Manner, Random};

use crate::{Words, wrong};

/// What both do in one round.
struct Plan {
    /// Read, or write?
    reads: bool,
    /// What each sends before it waits.
    before: [u64; 2],
    /// What each sends, at least one byte, that cannot be there or go before the stream reports the deadlock.
    after: [u64; 2],
    /// How party 0 waits.
    manner: Manner,
}

impl Plan {
    fn draw(random: &mut Random, capacities: [u64; 2]) -> Plan {
        let reads = random.below(2) == 0;
        let manner = [Manner::Some, Manner::Vectored, Manner::All][random.below(3) as usize];
        let mut before = capacities.map(|capacity| random.below(capacity.min(9)));
        if manner == Manner::All {
            before[1] = 0; // A `read_exact` that fails would have taken them.
        }
        let after = capacities.map(|capacity| 1 + random.below(2 * capacity.min(100)));
        Plan { reads, before, after, manner }
    }
}

/// Where party 1 is: twice the round, and one more while it is in the call that waits.
struct Witness(Mapping);

impl Witness {
    fn open(path: &str) -> io::Result<Witness> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(page_size() as u64)?;
        Ok(Witness(Mapping::new(&file, 0, page_size(), Access::ReadWrite)?))
    }

    fn is_in_the_call_of(&self, round: u64) -> bool {
        self.0.atomic_u32(0).map(|word| word.load(SeqCst)) == Some(2 * round as u32 + 1)
    }

    fn say(&self, round: u64, in_the_call: bool) {
        let word = self.0.atomic_u32(0).expect("a word");
        word.store(2 * round as u32 + u32::from(in_the_call), SeqCst);
    }
}

/// Comes a little too late, or not.
fn dawdle(random: &mut Random) {
    match random.below(8) {
        0..=3 => {}
        4..=6 => {
            let end = Instant::now() + Duration::from_micros(random.below(120));
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        _ => thread::sleep(Duration::from_micros(random.below(200))),
    }
}

/// `Ok` if this is the error that the stream is to report to party 0.
fn reported(result: io::Result<()>) -> io::Result<()> {
    let Err(e) = result else { return Err(wrong("no party got Deadlock")) };
    let inner = e.get_ref().and_then(|e| e.downcast_ref::<smstream::Error>());
    let is = inner.is_some_and(|e| e.reason() == Reason::Deadlock && e.code() == Some(ErrorCode::Deadlock));
    if is && e.kind() == ErrorKind::Deadlock { Ok(()) } else { Err(e) }
}

/// The rounds of one party: how often the stream reported to it, and how often party 1 was in its call already when
/// party 0 came.
pub(crate) fn rounds(
    stream: &mut Stream,
    (out, into): (&mut Flow, &mut Flow),
    words: &mut Words<'_>,
) -> io::Result<String> {
    let (party, count, seed): (usize, u64, u64) = (words.number()?, words.number()?, words.number()?);
    let witness = Witness::open(words.text()?)?;
    let [mine, theirs] = stream.stats().capacities.map(|capacity| capacity as u64);
    let capacities = if party == 0 { [mine, theirs] } else { [theirs, mine] };
    let (mut common, mut own) = (Random::new(seed), Random::new(!seed ^ party as u64));
    let (mut times, mut second) = (0, 0);
    for round in 0..count {
        let plan = Plan::draw(&mut common, capacities);
        let in_round = |e: io::Error| io::Error::new(e.kind(), format!("round {round}: {e}"));
        if party == 0 {
            let in_the_call = first(stream, out, into, &plan, &mut own, &witness, round).map_err(in_round)?;
            times += 1;
            second += u64::from(in_the_call);
        } else {
            other(stream, out, into, &plan, &mut own, &witness, round).map_err(in_round)?;
        }
    }
    Ok(format!("{times} {second}"))
}

/// Party 0's round. Says whether party 1 was in its call before.
fn first(
    stream: &mut Stream,
    out: &mut Flow,
    into: &mut Flow,
    plan: &Plan,
    own: &mut Random,
    witness: &Witness,
    round: u64,
) -> io::Result<bool> {
    let (sends, gets) = if plan.reads {
        out.send(stream, out.at() + plan.before[0], Manner::Mixed)?;
        (plan.after[0], plan.before[1])
    } else {
        (0, 0)
    };
    dawdle(own);
    let in_the_call = witness.is_in_the_call_of(round);
    if plan.reads {
        let expected = into.at() + gets;
        reported(match plan.manner {
            // Of what comes after, so that it never succeeds.
            Manner::All => stream.read_exact(&mut [0; 3]),
            manner => into.receive(stream, u64::MAX, manner),
        })?;
        was_so(witness, round)?;
        same(into.at(), expected, "read before the report")?;
        out.send(stream, out.at() + sends, Manner::Mixed)?;
    } else {
        let full = out.at() + stream.stats().capacities[0] as u64;
        reported(match plan.manner {
            Manner::All => {
                out.send(stream, full, Manner::All)?;
                stream.write_all(&[0; 3])
            }
            manner => out.send(stream, u64::MAX, manner),
        })?;
        was_so(witness, round)?;
        same(out.at(), full, "written before the report")?;
        let peers = stream.stats().capacities[1] as u64;
        into.receive(stream, into.at() + peers + plan.after[1], Manner::Mixed)?;
    }
    Ok(in_the_call)
}

/// Party 1's round.
fn other(
    stream: &mut Stream,
    out: &mut Flow,
    into: &mut Flow,
    plan: &Plan,
    own: &mut Random,
    witness: &Witness,
    round: u64,
) -> io::Result<()> {
    let [mine, theirs] = stream.stats().capacities.map(|capacity| capacity as u64);
    if plan.reads {
        out.send(stream, out.at() + plan.before[1], Manner::Mixed)?;
        dawdle(own);
        witness.say(round, true);
        into.receive(stream, into.at() + plan.before[0] + plan.after[0], Manner::Mixed)?;
        witness.say(round + 1, false);
    } else {
        dawdle(own);
        witness.say(round, true);
        out.send(stream, out.at() + mine + plan.after[1], Manner::Mixed)?;
        witness.say(round + 1, false);
        into.receive(stream, into.at() + theirs, Manner::Mixed)?;
    }
    Ok(())
}

fn was_so(witness: &Witness, round: u64) -> io::Result<()> {
    if witness.is_in_the_call_of(round) { Ok(()) } else { Err(wrong("reported while the peer was not waiting")) }
}

fn same(is: u64, expected: u64, what: &str) -> io::Result<()> {
    if is == expected { Ok(()) } else { Err(wrong(format!("{is} and not {expected} bytes {what}"))) }
}
