//! The kernel of these models: one file with one lock, its name, descriptors, sockets, and the two queues of the watcher.
//!
//! Each call takes one lock, and is a step. When a process dies the kernel reports the close of its file, and then releases the lock
//! on it, in two steps. A watch has a number that no other watch gets. What was queued for it stays when it is removed.

use crate::registry::{Event, token};
use crate::world::World;
use crate::{Mutant, is};
use loom::sync::{Condvar, Mutex};
use rustix::fd::{AsFd, AsRawFd, RawFd};
use std::io;

/// The byte that the peer holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Byte;

/// What a watch tells of.
#[derive(Clone, Copy)]
pub(super) enum Tells {
    Close,
    Name,
}

/// No process has these open in earnest, and nothing here asks the system about them.
const FIRST_FD: RawFd = 1000;
/// How many there are.
const FDS: usize = 2;

pub(super) struct Kernel {
    state: Mutex<State>,
    /// The watcher sleeps on this.
    changed: Condvar,
}

struct State {
    /// The peer holds its lock.
    held: bool,
    /// Its close was reported, and the lock is still held.
    dying: bool,
    /// Changes with these.
    version: u32,
    /// The file has its name.
    named: bool,
    /// The watch of the file, and whether it tells of closes and of the name.
    watch: Option<(i32, [bool; 2])>,
    watches: i32,
    queue: Vec<Event>,
    /// The queue is full: of what happens it tells only that something has.
    full: bool,
    /// Which descriptors are open, and on a socket that was hung up.
    open: [Option<bool>; FDS],
    /// Which sockets the watcher's epoll instance is to tell of, once.
    armed: [bool; FDS],
    hung_up: Vec<u64>,
    over: bool,
}

impl Kernel {
    pub(super) fn new() -> Self {
        let state = State {
            held: true,
            dying: false,
            version: 0,
            named: true,
            watch: None,
            watches: 0,
            queue: Vec::new(),
            full: false,
            open: [None; FDS],
            armed: [false; FDS],
            hung_up: Vec::new(),
            over: false,
        };
        Kernel { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn step<T>(&self, does: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = does(&mut state);
        self.changed.notify_all();
        result
    }

    /// A descriptor that is open from now on: the lowest free one.
    pub(super) fn open(&self) -> RawFd {
        self.step(|state| {
            let at = state.open.iter().position(Option::is_none).expect("there are enough");
            state.open[at] = Some(false);
            FIRST_FD + at as RawFd
        })
    }

    pub(super) fn close(&self, fd: RawFd) {
        self.step(|state| state.open[at(fd)] = None);
    }

    /// A process closes the file.
    pub(super) fn close_file(&self) {
        self.step(|state| state.report(Tells::Close));
    }

    /// The peer's lock is released.
    pub(super) fn unlock(&self) {
        self.step(|state| {
            (state.held, state.dying) = (false, false);
            state.version += 1;
        });
    }

    /// The peer dies.
    pub(super) fn kill(&self) {
        self.step(|state| {
            state.dying = true;
            state.version += 1;
            state.report(Tells::Close);
        });
        self.unlock();
    }

    /// What there was to find out so far, and whether so much time has passed that no party is between these two steps.
    pub(super) fn now(&self) -> (u32, bool) {
        self.step(|state| (state.version, !state.dying))
    }

    /// A slice passes: of the times to ask again those count at which there is something else to find out.
    pub(super) fn slice(&self, asked: u32) {
        let mut state = self.state.lock().unwrap();
        while state.version == asked {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Removes the name of the file.
    pub(super) fn unlink(&self) {
        self.step(|state| {
            state.named = false;
            state.report(Tells::Name);
        });
    }

    pub(super) fn is_named(&self) -> bool {
        self.step(|state| state.named)
    }

    /// From now on the queue takes no more.
    pub(super) fn fill(&self) {
        self.step(|state| state.full = true);
    }

    /// Watches the file. For one that is watched already this is the same watch.
    pub(super) fn add_watch(&self, tells: Tells) -> i32 {
        self.step(|state| {
            let (wd, mut mask) = state.watch.unwrap_or_else(|| {
                state.watches += 1;
                (state.watches, [false; 2])
            });
            if is(Mutant::AddToMask) {
                mask = [false; 2];
            }
            mask[tells as usize] = true;
            state.watch = Some((wd, mask));
            wd
        })
    }

    pub(super) fn remove_watch(&self, wd: i32) {
        self.step(|state| state.lose(wd));
    }

    /// The kernel removes the watch by itself.
    pub(super) fn unmount(&self) {
        self.step(|state| {
            if let Some((wd, _)) = state.watch {
                state.lose(wd);
            }
        });
    }

    /// Tells of this socket when it hangs up, or has hung up, once.
    pub(super) fn add_socket(&self, fd: RawFd) {
        self.step(|state| {
            state.armed[at(fd)] = true;
            state.report_socket(at(fd));
        });
    }

    pub(super) fn delete_socket(&self, fd: RawFd) {
        self.step(|state| {
            state.armed[at(fd)] = false;
            state.hung_up.retain(|&ready| ready != token(fd));
        });
    }

    /// The peer closes the other end of the socket, if it still has this number.
    pub(super) fn hang_up(&self, fd: RawFd) {
        self.step(|state| {
            if state.open[at(fd)].is_some() {
                state.open[at(fd)] = Some(true);
                state.report_socket(at(fd));
            }
        });
    }

    /// What the watcher sleeps in, and what it takes out then. If it is to ask again, the time for that comes as in
    /// [`slice`](Self::slice). `None`: the model is over.
    pub(super) fn wait(&self, asked: Option<u32>) -> Option<(Vec<u64>, Vec<Event>)> {
        let mut state = self.state.lock().unwrap();
        let is_time = |state: &State| asked.is_some_and(|asked| asked != state.version);
        while !state.over && !is_time(&state) && state.queue.is_empty() && state.hung_up.is_empty() {
            state = self.changed.wait(state).unwrap();
        }
        (!state.over).then(|| (std::mem::take(&mut state.hung_up), std::mem::take(&mut state.queue)))
    }

    pub(super) fn end(&self) {
        self.step(|state| state.over = true);
    }
}

impl State {
    fn report(&mut self, happened: Tells) {
        if let Some((wd, mask)) = self.watch
            && mask[happened as usize]
        {
            self.queue.push(if self.full { Event::Overflow } else { Event::Touched(wd) });
        }
    }

    fn lose(&mut self, wd: i32) {
        if self.watch.is_some_and(|(there, _)| there == wd) {
            self.watch = None;
            self.queue.push(Event::Lost(wd));
        }
    }

    fn report_socket(&mut self, at: usize) {
        if self.open[at] == Some(true) && std::mem::take(&mut self.armed[at]) {
            self.hung_up.push(token(FIRST_FD + at as RawFd));
        }
    }
}

fn at(fd: RawFd) -> usize {
    usize::try_from(fd - FIRST_FD).expect("it is a descriptor of this kernel")
}

/// Stands for `lock::is_held`.
pub(super) fn is_held(fd: impl AsFd, _: Byte) -> io::Result<bool> {
    let fd = fd.as_fd().as_raw_fd();
    Ok(World::current().kernel.step(|state| {
        assert!(state.open[at(fd)].is_some(), "the watcher asks about a descriptor that is closed");
        state.held
    }))
}

/// Stands for `hang_up::has_hung_up`.
pub(super) fn has_hung_up(socket: impl AsFd) -> bool {
    let fd = socket.as_fd().as_raw_fd();
    World::current().kernel.step(|state| {
        let hung_up = state.open[at(fd)].expect("the watcher asks about a socket that is closed");
        hung_up || is(Mutant::AskSocket)
    })
}
