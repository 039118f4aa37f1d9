//! Two lines joined: what one says the other hears, both ways, and the ends and failures too.
//!
//! Each direction has a thread. What happens to one side is told to the other in the words that it has:
//!
//! | one side | the other side |
//! |---|---|
//! | says that no more will come | is told so; the opposite direction goes on |
//! | takes no more | is told so; TCP cannot be told, so what it still says is dropped |
//! | has closed altogether | is closed |
//! | breaks off | hears what came before, and then a stream's peer sees a death, a TCP peer a reset |

pub mod cancel;
pub mod line;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::progress::Meter;
use cancel::CancelToken;
use line::{Gone, Line};

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

/// Two lines, and how far their directions have come.
#[derive(Debug)]
pub struct Link {
    lines: [Line; 2],
    over: CancelToken,
    state: Mutex<State>,
    /// What goes to the far side, and what comes from it.
    meter: Arc<Meter>,
    /// Bytes of each side that the other one did not take.
    dropped: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct State {
    /// What each side has to say: how it ended.
    said: [Option<Ending>; 2],
    /// Which side broke off first, and how.
    broken: Option<(Side, io::Error)>,
    /// It was cut off by this process.
    cut: bool,
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
}

impl Link {
    /// Joins two lines. `meter` counts what goes to the far side as sent, and what comes from it as received.
    ///
    /// If that fails the lines come back.
    pub fn new(from: Line, to: Line, meter: Arc<Meter>) -> Result<Self, ([Line; 2], io::Error)> {
        let lines = [from, to];
        match CancelToken::new() {
            Ok(over) => Ok(Self { lines, over, state: Mutex::default(), meter, dropped: Default::default() }),
            Err(error) => Err((lines, error)),
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
            let unread = self.line(side.other()).undelivered();
            self.dropped[side as usize].load(Ordering::Relaxed) + unread
        });
        both.map(|()| Outcome { broken: state.broken.take(), cut: state.cut, dropped })
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

    fn line(&self, side: Side) -> &Line {
        &self.lines[side as usize]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what one side says to the other one, to the end.
    fn carry(&self, source: Side) {
        let target = source.other();
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match self.line(source).read(&mut buffer, &self.over) {
                Ok(count) => count,
                Err(error) => return self.broke_off(source, error),
            };
            if count == 0 {
                return self.is_whole(source);
            }
            let mut rest = buffer.get(..count).unwrap_or_default();
            while !rest.is_empty() {
                let error = match self.line(target).write(rest, &self.over) {
                    Ok(0) => io::ErrorKind::WriteZero.into(),
                    Ok(count) => {
                        rest = rest.get(count..).unwrap_or_default();
                        match source {
                            Side::From => self.meter.sent(count),
                            Side::To => self.meter.received(count),
                        }
                        continue;
                    }
                    Err(error) => error,
                };
                if self.over.is_set() {
                    return;
                }
                self.dropped[source as usize].fetch_add(rest.len() as u64, Ordering::Relaxed);
                let finished = self.state().said[target as usize] == Some(Ending::Whole);
                if !self.line(target).refused(&error, finished) {
                    return self.cannot_hear(target, error);
                }
                return self.is_refused(source, &mut buffer);
            }
        }
    }

    /// A side has no more to say. The other one is told; it may have more to say, which is over when this side has gone.
    fn is_whole(&self, source: Side) {
        {
            let mut state = self.state();
            if state.broken.as_ref().is_some_and(|(side, _)| *side == source) {
                // It has broken off already: this is no end in order, whatever it looks like.
                return self.ended(&mut state, source, Ending::Short);
            }
            if self.over.is_set() {
                return;
            }
            self.line(source.other()).finish();
            self.ended(&mut state, source, Ending::Whole);
        }
        match self.line(source).wait_gone(&self.over) {
            Gone::Over => {}
            Gone::Closed => self.end(&mut self.state()),
            Gone::Died(error) => self.broke_off(source, error),
        }
    }

    /// A side's bytes go nowhere. It is told, or else they are dropped as long as the other direction goes on.
    fn is_refused(&self, source: Side, buffer: &mut [u8]) {
        self.ended(&mut self.state(), source, Ending::Short);
        if self.line(source).refuse() {
            return;
        }
        while !self.over.is_set() {
            match self.line(source).read(buffer, &self.over) {
                Ok(0) => return,
                Ok(count) => drop(self.dropped[source as usize].fetch_add(count as u64, Ordering::Relaxed)),
                Err(error) => return self.broke_off(source, error),
            }
        }
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
        // First, so that whoever is woken knows why.
        self.over.set();
        for line in &self.lines {
            if state.broken.is_some() || state.cut { line.reset() } else { line.leave() }
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
