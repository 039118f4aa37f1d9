//! Sleeping in a critical section.

use crate::park::{Never, Park, Wake, Watch};
use crate::word::SharedWord;

/// Sleeps by calling a closure in a critical section, if no watched word has changed in there.
///
/// For a processor whose sleep ends when an interrupt is *pending*, also while interrupts are off, as WFI does on Arm and RISC-V. The
/// handler then runs when the section ends. So nothing comes between the check and the sleep.
///
/// ```
/// # struct Chip;
/// # impl Chip { fn wait_for_interrupt() {} }
/// use smstream_core::wait::InCriticalSection;
///
/// let park = InCriticalSection(|| Chip::wait_for_interrupt());
/// # let _ = park;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct InCriticalSection<F>(pub F);

impl<F: Fn()> Park for InCriticalSection<F> {
    type Deadline = Never;
    type Spin = ();

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        false
    }

    fn wait(&self, watches: &[Watch<'_>], _deadline: Option<Never>) -> Wake {
        critical_section::with(|_| {
            if watches.iter().all(|watch| watch.word.load() == watch.seen) {
                (self.0)();
            }
        });
        Wake::Maybe
    }

    /// The interrupt that brought the news has ended the sleep.
    fn wake(&self, _word: SharedWord<'_>, _bell: u32) {}
}
