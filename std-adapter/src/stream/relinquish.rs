//! An end that another process goes on using.

use super::Stream;

impl Stream {
    /// Lets go of this end in this process, because another process that was forked goes on using it: frees the memory and
    /// the descriptors here, and says nothing to the peer. The connection lives on in the other process, whose death or
    /// closing is then the end of it.
    ///
    /// After a `fork` both processes have the end, and only one may go on using it. The other one must not drop it, for that
    /// would close it for both: it calls this. Which one is up to the program: a parent that accepts and lets a child serve,
    /// or a child that has no use for what its parent does. What this process has [buffered](Stream::buffered) is left to
    /// the other one, which has it, too.
    ///
    /// ```no_run
    /// # fn fork() -> i32 { 0 }
    /// use std::io::Write;
    ///
    /// let listener = smstream::Listener::bind("unix:/run/greet")?;
    /// for stream in &listener {
    ///     let mut stream = stream?;
    ///     if fork() == 0 {
    ///         stream.write_all(b"hello")?;
    ///         drop(stream); // The peer reads the end.
    ///         std::process::exit(0);
    ///     }
    ///     stream.relinquish(); // The child serves it.
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # What it does not promise
    /// * That the other process exists, or has done anything. If there is none, the peer finds this end dead.
    /// * Anything for an end that other threads of this process still wait on: it is taken by value.
    ///
    /// # References
    /// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html). A parent *closes* a TCP socket that its child serves; that
    /// is felt by no one else there, as it is not here.
    pub fn relinquish(self) {
        self.shared.relinquish();
    }
}
