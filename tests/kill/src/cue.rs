//! What the tracer and the survivor say to each other: a line each.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a step may take that takes no time unless something hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One side of the line between tracer and survivor.
#[derive(Debug)]
pub struct Line {
    reader: BufReader<UnixStream>,
}

/// How the subject has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was killed.
    Killed,
    /// It has come to its own end.
    Done,
}

impl Line {
    pub fn pair() -> [Line; 2] {
        let (a, b) = UnixStream::pair().expect("a socket pair");
        [a, b].map(|stream| Line { reader: BufReader::new(stream) })
    }

    pub fn say(&mut self, text: &str) -> Result<(), String> {
        let line = format!("{text}\n");
        self.reader.get_mut().write_all(line.as_bytes()).map_err(|_| "the survivor has died".to_owned())
    }

    /// The next line; an error: none comes, and why.
    pub fn hear(&mut self, patience: Option<Duration>) -> Result<String, String> {
        self.reader.get_ref().set_read_timeout(patience).expect("a socket has timeouts");
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err("the survivor has died".into()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Err("the survivor hangs".into()),
            Err(e) => Err(format!("the survivor has died: {e}")),
        }
    }

    /// The next line, if it is there.
    pub fn heard(&mut self) -> Result<Option<String>, String> {
        match self.hear(Some(Duration::from_micros(1))) {
            Ok(line) => Ok(Some(line)),
            Err(e) if e == "the survivor hangs" => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The survivor's side, in one round.
#[derive(Debug)]
pub struct Cue<'a> {
    line: &'a mut Line,
    subject: i32,
    ended: Option<Ending>,
}

impl<'a> Cue<'a> {
    pub fn new(line: &'a mut Line) -> Self {
        Cue { line, subject: 0, ended: None }
    }

    /// The subject may begin its preparations.
    pub fn ready(&mut self) {
        self.line.say("ready").expect("the tracer lives");
        let heard = self.line.hear(None).expect("the tracer lives");
        self.subject = heard.parse().expect("the number of the subject");
    }

    /// The subject stands at its mark.
    pub fn marked(&mut self) {
        assert_eq!(self.line.hear(None).as_deref(), Ok("marked"));
    }

    /// All is prepared: the subject may begin its operation.
    pub fn set(&mut self) {
        self.line.say("set").expect("the tracer lives");
    }

    /// Waits until the subject sleeps, or has ended.
    pub fn asleep(&mut self) {
        while self.ended.is_none() && !crate::state::sleeps(self.subject) {
            if let Some(said) = self.line.heard().expect("the tracer lives") {
                self.ended = Some(ending(&said));
            }
        }
    }

    /// Waits for the end of the subject.
    pub fn end(&mut self) -> Ending {
        let ending = match self.ended {
            Some(ending) => ending,
            None => ending(&self.line.hear(None).expect("the tracer lives")),
        };
        self.ended = Some(ending);
        ending
    }

    /// What has become of the round.
    pub fn outcome(self, text: &str) {
        self.line.say(text).expect("the tracer lives");
    }
}

fn ending(said: &str) -> Ending {
    match said {
        "killed" => Ending::Killed,
        "done" => Ending::Done,
        other => panic!("the tracer says {other:?}"),
    }
}
