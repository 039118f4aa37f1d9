//! One operation under the knife: its points are counted, and a subject is killed or stopped at one of them.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::cue::{Cue, Line, PATIENCE};
use crate::mark;
use crate::operation::{Operation, Rig};
use crate::state::{self, Belongings};
use crate::tracee::{Stop, Tracee, fork};

/// A place in the course of an operation: before one of its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// How many instructions the operation has executed, those of the C library included.
    pub step: usize,
    /// The address of the next one.
    address: u64,
    /// How often the operation has stood there, this time included.
    nth: usize,
    pub place: Place,
}

impl Point {
    pub fn new(step: usize, address: u64, nth: usize, place: Place) -> Self {
        Point { step, address, nth, place }
    }
}

/// What kind of place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In our code.
    Code,
    /// Before a system call, in our code or in the C library.
    BeforeCall,
    /// Behind one.
    AfterCall,
    /// In a system call that waits for the other side.
    Asleep,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What the survivor saw.
    Saw(String),
    /// The operation went another way this time.
    NotReached,
    /// The survivor or the subject did not do what it must always do.
    Wrong(String),
}

/// An operation, the place for it, and the survivor of its trials.
pub struct Trial<'a> {
    operation: &'a dyn Operation,
    rig: &'a Rig,
    survivor: Option<Living>,
}

#[derive(Debug)]
struct Living {
    pid: i32,
    line: Line,
}

impl Drop for Living {
    fn drop(&mut self) {
        // SAFETY: takes no pointers. It is a child of this process that was not reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        // SAFETY: a null pointer: the status is not wanted.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

impl<'a> Trial<'a> {
    pub fn new(operation: &'a dyn Operation, rig: &'a Rig) -> Self {
        Trial { operation, rig, survivor: None }
    }

    /// A subject at its mark, and the survivor prepared.
    fn begin(&mut self) -> Result<Tracee, String> {
        let (operation, rig) = (self.operation, self.rig);
        let survivor = self.survivor.get_or_insert_with(|| {
            let [ours, theirs] = Line::pair();
            let mut ends = Some((ours, theirs));
            let pid = fork(|| {
                let (ours, theirs) = ends.take().expect("both");
                drop(ours);
                live(operation, rig, theirs);
            });
            Living { pid, line: ends.take().expect("both").0 }
        });
        survivor.line.say("begin")?;
        survivor.expect("ready")?;
        let mut subject = Tracee::start(|| {
            // SAFETY: takes no pointers; the files of the subject's parent are not for it.
            unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
            operation.subject(rig, &|| mark::mark());
        });
        survivor.line.say(&subject.pid().to_string())?;
        match subject.run() {
            Stop::At(address) if address == mark::behind() => {}
            other => return Err(format!("the subject does not come to its mark: {other:?}; {}", survivor.place())),
        }
        survivor.line.say("marked")?;
        if !operation.shape().survivor_sleeps {
            survivor.expect("set")?;
            return Ok(subject);
        }
        let end = Instant::now() + PATIENCE;
        while !state::sleeps(survivor.pid) {
            if Instant::now() > end {
                return Err(format!("the survivor does not go to sleep: {}", survivor.place()));
            }
            thread::sleep(Duration::from_micros(50));
        }
        Ok(subject)
    }

    /// Steps through the operation once, and notes where it stands. `every`: also in the middle of loops.
    pub fn points(&mut self, every: bool) -> Result<Vec<Point>, String> {
        let text = state::own_text();
        let mut subject = self.begin()?;
        let (mut points, mut nth) = (Vec::new(), HashMap::<u64, usize>::new());
        let mut code = HashMap::new();
        let (mut before, mut is_behind_call) = (0, false);
        for step in 0.. {
            let registers = subject.registers();
            let address = registers.rip;
            let is_call = *code.entry(address).or_insert_with(|| subject.code(address)) == SYSCALL;
            // An instruction that repeats itself is one.
            if address != before && address != mark::behind() {
                let nth = nth.entry(address).or_insert(0);
                *nth += 1;
                let place = match () {
                    () if is_call => Some(Place::BeforeCall),
                    () if is_behind_call => Some(Place::AfterCall),
                    () => text.contains(&address).then_some(Place::Code),
                };
                points.extend(place.map(|place| Point::new(step, address, *nth, place)));
            }
            (before, is_behind_call) = (address, is_call);
            let may_wait = is_call && state::waits(registers.rax);
            let stop = if may_wait { self.step_asleep(&mut subject) } else { subject.step() };
            match stop {
                Stop::At(address) if address == mark::before() => break,
                Stop::At(_) => {}
                Stop::Hangs if self.operation.shape().never_ends => {
                    points.push(Point::new(step + 1, address, 0, Place::Asleep));
                    subject.kill();
                    self.finish("killed")?;
                    return Ok(if every { points } else { thinned(points) });
                }
                other => return Err(format!("the subject is {other:?} after {step} instructions: {}", self.place())),
            }
        }
        subject.leave();
        self.end_in_order(&mut subject)?;
        let saw = self.finish("done")?;
        if saw != self.operation.whole() {
            return Err(format!("a subject that was stepped through to its end: {saw:?}"));
        }
        Ok(if every { points } else { thinned(points) })
    }

    /// A step that is a system call that may wait. It is said to hang if it sleeps where it must, for good.
    fn step_asleep(&self, subject: &mut Tracee) -> Stop {
        subject.begin_step();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(stop) = subject.has_stopped() {
                return stop;
            }
            let for_good = self.operation.shape().never_ends && state::sleeps(subject.pid());
            if for_good || Instant::now() > end {
                return Stop::Hangs;
            }
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// Runs a subject to a point. `false`: it did not come there.
    fn reach(&self, subject: &mut Tracee, point: &Point) -> Result<bool, String> {
        if point.place == Place::Asleep {
            subject.begin_run();
            let end = Instant::now() + PATIENCE;
            while !state::sleeps(subject.pid()) {
                if Instant::now() > end {
                    return Err(format!("the subject does not go to sleep: {}", self.place()));
                }
                thread::sleep(Duration::from_micros(50));
            }
            return Ok(true);
        }
        subject.set_breakpoint(Some(point.address));
        for _ in 0..point.nth {
            match subject.run() {
                Stop::At(address) if address == point.address => {}
                Stop::At(address) if address == mark::behind() => return Ok(false),
                other => return Err(format!("the subject is {other:?} on its way: {}", self.place())),
            }
        }
        subject.set_breakpoint(None);
        Ok(true)
    }

    /// Kills a subject at this point.
    pub fn kill_at(&mut self, point: &Point) -> Outcome {
        let killed = (|| {
            let mut subject = self.begin()?;
            let is_there = self.reach(&mut subject, point)?;
            subject.kill();
            let saw = self.finish("killed")?;
            Ok(if is_there { Outcome::Saw(saw) } else { Outcome::NotReached })
        })();
        self.judged(killed)
    }

    /// Stops a subject at this point, all of its threads, and has it go on.
    pub fn stop_at(&mut self, point: &Point) -> Outcome {
        let stopped = (|| {
            let mut subject = self.begin()?;
            let is_there = self.reach(&mut subject, point)?;
            subject.set_breakpoint(None);
            subject.leave_stopped();
            // Time for a survivor to do something rash. What it does is judged, and not when.
            thread::sleep(Duration::from_millis(1));
            subject.go_on();
            self.end_in_order(&mut subject)?;
            let saw = self.finish("done")?;
            Ok(if is_there { Outcome::Saw(saw) } else { Outcome::NotReached })
        })();
        self.judged(stopped)
    }

    fn judged(&mut self, result: Result<Outcome, String>) -> Outcome {
        result.unwrap_or_else(|why| {
            // A survivor in the middle of something is of no more use.
            self.survivor = None;
            Outcome::Wrong(why)
        })
    }

    /// Waits for a subject that comes to its end by itself.
    fn end_in_order(&self, subject: &mut Tracee) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            match subject.has_ended() {
                Some(0) => return Ok(()),
                Some(status) => return Err(format!("the subject ends with {status}")),
                None if Instant::now() > end => {
                    let subject = state::place(subject.pid());
                    return Err(format!("the subject does not come to its end: {subject}; survivor: {}", self.place()));
                }
                None => thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    /// Says how the subject ended, and hears what the survivor saw.
    fn finish(&mut self, ending: &str) -> Result<String, String> {
        let (operation, rig) = (self.operation, self.rig);
        let survivor = self.survivor.as_mut().expect("a round has begun");
        survivor.line.say(ending)?;
        if let Some(visitor) = operation.visitor() {
            let pid = fork(|| visitor(rig));
            let mut visitor = Tracee::adopt(pid);
            self.end_in_order(&mut visitor).map_err(|e| format!("the visitor: {e}"))?;
        }
        let survivor = self.survivor.as_mut().expect("a round has begun");
        survivor.line.hear(Some(PATIENCE)).map_err(|e| format!("{e}: {}", survivor.place()))
    }

    /// Where the survivor is, for messages.
    fn place(&self) -> String {
        self.survivor.as_ref().map_or("no survivor".into(), Living::place)
    }
}

/// Without the visits to an instruction that are neither the first [`MANY`] nor the last [`MANY`] between two system calls: the
/// middle of a loop that looks at many bytes.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let mut kept = Vec::new();
    for part in points.chunk_by(|a, _| a.place != Place::BeforeCall) {
        let mut visits = HashMap::<u64, usize>::new();
        for point in part {
            *visits.entry(point.address).or_insert(0) += 1;
        }
        let mut visit = HashMap::<u64, usize>::new();
        kept.extend(part.iter().filter(|point| {
            let visit = visit.entry(point.address).or_insert(0);
            *visit += 1;
            *visit <= MANY || *visit + MANY > visits[&point.address]
        }));
    }
    kept
}

impl Living {
    fn expect(&mut self, text: &str) -> Result<(), String> {
        match self.line.hear(Some(PATIENCE)) {
            Ok(heard) if heard == text => Ok(()),
            Ok(heard) => Err(format!("the survivor says {heard:?} and not {text:?}")),
            Err(e) => Err(format!("{e} before it says {text:?}: {}", self.place())),
        }
    }

    fn place(&self) -> String {
        state::place(self.pid)
    }
}

/// The instruction for a system call.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// How many visits to an instruction are kept of those at the beginning and at the end, between two system calls.
const MANY: usize = 1;
/// The rounds after which a survivor has all that it keeps.
const WARM: usize = 3;

/// The life of a survivor.
fn live(operation: &dyn Operation, rig: &Rig, mut line: Line) {
    let mut survivor = operation.survivor(rig);
    let mut most: Option<Belongings> = None;
    for round in 0.. {
        if line.hear(None).is_err() {
            return;
        }
        let mut cue = Cue::new(&mut line);
        let mut saw = survivor.round(&mut cue);
        if round < WARM {
            thread::sleep(Duration::from_millis(20));
            most = Some(most.map_or(Belongings::now(), |most| most.max(Belongings::now())));
        }
        let most = most.expect("of the first rounds");
        let end = Instant::now() + PATIENCE / 2;
        while !Belongings::now().is_within(&most) {
            if Instant::now() > end {
                saw = format!("{saw}; left behind: {:?}, and not {most:?}", Belongings::now());
                break;
            }
            thread::sleep(Duration::from_micros(100));
        }
        cue.outcome(&saw);
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Point, thinned};

    #[test]
    fn of_a_loop_the_first_and_the_last_visit_are_kept() {
        let visit = |step, address, nth| Point::new(step, address, nth, Place::Code);
        let call = |step, nth| Point::new(step, 9, nth, Place::BeforeCall);
        let looped = vec![visit(0, 1, 1), visit(1, 2, 1), visit(2, 1, 2), visit(3, 2, 2), visit(4, 1, 3), call(5, 1)];
        let kept: Vec<_> = thinned(looped.clone()).iter().map(|point| point.step).collect();
        assert_eq!(kept, [0, 1, 3, 4, 5]);
        // A system call begins a new count.
        let twice = [looped, vec![visit(6, 1, 4), visit(7, 1, 5), visit(8, 1, 6)]].concat();
        let kept: Vec<_> = thinned(twice).iter().map(|point| point.step).collect();
        assert_eq!(kept, [0, 1, 3, 4, 5, 6, 8]);
    }
}
