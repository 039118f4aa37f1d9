//! What unit tests of several files share.

use crate::park::{Park, Wake, Watch};
use crate::word::SharedWord;

/// Is to be woken, as its owner says to the peer, but sleeps for no time, and gives up.
pub(crate) struct GiveUp;

impl Park for GiveUp {
    type Deadline = ();
    type Spin = ();

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        false
    }

    fn wait(&self, _: &[Watch<'_>], _: Option<()>) -> Wake {
        Wake::TimedOut
    }

    fn wake(&self, _: SharedWord<'_>, _: u32) {}
}
