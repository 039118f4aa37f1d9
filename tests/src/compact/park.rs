//! A `Park` in whose sleep the other half acts.

use std::rc::Rc;

use smstream_core::park::{Park, Place, WAKE_BY_WORD, Wake, Watch};
use smstream_core::word::SharedWord;

use super::Shared;

/// Of the half that writes, or reads. Its deadline is how much the wait wants, and passes when the other half has nothing
/// more to do.
pub(super) struct Acting<'r> {
    pub(super) shared: Rc<Shared<'r>>,
    pub(super) writes: bool,
}

impl Park for Acting<'_> {
    type Deadline = usize;
    type Spin = bool;

    fn spin_start(&self) -> bool {
        true
    }

    fn spin(&self, first: &mut bool) -> bool {
        std::mem::take(first)
    }

    fn wait(&self, watches: &[Watch<'_>], want: Option<usize>) -> Wake {
        assert!(matches!(watches, [cursor] if cursor.word.load() == cursor.seen && cursor.place == Place::Shared));
        match self.shared.act(self.writes, want.expect("each wait has a deadline")) {
            true => Wake::Maybe,
            false => Wake::TimedOut,
        }
    }

    fn wake(&self, _: SharedWord<'_>, method: u32) {
        assert_eq!(method, WAKE_BY_WORD);
        self.shared.wakes.set(self.shared.wakes.get() + 1);
    }
}
