//! As size_none, with a ring of `u32` of heapless between the interrupt and the main loop.
#![no_std]
#![no_main]

use cortex_m_rt::{entry, exception};
use heapless::spsc::{Producer, Queue};

static mut QUEUE: Queue<u32, 16> = Queue::new();

/// The half of the interrupt. The interrupt is on only after it was set.
static mut PRODUCER: Option<Producer<'static, u32>> = None;

#[exception]
fn SysTick() {
    // SAFETY: the main loop does not touch it once interrupts are on.
    if let Some(producer) = unsafe { &mut *&raw mut PRODUCER } {
        let _ = producer.enqueue(cortex_m::peripheral::SYST::get_current());
    }
}

#[entry]
fn main() -> ! {
    // SAFETY: this is the only reference to it.
    let (producer, mut consumer) = unsafe { &mut *&raw mut QUEUE }.split();
    // SAFETY: no interrupt is on yet.
    unsafe { PRODUCER = Some(producer) };
    loop {
        core::hint::black_box(consumer.dequeue());
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
