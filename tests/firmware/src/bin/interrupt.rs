//! An interrupt pushes numbers and bytes, the main loop takes them, asleep in WFE when there is nothing: nothing is lost.
#![no_std]
#![no_main]

use core::cell::RefCell;

use cortex_m::interrupt::{Mutex, free};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::hprintln;
use smstream_core::spsc::{Full, Producer, Ring};
use smstream_firmware::{failed, passed};

static SAMPLES: Ring<u32, 16> = Ring::new();
/// Where the main loop leaves the half for the interrupt, once; after that it is the interrupt's alone.
static FOR_INTERRUPT: Mutex<RefCell<Option<Producer<'static, u32>>>> = Mutex::new(RefCell::new(None));
const TOTAL: u32 = 2_000;

#[exception]
fn SysTick() {
    static mut PRODUCER: Option<Producer<'static, u32>> = None;
    static mut NEXT: u32 = 0;
    if PRODUCER.is_none() {
        *PRODUCER = free(|section| FOR_INTERRUPT.borrow(section).borrow_mut().take());
    }
    let Some(producer) = PRODUCER else { return };
    // Bursts that are larger than the ring: what does not fit comes again with the next tick.
    for _ in 0..*NEXT % 23 + 1 {
        if *NEXT == TOTAL {
            return;
        }
        match producer.push(*NEXT) {
            Ok(()) => *NEXT += 1,
            Err(Full(_)) => return,
        }
    }
}

#[entry]
fn main() -> ! {
    let mut core = cortex_m::Peripherals::take().unwrap();
    let (producer, mut consumer) = SAMPLES.try_split().unwrap();
    free(|section| FOR_INTERRUPT.borrow(section).replace(Some(producer)));
    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(1_999);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    core.SYST.enable_interrupt();
    let (mut next, mut slept) = (0, 0);
    while next < TOTAL {
        match consumer.pop() {
            Some(sample) => {
                assert_eq!(sample, next);
                next += 1;
            }
            None => {
                slept += 1;
                cortex_m::asm::wfe();
            }
        }
    }
    assert!(slept > 0);
    hprintln!("{} samples, {} sleeps", next, slept);
    passed()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    failed(info)
}
