//! Waiting for several things at once: bytes, room, connectors, connections.
//!
//! A [`Condition`] says that a call would not wait: a read ([`Stream::readable`](crate::Stream::readable)), a write ([`Stream::writable`](crate::Stream::writable)), an
//! accept ([`Listener::acceptable`](crate::Listener::acceptable)), the end of an attempt to connect ([`Connecting::connectable`](crate::Connecting::connectable)). [`wait_any`] sleeps
//! until at least one of a slice of them is so, [`wait_all`] until all are, [`try_wait`] not at all; each says which are.
//!
//! ```
//! use smstream::{Listener, Stream, wait_any};
//! use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! let listener = Listener::bind_temp()?;
//! let (mut here, mut there) = Stream::pair()?;
//! there.write_all(b"hello")?;
//! let ready = wait_any(&mut [listener.acceptable(), here.readable()], Some(Duration::from_secs(1)))?;
//! assert!(!ready.contains(0) && ready.contains(1));
//! let mut text = [0; 5];
//! here.read_exact(&mut text)?; // does not wait
//! # assert_eq!(&text, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # When a condition is ready
//! | condition | ready when |
//! |---|---|
//! | readable | there is a byte to read, the peer has closed, or reading gives an error |
//! | writable | there is room for a byte, or writing gives an error: the peer takes no more, this end was shut down |
//! | acceptable | a connector has done its part, or accepting gives an error |
//! | connectable | the listener has accepted, or the attempt has failed |
//!
//! *A condition in error is ready*: the call that it stands for returns at once, and says what is wrong. What is ready stays
//! so until a thread makes the call.
//!
//! Bytes that are there but not yet taken count, and so does room that has been given back. Before a wait sleeps it
//! publishes what is held back on the streams that are in it, so that a request goes out before its answer is waited for.
//! (A [`ReadHalf`](crate::ReadHalf) does not know its writing half.) Timeouts and the nonblocking mode of streams and listeners are not
//! looked at.
//!
//! # Several threads
//! A wait uses the direction of a stream that a condition is about, as a read or a write of `&Stream` does: other threads
//! that want to use it wait until the wait is over. A direction or listener that another thread is using *counts as not
//! ready*, because a call would wait for that thread; it is looked at again every 20 ms until it is free. So waits never
//! wait for each other, in whatever order they name the same streams. It is better to let one thread do it.
//!
//! # What it costs
//! One system call for a sleep, whatever is in it; the kernel looks at each stream, so it takes longer the more there are. A
//! socket on which a rendezvous is going on (`unix:`, `fd:`) is watched by the watcher thread of the process, for two system
//! calls more. An alert about any stream of the process (its peer died, it was shut down) lets all waits look again. For
//! hundreds of streams of which few have something to say, [`Pollable`](crate::Pollable) with epoll costs less.
//!
//! Without `futex_waitv` (Linux before 5.16, or a filter that forbids it) a wait sleeps for 1 ms, 2 ms, 4 ms … and
//! then every 20 ms looks itself. The same 20 ms hold for what nothing tells: another thread that is done, room in the
//! queue of a `unix:` listener, a death where [`Stats::watch`](crate::Stats::watch) says *timed*.
//!
//! # References
//! `Conditions`, `StreamConditions`, `CreateAcceptCondition` and `CreateOpenCondition` of Ulm's Oberon library;
//! futex_waitv in the kernel's documentation.

mod armed;
mod ready_set;
mod subject;
pub(crate) mod waitable;

use std::time::{Duration, Instant};

use armed::{Armed, sooner};
use smstream_core::park::Wake;
use waitable::WaitSet;

use crate::barrier;
use crate::error::{Error, Reason, Result};
use crate::futex;
use crate::liveness::{SLICE, event_count};
use smstream_shm::Deadline;

pub use ready_set::{Places, ReadySet};
pub use subject::Condition;

/// The most conditions of one wait: 127. The kernel sleeps on so many words and one more.
pub const MOST: usize = futex::MOST - 1;

/// The first sleep where nothing wakes the sleeper.
const SHORTEST_SLICE: Duration = Duration::from_millis(1);

/// Waits until at least one of the conditions is ready, and says which are. None are if `timeout` has passed first;
/// `None`: there is none.
///
/// All that are ready are named, not just the first: a server that serves each of them before it waits again serves
/// everybody in turn.
///
/// # Errors
/// [`Reason::InvalidInput`] if there are more than [`MOST`] conditions, or none. What is wrong with a stream, a listener
/// or an attempt makes its condition ready.
pub fn wait_any(conditions: &mut [Condition<'_>], timeout: Option<Duration>) -> Result<ReadySet> {
    if conditions.is_empty() {
        let text = "cannot wait for any of no conditions: none would ever be ready; name at least one";
        return Err(Error::new(Reason::InvalidInput, text));
    }
    wait(conditions, timeout, |ready| !ready.is_empty())
}

/// Waits until all of the conditions are ready, each at some time since the call, or `timeout` has passed; `None`: there
/// is none. Says which are. All of no conditions are ready.
///
/// # Errors
/// As for [`wait_any`], but there may be no conditions.
pub fn wait_all(conditions: &mut [Condition<'_>], timeout: Option<Duration>) -> Result<ReadySet> {
    wait(conditions, timeout, ReadySet::is_all)
}

/// Says which of the conditions are ready now, and does not wait.
///
/// # Errors
/// As for [`wait_all`].
///
/// # References
/// `Conditions.Test` of Ulm's Oberon library.
pub fn try_wait(conditions: &mut [Condition<'_>]) -> Result<ReadySet> {
    let mut all = acquire(conditions)?;
    let mut ready = ReadySet::none(all.len());
    look(&mut all, &mut ready);
    for (place, one) in all.iter().enumerate() {
        if !ready.contains(place) {
            one.maintain();
        }
    }
    Ok(ready)
}

fn acquire<'c>(conditions: &'c mut [Condition<'_>]) -> Result<Vec<Armed<'c>>> {
    let count = conditions.len();
    if count > MOST {
        let text = format!(
            "cannot wait for {count} conditions at once: {MOST} is the most; share them out among several threads, or \
             use epoll and `Pollable` on `unix:` streams"
        );
        return Err(Error::new(Reason::InvalidInput, text));
    }
    let mut all = Vec::with_capacity(count);
    for condition in conditions {
        let one = Armed::new(&mut condition.source, &all);
        all.push(one);
    }
    Ok(all)
}

/// Adds all that have become ready.
fn look(all: &mut [Armed<'_>], ready: &mut ReadySet) {
    for (place, one) in all.iter_mut().enumerate() {
        if !ready.contains(place) && (one.is_ready() || one.same().is_some_and(|first| ready.contains(first))) {
            ready.insert(place);
        }
    }
}

fn wait(
    conditions: &mut [Condition<'_>],
    timeout: Option<Duration>,
    enough: impl Fn(&ReadySet) -> bool,
) -> Result<ReadySet> {
    let deadline = timeout.map(Deadline::after);
    let mut all = acquire(conditions)?;
    let mut ready = ReadySet::none(all.len());
    let mut slice = if futex::has_waitv() { SLICE } else { SHORTEST_SLICE };
    let mut prepared = false;
    // Since when it sleeps, if it has not looked before.
    let mut slept = None;
    loop {
        // Both before the looks: what changes after them is not slept through.
        let over = deadline.is_some_and(Deadline::has_passed);
        let events = event_count::watch();
        look(&mut all, &mut ready);
        if enough(&ready) || over {
            if let (Some(since), Some(habit)) = (slept, all.iter().find_map(Armed::habit)) {
                habit.woken(Instant::elapsed(&since));
            }
            return Ok(ready);
        }
        if !prepared {
            let pid = std::process::id();
            all.iter_mut().for_each(|one| one.prepare(pid));
            prepared = true;
            match spin(&mut all, &ready) {
                Spun::Found => continue,
                Spun::InVain => {}
                Spun::Not => slept = Some(Instant::now()),
            }
        }
        // Without futex_waitv nothing but the event count wakes.
        let most = (!futex::has_waitv()).then_some(slice);
        let mut set = WaitSet { words: vec![events], at_most: most };
        // One barrier for all.
        let waiting = all.iter_mut().enumerate().filter(|(place, _)| !ready.contains(*place));
        if waiting.fold(false, |needed, (_, one)| one.say_asleep() | needed) {
            barrier::issue();
        }
        let asleep = all
            .iter_mut()
            .enumerate()
            .filter(|(place, _)| !ready.contains(*place))
            .all(|(_, one)| one.arm(&mut set, slice));
        let WaitSet { words, at_most } = set;
        let wake = match (asleep, futex::has_waitv()) {
            (false, _) => Wake::Maybe,
            (true, true) => futex::sleep_on_all(&words, sooner(at_most, deadline)),
            (true, false) => futex::sleep_on(&events, sooner(at_most, deadline)),
        };
        // Woken, and nothing has changed: a party that gives its lock up without closing the file says so in this way.
        let for_nothing = asleep && wake == Wake::Maybe && words.iter().all(|watch| watch.word.load() == watch.seen);
        drop(words);
        all.iter_mut().for_each(Armed::disarm);
        match wake {
            Wake::TimedOut => {
                all.iter().for_each(Armed::probe);
                slice = SLICE.min(slice * 2);
            }
            Wake::Maybe if for_nothing => all.iter().for_each(Armed::probe_lock),
            Wake::Maybe => {}
        }
    }
}

/// What came of looking before sleeping.
enum Spun {
    /// At least one is ready.
    Found,
    InVain,
    /// It has not looked.
    Not,
}

/// Looks at the halves for a while before it sleeps: as long as the most impatient of them spins, if that was worth it lately
/// for the first of those that go by that.
fn spin(all: &mut [Armed<'_>], ready: &ReadySet) -> Spun {
    let Some(time) = all.iter().filter_map(Armed::spin_time).min().filter(|time| !time.is_zero()) else {
        return Spun::Not;
    };
    if all.iter().find_map(Armed::habit).is_some_and(|habit| !habit.looks()) {
        return Spun::Not;
    }
    let found = look_for(all, ready, time);
    if let Some(habit) = all.iter().find_map(Armed::habit) {
        found.map_or_else(|| habit.in_vain(), |time| habit.found(time));
    }
    if found.is_some() { Spun::Found } else { Spun::InVain }
}

/// Looks at the halves for `time`. How long it took until one was ready; zero if that is not worth a look at
/// the clock.
fn look_for(all: &mut [Armed<'_>], ready: &ReadySet, time: Duration) -> Option<Duration> {
    /// Looks at halves between two looks at the clock.
    const LOOKS: usize = 64;
    let mut since: Option<Instant> = None;
    let mut looks = 0;
    loop {
        std::hint::spin_loop();
        for (place, one) in all.iter_mut().enumerate() {
            if !ready.contains(place) && one.is_ready_cheaply() {
                return Some(since.map_or(Duration::ZERO, |since| since.elapsed()));
            }
        }
        looks += all.len();
        if looks >= LOOKS {
            looks = 0;
            if since.get_or_insert_with(Instant::now).elapsed() >= time {
                return None;
            }
        }
    }
}
