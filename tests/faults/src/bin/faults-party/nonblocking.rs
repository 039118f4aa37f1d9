//! With calls that do not wait: `wait_any`, and `poll` for a `Pollable`.

use crate::blocking::builder;
use crate::data::{self, PIECE};
use crate::task::{LONG, Task};
use smstream::{Pollable, Stream, wait_any};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Meets once, and exchanges the bytes.
pub fn run(task: &Task) -> io::Result<()> {
    let polls = task.way == "poll";
    if task.side == "listen" {
        let listener = builder().bind(task.addr.as_str())?;
        listener.set_nonblocking(true)?;
        let until = Instant::now() + task.patience;
        let stream = loop {
            if Instant::now() > until {
                return Err(Error::new(ErrorKind::TimedOut, "the program has waited long enough for a connector"));
            }
            match listener.accept() {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                other => break other?,
            }
            if polls {
                poll(&listener.readiness()?, task.patience)?;
            } else {
                wait_any(&mut [listener.acceptable()], Some(task.patience))?;
            }
        };
        exchange(stream, false, polls)?;
        Ok(listener.close()?)
    } else {
        let mut connecting = builder().begin_connect(task.addr.as_str())?;
        wait_any(&mut [connecting.connectable()], Some(LONG))?;
        let stream = connecting.try_finish().map_err(|e| Error::other(e.to_string()))?;
        exchange(stream, true, polls)
    }
}

fn exchange(stream: Stream, is_connector: bool, polls: bool) -> io::Result<()> {
    if polls {
        let mut stream = Pollable::new(stream)?;
        turns(
            &mut stream,
            is_connector,
            |stream, _| poll(stream, LONG),
            |stream| stream.get_ref().shutdown(Shutdown::Write),
        )
    } else {
        let mut stream = stream;
        stream.set_nonblocking(true)?;
        let wait = |stream: &mut Stream, reads: bool| {
            let condition = if reads { stream.readable() } else { stream.writable() };
            wait_any(&mut [condition], Some(LONG))?;
            Ok(())
        };
        turns(&mut stream, is_connector, wait, |stream| stream.shutdown(Shutdown::Write))
    }
}

/// The connector writes first, then the listener.
fn turns<S: Read + Write>(
    stream: &mut S,
    is_connector: bool,
    wait: impl Fn(&mut S, bool) -> io::Result<()>,
    end: impl Fn(&S) -> smstream::Result<()>,
) -> io::Result<()> {
    let send = |stream: &mut S| -> io::Result<()> {
        let all = data::pattern(is_connector);
        let mut rest = &all[..];
        while !rest.is_empty() {
            match stream.write(&rest[..rest.len().min(PIECE)]) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => wait(stream, false)?,
                Err(e) => return Err(e),
            }
        }
        Ok(end(stream)?)
    };
    if is_connector {
        send(stream)?;
    }
    let (mut came, mut piece) = (Vec::new(), [0; PIECE]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => came.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => wait(stream, true)?,
            Err(e) => {
                data::check(&came, !is_connector);
                return Err(e);
            }
        }
    }
    data::whole(&came, !is_connector)?;
    if is_connector { Ok(()) } else { send(stream) }
}

fn poll(what: &impl AsRawFd, time: Duration) -> io::Result<()> {
    let mut fd = libc::pollfd { fd: what.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    match unsafe { libc::poll(&raw mut fd, 1, time.as_millis() as i32) } {
        0 => Err(Error::new(ErrorKind::TimedOut, "poll found nothing for too long")),
        n if n < 0 => match Error::last_os_error() {
            // The program's own call, which it begins again.
            e if e.kind() == ErrorKind::Interrupted => Ok(()),
            e => Err(Error::new(e.kind(), format!("the program's own poll failed: {e}"))),
        },
        _ => Ok(()),
    }
}
