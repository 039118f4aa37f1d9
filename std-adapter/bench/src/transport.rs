//! What can be measured: a way to move messages that the two sides open by an address.

use std::io;
use std::path::{Path, PathBuf};

use crate::channel::Runner;

/// How an end waits for the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiting {
    /// As its users get it who set no option.
    Default,
    /// It looks all the time, and never sleeps.
    Busy,
    /// It sleeps at once whenever it has to wait.
    Asleep,
}

impl Waiting {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Default, Self::Busy, Self::Asleep];

    /// The name in orders, options and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Busy => "busy",
            Self::Asleep => "asleep",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|waiting| waiting.name() == name)
    }
}

/// The first side's half of making a connection: it has an address that the second side opens, and then finishes.
pub trait Opening {
    /// What the second side needs to know: one line of text.
    fn address(&self) -> String;

    /// Called when the second side opens, or has opened, the address.
    fn finish(self: Box<Self>) -> io::Result<Box<dyn Runner>>;
}

/// A way to move messages between two sides.
pub trait Transport: Sync {
    /// Its name, in options and in tables: no spaces.
    fn name(&self) -> &'static str;

    /// What it is, with the version if it is another project's.
    fn description(&self) -> String;

    /// The longest message.
    fn longest(&self) -> usize {
        usize::MAX
    }

    /// Whether it can wait this way.
    fn can_wait(&self, waiting: Waiting) -> bool;

    /// Whether both sides must be threads of one process.
    fn needs_one_process(&self) -> bool {
        false
    }

    /// Begins a connection for messages of up to `longest` bytes. The names that it makes begin with `prefix`: see [`name_at`].
    ///
    /// A name is gone as soon as both sides have opened it, if its kind allows that: a killed measurement leaves no names.
    fn begin(&self, prefix: &Path, longest: usize, waiting: Waiting) -> io::Result<Box<dyn Opening>>;

    /// The second side's part.
    fn open(&self, address: &str, longest: usize, waiting: Waiting) -> io::Result<Box<dyn Runner>>;
}

/// The name that begins with `prefix` and ends with `end`.
pub fn name_at(prefix: &Path, end: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push("-");
    name.push(end);
    name.into()
}

/// Both sides have what they need, and the first one has nothing left to do.
pub struct Ready<R>(pub String, pub R);

impl<R: Runner + 'static> Opening for Ready<R> {
    fn address(&self) -> String {
        self.0.clone()
    }

    fn finish(self: Box<Self>) -> io::Result<Box<dyn Runner>> {
        Ok(Box::new(self.1))
    }
}

/// An opening whose last step is a function.
pub struct Then<F>(pub String, pub F);

impl<F: FnOnce() -> io::Result<Box<dyn Runner>>> Opening for Then<F> {
    fn address(&self) -> String {
        self.0.clone()
    }

    fn finish(self: Box<Self>) -> io::Result<Box<dyn Runner>> {
        (self.1)()
    }
}
