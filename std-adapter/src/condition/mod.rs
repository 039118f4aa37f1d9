//! Waiting for several things at once: bytes, room, connectors, connections.
//!
//! A [`Condition`] says that a call would not wait: a read ([`Stream::readable`]), a write ([`Stream::writable`]), an
//! accept ([`Listener::acceptable`]), the end of an attempt to connect ([`Connecting::connectable`]). [`wait_any`] sleeps
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
//! so until somebody makes the call.
//!
//! Bytes that are there but not yet taken count, and so does room that has been given back. Before a wait sleeps it
//! publishes what is held back on the streams that are in it, so that a request goes out before its answer is waited for.
//! (A [`ReadHalf`] does not know its writing half.) Timeouts and the nonblocking mode of streams and listeners are not
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

mod held;
mod ready_set;

use std::fmt;
use std::time::{Duration, Instant};

use held::{Bed, Held, sooner};
use smstream_core::park::Wake;

use crate::connecting::Connecting;
use crate::error::{Error, Reason, Result};
use crate::futex;
use crate::half::{ReadHalf, WriteHalf};
use crate::listener::Listener;
use crate::liveness::{SLICE, news};
use crate::stream::Stream;
use smstream_shm::Deadline;

pub use ready_set::{Places, ReadySet};

/// The most conditions of one wait: 127. The kernel sleeps on so many words and one more.
pub const MOST: usize = futex::MOST - 1;

/// The first sleep where nothing wakes the sleeper.
const SHORTEST_SLICE: Duration = Duration::from_millis(1);

/// Something to wait for. See the [module](self).
pub struct Condition<'a>(Source<'a>);

/// What it is about.
enum Source<'a> {
    Readable(&'a Stream),
    Writable(&'a Stream),
    ReadHalf(&'a mut ReadHalf),
    WriteHalf(&'a mut WriteHalf),
    Acceptable(&'a Listener),
    Connectable(&'a mut Connecting),
}

impl Stream {
    /// That reading would not wait.
    #[must_use]
    pub fn readable(&self) -> Condition<'_> {
        Condition(Source::Readable(self))
    }

    /// That writing would not wait.
    #[must_use]
    pub fn writable(&self) -> Condition<'_> {
        Condition(Source::Writable(self))
    }
}

impl ReadHalf {
    /// That reading would not wait.
    #[must_use]
    pub fn readable(&mut self) -> Condition<'_> {
        Condition(Source::ReadHalf(self))
    }
}

impl WriteHalf {
    /// That writing would not wait.
    #[must_use]
    pub fn writable(&mut self) -> Condition<'_> {
        Condition(Source::WriteHalf(self))
    }
}

impl Listener {
    /// That accepting would not wait. When it is ready a connector *has been* accepted, or an error met, and is kept for
    /// the next [`accept`](Listener::accept): nothing that the connector does can make that wait.
    #[must_use]
    pub fn acceptable(&self) -> Condition<'_> {
        Condition(Source::Acceptable(self))
    }
}

impl Connecting {
    /// That [`try_finish`](Connecting::try_finish) gives a stream, or the reason why there will be none.
    #[must_use]
    pub fn connectable(&mut self) -> Condition<'_> {
        Condition(Source::Connectable(self))
    }
}

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
    let mut held = take_hold(conditions)?;
    let mut ready = ReadySet::none(held.len());
    look(&mut held, &mut ready);
    for (place, held) in held.iter().enumerate() {
        if !ready.contains(place) {
            held.look_after();
        }
    }
    Ok(ready)
}

fn take_hold<'c>(conditions: &'c mut [Condition<'_>]) -> Result<Vec<Held<'c>>> {
    let count = conditions.len();
    if count > MOST {
        let text = format!(
            "cannot wait for {count} conditions at once: {MOST} is the most; share them out among several threads, or \
             use epoll and `Pollable` on `unix:` streams"
        );
        return Err(Error::new(Reason::InvalidInput, text));
    }
    let mut held = Vec::with_capacity(count);
    for Condition(source) in conditions {
        let one = Held::new(source, &held);
        held.push(one);
    }
    Ok(held)
}

/// Adds all that have become ready.
fn look(held: &mut [Held<'_>], ready: &mut ReadySet) {
    for (place, held) in held.iter_mut().enumerate() {
        if !ready.contains(place) && (held.is_ready() || held.same().is_some_and(|first| ready.contains(first))) {
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
    let mut held = take_hold(conditions)?;
    let mut ready = ReadySet::none(held.len());
    let mut slice = if futex::has_waitv() { SLICE } else { SHORTEST_SLICE };
    let mut prepared = false;
    loop {
        // Both before the looks: what changes after them is not slept through.
        let over = deadline.is_some_and(Deadline::has_passed);
        let news = news::watch();
        look(&mut held, &mut ready);
        if enough(&ready) || over {
            return Ok(ready);
        }
        if !prepared {
            let pid = std::process::id();
            held.iter_mut().for_each(|held| held.prepare(pid));
            prepared = true;
            if spin(&mut held, &ready) {
                continue;
            }
        }
        // Without futex_waitv nothing but the news wakes.
        let most = (!futex::has_waitv()).then_some(slice);
        let mut bed = Bed { words: vec![news], most };
        let asleep = held
            .iter_mut()
            .enumerate()
            .filter(|(place, _)| !ready.contains(*place))
            .all(|(_, held)| held.announce(&mut bed, slice));
        let Bed { words, most } = bed;
        let wake = match (asleep, futex::has_waitv()) {
            (false, _) => Wake::Maybe,
            (true, true) => futex::sleep_on_all(&words, sooner(most, deadline)),
            (true, false) => futex::sleep_on(&news, sooner(most, deadline)),
        };
        drop(words);
        held.iter_mut().for_each(Held::withdraw);
        if wake == Wake::TimedOut {
            held.iter().for_each(Held::ask);
            slice = SLICE.min(slice * 2);
        }
    }
}

/// Looks at the halves for a while before it sleeps: as long as the most impatient of them spins. Says whether there is
/// something to be had.
fn spin(held: &mut [Held<'_>], ready: &ReadySet) -> bool {
    /// Looks at halves between two glances at the clock.
    const GLANCES: usize = 64;
    let Some(time) = held.iter().filter_map(Held::spin_time).min().filter(|time| !time.is_zero()) else { return false };
    let mut until = None;
    let mut glances = 0;
    loop {
        std::hint::spin_loop();
        for (place, held) in held.iter_mut().enumerate() {
            if !ready.contains(place) && held.glance() {
                return true;
            }
        }
        glances += held.len();
        if glances >= GLANCES {
            glances = 0;
            let now = Instant::now();
            match until {
                None => until = Some(now.checked_add(time).unwrap_or(now)),
                Some(until) if now >= until => return false,
                Some(_) => {}
            }
        }
    }
}

impl fmt::Debug for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = |name: &str, what: &dyn fmt::Debug| f.debug_tuple(name).field(what).finish();
        match &self.0 {
            Source::Readable(stream) => tuple("Readable", stream),
            Source::Writable(stream) => tuple("Writable", stream),
            Source::ReadHalf(half) => tuple("Readable", half),
            Source::WriteHalf(half) => tuple("Writable", half),
            Source::Acceptable(listener) => tuple("Acceptable", listener),
            Source::Connectable(connecting) => tuple("Connectable", connecting),
        }
    }
}
