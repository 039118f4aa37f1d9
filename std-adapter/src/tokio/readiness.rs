//! What the two halves of an async stream share: the socket, and who is to be woken by it.

use super::spin::Spin;
use super::watch;
use crate::doorbell::{Doorbell, Remaining};
use crate::error::Result;
use crate::half::Polled;
use crate::liveness::{Half, PeerMonitor};
use crate::peer_socket::PeerSocket;
use ::tokio::io::unix::AsyncFd;
use ::tokio::task::{coop, yield_now};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

/// How often a half looks before its task lets others run.
const LOOKS: u32 = 16;
/// How often the socket is found readable in one attempt, before others get a turn: a peer may ring without end.
const RINGS: u32 = 4;

/// How the halves of a stream become ready. There is one socket for two halves, which may be in two tasks, and a runtime wakes but one waiter
/// of each kind: so it wakes both of ours.
#[derive(Debug)]
pub(super) struct Readiness {
    fd: AsyncFd<Arc<PeerSocket>>,
    doorbell: Arc<Doorbell>,
    monitor: Arc<PeerMonitor>,
    spin: Duration,
    waiters: Arc<Waiters>,
    /// Wakes all waiters.
    waker: Waker,
}

/// The tasks that wait for each half.
#[derive(Debug, Default)]
struct Waiters([Mutex<Option<Waker>>; 2]);

impl Waiters {
    fn set(&self, half: Half, waker: &Waker) {
        let mut slot = self.0[half as usize].lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(old) => old.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    fn wake_one(&self, half: Half) {
        let waker = self.0[half as usize].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_one(Half::Reader);
        self.wake_one(Half::Writer);
    }
}

/// What one half remembers of its waiting.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// It has said to the peer that it sleeps.
    announced: bool,
    spin: Spin,
}

impl Readiness {
    /// For an end with this doorbell. Its halves are rung from now on.
    pub(super) fn new(doorbell: Arc<Doorbell>, monitor: Arc<PeerMonitor>, spin: Duration) -> Result<Arc<Self>> {
        let fd = watch(doorbell.socket())?;
        doorbell.set_polled(true);
        let waiters = Arc::new(Waiters::default());
        let waker = Waker::from(Arc::clone(&waiters));
        Ok(Arc::new(Readiness { fd, doorbell, monitor, spin, waiters, waker }))
    }

    /// The end's halves sleep by futex again.
    pub(super) fn close(&self) {
        self.doorbell.set_polled(false);
    }

    /// Something happened that the other half has to see.
    pub(super) fn wake_other(&self, half: Half) {
        self.waiters.wake_one(match half {
            Half::Reader => Half::Writer,
            Half::Writer => Half::Reader,
        });
    }

    /// Ready when an attempt with this half would not have to wait. `first` is done before it waits.
    ///
    /// Pending: the task is woken when it is worth trying again. The half has announced itself then, or is looking.
    pub(super) fn poll_ready(
        &self,
        half: Half,
        side: &mut Side,
        polled: &mut impl Polled,
        cx: &mut Context<'_>,
        first: impl FnOnce(),
    ) -> Poll<io::Result<()>> {
        let budget = ready!(coop::poll_proceed(cx));
        side.withdraw(polled);
        let ready = if polled.is_ready() { Poll::Ready(Ok(())) } else { self.wait(half, side, polled, cx, first) };
        if ready.is_ready() {
            side.spin.over();
            budget.made_progress();
        }
        ready
    }

    #[cold]
    fn wait(
        &self,
        half: Half,
        side: &mut Side,
        polled: &mut impl Polled,
        cx: &mut Context<'_>,
        first: impl FnOnce(),
    ) -> Poll<io::Result<()>> {
        // The peer may be waiting for it.
        first();
        if side.spin.goes_on(self.spin) {
            for _ in 0..LOOKS {
                std::hint::spin_loop();
                if polled.is_ready() {
                    return Poll::Ready(Ok(()));
                }
            }
            // The runtime wakes the task when the others, and its I/O, have had their turn.
            return pin!(yield_now()).poll(cx).map(|()| Ok(()));
        }
        self.waiters.set(half, cx.waker());
        for _ in 0..RINGS {
            // What was rung until now is taken before announcing. What is rung afterwards wakes.
            let rung = match self.fd.poll_read_ready(&mut Context::from_waker(&self.waker)) {
                Poll::Pending => {
                    if !side.announce(polled) {
                        return Poll::Ready(Ok(()));
                    }
                    return Poll::Pending;
                }
                Poll::Ready(rung) => rung,
            };
            let mut rung = rung?;
            if self.doorbell.take(&self.monitor) == Remaining::Nothing {
                rung.clear_ready();
            }
            // It may have been for the other one, who finds nothing there now.
            self.wake_other(half);
            if polled.is_ready() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Side {
    fn announce(&mut self, polled: &mut impl Polled) -> bool {
        self.announced = polled.announce();
        self.announced
    }

    /// The half is awake.
    pub(super) fn withdraw(&mut self, polled: &mut impl Polled) {
        if std::mem::take(&mut self.announced) {
            polled.withdraw();
        }
    }
}
