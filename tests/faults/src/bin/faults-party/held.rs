//! Something to look at: a process that holds both ends of a stream, and listens; and what one has left that was killed.

use crate::blocking::builder;
use crate::task::{LONG, Task};
use std::io::{self, Error, Read, Write};

/// Holds both ends of a stream, and a listener, until standard input ends.
pub fn hold(task: &Task) -> io::Result<()> {
    let listener = builder().bind(task.addr.as_str())?;
    let addr = task.addr.clone();
    let connector = std::thread::Builder::new().spawn(move || builder().connect_timeout(addr.as_str(), LONG))?;
    let here = listener.accept_timeout(LONG)?;
    let there = connector.join().map_err(|_| Error::other("the connector panicked"))??;
    (&here).write_all(b"held")?;
    println!("ready");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop((here, there));
    Ok(listener.close()?)
}

/// Leaves the name of a listener that was killed.
pub fn leave(task: &Task) -> io::Result<()> {
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let listener = builder().bind(task.addr.as_str());
        // SAFETY: it ends the process, and nothing is dropped.
        unsafe { libc::_exit(i32::from(listener.is_err())) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's own, and the status goes to writable memory of its type.
    if child < 0 || unsafe { libc::waitpid(child, &raw mut status, 0) } != child || status != 0 {
        return Err(Error::other("the listener that was to be left could not be made"));
    }
    println!("ready");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
