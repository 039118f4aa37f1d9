//! Everything that an end can do, so that the linker keeps it: nothing of it may lead to a panic.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr;

use smstream_core::block::{Block, block_len};
use smstream_core::geometry::{self, Config};
use smstream_core::park::{Park, Wake, Watch};
use smstream_core::stream::End;
use smstream_core::word::SharedWord;

const CHANNEL: Config = Config::new([64, 64]);
static mut BLOCK: Block<{ block_len(&CHANNEL) }> = Block::new();

/// Sleeps and wakes in a way that the compiler knows nothing of.
struct Opaque;

impl Park for Opaque {
    type Deadline = u32;
    type Spin = u32;
    fn spin_start(&self) -> u32 {
        black_box(3)
    }
    fn spin(&self, left: &mut u32) -> bool {
        *left = left.wrapping_sub(1);
        *left != 0
    }
    fn wait(&self, watches: &[Watch<'_>], deadline: Option<u32>) -> Wake {
        let changed = watches.iter().any(|watch| watch.word.load() != watch.seen);
        if black_box(deadline).is_some() && !changed { Wake::TimedOut } else { Wake::Maybe }
    }
    fn wake(&self, word: SharedWord<'_>, bell: u32) {
        black_box((word.as_ptr(), bell));
    }
}

#[inline(never)]
fn set_up() -> Option<End<'static, Opaque>> {
    let (mine, len, peer, peer_len) = black_box((ptr::null_mut(), 4096, ptr::null(), 4096));
    // SAFETY: this program is linked and looked at, and never run.
    unsafe { geometry::init(mine, len, &black_box(CHANNEL), black_box(0)) }.ok()?;
    // SAFETY: as above.
    unsafe { geometry::inspect(peer, peer_len) }.ok()?;
    // SAFETY: as above.
    let attached = unsafe { geometry::attach(mine, len, peer, peer_len) }.ok()?;
    Some(attached.into_end(Opaque, Opaque))
}

#[inline(never)]
fn split() -> Option<(End<'static, Opaque>, End<'static, Opaque>)> {
    // SAFETY: as above.
    let block = unsafe { &mut *(&raw mut BLOCK) };
    block.split(&black_box(CHANNEL), [Opaque, Opaque], [Opaque, Opaque]).ok()
}

#[inline(never)]
fn write(end: &mut End<'_, Opaque>, bytes: &[u8]) -> usize {
    let mut n = end.write(bytes).unwrap_or(0);
    n += end.producer.write_deferred(bytes).unwrap_or(0);
    n += end.producer.write_vectored([bytes, bytes]).unwrap_or(0);
    end.producer.flush();
    if let Ok(mut reservation) = end.producer.reserve(black_box(7)) {
        n += reservation.put(black_box(3), bytes);
        n += reservation.write(bytes);
        black_box(reservation.parts());
        n += reservation.commit(black_box(5));
    }
    n.wrapping_add(end.producer.undelivered().unwrap_or(0))
}

#[inline(never)]
fn read(end: &mut End<'_, Opaque>, out: &mut [u8]) -> usize {
    let mut n = end.read(out).unwrap_or(0);
    n += end.read_uninit(&mut [MaybeUninit::uninit(); 48]).map_or(0, |read| read.len());
    n += end.consumer.read_deferred(out).unwrap_or(0);
    n += end.consumer.read_vectored([&mut *out]).unwrap_or(0);
    if let Ok(peek) = end.consumer.peek() {
        n += peek.copy_to(black_box(2), out);
        black_box(peek.parts());
        n += peek.consume(black_box(5));
    }
    n.wrapping_add(end.consumer.consume(black_box(1)))
}

#[inline(never)]
fn wait(end: &mut End<'_, Opaque>) -> usize {
    let mut n = end.wait_bytes(black_box(4), black_box(Some(1))).unwrap_or(0);
    n += end.wait_room(black_box(4), black_box(Some(1))).unwrap_or(0);
    n += end.wait_bytes_exclusive(black_box(4)).unwrap_or(0);
    n += end.wait_room_exclusive(black_box(4)).unwrap_or(0);
    let _ = black_box(end.producer.announce(black_box(4)));
    end.producer.withdraw();
    let _ = black_box(end.consumer.announce(black_box(4)));
    end.consumer.withdraw();
    n
}

#[unsafe(no_mangle)]
extern "C" fn _start() {
    let (bytes, mut out) = (black_box([1; 48]), black_box([0; 48]));
    let (bytes, out) = (&bytes[..], &mut out[..]);
    for end in [set_up(), split().map(|(end, _)| end)] {
        let Some(mut end) = end else { continue };
        let n = write(&mut end, bytes).wrapping_add(read(&mut end, out)).wrapping_add(wait(&mut end));
        black_box((n, end.producer.counts(), end.consumer.counts()));
        end.close();
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
