//! A peer over `file:` that gives its lock up and keeps the file, or the mapping of it, as a program in another language may: no
//! description of the file is closed, so that the kernel tells nothing. The wake that the layout asks for (X4) is enough.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::AtomicU32;
use std::thread;

use rustix::thread::futex;
use smstream::Stream;
use smstream::memory::{Access, Mapping};
use smstream_core::geometry;
use smstream_core::layout::FIELDS;
use smstream_tests::flow::NEAR_WRAP;
use smstream_tests::party::{OLD_WATCH, Party, Scratch};
use smstream_tests::watchdog::Watchdog;

const PARTY: &str = env!("CARGO_BIN_EXE_party");
const CAPACITY: usize = 4096;

/// The file of a region whose connector is a stream of this process.
struct Region {
    file: File,
    /// The descriptor of the stream: another description than that of `file`.
    of_stream: RawFd,
}

impl Region {
    fn new(file: File) -> Self {
        let meta = file.metadata().unwrap();
        let same = |number: &RawFd| {
            let it = fs::metadata(format!("/proc/self/fd/{number}"));
            *number != file.as_raw_fd() && it.is_ok_and(|it| (it.dev(), it.ino()) == (meta.dev(), meta.ino()))
        };
        let all = fs::read_dir("/proc/self/fd").unwrap();
        let mut numbers =
            all.filter_map(|entry| entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()));
        let of_stream = numbers.find(same).expect("the stream has the file open");
        Region { file, of_stream }
    }

    /// Gives up the connector's byte, 1, and leaves the file open and mapped.
    fn unlock(&self) {
        // SAFETY: `flock` is a C struct of integers, for which all zeros is a valid value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence, lock.l_start, lock.l_len) = (libc::F_UNLCK as _, libc::SEEK_SET as _, 1, 1);
        // SAFETY: the descriptor is open as long as the stream; the pointer is to one initialized `flock`.
        let result = unsafe { libc::fcntl(self.of_stream, libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }

    /// Wakes all who sleep on the connector's `sent` and `received`.
    fn wake(&self) {
        let len = self.file.metadata().unwrap().len() as usize;
        let mapping = Mapping::new(&self.file, 0, len, Access::ReadWrite).unwrap();
        // SAFETY: the mapping is valid for reads of its length, and its headers are accessed by atomics only.
        let listener = unsafe { geometry::inspect(mapping.as_ptr(), len) }.unwrap();
        for name in ["sent", "received"] {
            let field = FIELDS.iter().find(|field| field.name == name).expect("a word of the header");
            let word = mapping.as_ptr().wrapping_add(listener.next_segment() + field.offset).cast::<AtomicU32>();
            // SAFETY: an aligned word of the second segment, which the mapping outlives.
            let word = unsafe { &*word };
            futex::wake(word, futex::Flags::empty(), i32::MAX as u32).unwrap();
        }
    }
}

#[test]
fn a_peer_that_only_unlocks_and_wakes_is_noticed() {
    let _watchdog = Watchdog::new();
    thread::scope(|scope| {
        for deny in [None, Some("inotify_init1=EMFILE"), Some("futex_waitv=ENOSYS")] {
            for wait in ["read 10", "send 100000 all", "wait any none readable", "wait all none readable writable"] {
                scope.spawn(move || unlock_while(wait, deny));
            }
        }
    });
}

/// The peer of a party that does this, without what the system denies, unlocks and wakes.
fn unlock_while(wait: &str, deny: Option<&str>) {
    let scratch = Scratch::new();
    let arguments: Vec<_> = deny.iter().flat_map(|what| ["--deny", what]).collect();
    let mut party = Party::start_with(PARTY, &arguments);
    party.does(format!("bind {} {CAPACITY} {CAPACITY} {NEAR_WRAP}", scratch.addr()));
    party.does("seeds 1 2");
    let file = File::options().read(true).write(true).open(scratch.name()).unwrap();
    party.tell("accept");
    let stream = Stream::connect(scratch.addr()).unwrap();
    party.hear().unwrap();
    let region = Region::new(file);
    party.tell(wait);
    party.is_asleep();
    thread::sleep(OLD_WATCH);
    region.unlock();
    // Again and again: a sleeper that has been woken may be on its way back to sleep.
    let answer = loop {
        region.wake();
        if let Some(answer) = party.reply() {
            break answer;
        }
        thread::yield_now();
    };
    match answer {
        Ok(ready) => assert!(wait.starts_with("wait") && !ready.is_empty(), "{wait}: {ready}"),
        Err(e) => assert_eq!(e.reason, "PeerGone", "{wait}, without {deny:?}: {e:?}"),
    }
    assert_eq!(party.ask("read 1").unwrap_err().reason, "PeerGone", "{wait}, without {deny:?}");
    drop(stream);
}
