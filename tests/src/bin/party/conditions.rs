//! Waiting for several things at once.

use std::io;

use smstream::{Condition, Connecting, Listener, Stream, TryFinish, try_wait, wait_all, wait_any};

use crate::{Words, wrong};

/// What there is to wait for.
pub(crate) struct Sources<'a> {
    pub(crate) listener: Option<&'a Listener>,
    pub(crate) stream: Option<&'a Stream>,
    pub(crate) connecting: Option<&'a mut Connecting>,
}

/// Waits as the words say, `any TIME NAME…` or `all TIME NAME…` or `try NAME…`: the names of what is ready.
pub(crate) fn wait(words: &mut Words<'_>, sources: Sources<'_>) -> io::Result<String> {
    let Sources { listener, stream, mut connecting } = sources;
    let how = words.text()?;
    let time = if how == "try" { None } else { words.time()? };
    let mut names = Vec::new();
    while let Ok(name) = words.text() {
        names.push(name);
    }
    let stream = || stream.ok_or_else(|| wrong("there is no stream"));
    let mut conditions = Vec::new();
    for &name in &names {
        conditions.push(match name {
            "readable" => stream()?.readable(),
            "writable" => stream()?.writable(),
            "acceptable" => listener.map(Listener::acceptable).ok_or_else(|| wrong("there is no listener"))?,
            "connectable" => one(&mut connecting)?,
            _ => return Err(wrong(format!("{name} is no condition"))),
        });
    }
    let ready = match how {
        "any" => wait_any(&mut conditions, time)?,
        "all" => wait_all(&mut conditions, time)?,
        "try" => try_wait(&mut conditions)?,
        _ => return Err(wrong(format!("{how} is no way to wait"))),
    };
    Ok(ready.iter().map(|place| names[place]).collect::<Vec<_>>().join(" "))
}

fn one<'a>(connecting: &mut Option<&'a mut Connecting>) -> io::Result<Condition<'a>> {
    connecting.take().map(Connecting::connectable).ok_or_else(|| wrong("nothing is being connected"))
}

/// The stream, or the attempt if it is pending.
pub(crate) fn finish(connecting: Option<Connecting>) -> io::Result<Result<Stream, Connecting>> {
    match connecting.ok_or_else(|| wrong("nothing is being connected"))?.try_finish() {
        Ok(stream) => Ok(Ok(stream)),
        Err(TryFinish::Pending(connecting)) => Ok(Err(connecting)),
        Err(e) => Err(e.into()),
    }
}
