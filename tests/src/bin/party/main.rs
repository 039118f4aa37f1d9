//! A process on one side of a stream, for tests: reads a command from each line, and answers each with a line, `ok …` or
//! `err KIND REASON CODE TEXT`. It ends when its standard input does.
//!
//! Arguments: `--deny CALL=ERRNO` makes a system call fail from the beginning on; `--guard on` guards memory against
//! being cut short; `--bus HOW` handles SIGBUS first: see `bus::handle`; `--namespace pid` runs all in a PID namespace of
//! its own, and `--namespace N` in that of process N.

mod attack;
mod bus;
mod conditions;
mod crowd;
mod deadlock;
mod end;
mod held;
mod records;
mod serving;
mod storm;
mod system;

use std::io::{self, BufRead, Write};
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use end::End;
use smstream::{Builder, Connecting, Listener, Stream};

/// Whether the ends that are made are guarded against memory that is cut short.
static GUARD: AtomicBool = AtomicBool::new(false);

/// What this process has.
#[derive(Default)]
struct Party {
    listener: Option<Listener>,
    end: Option<End>,
    connecting: Option<Connecting>,
    crowd: crowd::Crowd,
    seeds: [u64; 2],
    attacker: attack::Attacker,
    /// Other users that it lets be its peer.
    allowed: Vec<u32>,
    /// How long its connectors may take.
    patience: Option<Duration>,
    serving: Option<serving::Serving>,
    /// Does not take part in telling deadlocks.
    undetected: bool,
    /// The signal that its ends ask for.
    wake_signal: Option<i32>,
    /// Its ends say that they know records.
    speaks_records: bool,
    records: Option<records::RecordEnd>,
}

/// What a command needs was not made before, or makes no sense: the test is wrong.
fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

/// The words of a command, after its name.
struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn text(&mut self) -> io::Result<&'a str> {
        self.0.next().ok_or_else(|| wrong("the command needs more words"))
    }
    fn number<T: std::str::FromStr>(&mut self) -> io::Result<T> {
        let text = self.text()?;
        text.parse().map_err(|_| wrong(format!("{text} is no such number")))
    }
    /// Milliseconds, if there is another word.
    fn time(&mut self) -> io::Result<Option<Duration>> {
        match self.0.next() {
            None | Some("none") => Ok(None),
            Some(text) => {
                let millis = text.parse().map_err(|_| wrong(format!("{text} is no time")))?;
                Ok(Some(Duration::from_millis(millis)))
            }
        }
    }
    /// A builder with a spin of this many microseconds, if there is another word.
    fn spin(&mut self) -> io::Result<Builder> {
        let builder = Builder::new().guard_truncation(GUARD.load(Ordering::Relaxed));
        match self.0.next() {
            None => Ok(builder),
            Some(text) => {
                let micros = text.parse().map_err(|_| wrong(format!("{text} is no time")))?;
                Ok(builder.spin(Duration::from_micros(micros)))
            }
        }
    }
}

impl Party {
    fn listener(&self) -> io::Result<&Listener> {
        self.listener.as_ref().ok_or_else(|| wrong("there is no listener"))
    }

    /// A builder as the test has set the party up beforehand.
    fn with_settings(&self, builder: Builder) -> Builder {
        let builder = builder.deadlock_detection(!self.undetected).records(self.speaks_records);
        let builder = self.allowed.iter().fold(builder, |builder, &uid| builder.allow_uid(uid));
        let builder = self.patience.map_or(builder.clone(), |time| builder.handshake_timeout(time));
        match self.wake_signal {
            Some(signal) => builder.wake_signal(signal),
            None => builder,
        }
    }

    fn take(&mut self, stream: smstream::Stream) -> String {
        let pid = stream.peer().pid;
        self.end = Some(End::new(stream, self.seeds));
        pid.to_string()
    }

    fn run(&mut self, line: &str) -> io::Result<String> {
        let mut words = Words(line.split_whitespace());
        let done = Ok(String::new());
        match words.text()? {
            "bind" => {
                let addr = words.text()?;
                let (capacities, start) = ([words.number()?, words.number()?], words.number()?);
                let builder = words.spin()?.capacities(capacities[0], capacities[1]).start_cursor(start);
                let builder = self.with_settings(builder);
                let listener = builder.bind(addr)?;
                let [first, second] = listener.capacities();
                self.listener = Some(listener);
                Ok(format!("{first} {second}"))
            }
            "accept" => {
                let stream = match words.time()? {
                    None => self.listener()?.accept()?,
                    Some(time) => self.listener()?.accept_timeout(time)?,
                };
                Ok(self.take(stream))
            }
            "connect" => {
                let addr = words.text()?;
                let time = words.time()?;
                let builder = self.with_settings(words.spin()?);
                let stream = match time {
                    None => builder.connect(addr)?,
                    Some(time) => builder.connect_timeout(addr, time)?,
                };
                Ok(self.take(stream))
            }
            "begin-connect" => {
                self.connecting = Some(Stream::begin_connect(words.text()?)?);
                done
            }
            "finish" => match conditions::finish(self.connecting.take())? {
                Ok(stream) => Ok(self.take(stream)),
                Err(connecting) => {
                    self.connecting = Some(connecting);
                    Ok("pending".into())
                }
            },
            "wait" => {
                let Self { listener, end, connecting, .. } = self;
                let (listener, stream) = (listener.as_ref(), end.as_ref().map(End::stream));
                conditions::wait(&mut words, conditions::Sources { listener, stream, connecting: connecting.as_mut() })
            }
            "deadlock-detection" => {
                self.undetected = words.text()? == "off";
                done
            }
            "wake-signal" => {
                self.wake_signal = Some(words.number()?);
                done
            }
            "speaks-records" => {
                self.speaks_records = true;
                done
            }
            "into-records" => {
                let end = self.end.take().ok_or_else(|| wrong("there is no stream"))?;
                self.records = Some(records::RecordEnd::new(end.into_stream(), self.seeds)?);
                done
            }
            command if command.starts_with("record") => match &mut self.records {
                Some(records) => records.run(command, &mut words),
                None => Err(wrong(format!("{command} is no command without records"))),
            },
            "deny" => system::deny(words.text()?).map(|()| String::new()),
            "ignore-signal" => system::ignore_signal(words.number()?).map(|()| String::new()),
            "seeds" => {
                self.seeds = [words.number()?, words.number()?];
                done
            }
            "allow" => {
                self.allowed.push(words.number()?);
                done
            }
            "patience" => {
                self.patience = words.time()?;
                done
            }
            "serve-all" => {
                let listener = self.listener.take().ok_or_else(|| wrong("there is no listener"))?;
                self.serving = Some(serving::Serving::begin(listener));
                done
            }
            "serving" => {
                let serving = self.serving.as_ref().ok_or_else(|| wrong("no server runs"))?;
                Ok(serving.open().to_string())
            }
            "serve-no-more" => {
                let serving = self.serving.take().ok_or_else(|| wrong("no server runs"))?;
                Ok(serving.end()?.to_string())
            }
            // Everything that begins so is done by hand, and not by the library.
            command if command.starts_with("rig-") => self.attacker.run(command, &mut words),
            "nonblocking-listener" => {
                self.listener()?.set_nonblocking(true)?;
                done
            }
            "unlisten" => {
                self.listener.take().ok_or_else(|| wrong("there is no listener"))?.close()?;
                done
            }
            "close" => {
                self.end = None;
                self.records = None;
                done
            }
            "halves" => {
                let end = self.end.take().ok_or_else(|| wrong("there is no stream"))?;
                end.both_by_halves(&mut words)
            }
            "crowd" => self.crowd.run(&mut words),
            "serve" => storm::serve(self.listener()?, words.number()?),
            "storm-listen" => storm::listen(words.text()?, words.text()?, words.number()?),
            "storm-connect" => storm::connect(words.text()?, words.number()?),
            "exit" => exit(words.number()?),
            "pid" => Ok(std::process::id().to_string()),
            "next-pid" => system::next_pid(words.number()?).map(|()| String::new()),
            "fork" => system::fork_and_hold().map(|pid| pid.to_string()),
            "handle-signals" => system::handle_signals().map(|()| String::new()),
            "signals" => Ok(system::signals().to_string()),
            "alarm-every" => system::alarm_every(words.number()?).map(|()| String::new()),
            "limit" => system::limit(words.text()?, words.number()?).map(|()| String::new()),
            "use-up-descriptors" => system::use_up_descriptors(words.number()?).map(|()| String::new()),
            "become" => system::become_user(words.number()?).map(|()| String::new()),
            "dumpable" => system::dumpable(words.number::<u8>()? != 0).map(|()| String::new()),
            "segment" => system::segment(),
            "mount-small" => system::mount_small(words.text()?, words.number()?).map(|()| String::new()),
            "bus-elsewhere" => bus::elsewhere(),
            command => match &mut self.end {
                Some(end) => end.run(command, &mut words),
                None => Err(wrong(format!("{command} is no command without a stream"))),
            },
        }
    }
}

/// An error in one line.
fn refusal(e: &io::Error) -> String {
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<smstream::Error>());
    let reason = inner.map_or("-".into(), |e| format!("{:?}", e.reason()));
    let code = inner.and_then(smstream::Error::code).map_or("-".into(), |c| format!("{c:?}"));
    format!("err {:?} {reason} {code} {}", e.kind(), e.to_string().replace('\n', " | "))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--deny", Some(what)) => system::deny(&what).unwrap_or_else(|e| panic!("cannot deny {what}: {e}")),
            ("--guard", Some(how)) => GUARD.store(how == "on", Ordering::Relaxed),
            ("--namespace", Some(whose)) => {
                system::enter_pid_namespace(&whose).unwrap_or_else(|e| panic!("cannot have a PID namespace: {e}"));
            }
            ("--bus", Some(how)) => bus::handle(&how).unwrap_or_else(|e| panic!("cannot handle SIGBUS: {e}")),
            _ => panic!("{argument} is no argument"),
        }
    }
    // A process that is asked to kill this one must not be faster than the report of a panic.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let _ = writeln!(io::stdout(), "panic {}", info.to_string().replace('\n', " | "));
        report(info);
    }));
    let mut party = Party::default();
    for line in io::stdin().lock().lines() {
        let line = line.expect("commands are text");
        let reply = match party.run(&line) {
            Ok(text) => format!("ok {text}"),
            Err(e) => refusal(&e),
        };
        if writeln!(io::stdout(), "{reply}").is_err() {
            break;
        }
    }
}
