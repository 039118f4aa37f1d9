//! The halves, beside other things that a thread waits for.

use super::{ReadHalf, Shared, WriteHalf, is_cut};
use crate::condition::waitable::{WaitSet, Waitable};
use crate::liveness::{Half, PeerMonitor};
use crate::spin::Habit;
use smstream_core::lane::Announced;
use smstream_core::park::ALERT_CORRUPT;
use smstream_shm::memory::guard::Cut;
use std::sync::Arc;
use std::time::Duration;

impl Waitable for ReadHalf {
    fn is_ready(&mut self) -> bool {
        let ready = self.consumer_mut().is_ready(1);
        if ready && self.consumer().is_corrupt() {
            self.shared.monitor.raise(Half::Writer, ALERT_CORRUPT);
        }
        ready || was_cut(&self.shared)
    }
    fn is_ready_cheaply(&mut self) -> bool {
        self.consumer_mut().is_ready(1)
    }
    fn spin_time(&self) -> Option<Duration> {
        Some(self.consumer().park().spin_time())
    }
    fn habit(&self) -> Option<&Habit> {
        self.consumer().park().habit()
    }
    fn monitor(&self) -> Option<&PeerMonitor> {
        Some(&self.shared.monitor)
    }
    fn set_waiting(&self, on: bool) {
        self.shared.read.set_waiting(on);
    }
    fn say_asleep(&mut self) -> bool {
        if self.shared.is_polled() {
            return false;
        }
        self.consumer_mut().say_asleep(1);
        self.consumer().needs_barrier()
    }
    fn arm<'w>(&'w mut self, set: &mut WaitSet<'w>, slice: Duration) -> bool {
        if self.shared.is_polled() {
            // What it has announced is for a descriptor or a task, and stays so.
            set.limit(slice);
            return true;
        }
        let cut = self.shared.cut.clone();
        sleep_on(self.consumer_mut().look_again(1), &cut, set)
    }
    fn disarm(&mut self) {
        if !self.shared.is_polled() {
            self.consumer_mut().withdraw();
        }
    }
}

impl Waitable for WriteHalf {
    fn is_ready(&mut self) -> bool {
        let ready = self.producer_mut().is_ready(1);
        if ready && self.producer().is_corrupt() {
            self.shared.monitor.raise(Half::Reader, ALERT_CORRUPT);
        }
        ready || was_cut(&self.shared)
    }
    fn is_ready_cheaply(&mut self) -> bool {
        self.producer_mut().is_ready(1)
    }
    fn spin_time(&self) -> Option<Duration> {
        Some(self.producer().park().spin_time())
    }
    fn habit(&self) -> Option<&Habit> {
        self.producer().park().habit()
    }
    fn monitor(&self) -> Option<&PeerMonitor> {
        Some(&self.shared.monitor)
    }
    fn prepare(&mut self) {
        // The peer makes no room by reading what it is not shown.
        self.flush_buffered();
    }
    fn set_waiting(&self, on: bool) {
        self.shared.write.set_waiting(on);
    }
    fn say_asleep(&mut self) -> bool {
        if self.shared.is_polled() {
            return false;
        }
        self.producer_mut().say_asleep(1);
        self.producer().needs_barrier()
    }
    fn arm<'w>(&'w mut self, set: &mut WaitSet<'w>, slice: Duration) -> bool {
        if self.shared.is_polled() {
            // As for reading.
            set.limit(slice);
            return true;
        }
        let cut = self.shared.cut.clone();
        sleep_on(self.producer_mut().look_again(1), &cut, set)
    }
    fn disarm(&mut self) {
        if !self.shared.is_polled() {
            self.producer_mut().withdraw();
        }
    }
}

/// Whether the memory was cut short, if that is guarded: then it is corrupt.
fn was_cut(shared: &Shared) -> bool {
    let cut = shared.monitor.is_cut();
    if cut {
        shared.monitor.raise_both(ALERT_CORRUPT);
    }
    cut
}

fn sleep_on<'w>(announced: Announced<'w>, cut: &Option<Arc<Cut>>, set: &mut WaitSet<'w>) -> bool {
    match announced {
        Announced::Ready => false,
        // What was seen may be an empty page. No waker comes to a sleeper on that.
        Announced::Asleep { .. } if is_cut(cut) => false,
        // An alert changes the event count of the process.
        Announced::Asleep { cursor, .. } => {
            set.words.push(cursor);
            true
        }
    }
}
