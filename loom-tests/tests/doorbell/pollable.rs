//! A stream that is waited for by `poll`, and the kernel: one socket, an epoll instance and, of a duplex one, the pair of sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};
use smstream_core::error::{ReadError, WriteError};
use smstream_core::lane::Announced;
use smstream_core::ordering;
use smstream_core::park::{ALERT_GONE, Park, Wake, Watch};
use smstream_core::sync::AtomicU32;
use smstream_core::word::SharedWord;

use crate::common::{Reader, World, Writer};
use crate::directions::{Directions, Ends};
use crate::doorbell::Remaining;
use crate::liveness::Half;
use crate::{Mutant, is};

/// The packets that the socket holds.
const ROOM: usize = 2;
/// The packets that one call of `Doorbell::take` takes. If there are as many there may be more.
const MOST: usize = 2;

/// How the poller waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Level,
    Edge,
    /// The descriptor shows each direction by itself: level-triggered.
    Duplex,
}

/// What the kernel knows, and the alert of the end that polls.
pub(crate) struct Kernel {
    state: Mutex<State>,
    changed: Condvar,
    alert: AtomicU32,
    /// Times that the peer rang, and that a half said that it sleeps. Loom does not see these counts.
    rings: AtomicUsize,
    announced: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Packets in the socket, and whether the peer has hung up.
    packets: usize,
    hung_up: bool,
    /// The epoll instance watches for what the socket always is.
    always: bool,
    /// There is something that an edge-triggered poller has not seen.
    edge: bool,
    polling: bool,
    /// Which directions the pair shows.
    marks: [bool; 2],
    /// The watcher is to look once.
    armed: bool,
    over: bool,
}

impl State {
    fn is_rung(&self) -> bool {
        self.packets > 0 || self.hung_up
    }
}

impl Kernel {
    pub(crate) fn new() -> Arc<Kernel> {
        let (alert, count) = (AtomicU32::new(0), || AtomicUsize::new(0));
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Kernel { state, changed, alert, rings: count(), announced: count() })
    }

    fn step<T>(&self, does: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = does(&mut state);
        self.changed.notify_all();
        result
    }

    fn wait(&self, until: impl Fn(&State) -> bool, then: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        state.polling = true;
        while !until(&state) {
            state = self.changed.wait(state).unwrap();
        }
        state.polling = false;
        then(&mut state);
    }

    /// The peer sends one byte. Mirrors `Doorbell::ring`: a full socket has been rung.
    fn ring(&self) {
        self.step(|state| {
            if is(Mutant::FullIsRung) && state.packets == ROOM {
                state.packets = 0;
            } else if state.packets < ROOM && (state.polling || !is(Mutant::KeepRings)) {
                state.packets += 1;
                state.edge = true;
            }
        });
    }

    /// The peer fills the socket for nothing.
    pub(crate) fn flood(&self) {
        for _ in 0..ROOM {
            self.ring();
        }
    }

    pub(crate) fn hang_up(&self) {
        self.step(|state| (state.hung_up, state.edge) = (true, true));
    }

    /// Mirrors `Doorbell::take`.
    fn take(&self) -> Remaining {
        let (taken, hung_up) = self.step(|state| {
            let taken = MOST.min(state.packets);
            state.packets -= taken;
            (taken, state.hung_up)
        });
        if taken == MOST {
            return Remaining::More;
        }
        if hung_up && !is(Mutant::AlertOfHangUp) {
            ordering::raise(&self.alert, ALERT_GONE);
        }
        if hung_up { Remaining::HangUp } else { Remaining::Nothing }
    }

    /// The watcher's thread, for the pair of a duplex descriptor: mirrors `Pair::on_readable`.
    pub(crate) fn watcher(self: &Arc<Kernel>) -> JoinHandle<()> {
        let kernel = Arc::clone(self);
        thread::spawn(move || {
            while !kernel.step(|state| state.over) {
                let until = |state: &State| state.over || (state.armed && state.is_rung());
                kernel.wait(until, |state| state.armed = false);
                if !is(Mutant::MarkBoth) {
                    kernel.step(|state| state.marks[Half::Writer as usize] = true);
                }
                kernel.step(|state| state.marks[Half::Reader as usize] = true);
            }
        })
    }

    /// How often the peer has rung, for a caller that knows that it has ended.
    pub(crate) fn rings(&self) -> usize {
        self.rings.load(Relaxed)
    }

    /// The model is over: the peer has rung no more than once for each time that a half said that it sleeps.
    pub(crate) fn end(&self) {
        self.step(|state| state.over = true);
        let (rings, announced) = (self.rings.load(Relaxed), self.announced.load(Relaxed));
        assert!(rings <= announced, "{rings} rings for {announced} times that a half said that it sleeps");
    }
}

/// The way to ring at the end that polls, which itself sleeps in no other way.
#[derive(Clone)]
pub(crate) struct Bell(pub(crate) Arc<Kernel>);

impl Park for Bell {
    type Deadline = ();
    type Spin = ();
    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        unreachable!("these halves announce and do not wait")
    }
    fn wake(&self, _word: SharedWord<'_>, _method: u32) {
        self.0.rings.fetch_add(1, Relaxed);
        self.0.ring();
    }
    fn alert(&self) -> Option<SharedWord<'_>> {
        Some(SharedWord::new(&self.0.alert))
    }
}

/// Stands for `EndsOf`.
struct Both {
    reader: Reader<Bell>,
    writer: Writer<Bell>,
    kernel: Arc<Kernel>,
    /// The direction that is being tried.
    half: Half,
}

impl Ends for Both {
    fn is_ready(&mut self, half: Half) -> bool {
        let ready = match half {
            Half::Reader => self.reader.is_ready(1),
            Half::Writer => self.writer.is_ready(1),
        };
        ready && !(half != self.half && is(Mutant::LookForOther))
    }

    fn announce(&mut self, half: Half) -> bool {
        self.kernel.announced.fetch_add(1, Relaxed);
        let announced = match half {
            Half::Reader => matches!(self.reader.announce(1), Announced::Asleep { .. }),
            Half::Writer => matches!(self.writer.announce(1), Announced::Asleep { .. }),
        };
        if is(Mutant::TakeFirst) {
            self.kernel.take();
        }
        announced || is(Mutant::LookAgain)
    }

    fn withdraw(&mut self, half: Half) {
        match half {
            _ if is(Mutant::Withdraw) => {}
            Half::Reader => self.reader.withdraw(),
            Half::Writer => self.writer.withdraw(),
        }
    }

    fn take(&mut self) -> Remaining {
        if is(Mutant::TakeFirst) { Remaining::Nothing } else { self.kernel.take() }
    }
}

/// Stands for `Pollable`.
pub(crate) struct Pollable {
    ends: Both,
    directions: Directions,
    how: How,
    shown: bool,
    reading: bool,
    /// Mirrors `Duplex::marked`.
    marked: [bool; 2],
}

impl Pollable {
    /// Party 1 of the world.
    pub(crate) fn new(world: &Arc<World>, kernel: &Arc<Kernel>, how: How) -> Pollable {
        let bell = Bell(Arc::clone(kernel));
        let (reader, writer) = (world.reader_with(1, bell.clone()), world.writer_with(1, bell));
        let ends = Both { reader, writer, kernel: Arc::clone(kernel), half: Half::Reader };
        let directions = Directions::new(how == How::Duplex);
        let mut this = Pollable { ends, directions, how, shown: false, reading: true, marked: [false, true] };
        if how == How::Duplex {
            kernel.step(|state| (state.marks[Half::Writer as usize], state.armed) = (true, true));
        }
        this.show(false);
        this
    }

    /// Mirrors `Pollable::set_reading`.
    pub(crate) fn set_reading(&mut self, on: bool) {
        self.reading = on;
        self.show(on);
    }

    /// Mirrors `Pollable::into_stream`, as far as the peer sees it.
    pub(crate) fn into_stream(mut self) {
        for half in [Half::Reader, Half::Writer] {
            self.directions.withdraw(&mut self.ends, half);
        }
        // The halves live on, and are not closed.
        std::mem::forget(self.ends);
    }

    /// Reads one byte. `None`: it would have to wait.
    pub(crate) fn read(&mut self) -> Option<Result<u8, ReadError>> {
        self.attempt(Half::Reader, |ends| {
            let mut out = [0];
            match ends.reader.read(&mut out) {
                Err(ReadError::Empty) => None,
                result => Some(result.map(|_| out[0])),
            }
        })
    }

    /// Writes one byte. `None`: it would have to wait.
    pub(crate) fn write(&mut self, byte: u8) -> Option<Result<usize, WriteError>> {
        self.attempt(Half::Writer, |ends| match ends.writer.write(&[byte]) {
            Err(WriteError::Full) => None,
            result => Some(result),
        })
    }

    /// Mirrors `Pollable::attempt`.
    fn attempt<T>(&mut self, half: Half, mut attempt: impl FnMut(&mut Both) -> Option<T>) -> Option<T> {
        self.ends.half = half;
        self.directions.withdraw(&mut self.ends, half);
        loop {
            if self.ends.is_ready(half)
                && let Some(result) = attempt(&mut self.ends)
            {
                if !is(Mutant::ShowMore) {
                    self.directions.tried(half);
                }
                let anew = self.directions.take_anew();
                self.show(anew);
                return Some(result);
            }
            if self.directions.wait(&mut self.ends, half) {
                let anew = self.directions.take_anew();
                if is(Mutant::UnmarkFirst) {
                    self.arm();
                }
                if self.how == How::Duplex {
                    self.marked[half as usize] = false;
                    self.ends.kernel.step(|state| state.marks[half as usize] = false);
                }
                self.show(anew);
                if !is(Mutant::UnmarkFirst) && !is(Mutant::Arm) {
                    self.arm();
                }
                return None;
            }
        }
    }

    /// Mirrors `Duplex::arm`.
    fn arm(&self) {
        self.ends.kernel.step(|state| state.armed = self.how == How::Duplex);
    }

    /// Mirrors `Pollable::show` and `watch`, and `Duplex::mark`.
    fn show(&mut self, anew: bool) {
        let (pending, anew) = (self.directions.pending(), anew && !is(Mutant::ShowAnew));
        if is(Mutant::Show) {
            return;
        }
        if self.how == How::Duplex {
            for (at, &pending) in pending.iter().enumerate() {
                if pending && (anew || !self.marked[at]) {
                    self.ends.kernel.step(|state| state.marks[at] = true);
                    self.marked[at] = true;
                }
            }
            return;
        }
        let [read, write] = pending;
        let pending = (read && self.reading) || write;
        if pending != self.shown || (pending && anew) {
            self.shown = pending;
            self.ends.kernel.step(|state| {
                state.always = pending;
                state.edge |= pending || state.is_rung();
            });
        }
    }

    /// Waits with `poll` for one of these directions; only a duplex descriptor tells them apart.
    pub(crate) fn poll(&mut self, of: &[Half]) {
        let kernel = &self.ends.kernel;
        match self.how {
            How::Level => kernel.wait(|state| state.is_rung() || state.always, |_| {}),
            How::Edge => kernel.wait(|state| state.edge, |state| state.edge = false),
            How::Duplex => kernel.wait(|state| of.iter().any(|&half| state.marks[half as usize]), |_| {}),
        }
    }
}
