//! Party 1 of a channel on a microcontroller. Party 0 is a Linux process (`tests/examples/two_machines.rs`), which maps the memory of
//! the emulated board as a file. Sends back what comes, until the end.
#![no_std]
#![no_main]

use core::hint::spin_loop;

use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry::{self, Config};
use smstream_core::identity::{Description, Problem};
use smstream_core::layout::Features;
use smstream_core::park::Spin;
use smstream_core::stream::End;
use smstream_firmware::{failed, passed};

/// Where the board mps2-an386 has its 16 MiB of external memory, of which nothing else is used. The linker script leaves it out.
const SHARED: *mut u8 = 0x2100_0000 as *mut u8;
const SHARED_LEN: usize = 16 << 20;

#[entry]
fn main() -> ! {
    let theirs = wait_for_party_0();
    // The same channel from the other side. This end never sleeps, so that party 0 need not wake it.
    let config = Config {
        align: theirs.align,
        start: theirs.start,
        features: Features::AWAKE,
        ..Config::new([theirs.capacity, theirs.peer_capacity])
    };
    let ([_, second], len) = config.block();
    assert!(len <= SHARED_LEN, "the channel is longer than the memory");
    let (mine, mine_len) = (SHARED.wrapping_add(second), len - second);
    // SAFETY: the memory is this board's, as long as the constants say, and used for nothing else; segment 1 lies in it, and no
    // end is attached to it before this.
    unsafe { geometry::init(mine, mine_len, &config, 1) }.expect("a segment");
    // SAFETY: as above. This is the only end of party 1 in this program; party 0 writes its own segment only.
    let attached = unsafe { geometry::attach(mine, mine_len, SHARED, second) }.expect("a channel");
    let echoed = echo(attached.into_end(Spin, Spin));
    hprintln!("{} bytes sent back by the microcontroller", echoed);
    passed()
}

/// What party 0 says of the channel, as soon as it does.
fn wait_for_party_0() -> Description {
    loop {
        // SAFETY: the memory is this board's, as long as the constant says; it is accessed by atomics only, here and in party 0.
        match unsafe { geometry::inspect(SHARED, SHARED_LEN) } {
            Ok(description) => return description,
            Err(finding) if finding.problem == Problem::NotReady => spin_loop(),
            Err(finding) => panic!("{finding}"),
        }
    }
}

/// Sends back what comes, until the end. Returns how many bytes that was.
fn echo(mut end: End<'_, Spin>) -> u32 {
    let (mut bytes, mut echoed) = ([0; 512], 0);
    loop {
        match end.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => {
                let mut rest = &bytes[..n];
                while !rest.is_empty() {
                    match end.write(rest) {
                        Ok(n) => rest = &rest[n..],
                        Err(WriteError::Full) => spin_loop(),
                        Err(e) => panic!("{e}"),
                    }
                }
                echoed += n as u32;
            }
            Err(ReadError::Empty) => spin_loop(),
            Err(e) => panic!("{e}"),
        }
    }
    end.close();
    echoed
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    failed(info)
}
