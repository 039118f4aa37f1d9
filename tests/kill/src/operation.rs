//! What an operation is: what the subject does, what the survivor does meanwhile, and what it may see then.

use std::path::{Path, PathBuf};

use crate::cue::Cue;

/// An operation between two marks, and the truth about it.
pub trait Operation {
    /// As the table calls it.
    fn name(&self) -> String;

    /// What a survivor may see when the subject was killed. If [ordered](Operation::ordered), in this order as the subject gets
    /// on.
    fn after_a_kill(&self) -> &'static [&'static str];

    /// What a survivor sees when the subject was not disturbed, or was stopped and went on.
    fn whole(&self) -> &'static str;

    /// Whether what the survivor sees follows from how far the subject got, and from nothing else.
    fn ordered(&self) -> bool {
        true
    }

    /// How the subject and the survivor are to be brought together.
    fn shape(&self) -> Shape {
        Shape::default()
    }

    /// What the subject does: its preparations, then the operation between two calls of `mark`, then what ends it in order.
    fn subject(&self, rig: &Rig, mark: &dyn Fn());

    /// A new survivor.
    fn survivor<'r>(&self, rig: &'r Rig) -> Box<dyn Survivor + 'r>;

    /// What a third process does when the subject has ended: it shows to a survivor that waits that life goes on.
    fn visitor(&self) -> Option<fn(&Rig)> {
        None
    }
}

/// How the subject and the survivor are to be brought together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The survivor sleeps when the operation begins.
    pub survivor_sleeps: bool,
    /// The operation sleeps for good: it is not seen to its end, and has one more point, asleep.
    pub never_ends: bool,
}

/// The process that lives on, through many rounds.
pub trait Survivor {
    /// One round with one subject; says what it saw.
    fn round(&mut self, cue: &mut Cue<'_>) -> String;
}

/// The kinds of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Unix,
}

impl Kind {
    pub fn scheme(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Unix => "unix",
        }
    }
}

/// Where an operation takes place.
#[derive(Debug)]
pub struct Rig {
    directory: PathBuf,
    memory: Memory,
}

/// Memory that the subject and the survivor share from their parent.
#[derive(Debug)]
pub struct Memory {
    start: *mut u8,
}

impl Memory {
    pub const LEN: usize = 16384;

    fn new() -> Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), Self::LEN, access, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(start, libc::MAP_FAILED, "there is memory");
        Memory { start: start.cast() }
    }

    pub fn start(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and nothing points there any more.
        unsafe { libc::munmap(self.start.cast(), Self::LEN) };
    }
}

impl Rig {
    pub fn new(directory: PathBuf) -> Self {
        std::fs::create_dir(&directory).unwrap_or_else(|e| panic!("cannot make {}: {e}", directory.display()));
        Rig { directory, memory: Memory::new() }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// An address in the directory.
    pub fn addr(&self, kind: Kind) -> String {
        format!("{}:{}", kind.scheme(), self.directory.join("name").display())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
