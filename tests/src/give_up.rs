//! A half that does not sleep.

use smstream_core::park::{Park, Wake, Watch};
use smstream_core::word::SharedWord;

/// Sleeps for no time, and gives up.
#[derive(Debug)]
pub struct GiveUp;

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
