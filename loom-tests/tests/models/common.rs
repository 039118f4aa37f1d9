//! What the models share: two ports with their lanes, a futex, and ways to run halves on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32 as AtomicU32Std, AtomicUsize, Ordering::Relaxed};

use loom::sync::{Condvar, Mutex};
use smstream_core::lane::{Consumer, Producer};
use smstream_core::layout::{Features, Port};
use smstream_core::ordering;
use smstream_core::park::{ALERT_GONE, Park, Wake, Watch};
use smstream_core::stream::End;
use smstream_core::sync::{AtomicU32, LaneByte};
use smstream_core::word::SharedWord;

pub use crate::owning::Owning;

/// Where the cursors of most models begin: the next byte takes them round.
pub const WRAP: u32 = (1 << 31) - 1;

/// What the publishers and the sleepers of a world agree on.
#[derive(Clone, Copy)]
pub struct Terms {
    /// What each party says that it does. Counters are not counted in these models, which makes no difference to the rest.
    pub features: [Features; 2],
    /// Whether barriers reach each party.
    pub reached: [bool; 2],
}

impl Terms {
    /// Full fences.
    const PLAIN: Terms = Terms { features: [Features::COUNTERS; 2], reached: [false; 2] };
}

/// Runs `model` in all executions with at most `preemptions` (`None`: in all). `LOOM_MAX_PREEMPTIONS` has precedence.
#[track_caller]
pub fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 20_000;
    // One model at a time: two in one process slow each other down to less than half, for they map and unmap stacks.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let executions = Arc::new(AtomicUsize::new(0));
    let count = executions.clone();
    let begun = std::time::Instant::now();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    let at = std::panic::Location::caller();
    println!("{}:{}: {} executions in {:?}", at.file(), at.line(), executions.load(Relaxed), begun.elapsed());
}

/// Who sleeps: a half of a party.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// The writing half of party 0, on `received` of party 1.
    Writer0,
    /// The reading half of party 0, on `sent` of party 1.
    Reader0,
    /// The writing half of party 1, on `received` of party 0.
    Writer1,
    /// The reading half of party 1, on `sent` of party 0.
    Reader1,
}

use Seat::{Reader0, Reader1, Writer0, Writer1};

/// How a half sleeps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// As with a futex: looks at the words once it is visible to wakers, and sleeps only if they are as seen.
    Futex,
    /// As with WFE or a byte on a socket: sleeps until it is rung, whatever the words say. A ring stays until it is
    /// taken. It lives by the re-check alone.
    Rung,
}

/// What the kernel knows of one sleeper. Its words share a lock, as futexes do that fall into the same bucket.
struct Waiter {
    state: Mutex<WaiterState>,
    changed: Condvar,
    /// Times it slept, and times the peer woke it. Loom does not see these counts.
    slept: AtomicUsize,
    woken: AtomicUsize,
    /// How the sleeper wants to be rung.
    wake_method: AtomicU32Std,
}

#[derive(Default)]
struct WaiterState {
    /// Wakes of the cursor, and of the alert word.
    wakes: [u32; 2],
    /// A ring that was not taken yet.
    rung: bool,
    /// The deadline has passed.
    expired: bool,
}

/// The bytes of a lane.
struct Lane(Box<[LaneByte]>);

// SAFETY: loom runs the threads of a model one at a time, and reports accesses to a cell that are not ordered.
unsafe impl Sync for Lane {}

/// The two segments of a channel, and the kernel.
pub struct World {
    ports: [Port; 2],
    lanes: [Lane; 2],
    alerts: [AtomicU32; 2],
    /// Which party has died: a half that asks will know, and no other. Loom does not see this.
    dead: [AtomicBool; 2],
    waiters: [Waiter; 4],
    terms: Terms,
}

impl World {
    /// Lanes of these capacities, from party 0 to 1 and back; cursors at the wrap.
    pub fn new(forth: u32, back: u32) -> Arc<World> {
        World::starting_at(WRAP, forth, back)
    }

    /// The same, with cursors that begin at `start`.
    pub fn starting_at(start: u32, forth: u32, back: u32) -> Arc<World> {
        World::build(start, forth, back, Terms::PLAIN)
    }

    /// Like [`new`](World::new), on these terms.
    pub fn on_terms(terms: Terms, forth: u32, back: u32) -> Arc<World> {
        World::build(WRAP, forth, back, terms)
    }

    fn build(start: u32, forth: u32, back: u32, terms: Terms) -> Arc<World> {
        let lane = |capacity| Lane((0..capacity).map(|_| LaneByte::new(0)).collect());
        let waiter = |_| Waiter {
            state: Mutex::new(WaiterState::default()),
            changed: Condvar::new(),
            slept: AtomicUsize::new(0),
            woken: AtomicUsize::new(0),
            wake_method: AtomicU32Std::new(0),
        };
        Arc::new(World {
            ports: [Port::new(start, start), Port::new(start, start)],
            lanes: [lane(forth), lane(back)],
            alerts: [AtomicU32::new(0), AtomicU32::new(0)],
            dead: [AtomicBool::new(false), AtomicBool::new(false)],
            waiters: [0, 1, 2, 3].map(waiter),
            terms,
        })
    }

    /// The port of a party, to look at it or to play the party by hand.
    pub fn port(&self, party: usize) -> &Port {
        &self.ports[party]
    }

    /// The writing half of a party. It has no alert word.
    pub fn writer(self: &Arc<World>, party: usize, how: How) -> Writer {
        let seat = [Writer0, Writer1][party];
        self.writer_with(party, Sleeper { world: self.clone(), seat, how, alerted: false })
    }

    /// The reading half of a party. It has no alert word.
    pub fn reader(self: &Arc<World>, party: usize, how: How) -> Reader {
        let seat = [Reader0, Reader1][party];
        self.reader_with(party, Sleeper { world: self.clone(), seat, how, alerted: false })
    }

    /// The writing half of a party, with an alert word.
    pub fn alerted_writer(self: &Arc<World>, party: usize) -> Writer {
        let seat = [Writer0, Writer1][party];
        self.writer_with(party, Sleeper { world: self.clone(), seat, how: How::Futex, alerted: true })
    }

    /// The reading half of a party, with an alert word.
    pub fn alerted_reader(self: &Arc<World>, party: usize) -> Reader {
        let seat = [Reader0, Reader1][party];
        self.reader_with(party, Sleeper { world: self.clone(), seat, how: How::Futex, alerted: true })
    }

    /// The reading half of a party, with a method of its own.
    pub fn reader_with_wake_method(self: &Arc<World>, party: usize, method: u32) -> Reader {
        let seat = [Reader0, Reader1][party];
        self.waiters[seat as usize].wake_method.store(method, Relaxed);
        self.reader_with(party, Sleeper { world: self.clone(), seat, how: How::Futex, alerted: false })
    }

    /// The writing half of a party, which sleeps in some way of its own.
    pub fn writer_with<P: Park>(self: &Arc<World>, party: usize, park: P) -> Writer<P> {
        let lane = &self.lanes[party].0;
        // SAFETY: the world is kept alive by the `Owning` around the half, longer than the half; nothing of it moves.
        let world: &'static World = unsafe { &*Arc::as_ptr(self) };
        let (mine, peer) = (&world.ports[party], &world.ports[1 - party]);
        // SAFETY: the lane has that many bytes, which are cells. The models make each half once, and play a party by hand
        // only where it has no halves.
        let half = unsafe {
            Producer::from_parts(
                party,
                self.features(party),
                mine,
                peer,
                lane.as_ptr().cast_mut(),
                lane.len() as u32,
                park,
            )
        };
        Owning::new(half, self.clone())
    }

    /// The reading half of a party, which sleeps in some way of its own.
    pub fn reader_with<P: Park>(self: &Arc<World>, party: usize, park: P) -> Reader<P> {
        let lane = &self.lanes[1 - party].0;
        // SAFETY: as in `writer_with`.
        let world: &'static World = unsafe { &*Arc::as_ptr(self) };
        let (mine, peer) = (&world.ports[party], &world.ports[1 - party]);
        // SAFETY: as in `writer_with`.
        let half = unsafe {
            Consumer::from_parts(party, self.features(party), mine, peer, lane.as_ptr(), lane.len() as u32, park)
        };
        Owning::new(half, self.clone())
    }

    /// What a party and its peer say that they do.
    fn features(&self, party: usize) -> [Features; 2] {
        [self.terms.features[party], self.terms.features[1 - party]]
    }

    /// What the kernel does for a party that issues a barrier.
    pub fn barrier(&self, party: usize) {
        // A process that is not registered is not reached.
        if self.terms.reached[1 - party] {
            ordering::barrier();
        }
    }

    /// Whether barriers reach a party.
    pub fn is_reached(&self, party: usize) -> bool {
        self.terms.reached[party]
    }

    /// Both halves of a party.
    pub fn end(self: &Arc<World>, party: usize, how: How) -> Owning<End<'static, Sleeper>> {
        let (producer, consumer) = (self.writer(party, how).into_half(), self.reader(party, how).into_half());
        Owning::new(End { producer, consumer }, self.clone())
    }

    /// Both halves of a party, with an alert word.
    pub fn alerted_end(self: &Arc<World>, party: usize) -> Owning<End<'static, Sleeper>> {
        let (producer, consumer) = (self.alerted_writer(party).into_half(), self.alerted_reader(party).into_half());
        Owning::new(End { producer, consumer }, self.clone())
    }

    /// Raises an alert in a party and wakes those of its halves that sleep with the alert among the watches.
    pub fn raise(&self, party: usize, bits: u32) {
        ordering::raise(&self.alerts[party], bits);
        for seat in [[Writer0, Reader0], [Writer1, Reader1]][party] {
            self.ring(seat, 1);
        }
    }

    /// A party dies. A half that asks will know, and no other.
    pub fn dies(&self, party: usize) {
        self.dead[party].store(true, Relaxed);
    }

    /// A wake for no reason, as a signal makes one.
    pub fn wake_for_nothing(&self, seat: Seat) {
        self.ring(seat, 0);
    }

    /// The deadline of this sleeper passes.
    pub fn expire(&self, seat: Seat) {
        let waiter = &self.waiters[seat as usize];
        waiter.state.lock().unwrap().expired = true;
        waiter.changed.notify_all();
    }

    /// How often this half slept, for a caller that knows that it has ended.
    pub fn slept(&self, seat: Seat) -> usize {
        self.waiters[seat as usize].slept.load(Relaxed)
    }

    /// How often the peer's half woke this one, for a caller that knows that it has ended.
    pub fn woken(&self, seat: Seat) -> usize {
        self.waiters[seat as usize].woken.load(Relaxed)
    }

    fn ring(&self, seat: Seat, word: usize) {
        let waiter = &self.waiters[seat as usize];
        let mut state = waiter.state.lock().unwrap();
        state.wakes[word] += 1;
        state.rung = true;
        drop(state);
        waiter.changed.notify_all();
    }

    /// The sleeper whose cursor word this is.
    fn seat_of(&self, word: SharedWord<'_>) -> Seat {
        let watched = [
            (Writer0, &self.ports[1].received.word),
            (Reader0, &self.ports[1].sent.word),
            (Writer1, &self.ports[0].received.word),
            (Reader1, &self.ports[0].sent.word),
        ];
        let found = watched.iter().find(|(_, cursor)| SharedWord::new(cursor) == word);
        found.expect("only cursors are woken").0
    }
}

/// A [`Park`] that the model checker can follow.
pub struct Sleeper {
    world: Arc<World>,
    seat: Seat,
    how: How,
    alerted: bool,
}

/// The deadline. It passes when the world says so ([`World::expire`]), be that before the sleep.
#[derive(Clone, Copy)]
pub struct Deadline;

impl Park for Sleeper {
    type Deadline = Deadline;
    type Spin = ();

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        false
    }

    fn wait(&self, watches: &[Watch<'_>], deadline: Option<Deadline>) -> Wake {
        let waiter = &self.world.waiters[self.seat as usize];
        let mut state = waiter.state.lock().unwrap();
        // Having the lock makes us visible: a thread that changes a word now must wait for the lock before it wakes us.
        if self.how == How::Futex && watches.iter().any(|w| w.word.load() != w.seen) {
            return Wake::Maybe;
        }
        let before = state.wakes;
        let alert = &self.world.alerts[self.seat as usize / 2];
        let watched = |word: usize| {
            let is_alert = |w: &Watch<'_>| w.word == SharedWord::new(alert);
            watches.iter().any(|w| is_alert(w) == (word == 1))
        };
        loop {
            if deadline.is_some() && state.expired {
                return Wake::TimedOut;
            }
            let woken = match self.how {
                How::Futex => (0..2).any(|word| state.wakes[word] != before[word] && watched(word)),
                How::Rung => std::mem::take(&mut state.rung),
            };
            if woken {
                return Wake::Maybe;
            }
            waiter.slept.fetch_add(1, Relaxed);
            state = waiter.changed.wait(state).unwrap();
        }
    }

    fn wake(&self, word: SharedWord<'_>, method: u32) {
        let seat = self.world.seat_of(word);
        let waiter = &self.world.waiters[seat as usize];
        assert_eq!(method, waiter.wake_method.load(Relaxed), "the wake method is known before the first wake");
        waiter.woken.fetch_add(1, Relaxed);
        self.world.ring(seat, 0);
    }

    fn alert(&self) -> Option<SharedWord<'_>> {
        self.alerted.then(|| SharedWord::new(&self.world.alerts[self.seat as usize / 2]))
    }

    fn ask(&self) {
        let party = self.seat as usize / 2;
        if self.world.dead[1 - party].load(Relaxed) {
            self.world.raise(party, ALERT_GONE);
        }
    }

    fn barrier(&self) {
        self.world.barrier(self.seat as usize / 2);
    }

    fn is_reached(&self) -> bool {
        self.world.is_reached(self.seat as usize / 2)
    }

    fn wake_method(&self) -> u32 {
        self.world.waiters[self.seat as usize].wake_method.load(Relaxed)
    }
}

/// A writing half.
pub type Writer<P = Sleeper> = Owning<Producer<'static, P>>;
/// A reading half.
pub type Reader<P = Sleeper> = Owning<Consumer<'static, P>>;
