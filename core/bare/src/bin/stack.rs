//! How much stack setting up takes, on a Cortex-M0: below the frame that holds the ends.
#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::black_box;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use smstream_core::block::{Block, block_len};
use smstream_core::geometry::{self, Attachment, Config};
use smstream_core::identity::Finding;
use smstream_core::local::{ByteConsumer, ByteProducer, ByteRing};
use smstream_core::park::Spin;
use smstream_core::spsc::{self, AlreadySplit, Ring};
use smstream_core::stream::End;

const CHANNEL: Config = Config::new([64, 64]);
const LEN: usize = block_len(&CHANNEL);
/// Bytes below the stack pointer that are painted.
const PAINTED: usize = 6 * 1024;
const PAINT: u8 = 0xa5;

type Ends<'a> = (End<'a, Spin>, End<'a, Spin>);

fn stack_pointer() -> usize {
    let sp;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack)) };
    sp
}

/// Bytes of stack that `call` takes below its own frame, in which the results lie. It says where that ends.
#[inline(never)]
fn stack_of(call: &mut dyn FnMut() -> usize) -> usize {
    let top = stack_pointer();
    let bottom = top - PAINTED;
    for at in bottom..top {
        // SAFETY: free stack: below the stack pointer, and above the end of the statics, which the linker script sees to.
        // No interrupt is enabled.
        unsafe { (at as *mut u8).write_volatile(PAINT) };
    }
    let frame = call();
    // SAFETY: as above.
    let touched = (bottom..top).find(|&at| unsafe { (at as *const u8).read_volatile() } != PAINT);
    frame - touched.unwrap_or(frame)
}

#[inline(never)]
fn split(block: &mut Block<LEN>) -> Result<Ends<'_>, Finding> {
    block.split(&CHANNEL, [Spin; 2], [Spin; 2])
}

#[inline(never)]
fn into_end(attached: Attachment<'static>) -> End<'static, Spin> {
    attached.into_end(Spin, Spin)
}

static ITEMS: Ring<u32, 16> = Ring::new();
static BYTES: ByteRing<64> = ByteRing::new();

type Items = (spsc::Producer<'static, u32>, spsc::Consumer<'static, u32>);
type Bytes = (ByteProducer<'static, Spin>, ByteConsumer<'static, Spin>);

#[inline(never)]
fn split_items() -> Result<Items, AlreadySplit> {
    ITEMS.try_split()
}

#[inline(never)]
fn split_bytes() -> Result<Bytes, AlreadySplit> {
    BYTES.try_split(Spin, Spin)
}

/// The same of the rings for one process, and the sizes of all halves.
#[inline(never)]
fn rings() -> bool {
    let (mut items, mut bytes, mut good) = (None, None, true);
    let splitting = stack_of(&mut || {
        let frame = stack_pointer();
        items = split_items().ok();
        frame
    });
    let splitting_bytes = stack_of(&mut || {
        let frame = stack_pointer();
        bytes = split_bytes().ok();
        frame
    });
    let (Some((mut push, mut pop)), Some((mut write, mut read))) = (items, bytes) else { fail("try_split") };
    let (mut item, mut out) = (black_box(7), black_box([7; 8]));
    let pushing = stack_of(&mut || {
        let frame = stack_pointer();
        good &= push.push(item).is_ok();
        frame
    });
    let popping = stack_of(&mut || {
        let frame = stack_pointer();
        item = pop.pop().unwrap_or(0);
        frame
    });
    let writing = stack_of(&mut || {
        let frame = stack_pointer();
        good &= write.write(&out) == Ok(8);
        frame
    });
    let reading = stack_of(&mut || {
        let frame = stack_pointer();
        good &= read.read(&mut out) == Ok(8);
        frame
    });
    for (what, number) in [
        ("items_split", splitting),
        ("items_push", pushing),
        ("items_pop", popping),
        ("bytes_split", splitting_bytes),
        ("bytes_write", writing),
        ("bytes_read", reading),
        ("half_of_items", size_of_val(&push).max(size_of_val(&pop))),
        ("half_of_bytes", size_of_val(&write).max(size_of_val(&read))),
        ("half_of_lane", size_of::<End<'_, Spin>>() / 2),
        ("ring_of_items", size_of::<Ring<u32, 16>>() - 64),
        ("ring_of_bytes", size_of::<ByteRing<64>>() - 64),
        ("ring_of_lane", block_len(&Config::new([64, 0])) - 64),
    ] {
        hprintln!("{} {}", what, number);
    }
    good && item == 7
}

#[entry]
fn main() -> ! {
    static mut BLOCK: Block<LEN> = Block::new();
    static mut OTHER: Block<LEN> = Block::new();
    let mut block = Some(BLOCK);
    let start = (&raw mut *OTHER).cast::<u8>();
    let (starts, len) = CHANNEL.block();
    let one = len / 2;

    let mut ends = None;
    let splitting = stack_of(&mut || {
        let frame = stack_pointer();
        ends = block.take().map(split);
        frame
    });
    let Some(Ok((mut here, mut there))) = ends else { fail("split") };
    let mut out = [0; 8];
    let mut good = here.write(b"hello") == Ok(5) && there.read(&mut out) == Ok(5) && &out[..5] == b"hello";

    let second = start.wrapping_add(starts[1]);
    let mut setting_up = 0;
    for (party, segment) in [start, second].into_iter().enumerate() {
        let took = stack_of(&mut || {
            let frame = stack_pointer();
            // SAFETY: the block is long enough, and no party is attached.
            good &= unsafe { geometry::init(segment, one, &CHANNEL, party) }.is_ok();
            frame
        });
        setting_up = took.max(setting_up);
    }
    let mut attached = None;
    let attaching = stack_of(&mut || {
        let frame = stack_pointer();
        // SAFETY: both segments have been set up, and this is the only end.
        attached = Some(unsafe { geometry::attach(start, one, second, one) });
        frame
    });
    let Some(Ok(attached)) = attached else { fail("attach") };
    let (mut attached, mut end) = (Some(attached), None);
    let making = stack_of(&mut || {
        let frame = stack_pointer();
        end = attached.take().map(into_end);
        frame
    });
    let Some(mut end) = end else { fail("into_end") };
    let mut bytes = black_box([7; 8]);
    let writing = stack_of(&mut || {
        let frame = stack_pointer();
        good &= end.write(&bytes) == Ok(8);
        frame
    });
    let reading = stack_of(&mut || {
        let frame = stack_pointer();
        good &= end.read(&mut bytes).is_err();
        frame
    });
    for (what, stack) in [
        ("split", splitting),
        ("init", setting_up),
        ("attach", attaching),
        ("into_end", making),
        ("write", writing),
        ("read", reading),
    ] {
        hprintln!("{} {}", what, stack);
    }
    good &= rings();
    debug::exit(if good { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {}
}

fn fail(what: &str) -> ! {
    hprintln!("{} failed", what);
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    debug::exit(debug::EXIT_FAILURE);
    loop {}
}
