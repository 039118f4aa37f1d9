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
use super::event_count;
use super::mode::WatchMode;
use super::name_events::NameEvents;
use super::registry::{Event, INOTIFY, OnReadable, POLL, Registry, WatchedEnd, token};
use crate::background;
use crate::lock::Byte;
use crate::per_process::PerProcess;
use rustix::event::epoll;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Cut;
use smstream_shm::memory::retry;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The epoll token of all descriptors that count one event when they become readable.
const READABLE: u64 = u64::MAX;
/// The bit of the epoll tokens of what is called back for. The rest is the number of the descriptor.
const CALLS: u64 = 1 << 63;

/// The watcher of the process. The thread uses it to the end.
static CURRENT: PerProcess<Watcher> = PerProcess::new();

struct Watcher {
    inotify: OwnedFd,
    epoll: OwnedFd,
    registry: Mutex<Registry>,
}

/// Watches the file of `fd` and tells `alerts` when no process holds `byte` any more, and when the file is found to be cut
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
    registry.enter(wd, WatchedEnd { fd: fd.as_raw_fd(), byte, cut: cut.cloned(), alerts: Arc::clone(alerts) });
    alerts.set_mode(WatchMode::Watched);
    // The kernel gives out positive numbers.
    Ok(u64::from(wd.unsigned_abs()))
}

/// Watches the file at `path`, which has a listener's name, and tells `named` when it may have lost that.
pub(super) fn register_name(path: &str, named: &Arc<NameEvents>) -> io::Result<u64> {
    let watcher = current()?;
    let mut registry = watcher.running()?;
    // A file that loses a name changes its count of links, which is an attribute.
    let flags = WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::MASK_ADD;
    let wd = inotify::add_watch(&watcher.inotify, path, flags)?;
    registry.names.entry(wd).or_default().push(Arc::clone(named));
    Ok(u64::from(wd.unsigned_abs()))
}

/// Forgets a name.
pub(super) fn deregister_name(watch: u64, named: &Arc<NameEvents>) {
    let Ok(wd) = i32::try_from(watch) else { return };
    let Some(watcher) = existing() else { return };
    let mut registry = watcher.lock();
    if registry.leave_name(wd, named) {
        watcher.remove_watch(wd);
    }
}

/// Watches a socket and tells `alerts` when it hangs up. The caller asks once itself, afterwards, and keeps the socket
/// open until it deregisters it. Doing so again changes nothing.
pub(super) fn register_socket(socket: &OwnedFd, alerts: &Arc<Alerts>) -> io::Result<()> {
    let watcher = current()?;
    let mut registry = watcher.running()?;
    let fd = socket.as_raw_fd();
    if registry.sockets.insert(fd, Arc::clone(alerts)).is_none() {
        // No events are asked for: the kernel always reports hang-up and error. Once is enough.
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

/// Counts one event when `fd` becomes readable, or is so already.
pub(super) fn watch_readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let watcher = current()?;
    // Nothing is entered in the registry, but the thread must run.
    drop(watcher.running()?);
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
    Ok(epoll::add(&watcher.epoll, fd, epoll::EventData::new_u64(READABLE), flags)?)
}

/// Does so no more.
pub(super) fn unwatch(fd: BorrowedFd<'_>) {
    if let Some(watcher) = existing() {
        let _ = epoll::delete(&watcher.epoll, fd);
    }
}

/// Calls `back` in the watcher's thread, once, when `fd` becomes readable or is so already. For a descriptor that is watched so
/// already it begins anew.
pub(super) fn call_when_readable(fd: BorrowedFd<'_>, back: Arc<dyn OnReadable>) -> io::Result<()> {
    let watcher = current()?;
    let mut registry = watcher.running()?;
    let number = fd.as_raw_fd();
    let data = epoll::EventData::new_u64(CALLS | u64::from(number.unsigned_abs()));
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
    registry.calls.insert(number, back);
    let watched = match epoll::modify(&watcher.epoll, fd, data, flags) {
        Err(Errno::NOENT) => epoll::add(&watcher.epoll, fd, data, flags),
        other => other,
    };
    if watched.is_err() {
        registry.calls.remove(&number);
    }
    Ok(watched?)
}

/// Does so no more.
pub(super) fn call_no_more(fd: BorrowedFd<'_>) {
    let Some(watcher) = existing() else { return };
    if watcher.lock().calls.remove(&fd.as_raw_fd()).is_some() {
        let _ = epoll::delete(&watcher.epoll, fd);
    }
}

/// Forgets an end of this process. After this its descriptor is not used any more.
pub(super) fn deregister(watch: u64, alerts: &Arc<Alerts>) {
    let Ok(wd) = i32::try_from(watch) else { return };
    let Some(watcher) = existing() else { return };
    let mut registry = watcher.lock();
    if registry.leave(wd, alerts) {
        watcher.remove_watch(wd);
    }
}

/// Moves a descriptor to a number above those of the watcher, if there can be one. What is open there stays open; a
/// lock on the description stays, too.
///
/// When a process dies the kernel releases its descriptors from the highest number down, and an inotify instance takes
/// it milliseconds. The peers are to learn of the death before that, not after.
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

    /// Removes a watch that nothing needs any more.
    fn remove_watch(&self, wd: i32) {
        // It fails if the kernel has removed the watch by itself, with its file.
        let _ = inotify::remove_watch(&self.inotify, wd);
    }

    /// The thread.
    fn run(&self) {
        loop {
            let timeout = self.lock().next().map(Deadline::remaining);
            let mut hung_up = self.wait(timeout);
            if hung_up.contains(&READABLE) {
                event_count::notify();
                hung_up.retain(|&token| token != READABLE);
            }
            for token in hung_up.extract_if(.., |token| *token & CALLS != 0) {
                let call = RawFd::try_from(token & !CALLS).ok().and_then(|fd| self.lock().calls.get(&fd).cloned());
                if let Some(call) = call {
                    call.on_readable();
                }
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
            registry.probe(now);
        }
    }

    /// Sleeps until there are events, or the time has come. Returns the tokens of the sockets that hung up, of what is called
    /// back for, and [`READABLE`].
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
                event_count::notify();
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
