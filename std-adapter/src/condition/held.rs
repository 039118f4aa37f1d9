//! A condition while it is waited for: the lock of its direction, and the steps of parking.

use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use rustix::fd::AsFd;
use smstream_core::lane::Announced;
use smstream_core::park::{ALERT_CORRUPT, Watch};

use super::Source;
use crate::connecting::Connecting;
use crate::half::{ReadHalf, WriteHalf};
use crate::listener::{Inner, Listener};
use crate::liveness::{self, Half, Life};
use crate::stream::Stream;
use smstream_shm::Deadline;
use smstream_shm::memory::guard::Cut;

/// What can be used alone: by its lock, or because it is borrowed alone.
pub(super) enum Grip<'c, T> {
    Lock(MutexGuard<'c, T>),
    Borrow(&'c mut T),
}

impl<T> Deref for Grip<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        match self {
            Grip::Lock(guard) => guard,
            Grip::Borrow(borrow) => borrow,
        }
    }
}

impl<T> DerefMut for Grip<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Grip::Lock(guard) => guard,
            Grip::Borrow(borrow) => borrow,
        }
    }
}

/// The lock, if nobody has it.
fn grip<T>(mutex: &Mutex<T>) -> Option<Grip<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(Grip::Lock(guard)),
        Err(TryLockError::Poisoned(poisoned)) => Some(Grip::Lock(poisoned.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A condition that is waited for.
pub(super) struct Held<'c> {
    what: What<'c>,
    /// Announced, or told to the watcher: to be withdrawn.
    announced: bool,
}

enum What<'c> {
    /// The stream is the one that it reads, unless it is a half alone.
    Reader(Grip<'c, ReadHalf>, Option<&'c Stream>),
    Writer(Grip<'c, WriteHalf>, Option<&'c Stream>),
    Listener(Grip<'c, Inner>, &'c Listener),
    Connecting(&'c mut Connecting),
    /// Somebody else is using it: this thread, for the same condition at this place, or another one.
    Same(usize),
    BusyReader(&'c Stream),
    BusyWriter(&'c Stream),
    BusyListener(&'c Listener),
}

/// What a thread is going to sleep on.
pub(super) struct Bed<'w> {
    pub(super) words: Vec<Watch<'w>>,
    /// How long at most, if something that is waited for wakes nobody.
    pub(super) most: Option<Duration>,
}

impl Bed<'_> {
    fn at_most(&mut self, time: Duration) {
        self.most = Some(self.most.map_or(time, |most| most.min(time)));
    }
}

impl<'c> Held<'c> {
    /// Takes hold of a condition, if nobody else has; `before` are those that this thread holds.
    pub(super) fn new(source: &'c mut Source<'_>, before: &[Held<'c>]) -> Self {
        let what = match source {
            Source::Readable(stream) => What::BusyReader(stream),
            Source::Writable(stream) => What::BusyWriter(stream),
            Source::Acceptable(listener) => What::BusyListener(listener),
            Source::ReadHalf(half) => What::Reader(Grip::Borrow(half), None),
            Source::WriteHalf(half) => What::Writer(Grip::Borrow(half), None),
            Source::Connectable(connecting) => What::Connecting(connecting),
        };
        let mut held = Held { what, announced: false };
        held.take_hold();
        if held.is_busy()
            && let Some(place) = before.iter().position(|other| held.is_the_same_as(other))
        {
            held.what = What::Same(place);
        }
        held
    }

    /// Takes hold of what another thread was using, if it is not any more.
    fn take_hold(&mut self) {
        let what = match &self.what {
            What::BusyReader(stream) => grip(stream.halves().0).map(|reader| What::Reader(reader, Some(stream))),
            What::BusyWriter(stream) => grip(stream.halves().1).map(|writer| What::Writer(writer, Some(stream))),
            What::BusyListener(listener) => grip(listener.inner()).map(|inner| What::Listener(inner, listener)),
            _ => None,
        };
        if let Some(what) = what {
            self.what = what;
        }
    }

    fn is_busy(&self) -> bool {
        matches!(self.what, What::BusyReader(_) | What::BusyWriter(_) | What::BusyListener(_))
    }

    /// Whether this is busy because `other` holds it, or waits for the same.
    fn is_the_same_as(&self, other: &Held<'_>) -> bool {
        match (&self.what, &other.what) {
            (What::BusyReader(a), What::Reader(_, Some(b)) | What::BusyReader(b)) => ptr::eq(*a, *b),
            (What::BusyWriter(a), What::Writer(_, Some(b)) | What::BusyWriter(b)) => ptr::eq(*a, *b),
            (What::BusyListener(a), What::Listener(_, b) | What::BusyListener(b)) => ptr::eq(*a, *b),
            _ => false,
        }
    }

    /// The place of the condition that this one is the same as.
    pub(super) fn same(&self) -> Option<usize> {
        match self.what {
            What::Same(place) => Some(place),
            _ => None,
        }
    }

    /// What it knows about the life of its peer.
    fn life(&self) -> Option<&Life> {
        match &self.what {
            What::Reader(half, _) => Some(&half.shared.life),
            What::Writer(half, _) => Some(&half.shared.life),
            What::Connecting(connecting) => connecting.region().and_then(|region| region.life()).map(|life| &**life),
            _ => None,
        }
    }

    /// Whether somebody waits for this half with `poll`, `epoll` or an executor.
    fn is_polled(&self) -> bool {
        match &self.what {
            What::Reader(half, _) => half.shared.is_polled(),
            What::Writer(half, _) => half.shared.is_polled(),
            _ => false,
        }
    }

    /// How long it spins before it sleeps, if it is a half.
    pub(super) fn spin_time(&self) -> Option<Duration> {
        match &self.what {
            What::Reader(half, _) => Some(half.consumer().park().spin_time()),
            What::Writer(half, _) => Some(half.producer().park().spin_time()),
            _ => None,
        }
    }

    /// A look that costs next to nothing: halves only.
    pub(super) fn glance(&mut self) -> bool {
        match &mut self.what {
            What::Reader(half, _) => half.consumer_mut().is_ready(1),
            What::Writer(half, _) => half.producer_mut().is_ready(1),
            _ => false,
        }
    }

    /// Whether the call that it stands for would return at once.
    pub(super) fn is_ready(&mut self) -> bool {
        if self.is_busy() {
            self.take_hold();
        }
        match &mut self.what {
            What::Reader(half, _) => {
                let ready = half.consumer_mut().is_ready(1);
                if ready && half.consumer().is_corrupt() {
                    half.shared.life.raise(Half::Writer, ALERT_CORRUPT);
                }
                ready || was_cut(&half.shared.life)
            }
            What::Writer(half, _) => {
                let ready = half.producer_mut().is_ready(1);
                if ready && half.producer().is_corrupt() {
                    half.shared.life.raise(Half::Reader, ALERT_CORRUPT);
                }
                ready || was_cut(&half.shared.life)
            }
            What::Listener(inner, listener) => listener.is_acceptable(inner),
            What::Connecting(connecting) => connecting.is_ready(),
            // A call would have to wait for the other thread.
            What::BusyReader(_) | What::BusyWriter(_) | What::BusyListener(_) => false,
            What::Same(_) => false,
        }
    }

    /// Done for those who look and never wait.
    pub(super) fn look_after(&self) {
        if let Some(life) = self.life() {
            life.look_after();
        }
    }

    /// Done once, before the first sleep, in this process.
    pub(super) fn prepare(&mut self, pid: u32) {
        match &mut self.what {
            // What was written goes out before an answer is waited for. If somebody else is writing he sees to it.
            What::Reader(_, Some(stream)) => {
                if let Some(mut writer) = grip(stream.halves().1) {
                    writer.publish_held();
                }
            }
            What::Writer(half, _) => half.publish_held(),
            What::Listener(inner, _) => {
                if let Inner::Region(listener) = &mut **inner {
                    listener.watch_name();
                }
            }
            _ => {}
        }
        if let Some(life) = self.life() {
            life.be_registered_in(pid);
        }
    }

    /// Done after a sleep that lasted as long as it might: asks whether the peer lives if nothing tells it.
    pub(super) fn ask(&self) {
        if let Some(life) = self.life()
            && life.is_timed()
        {
            life.ask();
        }
    }

    /// Sees that whatever makes this ready changes one of the words, or the news. `false`: it is ready.
    ///
    /// Then, or after the sleep, [`withdraw`](Self::withdraw).
    pub(super) fn announce<'w>(&'w mut self, bed: &mut Bed<'w>, slice: Duration) -> bool {
        if self.life().is_some_and(Life::is_timed) {
            bed.at_most(slice);
        }
        self.announced = !self.is_polled();
        match &mut self.what {
            // What it has announced is for a descriptor or a task, and stays so.
            What::Reader(..) | What::Writer(..) if !self.announced => {
                bed.at_most(slice);
                true
            }
            What::Reader(half, _) => {
                let cut = half.shared.cut.clone();
                park(half.consumer_mut().announce(1), cut.as_deref(), bed)
            }
            What::Writer(half, _) => {
                let cut = half.shared.cut.clone();
                park(half.producer_mut().announce(1), cut.as_deref(), bed)
            }
            What::Listener(inner, _) => {
                match &**inner {
                    Inner::Region(listener) => {
                        // What happens to its name is news.
                        if let Some(time) = listener.look_again() {
                            bed.at_most(time);
                        }
                        bed.words.push(listener.watch());
                    }
                    Inner::Socket(listener) => {
                        if liveness::tell_when_readable(listener.as_fd()).is_err() {
                            bed.at_most(slice);
                        }
                    }
                }
                true
            }
            What::Connecting(connecting) => {
                if let Some(region) = connecting.region() {
                    // Its alert is news.
                    bed.words.extend(region.watches()[0]);
                    if let Some(time) = region.look_again() {
                        bed.at_most(time);
                    }
                }
                if let Some(socket) = connecting.socket()
                    && (socket.is_queueing() || liveness::tell_when_readable(socket.socket().as_fd()).is_err())
                {
                    bed.at_most(slice);
                }
                true
            }
            What::BusyReader(_) | What::BusyWriter(_) | What::BusyListener(_) => {
                bed.at_most(slice);
                true
            }
            What::Same(_) => true,
        }
    }

    /// Takes back what was announced, if anything was.
    pub(super) fn withdraw(&mut self) {
        if !std::mem::take(&mut self.announced) {
            return;
        }
        match &mut self.what {
            What::Reader(half, _) => half.consumer_mut().withdraw(),
            What::Writer(half, _) => half.producer_mut().withdraw(),
            What::Listener(inner, _) => {
                if let Inner::Socket(listener) = &**inner {
                    liveness::tell_no_more(listener.as_fd());
                }
            }
            What::Connecting(connecting) => {
                if let Some(socket) = connecting.socket() {
                    liveness::tell_no_more(socket.socket().as_fd());
                }
            }
            _ => {}
        }
    }
}

/// Whether the memory was cut short, if that is guarded: then it is corrupt.
fn was_cut(life: &Life) -> bool {
    let cut = life.is_cut();
    if cut {
        life.raise_both(ALERT_CORRUPT);
    }
    cut
}

fn park<'w>(announced: Announced<'w>, cut: Option<&Cut>, bed: &mut Bed<'w>) -> bool {
    match announced {
        Announced::Ready => false,
        // What was seen may be an empty page. Nobody will ever wake who sleeps on that.
        Announced::Asleep { .. } if cut.is_some_and(Cut::is_set) => false,
        // Its alert is news.
        Announced::Asleep { cursor, .. } => {
            bed.words.push(cursor);
            true
        }
    }
}

/// When a sleep of at most `most`, until `deadline`, ends.
pub(super) fn sooner(most: Option<Duration>, deadline: Option<Deadline>) -> Option<Deadline> {
    match (most.map(Deadline::after), deadline) {
        (Some(most), Some(deadline)) => Some(most.min(deadline)),
        (most, deadline) => most.or(deadline),
    }
}
