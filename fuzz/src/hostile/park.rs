//! A `Park` that gives the peer its moments.

use std::rc::Rc;

use smstream_core::park::{Park, Wake, Watch};
use smstream_core::word::SharedWord;

use super::peer::Peer;

/// A `Park` in which the peer acts, and that gives up when it no longer does.
pub(super) struct Treacherous(pub(super) Rc<Peer>);

impl Park for Treacherous {
    type Deadline = ();
    type Spin = ();

    fn spin_start(&self) {
        self.0.interfere();
    }

    fn spin(&self, (): &mut ()) -> bool {
        self.0.interfere()
    }

    fn wait(&self, watches: &[Watch<'_>], _: Option<()>) -> Wake {
        let cursors = [&self.0.it.port.sent.word, &self.0.it.port.received.word];
        assert!((1..=3).contains(&watches.len()) && cursors.iter().any(|c| SharedWord::new(c) == watches[0].word));
        if self.0.interfere() { Wake::Maybe } else { Wake::TimedOut }
    }

    fn wake(&self, _: SharedWord<'_>, _: u32) {
        self.0.interfere();
    }

    fn alert(&self) -> Option<SharedWord<'_>> {
        self.0.interfere();
        Some(SharedWord::new(&self.0.alert))
    }

    fn ask(&self) {
        self.0.interfere();
    }

    fn wake_method(&self) -> u32 {
        self.0.interfere();
        0
    }
}
