//! What the programs size_* have in common, and no ring.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use cortex_m_rt::{entry, exception};

static WORD: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    WORD.store(cortex_m::peripheral::SYST::get_current(), Relaxed);
}

#[entry]
fn main() -> ! {
    loop {
        core::hint::black_box(WORD.load(Relaxed));
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
