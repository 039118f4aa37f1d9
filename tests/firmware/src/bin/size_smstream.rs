//! As size_none, with a ring of `u32` of smstream between the interrupt and the main loop.
#![no_std]
#![no_main]

use cortex_m_rt::{entry, exception};
use smstream_core::spsc::{Producer, Ring};

static RING: Ring<u32, 16> = Ring::new();

/// The half of the interrupt. The interrupt is on only after it was set.
static mut PRODUCER: Option<Producer<'static, u32>> = None;

#[exception]
fn SysTick() {
    // SAFETY: the main loop does not touch it once interrupts are on.
    if let Some(producer) = unsafe { &mut *&raw mut PRODUCER } {
        let _ = producer.push(cortex_m::peripheral::SYST::get_current());
    }
}

#[entry]
fn main() -> ! {
    let Ok((producer, mut consumer)) = RING.try_split() else { loop {} };
    // SAFETY: no interrupt is on yet.
    unsafe { PRODUCER = Some(producer) };
    loop {
        core::hint::black_box(consumer.pop());
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
