//! Operations of a rendezvous: listening, accepting, connecting, and giving the name back.

use std::io::Write;
use std::path::Path;

use smstream::reap::Reaper;
use smstream::{Builder, Listener, Reason, Stream};

use crate::cue::{Cue, Ending};
use crate::exchange::{drain, pattern};
use crate::operation::{Kind, Operation, Rig, Shape, Survivor};
use crate::state::names;
use crate::tracee::fork;

/// What a subject does of a rendezvous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Listens at a name that nothing has.
    Bind,
    /// Listens at a name that a listener left that was killed.
    TakeOver,
    /// Gives the name back.
    Unbind,
    /// Accepts a connector that waits.
    Accept,
    /// Connects to a listener that waits.
    Connect,
}

/// A step of a rendezvous at one kind of address.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    pub step: Step,
    pub kind: Kind,
    /// The connector asks for other lanes than the listener has, so that its proposal is of no use.
    pub other_lanes: bool,
}

/// All of them.
pub fn all() -> Vec<Meeting> {
    let mut all = Vec::new();
    for kind in [Kind::File, Kind::Unix] {
        for step in [Step::Bind, Step::TakeOver, Step::Unbind] {
            all.push(Meeting { step, kind, other_lanes: false });
        }
        for step in [Step::Accept, Step::Connect] {
            all.push(Meeting { step, kind, other_lanes: false });
            if kind == Kind::Unix {
                all.push(Meeting { step, kind, other_lanes: true });
            }
        }
    }
    all
}

/// Small lanes: whether a dead region is one is seen by looking at all of it, in a long loop.
fn builder() -> Builder {
    crate::exchange::builder().capacity(64)
}

impl Meeting {
    fn connector(&self) -> Builder {
        if self.other_lanes { builder().capacity(128) } else { builder() }
    }
}

impl Operation for Meeting {
    fn name(&self) -> String {
        let what = match self.step {
            Step::Bind => "listen",
            Step::TakeOver => "listen where a killed listener was",
            Step::Unbind => "drop a listener",
            Step::Accept => "accept",
            Step::Connect => "connect",
        };
        let lanes = match (self.step, self.kind, self.other_lanes) {
            (Step::Accept | Step::Connect, Kind::Unix, false) => ", as proposed",
            (Step::Accept | Step::Connect, Kind::Unix, true) => ", other lanes than proposed",
            _ => "",
        };
        format!("{what}{lanes}, at `{}:`", self.kind.scheme())
    }

    fn after_a_kill(&self) -> &'static [&'static str] {
        match (self.step, self.kind) {
            (Step::Bind, Kind::File) => &["left: nothing", "left: name"],
            (Step::TakeOver, Kind::File) => &["left: name", "left: name, name.new"],
            (Step::Unbind, Kind::File) => &["left: name", "left: nothing"],
            (Step::Bind, Kind::Unix) => &["left: nothing", "left: name.lock", "left: name, name.lock"],
            (Step::TakeOver, Kind::Unix) => &["left: name, name.lock", "left: name.lock"],
            (Step::Unbind, Kind::Unix) => &["left: name, name.lock", "left: name.lock", "left: nothing"],
            (Step::Accept, _) => &["refused: `NotReady`", "accepted: 0 bytes, `PeerGone`"],
            (Step::Connect, _) => &["not accepted", "accepted: 0 bytes, `PeerGone`"],
        }
    }

    fn whole(&self) -> &'static str {
        match self.step {
            Step::Bind | Step::TakeOver | Step::Unbind => "left: nothing",
            Step::Accept | Step::Connect => "accepted: 0 bytes, end",
        }
    }

    fn ordered(&self) -> bool {
        false
    }

    fn shape(&self) -> Shape {
        Shape { survivor_sleeps: matches!(self.step, Step::Accept | Step::Connect), never_ends: false }
    }

    fn subject(&self, rig: &Rig, mark: &dyn Fn()) {
        let addr = rig.addr(self.kind);
        match self.step {
            Step::Bind | Step::TakeOver => {
                if self.step == Step::TakeOver {
                    leave_dead_listener(&addr);
                }
                mark();
                let listener = builder().bind(addr.as_str()).expect("the name is free");
                mark();
                drop(listener);
            }
            Step::Unbind => {
                let listener = builder().bind(addr.as_str()).expect("the name is free");
                mark();
                drop(listener);
                mark();
            }
            Step::Accept => {
                let listener = builder().bind(addr.as_str()).expect("the name is free");
                mark();
                let stream = listener.accept().expect("the survivor connects");
                mark();
                drop(stream);
                drop(listener);
            }
            Step::Connect => {
                mark();
                let stream = self.connector().connect(addr.as_str()).expect("the survivor listens");
                mark();
                drop(stream);
            }
        }
    }

    fn survivor<'r>(&self, rig: &'r Rig) -> Box<dyn Survivor + 'r> {
        let addr = rig.addr(self.kind);
        let directory = rig.directory().to_path_buf();
        match self.step {
            Step::Bind | Step::TakeOver | Step::Unbind => Box::new(Heir { addr, directory }),
            Step::Accept => Box::new(Connector { addr, directory, builder: self.connector() }),
            Step::Connect => {
                let listener = builder().bind(addr.as_str()).expect("a directory of its own");
                Box::new(Acceptor { listener })
            }
        }
    }

    fn visitor(&self) -> Option<fn(&Rig)> {
        let by = match self.kind {
            Kind::File => |rig: &Rig| visit(rig, Kind::File),
            Kind::Unix => |rig: &Rig| visit(rig, Kind::Unix),
        };
        (self.step == Step::Connect).then_some(by)
    }
}

/// What a visitor sends.
const GREETING: usize = 5;

/// Connects after the subject has ended, as any other process might.
fn visit(rig: &Rig, kind: Kind) {
    let mut stream = builder().connect(rig.addr(kind).as_str()).expect("the survivor listens still");
    stream.write_all(pattern(0, GREETING)).expect("the survivor lives");
}

/// A process listens there, and ends without a word.
fn leave_dead_listener(addr: &str) {
    let pid = fork(|| {
        let listener = builder().bind(addr).expect("the name is free");
        std::mem::forget(listener);
    });
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert!(waited == pid && status == 0, "the first listener listens: {status:#x}");
}

/// Comes after a listener: finds that none lives there, listens there itself, and cleans up.
struct Heir {
    addr: String,
    directory: std::path::PathBuf,
}

impl Survivor for Heir {
    fn round(&mut self, cue: &mut Cue<'_>) -> String {
        cue.ready();
        cue.marked();
        cue.set();
        let ending = cue.end();
        let left = left(&self.directory);
        let inherited = inherit(&self.addr, &self.directory);
        match ending {
            Ending::Killed | Ending::Done if inherited.is_empty() => left,
            _ => format!("{left}; {inherited}"),
        }
    }
}

/// What is left in the directory.
fn left(directory: &Path) -> String {
    let names = names(directory);
    if names.is_empty() { "left: nothing".into() } else { format!("left: {}", names.join(", ")) }
}

/// The name of a listener that has ended: connecting there gives the right error, listening there works, and nothing is left
/// in the end. Says what is not so.
fn inherit(addr: &str, directory: &Path) -> String {
    match Stream::connect(addr) {
        Err(e) if e.reason() == Reason::NotReady => {}
        other => return format!("connecting gives {other:?}"),
    }
    match builder().bind(addr) {
        Ok(listener) => drop(listener),
        Err(e) => return format!("the name cannot be had again: {e}"),
    }
    // What has a name of chance is for the cleaner.
    let names_now = names(directory);
    if names_now.iter().any(|name| name.starts_with("name")) {
        return format!("a listener has come and gone, and there is {names_now:?}");
    }
    if let Err(e) = Reaper::of(directory).run() {
        return format!("the cleaner fails: {e}");
    }
    let names_now = names(directory);
    if names_now.is_empty() { String::new() } else { format!("the cleaner leaves {names_now:?}") }
}

/// Connects, and waits to be accepted by the subject.
struct Connector {
    addr: String,
    directory: std::path::PathBuf,
    builder: Builder,
}

impl Survivor for Connector {
    fn round(&mut self, cue: &mut Cue<'_>) -> String {
        cue.ready();
        cue.marked();
        let saw = match self.builder.connect(self.addr.as_str()) {
            Ok(mut stream) => format!("accepted: {}", drain(&mut stream, 0)),
            Err(e) => format!("refused: `{:?}`", e.reason()),
        };
        cue.end();
        let inherited = inherit(&self.addr, &self.directory);
        if inherited.is_empty() { saw } else { format!("{saw}; {inherited}") }
    }
}

/// Accepts all who come, up to a visitor that greets.
struct Acceptor {
    listener: Listener,
}

impl Survivor for Acceptor {
    fn round(&mut self, cue: &mut Cue<'_>) -> String {
        cue.ready();
        cue.marked();
        let mut saw = Vec::new();
        loop {
            let mut stream = match self.listener.accept() {
                Ok(stream) => stream,
                Err(e) => {
                    saw.push(format!("accepting fails: {e}"));
                    break;
                }
            };
            let one = drain(&mut stream, 0);
            if one == format!("{GREETING} bytes, end") {
                break;
            }
            saw.push(format!("accepted: {one}"));
        }
        cue.end();
        if saw.is_empty() { "not accepted".into() } else { saw.join("; ") }
    }
}
