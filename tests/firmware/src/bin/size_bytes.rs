//! As size_none, with a ring of bytes of smstream between the interrupt, which never sleeps, and the main loop, which does.
#![no_std]
#![no_main]

use cortex_m_rt::{entry, exception};
use smstream_core::local::{ByteProducer, ByteRing};
use smstream_core::park::Spin;
use smstream_core::wait::Wfe;

static RING: ByteRing<64> = ByteRing::new();

/// The half of the interrupt. The interrupt is on only after it was set.
static mut PRODUCER: Option<ByteProducer<'static, Spin>> = None;

#[exception]
fn SysTick() {
    // SAFETY: the main loop does not touch it once interrupts are on.
    if let Some(producer) = unsafe { &mut *&raw mut PRODUCER } {
        let _ = producer.write(&cortex_m::peripheral::SYST::get_current().to_ne_bytes());
    }
}

#[entry]
fn main() -> ! {
    let Ok((producer, mut consumer)) = RING.try_split(Spin, Wfe) else { loop {} };
    // SAFETY: no interrupt is on yet.
    unsafe { PRODUCER = Some(producer) };
    let mut bytes = [0; 16];
    loop {
        let _ = consumer.wait(4, None);
        let _ = core::hint::black_box(consumer.read(&mut bytes));
        core::hint::black_box(&bytes);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
