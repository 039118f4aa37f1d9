//! What a SIGKILL left is reaped, and nothing else is.

#[path = "../shm/tests/posix/tools.rs"]
#[allow(dead_code, reason = "the tests of smstream-shm use the rest")]
mod tools;

use smstream::Listener;
use smstream::reap::{Leftover, LeftoverKind, Location, ReapOutcome, Reaper};
use smstream_shm::cleanup::mark;
use smstream_shm::memory::{Access, Mapping, SharedMemory};
use smstream_shm::posix::SharedObject;
use std::fs::File;
use std::path::{Path, PathBuf};
use tools::{Name, Party, helper, role, start, until};

/// A directory of one's own, where no other test reaps.
struct Directory(PathBuf);

impl Directory {
    /// In the file system of shared memory, so that objects can be moved there.
    fn new(name: &Name) -> Self {
        let path = PathBuf::from(format!("{}.d", name.path().display()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Takes an object that has this name.
    fn take(&self, name: &Name) -> PathBuf {
        let path = self.0.join("object");
        std::fs::rename(name.path(), &path).unwrap();
        path
    }

    /// What is said about its only file.
    fn found(&self, dry: bool) -> Option<ReapOutcome> {
        let mut found = Reaper::of(&self.0).dry_run(dry).run().unwrap();
        assert!(found.len() < 2);
        found.pop().map(|leftover| leftover.outcome)
    }
}

impl Directory {
    /// What is said in the end. Other tests fork meanwhile, and for a moment their children have what this process has
    /// open: then it is in use.
    fn found_in_the_end(&self, dry: bool) -> Option<ReapOutcome> {
        let mut found = None;
        until("no process uses it", || {
            found = self.found(dry);
            !matches!(found, Some(ReapOutcome::InUse(_)))
        });
        found
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn map(path: &Path, access: Access) -> Mapping {
    Mapping::new(open(path), 0, 4096, access).unwrap()
}

/// A child that has made a marked object.
fn maker(name: &Name) -> Party {
    let child = start(helper("helper_makes", "makes", &[name.as_ref()]));
    until("the child has made its object", || name.exists());
    child
}

#[test]
fn helper_makes() {
    let Some(arguments) = role("makes") else { return };
    let options = SharedObject::options().read(true).write(true).create_new(true).len(4096);
    let object = options.open_with(&arguments[0], mark).unwrap();
    let _mapped = object.map().unwrap();
    loop {
        std::thread::park();
    }
}

fn kill(mut child: Party) {
    child.0.kill().unwrap();
    child.0.wait().unwrap();
}

#[test]
fn a_marked_object_goes_when_its_creator_and_its_users_are_gone() {
    let name = Name::new();
    let directory = Directory::new(&name);
    let child = maker(&name);
    let path = directory.take(&name);
    assert_eq!(directory.found(false), Some(ReapOutcome::InUse("its creator lives")));
    let memory = Mapping::new(File::open(&path).unwrap(), 0, 4096, Access::ReadOnly).unwrap();
    kill(child);
    let in_use = Some(ReapOutcome::InUse("a process has it open or mapped"));
    assert_eq!(directory.found(true), in_use);
    assert_eq!(directory.found(false), in_use, "it is only mapped, for reading, and not open");
    drop(memory);
    let file = open(&path);
    assert_eq!(directory.found(false), in_use, "it is only open");
    drop(file);
    assert_eq!(directory.found_in_the_end(true), Some(ReapOutcome::WouldRemove));
    assert!(path.exists(), "a dry run removes nothing");
    assert_eq!(directory.found_in_the_end(false), Some(ReapOutcome::Removed));
    assert!(!path.exists());
}

/// Where everybody's objects are. Another process that reaps at this moment may come first.
#[test]
fn shared_memory_objects_are_looked_at_to_begin_with() {
    let name = Name::new();
    let child = maker(&name);
    let path = name.path();
    let mine =
        |found: Vec<Leftover>| found.into_iter().find(|leftover| leftover.location == Location::File(path.clone()));
    let found = mine(Reaper::new().dry_run(true).run().unwrap()).expect("it is ours");
    assert!(matches!(found.outcome, ReapOutcome::InUse(_)), "{found}");
    kill(child);
    until("it is reaped", || {
        let found = mine(Reaper::new().run().unwrap());
        found.is_none_or(|leftover| leftover.outcome == ReapOutcome::Removed)
    });
    assert!(!name.exists());
}

#[test]
fn what_is_not_ours_is_not_mentioned() {
    let name = Name::new();
    let directory = Directory::new(&name);
    SharedObject::create_sized(&name, 4096).unwrap();
    let path = directory.take(&name);
    map(&path, Access::ReadWrite).copy_in(0, b"smstream, \x89SMO\r\n\x1a?").unwrap();
    assert_eq!(directory.found(false), None);
    map(&path, Access::ReadWrite).copy_in(0, b"\x89SMO\r\n\x1a\n").unwrap();
    let found = directory.found(false);
    assert!(matches!(&found, Some(ReapOutcome::Doubt(why)) if why.contains("version")), "{found:?}");
    assert!(path.exists());
    std::fs::write(&path, b"sms").unwrap();
    assert_eq!(directory.found(false), None);
}

#[test]
fn a_creator_of_another_boot_or_namespace_is_a_doubt() {
    let name = Name::new();
    let directory = Directory::new(&name);
    kill(maker(&name));
    let path = directory.take(&name);
    // In the mark: 16 bytes of magic and version, 16 of the boot, 8 of the time, 8 of the namespace.
    for (at, why) in [(16, "another machine"), (40, "namespace")] {
        let mut old = [0];
        let memory = map(&path, Access::ReadWrite);
        memory.copy_out(at, &mut old).unwrap();
        memory.copy_in(at, &[!old[0]]).unwrap();
        drop(memory);
        let found = directory.found(false);
        assert!(matches!(&found, Some(ReapOutcome::Doubt(text)) if text.contains(why)), "{found:?}");
        map(&path, Access::ReadWrite).copy_in(at, &old).unwrap();
    }
    assert_eq!(directory.found_in_the_end(false), Some(ReapOutcome::Removed));
}

#[test]
fn the_region_of_a_killed_listener_goes() {
    let name = Name::new();
    let directory = Directory::new(&name);
    let path = directory.0.join("region");
    let child = start(helper("helper_listens", "listens", &[path.to_str().unwrap()]));
    until("the child listens", || path.exists());
    assert!(matches!(directory.found(false), Some(ReapOutcome::InUse(_))));
    kill(child);
    assert_eq!(directory.found_in_the_end(true), Some(ReapOutcome::WouldRemove));
    assert!(path.exists());
    let found = Reaper::of(&directory.0).dry_run(true).run().unwrap();
    assert_eq!((found.len(), found[0].kind), (1, LeftoverKind::Region));
    assert!(found[0].to_string().starts_with(&format!("{}: ", path.display())), "{}", found[0]);
    assert_eq!(directory.found_in_the_end(false), Some(ReapOutcome::Removed));
    assert!(!path.exists());
}

#[test]
fn helper_listens() {
    let Some(arguments) = role("listens") else { return };
    let _listener = Listener::bind(Path::new(&arguments[0])).unwrap();
    loop {
        std::thread::park();
    }
}

/// A System V segment that a killed process marked.
#[test]
fn a_marked_segment_goes() {
    let name = Name::new();
    let child = start(helper("helper_makes_segment", "makes-segment", &[name.as_ref()]));
    let text = || std::fs::read_to_string(name.path()).unwrap_or_default();
    until("the child has made its segment", || text().ends_with('\n'));
    let segment = Segment(text().trim().parse().unwrap());
    let place = Location::SysvShm(segment.0);
    let directory = Directory::new(&name);
    let found = |sysv, dry| {
        let found = Reaper::of(&directory.0).dry_run(dry).sysv(sysv).run().unwrap();
        found.into_iter().find(|leftover| leftover.location == place).map(|leftover| leftover.outcome)
    };
    assert_eq!(found(true, false), None, "it is in use, so it is not even looked at");
    kill(child);
    assert_eq!(found(false, false), None, "it must be asked for");
    // A child that another test forks may have it attached for a moment, while it is looked at here.
    until("no process has it attached", || found(true, true) == Some(ReapOutcome::WouldRemove));
    until("it is removed", || found(true, false) == Some(ReapOutcome::Removed));
    assert_eq!(found(true, true), None);
}

/// A segment that is gone in the end.
struct Segment(i32);

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: IPC_RMID takes no buffer.
        unsafe { libc::shmctl(self.0, libc::IPC_RMID, std::ptr::null_mut()) };
    }
}

#[test]
fn helper_makes_segment() {
    let Some(arguments) = role("makes-segment") else { return };
    // The bytes of a mark, by way of a memory that can be marked.
    let object = SharedObject::create_sized(format!("{}-mark", arguments[0]), 4096).unwrap();
    let last = object.unlink_on_drop();
    let memory = object.map().unwrap();
    mark(&memory).unwrap();
    let mut bytes = [0; 64];
    memory.copy_out(0, &mut bytes).unwrap();
    drop(last);
    // SAFETY: it makes a new segment.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) };
    assert!(id >= 0);
    // SAFETY: without an address the kernel chooses one that is not in use.
    let start = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    assert_ne!(start.addr(), usize::MAX);
    // SAFETY: the segment is attached for writing, larger than a mark, and no other process has it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.cast(), bytes.len()) };
    std::fs::write(Path::new("/dev/shm").join(&arguments[0][1..]), format!("{id}\n")).unwrap();
    loop {
        std::thread::park();
    }
}
