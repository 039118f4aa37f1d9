//! Sleeping in WFE.

use core::arch::asm;

use crate::park::{Never, Park, Wake, Watch};
use crate::word::SharedWord;

/// Sleeps in the instruction WFE and wakes by SEV.
///
/// An event that comes between the check and the instruction is kept in the core's event register, so it is not slept
/// through. Each interrupt is an event, too: so an interrupt handler that writes wakes the main loop. Other cores are woken by SEV. A
/// peer that can do neither, such as another machine that shares memory, must raise an interrupt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wfe;

impl Park for Wfe {
    type Deadline = Never;
    type Spin = ();

    fn spin_start(&self) {}

    fn spin(&self, (): &mut ()) -> bool {
        false
    }

    fn wait(&self, _watches: &[Watch<'_>], _deadline: Option<Never>) -> Wake {
        // SAFETY: WFE changes no memory and no register.
        unsafe { asm!("wfe", options(nomem, nostack, preserves_flags)) };
        Wake::Maybe
    }

    fn wake(&self, _word: SharedWord<'_>, _bell: u32) {
        // SAFETY: DSB and SEV change no memory and no register. The barrier completes the store that others are to find.
        unsafe { asm!("dsb sy", "sev", options(nostack, preserves_flags)) };
    }
}
