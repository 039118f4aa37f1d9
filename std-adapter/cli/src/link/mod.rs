//! Two ends joined: what one says the other hears, both ways, and the ends and failures too.
//!
//! Each direction has a thread. What happens to one side is passed on to the other in the words that it has:
//!
//! | one side | the other side |
//! |---|---|
//! | says that no more will come | learns it; the opposite direction goes on |
//! | takes no more | learns it; TCP has no word for it, so what it still sends is dropped |
//! | has closed altogether | is closed |
//! | breaks off | hears what came before, and then a stream's peer sees a death, a TCP peer a reset |

pub mod cancel;
pub mod end;
mod program;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::progress::Meter;
use cancel::CancelToken;
use end::{Gone, LinkEnd};

/// How much is moved at once.
const BUFFER: usize = 128 << 10;

/// A side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the connection came from.
    From = 0,
    /// Where it leads to.
    To = 1,
}

impl Side {
    /// The opposite one.
    pub fn other(self) -> Self {
        match self {
            Self::From => Self::To,
            Self::To => Self::From,
        }
    }
}

/// Two ends, and how far their directions have come.
#[derive(Debug)]
pub struct Link {
    ends: [LinkEnd; 2],
    over: CancelToken,
    state: Mutex<State>,
    /// What goes to the far side, and what comes from it.
    meter: Arc<Meter>,
    /// Bytes of each side that the other one did not take.
    dropped: [AtomicU64; 2],
    /// Bytes of each side that were read and not written yet.
    in_hand: [AtomicU64; 2],
}

/// How long a side that has ended both ways may take to close.
const CLOSING: Duration = Duration::from_secs(1);

/// How long a side whose bytes were not taken may take to say whether it has more.
const MOMENT: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct State {
    /// What each side has to say: how it ended.
    said: [Option<Ending>; 2],
    /// Which side broke off first, and how.
    broken: Option<(Side, io::Error)>,
    /// It was cut off by this process.
    cut: bool,
    /// A program has ended its output, and has not ended itself.
    output_ended: bool,
    /// The side that has said all it had to say, and whose bytes the other one has left unread in silence.
    unheard: Option<Side>,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Its source had no more to say, and its target knows that.
    Whole,
    /// Anything else.
    Short,
}

/// What became of a link.
#[derive(Debug)]
pub struct Outcome {
    /// The side that broke off, and how.
    pub broken: Option<(Side, io::Error)>,
    /// Whether it was cut off by [`Link::cut`].
    pub cut: bool,
    /// Bytes of each side that the other one did not take.
    pub dropped: [u64; 2],
    /// The side that was broken off because it had ended and could not learn otherwise that not all was taken.
    pub unheard: Option<Side>,
}

impl Link {
    /// Joins two ends. `meter` counts what goes to the far side as sent, and what comes from it as received.
    ///
    /// If that fails the ends come back.
    pub fn new(from: LinkEnd, to: LinkEnd, meter: Arc<Meter>) -> Result<Self, ([LinkEnd; 2], io::Error)> {
        let ends = [from, to];
        match CancelToken::new() {
            Ok(over) => Ok(Self {
                ends,
                over,
                state: Mutex::default(),
                meter,
                dropped: Default::default(),
                in_hand: Default::default(),
            }),
            Err(error) => Err((ends, error)),
        }
    }

    /// Moves the bytes both ways until both directions have ended, or a side broke off.
    ///
    /// An error is one of this process: there could be no second thread. Both sides are broken off then.
    pub fn run(&self) -> io::Result<Outcome> {
        let both = thread::scope(|scope| {
            let back = thread::Builder::new().name("back".to_owned()).spawn_scoped(scope, || self.carry(Side::To));
            match back {
                Ok(_) => {
                    self.carry(Side::From);
                    Ok(())
                }
                Err(error) => {
                    self.cut();
                    Err(error)
                }
            }
        });
        let mut state = self.state();
        let dropped = [Side::From, Side::To].map(|side| {
            let unread = self.link_end(side.other()).undelivered();
            self.dropped[side as usize].load(Ordering::Relaxed) + unread
        });
        both.map(|()| Outcome { broken: state.broken.take(), cut: state.cut, dropped, unheard: state.unheard })
    }

    /// Breaks both sides off, from any thread.
    pub fn cut(&self) {
        let mut state = self.state();
        // What has ended in order stays so.
        if !self.over.is_set() {
            state.cut = true;
            self.end(&mut state);
        }
    }

    /// What went each way so far.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    fn link_end(&self, side: Side) -> &LinkEnd {
        &self.ends[side as usize]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what one side says to the other one, to the end.
    fn carry(&self, source: Side) {
        let target = source.other();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match self.link_end(source).read(&mut buffer, &self.over) {
                Ok(count) => count,
                Err(error) => return self.broke_off(source, error),
            };
            if count == 0 {
                return self.is_whole(source);
            }
            let mut rest = buffer.get(..count).unwrap_or_default();
            let in_hand = &self.in_hand[source as usize];
            in_hand.store(count as u64, Ordering::Release);
            while !rest.is_empty() {
                let error = match self.link_end(target).write(rest, &self.over) {
                    Ok(0) => io::ErrorKind::WriteZero.into(),
                    Ok(count) => {
                        rest = rest.get(count..).unwrap_or_default();
                        in_hand.store(rest.len() as u64, Ordering::Release);
                        match source {
                            Side::From => self.meter.sent(count),
                            Side::To => self.meter.received(count),
                        }
                        continue;
                    }
                    Err(error) => error,
                };
                self.dropped[source as usize].fetch_add(rest.len() as u64, Ordering::Relaxed);
                in_hand.store(0, Ordering::Release);
                if self.over.is_set() {
                    return;
                }
                let finished = self.state().said[target as usize] == Some(Ending::Whole);
                if !self.link_end(target).refused(&error, finished) {
                    return self.cannot_hear(target, error);
                }
                return self.is_refused(source, &mut buffer);
            }
        }
    }

    /// A side has no more to say. The other one learns it; it may have more to say, which is over when this side has gone.
    fn is_whole(&self, source: Side) {
        let target = source.other();
        // How a program ends decides whether its output was whole.
        let program = self.link_end(source).as_program().is_some();
        let last = {
            let mut state = self.state();
            if state.broken.as_ref().is_some_and(|(side, _)| *side == source) {
                // It has broken off already: this is no end in order, whatever it looks like.
                return self.ended(&mut state, source, Ending::Short);
            }
            if self.over.is_set() {
                return;
            }
            let last = !program && state.said[target as usize] == Some(Ending::Whole);
            if !last {
                self.link_end(target).finish();
                if program {
                    state.output_ended = true;
                } else {
                    self.ended(&mut state, source, Ending::Whole);
                }
            }
            last
        };
        if last {
            return self.is_all(source);
        }
        match self.link_end(source).wait_gone(&self.over) {
            Gone::Over => {}
            // The program has said all, and the peer needs no more: how the program ends decides.
            Gone::Closed if !program && self.state().output_ended => {}
            Gone::Closed => {
                self.settle(source);
                let mut state = self.state();
                if state.said[target as usize] == Some(Ending::Whole) && self.untaken(source) > 0 {
                    state.unheard.get_or_insert(target);
                }
                self.end(&mut state);
            }
            Gone::Died(error) => self.broke_off(source, error),
        }
    }

    /// The second side has no more to say either. Before each side hears that this was all, the other one may say that it
    /// could not use what it got: a stream closes then, or it breaks off.
    fn is_all(&self, source: Side) {
        let target = source.other();
        if let Err(error) = self.link_end(source).verdict(&self.over, CLOSING) {
            return self.broke_off(source, error);
        }
        if self.over.is_set() {
            return;
        }
        self.link_end(target).finish();
        self.link_end(target).took_all();
        if let Err(error) = self.link_end(target).verdict(&self.over, CLOSING) {
            return self.broke_off(target, error);
        }
        self.ended(&mut self.state(), source, Ending::Whole);
    }

    /// Bytes that were sent to a side and that it did not take.
    fn untaken(&self, target: Side) -> u64 {
        self.link_end(target).undelivered() + self.in_hand[target.other() as usize].load(Ordering::Acquire)
    }

    /// A side has gone, perhaps without taking all: waits a moment for the other one to say whether that was all. What is on
    /// its way to a program that has ended shall not be lost on one day and count as refused on another.
    fn settle(&self, gone: Side) {
        let end = Instant::now() + MOMENT;
        let other = gone.other() as usize;
        let program = self.link_end(gone).as_program().is_some();
        while (program || self.untaken(gone) > 0) && self.state().said[other].is_none() && Instant::now() < end {
            if self.over.is_set() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A side's bytes go nowhere. It learns that, or else they are dropped as long as the other direction goes on.
    ///
    /// A stream that has ended already cannot learn it: it has nothing left to send that would be refused. Then it is broken
    /// off at the end.
    fn is_refused(&self, source: Side, buffer: &mut [u8]) {
        let (more, end) = self.link_end(source).drain(&self.over, MOMENT);
        self.dropped[source as usize].fetch_add(more, Ordering::Relaxed);
        {
            let mut state = self.state();
            if self.over.is_set() {
                return;
            }
            if end {
                state.unheard.get_or_insert(source);
            }
            self.ended(&mut state, source, Ending::Short);
        }
        if end || self.link_end(source).refuse() {
            return;
        }
        while !self.over.is_set() {
            match self.link_end(source).read(buffer, &self.over) {
                Ok(0) => return,
                Ok(count) => drop(self.dropped[source as usize].fetch_add(count as u64, Ordering::Relaxed)),
                Err(error) => return self.broke_off(source, error),
            }
        }
    }

    /// The program of a link has ended; `how`, if that was no end in order.
    pub fn note_program_end(&self, how: Option<&str>) {
        for program in self.ends.iter().filter_map(LinkEnd::as_program) {
            program.note_end(how.map(str::to_owned));
        }
    }

    /// Closes the pipes of a program.
    pub fn close_program(&self) {
        self.ends.iter().filter_map(LinkEnd::as_program).for_each(program::Program::close);
    }

    /// Reading failed: nothing more will come from this side.
    fn broke_off(&self, side: Side, error: io::Error) {
        let mut state = self.state();
        if !self.over.is_set() {
            state.broken.get_or_insert((side, error));
            self.end(&mut state);
        }
    }

    /// Writing failed: this side hears no more. What it has said already is still on its way.
    fn cannot_hear(&self, side: Side, error: io::Error) {
        let mut state = self.state();
        if !self.over.is_set() {
            state.broken.get_or_insert((side, error));
            self.ended(&mut state, side.other(), Ending::Short);
        }
    }

    /// Notes how a direction ended. With both, it is over.
    fn ended(&self, state: &mut State, source: Side, ending: Ending) {
        state.said[source as usize].get_or_insert(ending);
        if state.said.iter().all(Option::is_some) {
            self.end(state);
        }
    }

    /// Ends everything, in order or not.
    fn end(&self, state: &mut State) {
        if self.over.is_set() {
            return;
        }
        // First, so that the threads that are woken know why.
        self.over.set();
        for side in [Side::From, Side::To] {
            let off = state.broken.is_some() || state.cut || state.unheard == Some(side);
            if off { self.link_end(side).reset() } else { self.link_end(side).leave() }
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => "from",
            Self::To => "to",
        })
    }
}
