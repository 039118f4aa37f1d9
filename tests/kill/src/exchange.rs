//! Operations on a stream whose two ends have met: the subject has connected, the survivor has accepted.

use std::io::{ErrorKind, Read, Write};

use smstream::{Builder, Listener, Reason, Stream};

use crate::cue::{Cue, Ending};
use crate::operation::{Kind, Operation, Rig, Shape, Survivor};

/// The bytes that each lane holds.
pub const LANE: usize = 4096;
/// Bytes that go each way before an operation whose own bytes are to wrap round the end of the lane, and whose cursor is to wrap
/// round its end.
pub const BEFORE: usize = 3000;
/// The bytes of such an operation.
pub const BYTES: usize = 2000;
/// Behind `BEFORE` bytes it is 1000 bytes to both ends.
const START: u32 = (1 << 31) - 4000;

/// How ends are made: they do not spin, so that they go the same way each time.
pub fn builder() -> Builder {
    Builder::new().capacity(LANE).start_cursor(START).spin(std::time::Duration::ZERO)
}

/// The bytes that go through a stream, from its begin on.
pub fn pattern(from: usize, len: usize) -> &'static [u8] {
    &ALL_BYTES[from..from + len]
}

/// Made beforehand: making them would be most of an operation.
static ALL_BYTES: [u8; 2 * LANE] = {
    let mut bytes = [0; 2 * LANE];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at % 251) as u8;
        at += 1;
    }
    bytes
};

/// An operation on a stream.
#[derive(Clone, Copy)]
pub struct Exchange {
    pub name: &'static str,
    pub after_a_kill: &'static [&'static str],
    pub whole: &'static str,
    pub ordered: bool,
    pub shape: Shape,
    /// How the subject makes its end.
    pub builder: fn() -> Builder,
    /// What the subject does before.
    pub before: fn(&mut Stream),
    /// What the survivor does before.
    pub meanwhile: fn(&mut Stream),
    /// The operation. It may use the stream up.
    pub act: fn(Stream) -> Option<Stream>,
    /// What the subject does when it has acted: it closes its end.
    pub finish: fn(Option<Stream>),
    /// What the survivor does while the subject acts and when it has ended, and what it saw.
    pub see: fn(&mut Stream, &mut Cue<'_>) -> String,
}

/// An operation on a stream over one kind of address.
pub struct Over(pub Exchange, pub Kind);

impl Operation for Over {
    fn name(&self) -> String {
        format!("{}, over `{}:`", self.0.name, self.1.scheme())
    }
    fn after_a_kill(&self) -> &'static [&'static str] {
        self.0.after_a_kill
    }
    fn whole(&self) -> &'static str {
        self.0.whole
    }
    fn ordered(&self) -> bool {
        self.0.ordered
    }
    fn shape(&self) -> Shape {
        self.0.shape
    }

    fn subject(&self, rig: &Rig, mark: &dyn Fn()) {
        let mut stream = (self.0.builder)().connect(rig.addr(self.1).as_str()).expect("the survivor listens");
        (self.0.before)(&mut stream);
        mark();
        let stream = (self.0.act)(stream);
        mark();
        (self.0.finish)(stream);
    }

    fn survivor<'r>(&self, rig: &'r Rig) -> Box<dyn Survivor + 'r> {
        let listener = builder().bind(rig.addr(self.1).as_str()).expect("a directory of its own");
        Box::new(Accepting { listener, exchange: self.0 })
    }
}

struct Accepting {
    listener: Listener,
    exchange: Exchange,
}

impl Survivor for Accepting {
    fn round(&mut self, cue: &mut Cue<'_>) -> String {
        cue.ready();
        let mut stream = self.listener.accept().expect("the subject connects");
        (self.exchange.meanwhile)(&mut stream);
        cue.marked();
        if !self.exchange.shape.survivor_sleeps {
            cue.set();
        }
        let saw = (self.exchange.see)(&mut stream, cue);
        check_history(&stream);
        saw
    }
}

/// What a call says that failed.
pub fn reason(e: &std::io::Error) -> String {
    Reason::of(e).map_or_else(|| format!("{e:?}"), |reason| format!("`{reason:?}`"))
}

/// Reads all that comes, up to the end of the stream or an error.
pub fn drain(stream: &mut Stream, from: usize) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 512];
    let end = loop {
        match stream.read(&mut part) {
            Ok(0) => break "end".to_owned(),
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(e) => break reason(&e),
        }
    };
    assert_eq!(bytes, *pattern(from, bytes.len()), "the bytes are those that were sent");
    // It stays so.
    let again =
        stream.read(&mut part).map_or_else(|e| reason(&e), |n| if n == 0 { "end".into() } else { n.to_string() });
    assert_eq!(again, end, "the end of a stream stays");
    format!("{} bytes, {end}", bytes.len())
}

/// A death is given out once: by the calls that met it, or by `take_error`, and in the history it is one incident for each
/// kind of call.
fn check_history(stream: &Stream) {
    let history = stream.history();
    let deaths: Vec<_> = history.iter().filter(|incident| incident.error.reason() == Reason::PeerGone).collect();
    for (n, death) in deaths.iter().enumerate() {
        assert!(deaths[..n].iter().all(|other| other.during != death.during), "one incident each: {history:?}");
    }
    let given = std::iter::from_fn(|| stream.take_error().expect("it has no errors"));
    let given = given.filter(|e| e.reason() == Reason::PeerGone).count();
    let most = usize::from(!deaths.iter().any(|death| death.reported));
    assert!(given <= most, "a death that was said is said again: {history:?}");
}

/// Waits for the subject's end, then reads all.
pub fn drained(stream: &mut Stream, cue: &mut Cue<'_>) -> String {
    cue.end();
    drain(stream, BEFORE)
}

/// The same, when nothing has gone before.
pub fn drained_all(stream: &mut Stream, cue: &mut Cue<'_>) -> String {
    cue.end();
    drain(stream, 0)
}

/// Reads while the subject acts.
pub fn drains_meanwhile(stream: &mut Stream, cue: &mut Cue<'_>) -> String {
    let saw = drain(stream, 0);
    cue.end();
    saw
}

/// What the survivor's writes say.
pub fn written(stream: &mut Stream) -> String {
    match stream.write(b"more") {
        Ok(n) => format!("{n} bytes written"),
        Err(e) => reason(&e),
    }
}

/// Waits for the subject's end, then sees what it has not read.
pub fn left_unread(stream: &mut Stream, cue: &mut Cue<'_>) -> String {
    let ending = cue.end();
    let mut byte = [0];
    let end = match stream.read(&mut byte) {
        Ok(0) => "end".to_owned(),
        Ok(_) => "a byte".to_owned(),
        Err(e) => reason(&e),
    };
    if ending == Ending::Done {
        // What a peer that has closed has not read is lost; how much it was is known for certain.
        let lost = stream.undelivered();
        return format!("{} bytes unread, {end}", lost.map_or("?".into(), |n| n.to_string()));
    }
    let unread = stream.undelivered().map_or("?".into(), |n| n.to_string());
    let e = stream.write(b"more").expect_err("no peer reads any more").kind();
    assert_eq!(e, ErrorKind::ConnectionReset, "a write to a dead peer");
    format!("{unread} bytes unread, {end}")
}
