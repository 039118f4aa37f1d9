//! As size_none, with a lane of smstream in a block between the interrupt, which never sleeps, and the main loop, which does.
#![no_std]
#![no_main]

use cortex_m_rt::{entry, exception};
use smstream_core::block::{Block, block_len};
use smstream_core::geometry::Config;
use smstream_core::lane::Producer;
use smstream_core::layout::Features;
use smstream_core::park::Spin;
use smstream_core::wait::Wfe;

const CHANNEL: Config = Config { features: Features::empty(), ..Config::new([64, 0]) };

/// The half of the interrupt. The interrupt is on only after it was set.
static mut PRODUCER: Option<Producer<'static, Spin>> = None;

#[exception]
fn SysTick() {
    // SAFETY: the main loop does not touch it once interrupts are on.
    if let Some(producer) = unsafe { &mut *&raw mut PRODUCER } {
        let _ = producer.write(&cortex_m::peripheral::SYST::get_current().to_ne_bytes());
    }
}

#[entry]
fn main() -> ! {
    static mut BLOCK: Block<{ block_len(&CHANNEL) }> = Block::new();
    let Ok((here, there)) = BLOCK.split_apart(&CHANNEL, (Spin, Spin), (Wfe, Wfe)) else { loop {} };
    // SAFETY: no interrupt is on yet.
    unsafe { PRODUCER = Some(here.producer) };
    let (mut consumer, mut bytes) = (there.consumer, [0; 16]);
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
