//! This side sleeps, and goes on by the peer's wakes alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::conform::meeting::{Link, Meeting};
use crate::conform::plan::{Over, Play};
use crate::conform::scene::{Role, Scene};
use crate::conform::segment::{at, full_fence};
use crate::conform::trouble::{Trouble, broke, need, unreached};
use crate::conform::words::{ASLEEP, EXCLUSIVE, LAST, Speaks, THRESHOLD, add, crossed};

pub const PLAYS: &[Play] = &[
    Play {
        name: "this side reads by wakes alone: a futex",
        about: &["W4", "K7"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| by_wakes(s, 0),
    },
    Play {
        name: "this side reads by wakes alone: a byte",
        about: &["W4", "K7"],
        level: 1,
        over: Over::Socket,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| by_wakes(s, 1),
    },
    Play {
        name: "a wake method that the layout does not have is one of a futex",
        about: &["K7"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: |s| by_wakes(s, 77),
    },
    Play {
        name: "a wake method with a signal that was not asked for is one of a futex",
        about: &["G1", "G3"],
        level: 3,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: signal,
    },
    Play {
        name: "this side waits for room by a wake",
        about: &["W4"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: room,
    },
    Play {
        name: "FIN wakes a side that waits for more than came",
        about: &["W5"],
        level: 1,
        over: Over::Both,
        role: None,
        speaks: Speaks::Bytes,
        run: last,
    },
    Play {
        name: "both sides wait for the other one's bytes",
        about: &["E1", "E3", "E4"],
        level: 3,
        over: Over::Both,
        role: Some(Role::Connector),
        speaks: Speaks::Bytes,
        run: deadlock,
    },
];

/// Which half of this side sleeps.
#[derive(Clone, Copy)]
enum Half {
    Reader,
    Writer,
}

impl Half {
    /// Its park word, its wake method, and the peer's word that it waits for.
    fn words(self) -> (usize, usize, &'static str) {
        match self {
            Half::Reader => (at("read_park"), at("read_wake_method"), "sent"),
            Half::Writer => (at("write_park"), at("write_wake_method"), "received"),
        }
    }
}

/// Announces that a half sleeps until the peer's cursor is at the threshold, does something that makes the peer move, and needs the wake: K as the one
/// who sleeps, W4 and W5 of the peer. Whether a wake was needed: the peer can be so far already when this side announces.
fn sleep(
    meeting: &mut Meeting,
    half: Half,
    threshold: u32,
    method: u32,
    act: impl FnOnce(&mut Meeting),
) -> Result<bool, Trouble> {
    let (park, method_at, word) = half.words();
    let capacity = if matches!(half, Half::Reader) { meeting.their_capacity() } else { meeting.capacity() };
    let announced = ASLEEP | (threshold & THRESHOLD);
    meeting.own.store(method_at, method);
    let mut act = Some(act);
    // As last accepted, when it had not come so far: what the word says now can be beyond the threshold.
    let first = if matches!(half, Half::Reader) { meeting.their_sent } else { meeting.their_received };
    let mut needed = true;
    let woken = loop {
        if let Link::Socket(wire) = &meeting.link {
            single_bytes(&wire.drain()?)?;
        }
        meeting.own.store(park, announced);
        full_fence();
        let seen = meeting.peer.load(at(word));
        let is_there = |now: u32| crossed(announced, first, now, now & LAST != 0, capacity);
        if is_there(seen) {
            // It was so far before, or has come so far since a wake ended the last sleep.
            if let Some(act) = act.take() {
                needed = false;
                act(meeting);
            }
            break true;
        }
        let woken = match &meeting.link {
            Link::Socket(_) if method == 1 => by_byte(meeting, word, &is_there, &mut act)?,
            _ => by_futex(meeting, word, seen, &mut act)?,
        };
        // The peer may move before it has to, and wake whenever it likes.
        if act.is_none() && (!woken || is_there(meeting.peer.load(at(word)))) {
            break woken;
        }
    };
    let now = meeting.peer.load(at(word));
    meeting.own.store(park, 0);
    let clause = if now & LAST != 0 { "W5" } else { "W4" };
    let happened = || {
        format!(
            "its `{word}` went from {first:#010x} to {now:#010x}, and this side waited for {threshold:#x} (modulo 2^30)"
        )
    };
    if woken {
        return Ok(needed);
    }
    Err(if crossed(announced, first, now, now & LAST != 0, capacity) {
        broke(&[clause], format!("{}: no wake came, by wake method {method:#x}", happened()))
    } else {
        broke(&["K3", "K6"], format!("{}: it did not go on", happened()))
    })
}

/// S11.
fn single_bytes(lens: &[usize]) -> Result<(), Trouble> {
    need(lens.iter().all(|len| *len == 1), &["S11"], || format!("packets of {lens:?} bytes came after ACCEPTED"))
}

/// Sleeps on the socket until the peer has come so far that it must have rung.
fn by_byte<A: FnOnce(&mut Meeting)>(
    meeting: &mut Meeting,
    word: &str,
    is_there: &dyn Fn(u32) -> bool,
    act: &mut Option<A>,
) -> Result<bool, Trouble> {
    if let Some(act) = act.take() {
        act(meeting);
    }
    let Link::Socket(wire) = &meeting.link else { return Err(broke(&[], "this side has no socket")) };
    loop {
        if !wire.wait(meeting.patience())? {
            return Ok(false);
        }
        let over = wire.is_over()?;
        single_bytes(&wire.drain()?)?;
        if over || is_there(meeting.peer.load(at(word))) {
            return Ok(true);
        }
    }
}

/// Sleeps on the peer's word, and lets it move only when the kernel says that the thread sleeps. Whether a wake ended it, or the word was another one
/// by then.
fn by_futex<A: FnOnce(&mut Meeting)>(
    meeting: &mut Meeting,
    word: &str,
    seen: u32,
    act: &mut Option<A>,
) -> Result<bool, Trouble> {
    let limit = meeting.patience();
    let (tell, asleep) = mpsc::channel();
    // The mapping stays: the thread has ended when this returns.
    let place = meeting.peer.start() as usize + at(word);
    let sleeper = std::thread::spawn(move || {
        let _ = tell.send(rustix::thread::gettid());
        sleep_at(place, seen, limit)
    });
    let ended = || broke(&[], "a thread of this side ended");
    let thread = asleep.recv().map_err(|_| ended())?;
    let number = format!("{} ", libc::SYS_futex);
    let path = format!("/proc/self/task/{}/syscall", thread.as_raw_nonzero());
    while !sleeper.is_finished() && !std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(&number)) {
        std::thread::sleep(Duration::from_micros(50));
    }
    if !sleeper.is_finished()
        && let Some(act) = act.take()
    {
        act(meeting);
    }
    sleeper.join().map_err(|_| ended())
}

/// `futex(FUTEX_WAIT)` on a word that stays mapped until it returns. Whether it was over before the time.
fn sleep_at(place: usize, seen: u32, limit: Duration) -> bool {
    let time = libc::timespec { tv_sec: limit.as_secs() as _, tv_nsec: limit.subsec_nanos() as _ };
    // SAFETY: the kernel checks the address, and the time lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, place, libc::FUTEX_WAIT, seen, &raw const time, std::ptr::null::<u32>(), 0)
    };
    result == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
}

fn by_wakes(scene: &mut Scene, method: u32) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let most = (meeting.their_capacity().min(meeting.capacity()) / 2).max(1);
    for round in 0..40u32 {
        let n = (1 + round * round * 7).min(most);
        let threshold = add(meeting.received, n);
        sleep(&mut meeting, Half::Reader, threshold, method, |meeting| {
            let bytes = vec![round as u8; n as usize];
            // There is room: all that was sent before has come back.
            let _ = meeting.write(&bytes);
        })?;
        take(&mut meeting, n, round as u8)?;
    }
    meeting.close();
    Ok(())
}

/// Takes `n` bytes, which are all the same, as they come.
fn take(meeting: &mut Meeting, n: u32, byte: u8) -> Result<(), Trouble> {
    let mut left = n as usize;
    while left > 0 {
        let mut bytes = vec![0; left];
        let came = meeting.need(&["W1"], &format!("{left} of {n} bytes are missing"), |meeting| {
            let came = meeting.read(&mut bytes)?;
            Ok((came > 0).then_some(came))
        })?;
        need(bytes[..came].iter().all(|it| *it == byte), &["P1", "W1"], || "another byte came back".into())?;
        left -= came;
    }
    Ok(())
}

/// Fills both lanes, so that the peer waits for room; then takes bytes, and waits for room by a wake.
fn room(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let methods = if matches!(meeting.link, Link::Socket(_)) { &[0, 1][..] } else { &[0][..] };
    let mut needed = [0; 2];
    for round in 0..20 {
        let method = &methods[round % methods.len()];
        let mut sent = 0;
        // As long as it takes any; it stops when its own lane is full.
        let full = |meeting: &Meeting| meeting.peer.load(at("sent")) == add(meeting.received, meeting.their_capacity());
        meeting.need(&["W1"], "its lane does not become full, although nothing is taken", |meeting| {
            sent += meeting.write(&[7; 4096])?;
            meeting.look_sent()?;
            Ok((full(meeting) && meeting.look_received()? == 0).then_some(()))
        })?;
        let want = (meeting.capacity() / 2).max(1);
        let threshold = meeting.sent.wrapping_add(want).wrapping_sub(meeting.capacity());
        let was_needed = sleep(&mut meeting, Half::Writer, threshold, *method, |meeting| {
            // Enough is taken for the peer to take as much as is waited for, whatever it keeps in a buffer of its own.
            let mut left = sent;
            let mut bytes = [0; 4096];
            let end = std::time::Instant::now() + meeting.patience();
            while left > 0 && std::time::Instant::now() < end {
                left -= meeting.read(&mut bytes).unwrap_or(0);
            }
            sent = left;
        })?;
        take(&mut meeting, sent as u32, 7)?;
        meeting.look_received()?;
        needed[*method as usize] += usize::from(was_needed);
        if methods.iter().all(|method| needed[*method as usize] >= 2) {
            break;
        }
    }
    meeting.close();
    let enough = methods.iter().all(|method| needed[*method as usize] > 0);
    if enough { Ok(()) } else { Err(unreached("it always had taken enough when this side began to wait for room")) }
}

fn last(scene: &mut Scene) -> Result<(), Trouble> {
    for method in if scene.file().is_none() { &[0, 1][..] } else { &[0][..] } {
        let mut meeting = scene.meet()?;
        // More than will come.
        let threshold = add(meeting.received, (meeting.their_capacity() / 2).max(2));
        sleep(&mut meeting, Half::Reader, threshold, *method, |meeting| {
            let _ = meeting.write(b"x");
            meeting.finish();
        })?;
        take(&mut meeting, 1, b'x')?;
        meeting.need(&["X3"], "all came back, and it does not say FIN", |meeting| {
            meeting.look_sent()?;
            Ok(meeting.has_fin().then_some(()))
        })?;
        meeting.close();
    }
    Ok(())
}

fn signal(scene: &mut Scene) -> Result<(), Trouble> {
    let came = Arc::new(AtomicBool::new(false));
    // It would end this process otherwise.
    let hook = signal_hook::flag::register(libc::SIGUSR1, came.clone())?;
    let played = by_wakes(scene, 0x100 + libc::SIGUSR1 as u32);
    let sent = came.load(Ordering::Relaxed);
    signal_hook::low_level::unregister(hook);
    played?;
    need(!sent, &["G3"], || "it sent a signal to a process that has not said that it wants one".into())
}

/// This side is party 1 and waits for bytes, with nothing else to do: E4. A peer that sets EXCLUSIVE, too, is the one to report it.
fn deadlock(scene: &mut Scene) -> Result<(), Trouble> {
    let mut meeting = scene.meet()?;
    let park = at("read_park");
    let stuck = |word: u32| word & (ASLEEP | EXCLUSIVE) == ASLEEP | EXCLUSIVE;
    // It sets the two bits by one store.
    let asleep = meeting.until(|meeting| Ok(Some(meeting.peer.load(park)).filter(|word| word & ASLEEP != 0)))?;
    if !asleep.is_some_and(stuck) {
        meeting.close();
        return Err(unreached("it never sets EXCLUSIVE"));
    }
    meeting.own.store(park, ASLEEP | EXCLUSIVE | (add(meeting.received, 1) & THRESHOLD));
    full_fence();
    meeting.wake_reader();
    meeting.need(&["E3", "E4"], "both sides wait exclusively for bytes, and it does not report it", |meeting| {
        Ok((!stuck(meeting.peer.load(park))).then_some(()))
    })?;
    meeting.own.store(park, 0);
    meeting.close();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use smstream::memory::Access;

    use super::*;
    use crate::conform::packet::Wire;
    use crate::conform::scene::usual;
    use crate::conform::segment::{Segment, whole};

    /// Both parties of a channel, in one process.
    fn both(patience: Duration) -> [Meeting; 2] {
        let config = usual();
        let sockets = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let [(first, own0), (second, own1)] = [0, 1].map(|party| Segment::sealed(&config, party).unwrap());
        let view = |fd: &OwnedFd, party| Segment::new(fd, 0, whole(&config, party), Access::ReadOnly).unwrap();
        let peers = [view(&second, 1), view(&first, 0)].map(|mut view| {
            view.set_lane(config.describe(0).lane_offset as usize, config.capacities[0]);
            view
        });
        let [peer0, peer1] = peers;
        let link = |socket| Link::Socket(Wire::new(socket, patience).unwrap());
        [
            Meeting::new(config, 0, [own0, peer0], link(sockets.0), patience),
            Meeting::new(config, 1, [own1, peer1], link(sockets.1), patience),
        ]
    }

    /// Between the last look of this side and its announcement the peer can take all that was sent: then nothing is left to wait for.
    #[test]
    fn a_peer_that_is_so_far_before_the_announcement_need_not_go_on() {
        let [mut writer, mut reader] = both(Duration::from_secs(2));
        let capacity = writer.capacity();
        assert_eq!(writer.write(&vec![7; capacity as usize]).unwrap(), capacity as usize);
        assert_eq!(writer.look_received().unwrap(), 0);
        assert_eq!(reader.read(&mut vec![0; capacity as usize]).unwrap(), capacity as usize);
        let threshold = add(writer.sent.wrapping_sub(capacity), capacity / 2);
        let mut acted = false;
        let needed = sleep(&mut writer, Half::Writer, threshold, 0, |_| acted = true);
        assert!(matches!(needed, Ok(false)), "{needed:?}");
        assert!(acted);
    }
}
