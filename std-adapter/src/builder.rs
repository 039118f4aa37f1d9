//! How a connection is to be made.

mod make;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smstream_core::cursor::{CURSOR, MAX_CAPACITY};
use smstream_core::error::ErrorCode;
use smstream_core::geometry::Config;
use smstream_core::layout::Features;

use crate::buffering::BufMode;
use crate::error::{Error, Reason, Result};
use crate::parking::default_spin;
use crate::rendezvous::socket::{Allow, Terms};
use crate::settings::Settings;
use crate::turned_away::{OnTurnedAway, TurnedAway};
use smstream_shm::memory::{guard, page_size};

/// The bytes each lane holds if the builder does not say otherwise.
pub const DEFAULT_CAPACITY: usize = 256 * 1024;

/// The most bytes that a lane may hold which the other party decides about, if the builder does not say otherwise: 64 MiB.
pub const DEFAULT_MAX_PEER_CAPACITY: usize = 64 << 20;

/// How long a connector may take for its part of the rendezvous, if the builder does not say otherwise.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes a lane can hold: 512 MiB.
pub const LARGEST_CAPACITY: usize = MAX_CAPACITY as usize;

/// How a listener, a connection or a pair is to be made.
///
/// ```
/// use std::time::Duration;
/// let (a, b) = smstream::Builder::new().capacity(4 << 20).spin(Duration::ZERO).pair()?;
/// assert_eq!(a.stats().capacities, [4 << 20, 4 << 20]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    capacities: [usize; 2],
    spin: Option<Duration>,
    guard: bool,
    buf_mode: BufMode,
    deadlock_detection: bool,
    start: u32,
    allow: Allow,
    most: Option<usize>,
    handshake_timeout: Duration,
    wake_signal: Option<i32>,
    records: bool,
    on_turned_away: OnTurnedAway,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The defaults: lanes of [`DEFAULT_CAPACITY`] both ways, a spin as [`default_spin`] says, each write published.
    #[must_use]
    pub fn new() -> Self {
        Builder {
            capacities: [DEFAULT_CAPACITY; 2],
            spin: None,
            guard: false,
            buf_mode: BufMode::None,
            deadlock_detection: true,
            start: 0,
            allow: Allow::default(),
            most: None,
            handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT,
            wake_signal: None,
            records: false,
            on_turned_away: OnTurnedAway::default(),
        }
    }

    /// How many bytes each lane holds: from 1 to [`LARGEST_CAPACITY`], rounded up to a power of two. The listener
    /// decides; a connector takes what it finds. Over `unix:` and `fd:` the two meet in one round trip instead of two if the
    /// connector asks for the same, within its [`max_peer_capacity`](Builder::max_peer_capacity), and neither wants signals.
    ///
    /// Reading and writing are fastest while the lane stays in the caches of the CPU.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacities = [bytes; 2];
        self
    }

    /// How many bytes the listener's lane and the connector's lane hold. One of them may be 0: then that party only
    /// reads, and the other reads the end of the stream at once.
    #[must_use]
    pub fn capacities(mut self, listener: usize, connector: usize) -> Self {
        self.capacities = [listener, connector];
        self
    }

    /// How long a half looks for what it waits for before it sleeps. Zero: it sleeps at once, which saves power and is slower to
    /// wake. If this is not called, it is at most [`default_spin`], and less often where that is in vain; what is given here is
    /// done each time, but by async halves, which always go by what happened. A timeout is looked at when the spin is over, and
    /// so can be late by as much; the death of the
    /// peer is noticed at once. Who gives `Duration::MAX` never sleeps, and knows no timeouts.
    #[must_use]
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = Some(time);
        self
    }

    /// Whether to survive a peer that shortens the file of a `file:` or `shm:` address. Without this, touching memory that
    /// is gone is a SIGBUS, which kills the process. With it, what is being done then and all later fails with
    /// [`Reason::Corrupt`], and a sleeper is woken, also one in [`Listener::accept`](crate::Listener::accept). Other kinds of memory cannot be
    /// shortened and need no guard.
    ///
    /// The first end that asks for it installs a handler of SIGBUS for the whole process, which stays. Faults elsewhere go
    /// on to the handler that was there, with the mask and the flags that it had.
    ///
    /// # What it does not promise
    /// * To tell bytes of 0 from what the peer has sent, where the file is cut within a page or made longer again: that is
    ///   as if the peer had written them. Only what lies beyond the last page is gone.
    /// * Anything in a thread that blocks SIGBUS: there the kernel kills at once.
    /// * To work after other code has installed a handler of SIGBUS that does not call the one it found, or has set the
    ///   default action. (Rust's own handler, which tells of a stack overflow, does so when it is called, just before the
    ///   process dies.)
    ///
    /// # References
    /// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html), SIGBUS;
    /// [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html)
    #[must_use]
    pub fn guard_truncation(mut self, on: bool) -> Self {
        self.guard = on;
        self
    }

    /// Whether a deadlock of both parties is reported; it is, if this is not called. Either party can switch it off for both.
    ///
    /// Both wait for each other when both read through `&mut Stream`, without a timeout, and nothing is on its way to either;
    /// or when both write, and both lanes are full. Then the listener's call (in a pair: that of the first end) gives
    /// [`Reason::Deadlock`], and the connector's goes on waiting, as do all calls without this.
    ///
    /// Switch it off if such a wait is meant to last until this process is ended from outside.
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    /// let (mut here, mut there) = smstream::Stream::pair()?;
    /// std::thread::scope(|scope| {
    ///     let other = scope.spawn(move || there.read(&mut [0; 8]));
    ///     let e = here.read(&mut [0; 8]).unwrap_err();
    ///     assert_eq!(e.kind(), ErrorKind::Deadlock);
    ///     here.write_all(b"you first")?;
    ///     assert_eq!(other.join().unwrap()?, 8);
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn deadlock_detection(mut self, on: bool) -> Self {
        self.deadlock_detection = on;
        self
    }

    /// Calls `report` for each connector that a listener of this builder does not accept, and for each that goes away during the
    /// rendezvous. Without this the listener says nothing of them: what is wrong with one connector is no error of
    /// [`accept`](crate::Listener::accept).
    ///
    /// The thread that accepts calls it, in the middle of accepting. So it must not block, nor use the listener.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// let (send, said) = mpsc::channel();
    /// let listener = smstream::Builder::new()
    ///     .on_turned_away(move |connector| send.send(connector.to_string()).unwrap_or_default())
    ///     .bind_temp(smstream::Kind::Unix)?;
    /// // A connector that hangs up at once.
    /// let path = listener.local_addr().to_string();
    /// # use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
    /// # let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    /// # connect(&socket, &SocketAddrUnix::new(path.strip_prefix("unix:").unwrap())?)?;
    /// # drop(socket);
    /// assert!(listener.accept_timeout(std::time::Duration::from_millis(100)).is_err());
    /// assert!(said.try_recv().unwrap().contains("it hung up"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_turned_away(mut self, report: impl Fn(&TurnedAway) + Send + Sync + 'static) -> Self {
        self.on_turned_away = OnTurnedAway::new(report);
        self
    }

    /// Lets a party be the user `uid`, beside this process's own effective user; may be called again for others. For
    /// `unix:` and `fd:`, where the kernel attests who is on the other side: a listener turns others away, and a
    /// connector says nothing to them. A `unix:PATH` socket can then be connected to by everybody who can reach its
    /// directory, and decides itself.
    ///
    /// `file:` and `shm:` are for one user alone; there this says nothing.
    #[must_use]
    pub fn allow_uid(mut self, uid: u32) -> Self {
        match &mut self.allow {
            Allow::Any => {}
            Allow::Users(users) => users.push(uid),
            Allow::SameUser => self.allow = Allow::Users(vec![uid]),
        }
        self
    }

    /// Lets a party be any user, as [`allow_uid`](Builder::allow_uid) does for one.
    #[must_use]
    pub fn allow_any(mut self) -> Self {
        self.allow = Allow::Any;
        self
    }

    /// The most bytes a lane may hold if the other party decides about it: a connector over `unix:` or `fd:` gives up
    /// otherwise. It bounds the address space, and the memory that reading what the other party wrote can cost this one.
    /// [`DEFAULT_MAX_PEER_CAPACITY`] if this is not called, or the larger of this builder's own
    /// [`capacities`](Builder::capacities): what one would offer one accepts.
    ///
    /// A listener decides itself, by [`capacity`](Builder::capacity).
    #[must_use]
    pub fn max_peer_capacity(mut self, bytes: usize) -> Self {
        self.most = Some(bytes);
        self
    }

    /// How long a connector over `unix:` may take for its part of the rendezvous, before the listener turns it away.
    /// Others are accepted meanwhile. One that asks for the [capacity](Builder::capacity) that the listener has is done with
    /// its part when it has connected. [`DEFAULT_HANDSHAKE_TIMEOUT`] if this is not called.
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// When written bytes are published, for the ends that are made here: the peer's mode is its own. The stream can
    /// change it: [`Stream::set_buf_mode`](crate::Stream::set_buf_mode).
    #[must_use]
    pub fn buf_mode(mut self, mode: BufMode) -> Self {
        self.buf_mode = mode;
        self
    }

    /// Asks the peer to send this process a signal whenever it wakes one of its halves: `SIGUSR1`, `SIGUSR2` or one from
    /// `SIGRTMIN` to `SIGRTMAX`. For `unix:` and `fd:`, where the kernel attests which process that is.
    ///
    /// It is a hint, beside the wake itself: for a program whose other threads or whose main loop live by signals. One
    /// that is lost loses nothing, and a half that is not asleep gets none; nor does one that a [`Pollable`](crate::Pollable) or
    /// tokio waits with, for it is woken by a byte on the socket. Nothing is installed here: have a handler, or
    /// block the signal and take it with `sigwait` or a `signalfd`, before the connection is made. The signal goes to the
    /// process that took part in the rendezvous, to whichever of its threads takes it, and to no child that it hands the
    /// stream on to.
    ///
    /// ```
    /// // There is no handler for this one, and it would end the process:
    /// let e = smstream::Builder::new().wake_signal(10).connect("unix:@no-listener").unwrap_err();
    /// assert!(e.to_string().contains("install a handler"));
    /// ```
    ///
    /// # Errors
    /// When listening or connecting: [`Reason::InvalidInput`] for another signal, for one that would end this process,
    /// and for an address of another kind.
    ///
    /// # References
    /// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html); the signals `USR1` and
    /// `USR2` of Ulm's `SMStreams`.
    #[must_use]
    pub fn wake_signal(mut self, signal: i32) -> Self {
        self.wake_signal = Some(signal);
        self
    }

    /// Whether this end says to the peer that it sends and receives [records](crate::Records) instead of bytes. If both say so,
    /// [`Stream::into_records`](crate::Stream::into_records) has whole messages; it is an error if only one does.
    ///
    /// It changes nothing else: until then the stream is one of bytes, and a peer that knows no records can be served as such.
    ///
    /// ```
    /// use smstream::Builder;
    /// let (here, there) = Builder::new().records(true).pair()?;
    /// let (mut here, mut there) = (here.into_records()?, there.into_records()?);
    /// here.send(b"one")?;
    /// here.send(b"")?;
    /// let mut out = [0; 16];
    /// assert_eq!(there.recv(&mut out)?, Some(3));
    /// assert_eq!(there.recv(&mut out)?, Some(0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn records(mut self, on: bool) -> Self {
        self.records = on;
        self
    }

    /// Where the cursors begin, so that tests see them wrap.
    #[doc(hidden)]
    #[must_use]
    pub fn start_cursor(mut self, start: u32) -> Self {
        self.start = start & CURSOR;
        self
    }

    pub(crate) fn settings(&self) -> Result<Settings> {
        let guard = self.guard.then(guard::install).transpose().map_err(|e| Error::system(Reason::System, e))?;
        let spin = self.spin.unwrap_or_else(default_spin);
        let terms = Terms {
            spin,
            allow: self.allow.clone(),
            max_peer_capacity: self.largest_accepted(),
            handshake_timeout: self.handshake_timeout,
            wake_signal: self.wake_signal,
            features: self.features(),
            proposal: self.config().ok(),
        };
        let adapts = self.spin.is_none();
        Ok(Settings {
            spin,
            adapts,
            guard,
            deadlock_detection: self.deadlock_detection,
            buf_mode: self.buf_mode,
            on_turned_away: self.on_turned_away.clone(),
            terms,
        })
    }

    /// What the own lane is to carry.
    fn features(&self) -> Features {
        if self.records { Features::RECORDS } else { Features::empty() }
    }

    /// The most bytes of a lane that the other party decides about: what this one would offer itself it accepts.
    fn largest_accepted(&self) -> u32 {
        let most = self.most.unwrap_or_else(|| {
            let own = self.capacities.into_iter().max().unwrap_or(0).checked_next_power_of_two();
            DEFAULT_MAX_PEER_CAPACITY.max(own.unwrap_or(usize::MAX))
        });
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    pub(crate) fn config(&self) -> Result<Config> {
        if self.capacities == [0, 0] {
            return Err(Error::new(
                Reason::Capacity,
                "a capacity of 0 both ways leaves nothing to send: take 1 or more",
            ));
        }
        let mut capacities = [0; 2];
        let lanes = self.capacities.into_iter().zip([ErrorCode::MRing, ErrorCode::SRing]);
        for (rounded, (asked, code)) in capacities.iter_mut().zip(lanes) {
            if asked > LARGEST_CAPACITY {
                let text = format!("a lane cannot hold {asked} bytes: {LARGEST_CAPACITY} (512 MiB) is the most");
                return Err(Error::new(Reason::Capacity, text).with_code(code));
            }
            // At most 2^29, so neither the rounding nor the conversion can fail.
            *rounded = if asked == 0 { 0 } else { asked.next_power_of_two() as u32 };
        }
        let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let config = Config {
            align: u32::try_from(page_size()).unwrap_or(u32::MAX),
            start: self.start,
            pid: std::process::id(),
            made,
            features: Features::COUNTERS | self.features(),
            ..Config::new(capacities)
        };
        config.check().map_err(|problem| Error::new(Reason::Capacity, format!("the channel {problem}")))?;
        Ok(config)
    }
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
