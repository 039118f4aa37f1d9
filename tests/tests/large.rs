//! Slices of 4 GiB and more: what does not fit into the 32 bits in which lanes are measured is not cut off.
#![cfg(target_pointer_width = "64")]

use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use smstream_core::block::{Block, block_len};
use smstream_core::error::{ReserveError, WriteError};
use smstream_core::geometry::Config;
use smstream_core::park::Spin;
use smstream_core::stream::End;

const CHANNEL: Config = Config::new([64, 64]);

/// Address space of which only the pages that are touched become memory.
struct Large {
    start: *mut u8,
    len: usize,
}

impl Large {
    fn new(len: usize) -> Large {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, prot, flags) }.expect("address space");
        Large { start: start.cast(), len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has so many bytes, all 0 at first, and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new`, and nothing borrows it any more.
        unsafe { munmap(self.start.cast(), self.len) }.expect("munmap");
    }
}

/// Lengths whose low 32 bits are none, few and all.
const LENS: [usize; 3] = [1 << 32, (1 << 32) + 3, (1 << 33) - 1];

fn with(test: impl Fn(End<'_, Spin>, End<'_, Spin>, &mut [u8])) {
    for len in LENS {
        let mut block = Block::<{ block_len(&CHANNEL) }>::new();
        let (here, there) = block.split(&CHANNEL, [Spin, Spin], [Spin, Spin]).unwrap();
        test(here, there, Large::new(len).bytes());
    }
}

#[test]
fn a_read_into_a_large_slice_gets_what_is_there() {
    with(|mut here, mut there, large| {
        here.write(b"hello").unwrap();
        assert_eq!(there.read(large), Ok(5));
        assert_eq!(&large[..6], b"hello\0");

        here.write(b"abc").unwrap();
        assert_eq!(there.consumer.read_vectored([&mut [][..], large]), Ok(3));
        assert_eq!(&large[..6], b"abclo\0");
    });
}

#[test]
fn a_write_from_a_large_slice_fills_the_lane() {
    with(|mut here, mut there, large| {
        large[..3].copy_from_slice(b"abc");
        assert_eq!(here.write(large), Ok(64));
        assert_eq!(here.write(large), Err(WriteError::Full));
        let mut out = [9; 65];
        assert_eq!(there.read(&mut out), Ok(64));
        assert_eq!((&out[..4], out[64]), (&b"abc\0"[..], 9));
        assert_eq!(here.producer.write_vectored([&b"xy"[..], large]), Ok(64));
        assert_eq!(there.read(&mut out), Ok(64));
        assert_eq!(&out[..6], b"xyabc\0");
    });
}

#[test]
fn looks_and_reservations_take_large_lengths() {
    with(|mut here, mut there, large| {
        assert_eq!(here.producer.reserve(large.len()).map(drop), Err(ReserveError::TooLong));
        large[..3].copy_from_slice(b"abc");
        let mut reservation = here.producer.reserve(8).unwrap();
        assert_eq!(reservation.put(large.len(), b"x"), 0);
        assert_eq!(reservation.write(large), 8);
        assert_eq!(reservation.write(large), 0);
        assert_eq!(reservation.commit(large.len()), 8);

        large[..8].copy_from_slice(b"........");
        let peek = there.consumer.peek().unwrap();
        assert_eq!(peek.copy_to(large.len(), &mut [0]), 0);
        assert_eq!(peek.copy_to(0, large), 8);
        assert_eq!(&large[..8], b"abc\0\0\0\0\0");
        assert_eq!(there.consumer.consume(large.len()), 8);
    });
}

#[test]
fn waiting_for_more_than_a_lane_holds_is_waiting_for_half_of_it() {
    with(|mut here, mut there, large| {
        let want = large.len();
        assert!(here.producer.is_ready(want));
        assert_eq!(here.producer.wait(want, None), Ok(64));
        assert!(!there.consumer.is_ready(want));
        here.write(&[7; 32]).unwrap();
        assert!(there.consumer.is_ready(want));
        assert_eq!(there.consumer.wait(want, None), Ok(32));
    });
}
