//! The behaviour of smstream-core on this processor.
#![no_std]
#![no_main]

use cortex_m as _;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use smstream_firmware::{failed, passed, suite};

#[entry]
fn main() -> ! {
    for (name, test) in suite::ALL {
        hprintln!("{}", name);
        test();
    }
    passed()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    failed(info)
}
