//! A listener that serves each connector, while the commands go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use smstream::Listener;

use crate::wrong;

/// A listener, and the thread that accepts.
pub(crate) struct Serving {
    listener: Arc<Listener>,
    thread: JoinHandle<usize>,
    open: Arc<AtomicUsize>,
}

impl Serving {
    /// Sends back what comes on each stream.
    pub(crate) fn begin(listener: Listener) -> Self {
        let listener = Arc::new(listener);
        let open = Arc::new(AtomicUsize::new(0));
        let (accepting, counting) = (Arc::clone(&listener), Arc::clone(&open));
        let thread = thread::spawn(move || {
            let mut accepted = 0;
            loop {
                let stream = match accepting.accept() {
                    Ok(stream) => stream,
                    Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => return accepted,
                    Err(e) => panic!("accept: {:?}: {e}", e.reason()),
                };
                accepted += 1;
                counting.fetch_add(1, Ordering::Relaxed);
                let counting = Arc::clone(&counting);
                thread::spawn(move || {
                    // A peer that is hostile or dies is its own affair.
                    let _ = io::copy(&mut &stream, &mut &stream);
                    drop(stream);
                    counting.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Serving { listener, thread, open }
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Stops accepting: how many were accepted.
    pub(crate) fn end(self) -> io::Result<usize> {
        self.listener.shutdown();
        self.thread.join().map_err(|_| wrong("a thread panicked"))
    }
}
