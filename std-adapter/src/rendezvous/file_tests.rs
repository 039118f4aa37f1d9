use super::super::claiming::{RegionAttempt, Stage, claim};
use super::*;
use crate::parking::{DEFAULT_SPIN, Parker};
use crate::testing::{helper, role};
use rustix::process::{Resource, Rlimit, setrlimit};
use smstream_core::error::ErrorCode;
use smstream_core::geometry;
use smstream_core::layout::MAGIC;
use smstream_core::park::ALERT_CANCEL;
use smstream_core::stream::End;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Without a guard.
fn connect(path: impl AsRef<Path>, deadline: Option<Deadline>) -> Result<Connected, RendezvousError> {
    RegionAttempt::to(path, None)?.wait(deadline)
}

const CAPACITIES: [u32; 2] = [4096, 1 << 16];

/// A directory of its own for each test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("smstream-file-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("name")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes a region that a dead listener might have left: that of another one, with the right number for this file.
fn leave_over(path: &Path, region: &[u8]) {
    fs::write(path, region).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let inode = fs::metadata(path).unwrap().ino();
    let file = fs::File::options().write(true).open(path).unwrap();
    let second = second_segment(region);
    for at in [0, second] {
        for (word, at) in [(inode as u32, at + 0x38), ((inode >> 32) as u32, at + 0x3c)] {
            file.write_all_at(&word.to_ne_bytes(), at).unwrap();
        }
    }
}

/// Where the second segment of a region begins.
fn second_segment(region: &[u8]) -> u64 {
    let word = |at: usize| u64::from(u32::from_ne_bytes(region[at..at + 4].try_into().unwrap()));
    (word(0x1c) + word(0x20)).next_multiple_of(word(0x18))
}

/// So that a lost wake is a failure and not a test that hangs.
fn patience() -> Option<Deadline> {
    Some(Deadline::after(Duration::from_secs(20)))
}

fn soon() -> Option<Deadline> {
    Some(Deadline::after(Duration::from_millis(5)))
}

fn end(c: &Connected) -> End<'_, Parker> {
    let my = c.my.as_mut_ptr().unwrap();
    // SAFETY: the mappings are valid as long as `c` is borrowed, and no process shortens the file. Headers are accessed
    // through atomics only. Each test makes one end of each `Connected`.
    let attached = unsafe { geometry::attach(my, c.my.len(), c.peer.as_ptr(), c.peer.len()) };
    let park = |half| Parker::new(Arc::clone(&c.monitor), half, DEFAULT_SPIN);
    attached.unwrap().into_end(park(Half::Writer), park(Half::Reader))
}

/// Sends something each way.
fn talk(a: &Connected, b: &Connected) {
    let (mut a, mut b) = (end(a), end(b));
    let mut buffer = [0; 16];
    assert_eq!(a.write(b"to the connector").unwrap(), 16);
    assert_eq!(b.wait_bytes(16, patience()).unwrap(), 16);
    assert_eq!(b.read(&mut buffer).unwrap(), 16);
    assert_eq!(&buffer, b"to the connector");
    assert_eq!(b.write(b"to the listener").unwrap(), 15);
    assert_eq!(a.wait_bytes(15, patience()).unwrap(), 15);
    assert_eq!(a.read(&mut buffer).unwrap(), 15);
    assert_eq!(&buffer[..15], b"to the listener");
}

/// Connects from another thread while this one accepts.
fn meet(listener: &mut RegionListener, path: &Path) -> (Connected, Connected) {
    thread::scope(|scope| {
        let connector = scope.spawn(|| connect(path, patience()).unwrap());
        let accepted = listener.accept(patience()).unwrap();
        (accepted, connector.join().unwrap())
    })
}

#[test]
fn two_parties_meet_and_talk_again_and_again() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    let mut kept = Vec::new();
    for _ in 0..20 {
        let (a, b) = meet(&mut listener, &path);
        assert_eq!((a.party, b.party), (0, 1));
        talk(&a, &b);
        assert!(!a.monitor.probe() && !b.monitor.probe());
        kept.push((a, b));
    }
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o600, 1));
    assert_eq!(scratch.names(), ["name"]);
    for (a, b) in kept {
        drop(a);
        assert!(b.monitor.wait_gone(patience()));
    }
    listener.close().unwrap();
    assert!(scratch.names().is_empty());
}

#[test]
fn many_connect_at_once() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let c = connect(&path, patience()).unwrap();
                    let mut end = end(&c);
                    let mut buffer = [0; 4];
                    end.wait_bytes(4, patience()).unwrap();
                    end.read(&mut buffer).unwrap();
                    end.write(&buffer).unwrap();
                    end.close();
                    // The listener has read it when its end is gone.
                    assert!(c.monitor.wait_gone(patience()));
                }
            });
        }
        for n in 0..200_u32 {
            let c = listener.accept(patience()).unwrap();
            let mut end = end(&c);
            end.write(&n.to_ne_bytes()).unwrap();
            end.wait_bytes(4, patience()).unwrap();
            let mut buffer = [0; 4];
            end.read(&mut buffer).unwrap();
            assert_eq!(u32::from_ne_bytes(buffer), n);
        }
    });
}

#[test]
fn a_name_in_use_is_left_alone() {
    let scratch = Scratch::new();
    let mut listener = RegionListener::bind(scratch.path(), &Config::new(CAPACITIES), None).unwrap();
    let e = RegionListener::bind(scratch.path(), &Config::new(CAPACITIES), None).unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::AddrInUse, Some(ErrorCode::NotAlone)), "{e}");
    let (a, b) = meet(&mut listener, &scratch.path());
    talk(&a, &b);
}

#[test]
fn no_process_listens() {
    let scratch = Scratch::new();
    let e = connect(scratch.path(), None).unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::NotFound, Some(ErrorCode::ConnectionNotReady)), "{e}");
    assert_eq!(connect("/", None).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(connect(scratch.path().join("x"), None).unwrap_err().kind(), ErrorKind::NotFound);
    let long = scratch.0.join("x".repeat(252));
    assert_eq!(RegionListener::bind(long, &Config::new(CAPACITIES), None).unwrap_err().kind(), ErrorKind::InvalidInput);
    RegionListener::bind(scratch.0.join("x".repeat(251)), &Config::new(CAPACITIES), None).unwrap();
}

#[test]
fn what_is_no_region_is_never_replaced() {
    let scratch = Scratch::new();
    let path = scratch.path();
    type Make = fn(&Path);
    let things: [(&str, Make); 6] = [
        ("text", |p| fs::write(p, "some text that is long enough").unwrap()),
        ("empty", |p| fs::write(p, "").unwrap()),
        ("directory", |p| fs::create_dir(p).unwrap()),
        ("link", |p| symlink("nowhere", p).unwrap()),
        ("fifo", |p| {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, p, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
        ("socket", |p| drop(std::os::unix::net::UnixListener::bind(p).unwrap())),
    ];
    for (what, make) in things {
        make(&path);
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        let before = fs::symlink_metadata(&path).unwrap();
        let e = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::AlreadyExists, "{what}: {e}");
        let e = connect(&path, None).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidData, "{what}: {e}");
        let after = fs::symlink_metadata(&path).unwrap();
        assert_eq!((before.ino(), before.len()), (after.ino(), after.len()), "{what}");
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    }
    assert!(scratch.names().is_empty());
}

/// A region whose header says something else, with the listener alive.
#[test]
fn regions_that_do_not_fit_are_distinguished() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    let whole = fs::read(&path).unwrap();
    let connect_to = |offset: usize, bytes: &[u8], len: usize| {
        let mut copy = whole.clone();
        copy[offset..offset + bytes.len()].copy_from_slice(bytes);
        let other = scratch.0.join("other");
        fs::write(&other, &copy[..len]).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        connect(&other, soon()).unwrap_err()
    };
    let word = |n: u32| n.to_ne_bytes();
    let all = whole.len();
    for (offset, value) in [(8, 0x0403_0201), (12, 2), (12, 0), (16, 1), (20, 1), (24, 128), (28, 128), (32, 3)] {
        let e = connect_to(offset, &word(value), all);
        assert_eq!(e.kind(), ErrorKind::InvalidData, "{offset}: {value:#x}: {e}");
    }
    for len in [8, 100, 4096, 8191, all - 1] {
        let e = connect_to(0, &MAGIC, len);
        assert_eq!(e.kind(), ErrorKind::InvalidData, "{len} bytes: {e}");
    }
    assert_eq!(connect_to(32, &word(3), all).code(), Some(ErrorCode::MRing));
    // A copy that fits has no listener.
    assert_eq!(connect_to(0, &MAGIC, all).kind(), ErrorKind::ConnectionRefused);
    drop(listener);
}

#[test]
fn a_region_that_others_may_open_is_refused() {
    let scratch = Scratch::new();
    let _listener = RegionListener::bind(scratch.path(), &Config::new(CAPACITIES), None).unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o660)).unwrap();
    let e = connect(scratch.path(), None).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PermissionDenied);
    assert!(e.to_string().contains("0660"), "{e}");
}

#[test]
fn capacities_that_cannot_be() {
    let scratch = Scratch::new();
    for capacities in [[3, 4], [4, 3], [1 << 30, 4]] {
        let e = RegionListener::bind(scratch.path(), &Config::new(capacities), None).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
    }
    let mut listener = RegionListener::bind(scratch.path(), &Config::new([0, 1]), None).unwrap();
    let (a, b) = meet(&mut listener, &scratch.path());
    assert_eq!(end(&b).write(b"x").unwrap(), 1);
    assert_eq!(end(&a).wait_bytes(1, patience()).unwrap(), 1);
}

#[test]
fn time_is_up_at_either_side() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    assert!(listener.try_accept().unwrap().is_none());
    assert_eq!(listener.accept(soon()).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(connect(&path, soon()).unwrap_err().kind(), ErrorKind::TimedOut);
    // That one has said HELLO and is gone: a second one waits for the listener to see to it.
    assert!(listener.is_pending());
    assert_eq!(connect(&path, soon()).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(listener.try_accept().unwrap().is_none());
    assert!(!listener.is_pending());
    let (a, b) = meet(&mut listener, &path);
    talk(&a, &b);
}

#[test]
fn a_claimer_that_goes_without_a_word_leaves_no_trace() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    let name = RegionName::of(&path).unwrap();
    let region = Region::open(&name, None).unwrap();
    assert!(claim(&name, &region).unwrap());
    assert_eq!(connect(&path, soon()).unwrap_err().kind(), ErrorKind::TimedOut);
    drop(region);
    let (a, b) = meet(&mut listener, &path);
    talk(&a, &b);
}

#[test]
fn a_wait_can_be_cancelled() {
    let scratch = Scratch::new();
    let mut listener = RegionListener::bind(scratch.path(), &Config::new(CAPACITIES), None).unwrap();
    let interrupt = listener.interrupt();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| listener.accept(patience()).unwrap_err().kind());
        interrupt.raise(Half::Reader, ALERT_CANCEL);
        assert_eq!(waiter.join().unwrap(), ErrorKind::ConnectionAborted);
    });
}

#[test]
fn a_kept_link_to_a_region_in_use_says_so() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let kept = scratch.0.join("kept");
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    fs::hard_link(&path, &kept).unwrap();
    let (a, b) = meet(&mut listener, &path);
    let e = connect(&kept, patience()).unwrap_err();
    assert_eq!((e.kind(), e.code()), (ErrorKind::ResourceBusy, Some(ErrorCode::NotAlone)), "{e}");
    drop(b);
    assert_eq!(connect(&kept, patience()).unwrap_err().kind(), ErrorKind::ResourceBusy);
    assert_eq!(RegionListener::bind(&kept, &Config::new(CAPACITIES), None).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(a);
    assert_eq!(connect(&kept, patience()).unwrap_err().kind(), ErrorKind::ResourceBusy);
    let (a, b) = meet(&mut listener, &path);
    talk(&a, &b);
}

#[test]
fn a_name_that_was_taken_away_is_not_taken_back() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    fs::rename(&path, scratch.0.join("aside")).unwrap();
    let mut other = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    thread::scope(|scope| {
        let connector = scope.spawn(|| connect(scratch.0.join("aside"), patience()).unwrap_err().kind());
        let e = listener.accept(patience()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::AddrNotAvailable, "{e}");
        drop(listener);
        assert_eq!(connector.join().unwrap(), ErrorKind::ConnectionRefused);
    });
    assert_eq!(scratch.names(), ["aside", "name"], "the other listener's name is still there");
    let (a, b) = meet(&mut other, &path);
    talk(&a, &b);
}

#[test]
fn what_is_in_the_way_of_the_next_region() {
    let scratch = Scratch::new();
    let (path, new) = (scratch.path(), scratch.0.join("name.new"));
    let mut listener = RegionListener::bind(&path, &Config::new(CAPACITIES), None).unwrap();
    let leftover = fs::read(&path).unwrap();
    // Another program's text stays, and the connector stays pending.
    fs::write(&new, "precious").unwrap();
    thread::scope(|scope| {
        let connector = scope.spawn(|| connect(&path, patience()).unwrap());
        let e = listener.accept(patience()).unwrap_err();
        assert!(e.to_string().contains("name.new"), "{e}");
        assert_eq!(fs::read_to_string(&new).unwrap(), "precious");
        assert!(listener.is_pending());
        // A leftover region goes.
        fs::remove_file(&new).unwrap();
        leave_over(&new, &leftover);
        let a = listener.accept(patience()).unwrap();
        talk(&a, &connector.join().unwrap());
    });
    assert_eq!(scratch.names(), ["name"]);
}

#[path = "file_process_tests.rs"]
mod processes;
