//! Children that are forked, and not executed.

use std::io::Write;

use smstream::{Listener, Stream};

use crate::flow::Flow;
use crate::party::Party;
use crate::waits::SEEDS;

/// Forks a child that does `work` and ends; this process lets go of the stream. Gives the child's number.
///
/// # Panics
/// If there can be no child.
pub fn serve_in_a_child(mut stream: Stream, work: impl FnOnce(&mut Stream)) -> libc::pid_t {
    // SAFETY: the child has this thread alone. It uses the stream, whose locks no other thread of this process has, and the heap,
    // for which glibc takes care at a fork; then it ends without unwinding.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "cannot fork");
    if child == 0 {
        work(&mut stream);
        drop(stream);
        // SAFETY: it ends this process at once.
        unsafe { libc::_exit(0) };
    }
    stream.relinquish();
    child
}

/// Waits for a child, which must end well or be killed.
///
/// # Panics
/// If it does not.
pub fn reap(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: it is a child of this process, and the status goes to writable memory of its type.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 || libc::WIFSIGNALED(status), "{status}");
}

/// Sends the first five bytes that a party expects.
///
/// # Panics
/// If they cannot be sent.
pub fn greet(stream: &mut Stream) {
    let mut bytes = [0; 5];
    Flow::new(SEEDS[0], 4096).fill(&mut bytes);
    stream.write_all(&bytes).expect("it works");
}

/// Has a party connect, and accepts it.
///
/// # Panics
/// If they do not meet.
pub fn connect(party: &mut Party, addr: &str, listener: &Listener) -> Stream {
    party.tell(format!("connect {addr}"));
    let stream = listener.accept().expect("it works");
    party.hear().expect("it works");
    stream
}
