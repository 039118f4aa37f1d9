//! The watcher: one thread per process that waits for the kernel to say that a region's file was closed or cut short, or
//! that a socket hung up.
//!
//! It sleeps in `epoll_wait`, without a timeout unless it has something to do later. A close says little: it may have
//! been an inspector's, and it can come before the lock is gone. So the watcher asks the lock, now and later, at
//! times that double. A hang-up is final.
//!
//! A forked child has no watcher thread, and the parent's mutex may be locked for ever in its copy. It makes everything
//! anew, and never touches the copy.

use super::alerts::Alerts;
use super::mode::{NUDGE, WatchMode};
use super::names::Named;
use super::news;
use crate::background;
use crate::lock::{self, Byte};
use crate::per_process::PerProcess;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Cut;
use smstream_shm::memory::retry;
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Questions are asked 1, 2, 4 … ms after an event, and so on without end: however long a process takes to die after its file
/// was closed, it is noticed in twice that time, and the questions cost ever less. At last they come every 2^this
/// milliseconds, which is a year.
const LAST_STEP: u32 = 35;
/// How often to ask where a watch has been lost.
const POLL: Duration = Duration::from_millis(20);
/// The epoll token of the inotify instance.
const INOTIFY: u64 = 0;
/// The epoll token of all that is news when it becomes readable.
const READABLE: u64 = u64::MAX;

/// The watcher of the process. The thread uses it to the end.
static CURRENT: PerProcess<Watcher> = PerProcess::new();

struct Watcher {
    inotify: OwnedFd,
    epoll: OwnedFd,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    /// Whether the thread runs.
    running: bool,
    /// The ends that each watch is for. Two ends of one region in one process share a watch.
    ends: HashMap<i32, Vec<End>>,
    /// The names of listeners that each watch is for.
    names: HashMap<i32, Vec<Arc<Named>>>,
    /// Questions to ask later.
    later: Vec<Later>,
    /// Whom to tell when a socket hangs up. The sockets are numbers and not handles, for the reason that [`End`] has.
    sockets: HashMap<RawFd, Arc<Alerts>>,
    /// Alerts that some half has not noticed yet, on kernels without `futex_waitv`.
    unanswered: Vec<Arc<Alerts>>,
}

/// An end to tell when its peer is gone.
struct End {
    /// The descriptor of the end. A number and not a handle, because after a fork the child's copy of this registry,
    /// which nothing can reach, must not keep it open.
    fd: RawFd,
    /// The byte that the peer holds. `None`: there is no peer, and only the size matters.
    byte: Option<Byte>,
    /// If the memory is guarded: asked about, too.
    cut: Option<Arc<Cut>>,
    alerts: Arc<Alerts>,
}

/// When to ask again about the ends of a watch.
struct Later {
    wd: i32,
    event: Deadline,
    due: Deadline,
    /// How often it has been asked after the event. `None`: the watch is lost, ask for ever.
    step: Option<u32>,
}

/// Watches the file of `fd` and tells `alerts` when nobody holds `byte` any more, and when the file is found to be cut
/// short. The caller asks once itself, afterwards. Registering the same alerts again returns the same watch.
pub(super) fn register(
    fd: &Arc<OwnedFd>,
    byte: Option<Byte>,
    alerts: &Arc<Alerts>,
    cut: Option<&Arc<Cut>>,
) -> io::Result<u64> {
    let watcher = current()?;
    let mut registry = watcher.running()?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    // For a file that is watched already this is the same watch.
    // To the kernel, making a file shorter modifies it; writing to mapped memory does not.
    let wd = inotify::add_watch(&watcher.inotify, path, WatchFlags::CLOSE | WatchFlags::MODIFY | WatchFlags::MASK_ADD)?;
    let ends = registry.ends.entry(wd).or_default();
    if !ends.iter().any(|e| Arc::ptr_eq(&e.alerts, alerts)) {
        ends.push(End { fd: fd.as_raw_fd(), byte, cut: cut.cloned(), alerts: Arc::clone(alerts) });
    }
    alerts.set_mode(WatchMode::Watched);
    // The kernel gives out positive numbers.
    Ok(u64::from(wd.unsigned_abs()))
}

/// Watches the file at `path`, which has a listener's name, and tells `named` when it may have lost that.
pub(super) fn register_name(path: &str, named: &Arc<Named>) -> io::Result<u64> {
    let watcher = current()?;
    let mut registry = watcher.running()?;
    // A file that loses a name changes its count of links, which is an attribute.
    let flags = WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::MASK_ADD;
    let wd = inotify::add_watch(&watcher.inotify, path, flags)?;
    registry.names.entry(wd).or_default().push(Arc::clone(named));
    Ok(u64::from(wd.unsigned_abs()))
}

/// Forgets a name.
pub(super) fn deregister_name(watch: u64, named: &Arc<Named>) {
    let Ok(wd) = i32::try_from(watch) else { return };
    let Some(watcher) = existing() else { return };
    let mut registry = watcher.lock();
    let Some(names) = registry.names.get_mut(&wd) else { return };
    names.retain(|one| !Arc::ptr_eq(one, named));
    if names.is_empty() {
        registry.names.remove(&wd);
        registry.release(watcher, wd);
    }
}

/// Watches a socket and tells `alerts` when it hangs up. The caller asks once itself, afterwards, and keeps the socket
/// open until it deregisters it. Doing so again changes nothing.
pub(super) fn register_socket(socket: &OwnedFd, alerts: &Arc<Alerts>) -> io::Result<()> {
    let watcher = current()?;
    let mut registry = watcher.running()?;
    let fd = socket.as_raw_fd();
    if registry.sockets.insert(fd, Arc::clone(alerts)).is_none() {
        // No events are asked for: hang-up and error are always told. Once is enough.
        let data = epoll::EventData::new_u64(token(fd));
        if let Err(e) = epoll::add(&watcher.epoll, socket, data, epoll::EventFlags::ONESHOT) {
            registry.sockets.remove(&fd);
            return Err(e.into());
        }
    }
    alerts.set_mode(WatchMode::Watched);
    Ok(())
}

/// Forgets a socket of this process. After this its descriptor is not used any more.
pub(super) fn deregister_socket(socket: &OwnedFd) {
    let Some(watcher) = existing() else { return };
    let mut registry = watcher.lock();
    if registry.sockets.remove(&socket.as_raw_fd()).is_some() {
        // Closing would not do it: the registration lasts as long as the description, which a child may have, too.
        let _ = epoll::delete(&watcher.epoll, socket);
    }
}

/// Tells the news when `fd` becomes readable, or is so already: once.
pub(super) fn tell_when_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let watcher = current()?;
    // Nothing is entered in the registry, but the thread must run.
    drop(watcher.running()?);
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
    Ok(epoll::add(&watcher.epoll, fd, epoll::EventData::new_u64(READABLE), flags)?)
}

/// Does so no more.
pub(super) fn tell_no_more(fd: BorrowedFd<'_>) {
    if let Some(watcher) = existing() {
        let _ = epoll::delete(&watcher.epoll, fd);
    }
}

/// The epoll token of a socket: its number, but not that of the inotify instance.
fn token(fd: RawFd) -> u64 {
    INOTIFY + 1 + u64::from(fd.unsigned_abs())
}

/// Whether the other end of a socket has been closed by all who had it. Whoever says that nothing more will come has hung
/// up, too: an honest peer does not.
pub(super) fn has_hung_up(socket: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&socket, PollFlags::RDHUP)];
    matches!(retry(|| poll(&mut fds, Some(&Timespec::default()))), Ok(n) if n > 0)
}

/// Forgets an end of this process. After this its descriptor is not used any more.
pub(super) fn deregister(watch: u64, alerts: &Arc<Alerts>) {
    let Ok(wd) = i32::try_from(watch) else { return };
    let Some(watcher) = existing() else { return };
    let mut registry = watcher.lock();
    let Some(ends) = registry.ends.get_mut(&wd) else {
        return;
    };
    ends.retain(|e| !Arc::ptr_eq(&e.alerts, alerts));
    if ends.is_empty() {
        registry.ends.remove(&wd);
        registry.later.retain(|l| l.wd != wd);
        registry.release(watcher, wd);
    }
}

/// Moves a descriptor to a number above those of the watcher, if there can be one. What is open there stays open; a
/// lock on the description stays, too.
///
/// When a process dies the kernel releases its descriptors from the highest number down, and an inotify instance takes
/// it milliseconds. The peers are to be told before that, not after.
pub(super) fn move_above_watcher_fds(fd: OwnedFd) -> OwnedFd {
    let Ok(watcher) = current() else { return fd };
    let highest = watcher.inotify.as_raw_fd().max(watcher.epoll.as_raw_fd());
    if fd.as_raw_fd() > highest {
        return fd;
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, highest + 1).unwrap_or(fd)
}

/// The watcher of this process, if there is one.
fn existing() -> Option<&'static Watcher> {
    CURRENT.existing()
}

/// The watcher of this process, made now if there is none.
fn current() -> io::Result<&'static Watcher> {
    CURRENT.get_or_make(Watcher::new)
}

impl Watcher {
    fn new() -> io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &inotify, epoll::EventData::new_u64(INOTIFY), epoll::EventFlags::IN)?;
        Ok(Self { inotify, epoll, registry: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // A panic in another thread cannot leave the registry half changed in a way that matters here.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registry, with the thread running.
    fn running(&'static self) -> io::Result<MutexGuard<'static, Registry>> {
        let mut registry = self.lock();
        if !registry.running {
            background::spawn("smstream-watch", || self.run())?;
            registry.running = true;
        }
        Ok(registry)
    }

    /// The thread.
    fn run(&self) {
        loop {
            let timeout = self.lock().next().map(Deadline::remaining);
            let mut hung_up = self.wait(timeout);
            if hung_up.contains(&READABLE) {
                news::tell();
                hung_up.retain(|&token| token != READABLE);
            }
            if !hung_up.is_empty() {
                let mut registry = self.lock();
                for token in hung_up {
                    registry.hung_up(token);
                }
            }
            let events = self.events();
            let mut registry = self.lock();
            let now = Deadline::now();
            for event in events {
                registry.note(event, now);
            }
            registry.ask(now);
        }
    }

    /// Sleeps until there are events, or the time has come. Returns the tokens of the sockets that hung up, and
    /// [`READABLE`].
    fn wait(&self, timeout: Option<Duration>) -> Vec<u64> {
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 32];
        match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok((events, _)) => events.iter().map(|e| e.data.u64()).filter(|&t| t != INOTIFY).collect(),
            Err(Errno::INTR) => Vec::new(),
            // The descriptor was closed behind our back, most likely. All ends are asked about, below.
            Err(_) => {
                thread::sleep(POLL);
                self.lock().lose_all();
                news::tell();
                Vec::new()
            }
        }
    }

    /// Takes all events out of the kernel's queue.
    fn events(&self) -> Vec<Event> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut events = Vec::new();
        loop {
            match retry(|| reader.next().map(|e| (e.wd(), e.events()))) {
                Ok((_, flags)) if flags.contains(ReadFlags::QUEUE_OVERFLOW) => events.push(Event::Overflow),
                Ok((wd, flags)) if flags.contains(ReadFlags::IGNORED) => events.push(Event::Lost(wd)),
                Ok((wd, _)) => events.push(Event::Touched(wd)),
                // Nothing is left. For any other error there is nothing to be done here; `wait` meets it again.
                Err(_) => return events,
            }
        }
    }
}

/// What the kernel says.
enum Event {
    /// Somebody closed the file, or changed it by a system call.
    Touched(i32),
    /// The watch is gone: its file was deleted, or the file system was unmounted.
    Lost(i32),
    /// More happened than the queue holds.
    Overflow,
}

impl Registry {
    /// Removes a watch that nothing needs any more.
    fn release(&self, watcher: &Watcher, wd: i32) {
        if !self.ends.contains_key(&wd) && !self.names.contains_key(&wd) {
            // It fails if the kernel has removed the watch by itself, with its file.
            let _ = inotify::remove_watch(&watcher.inotify, wd);
        }
    }

    /// When the next question is due.
    fn next(&self) -> Option<Deadline> {
        let nudge = (!self.unanswered.is_empty()).then(|| Deadline::after(NUDGE));
        self.later.iter().map(|l| l.due).chain(nudge).min()
    }

    fn note(&mut self, event: Event, now: Deadline) {
        match event {
            Event::Touched(wd) => {
                self.names.get(&wd).into_iter().flatten().for_each(|named| named.touch());
                self.schedule(wd, now, Some(0));
            }
            Event::Lost(wd) => self.lose(wd, now),
            Event::Overflow => {
                self.names.values().flatten().for_each(|named| named.touch());
                for wd in self.watches() {
                    self.schedule(wd, now, Some(0));
                }
            }
        }
    }

    /// Something was told about a socket. It is asked itself: the event may be about one that had the number before.
    fn hung_up(&mut self, token_told: u64) {
        let Some(fd) = token_told.checked_sub(token(0)).and_then(|fd| RawFd::try_from(fd).ok()) else { return };
        let Some(alerts) = self.sockets.get(&fd) else { return };
        // SAFETY: the descriptor is open and stays so during this borrow: whoever registered it deregisters it first,
        // which needs the registry's lock, and that is held here.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        if !has_hung_up(socket) {
            return;
        }
        alerts.raise_gone();
        if !alerts.all_answered() {
            self.unanswered.push(Arc::clone(alerts));
        }
    }

    fn watches(&self) -> Vec<i32> {
        self.ends.keys().copied().collect()
    }

    /// From now on, asks from time to time about everything.
    fn lose_all(&mut self) {
        let now = Deadline::now();
        for wd in self.watches() {
            self.lose(wd, now);
        }
        self.names.values().flatten().for_each(|named| named.lose());
        // Whoever sleeps on these asks for himself from the next time on.
        for alerts in self.sockets.values() {
            alerts.set_mode(WatchMode::Timed);
        }
    }

    fn lose(&mut self, wd: i32, now: Deadline) {
        self.names.get(&wd).into_iter().flatten().for_each(|named| named.lose());
        for end in self.ends.get(&wd).into_iter().flatten() {
            end.alerts.set_mode(WatchMode::Timed);
        }
        self.schedule(wd, now, None);
    }

    /// Asks about a watch now, and later. A newer event begins anew, but a lost watch stays lost.
    fn schedule(&mut self, wd: i32, event: Deadline, step: Option<u32>) {
        if !self.ends.contains_key(&wd) || self.later.iter().any(|l| l.wd == wd && l.step.is_none()) {
            return;
        }
        self.later.retain(|l| l.wd != wd);
        self.later.push(Later { wd, event, due: event, step });
    }

    /// Asks all that is due, tells whoever has lost its peer, and decides when to ask again.
    fn ask(&mut self, now: Deadline) {
        let Self { ends, later, unanswered, .. } = self;
        later.retain_mut(|l| {
            if l.due > now {
                return true;
            }
            let ends = ends.get(&l.wd).map_or(&[][..], Vec::as_slice);
            // All are asked, so no short-circuit.
            let open = ends.iter().filter(|end| !end.ask(unanswered)).count();
            l.again(now);
            open != 0
        });
        unanswered.retain(|alerts| !alerts.all_answered());
    }
}

impl Later {
    /// Sets the time of the next question.
    fn again(&mut self, now: Deadline) {
        match &mut self.step {
            None => self.due = now.plus(POLL),
            Some(step) => {
                self.due = self.event.plus(Duration::from_millis(1 << *step)).max(now.plus(NUDGE));
                *step = LAST_STEP.min(*step + 1);
            }
        }
    }
}

impl End {
    /// Asks whether the peer is gone and whether the memory is whole, and tells the end if not. `true`: there is nothing
    /// more to be asked.
    fn ask(&self, unanswered: &mut Vec<Arc<Alerts>>) -> bool {
        // SAFETY: the descriptor is open and stays so during this borrow. The `Life` of this end (or the `SizeWatch`)
        // owns it until it has deregistered the end, which needs the registry's lock, and the caller holds that.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        let cut = self.cut.as_ref().is_some_and(|cut| cut.look(fd));
        if cut {
            self.alerts.raise_corrupt();
        }
        let gone = match self.byte {
            None => cut,
            Some(_) if self.alerts.is_gone() => true,
            Some(byte) => {
                let gone = !lock::is_held(fd, byte).unwrap_or(true);
                if gone {
                    self.alerts.raise_gone();
                }
                gone
            }
        };
        if (cut || gone) && !self.alerts.all_answered() {
            unanswered.push(Arc::clone(&self.alerts));
        }
        gone
    }
}
