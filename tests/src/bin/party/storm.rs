//! Loops of many connections, some until another process kills them. What must not happen is a panic: the process that
//! started this one sees its exit status.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use smstream::{Builder, Listener, Reason, Stream};
use smstream_tests::flow::{NEAR_WRAP, Random};

use crate::wrong;

/// Nothing takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(40);
/// What a message begins with.
const MARK: u64 = 0x6672_6573_6821_0a00;

/// Accepts this many connections and sends back what comes on each, all at once.
pub(crate) fn serve(listener: &Listener, count: usize) -> io::Result<String> {
    let mut bytes = 0;
    thread::scope(|scope| -> io::Result<()> {
        let mut served = Vec::new();
        for stream in listener.incoming().take(count) {
            let stream = stream?;
            served.push(scope.spawn(move || io::copy(&mut &stream, &mut &stream)));
        }
        for end in served {
            bytes += end.join().map_err(|_| wrong("a thread panicked"))??;
        }
        Ok(())
    })?;
    Ok(bytes.to_string())
}

/// Listens, accepts some, stops listening, and so on. `witness` is a file that exactly the one who listens has locked.
pub(crate) fn listen(addr: &str, witness: &str, seed: u64) -> io::Result<String> {
    // Opened before any region. The kernel lets go of POSIX locks when it closes a descriptor, so in a process that is
    // killed this lock is gone before those of its regions.
    let witness = File::options().write(true).open(witness)?;
    let mut random = Random::new(seed);
    loop {
        let start = if random.below(2) == 0 { NEAR_WRAP } else { random.draw() as u32 };
        let capacity = 1 << random.below(13);
        let listener = match Builder::new().capacity(capacity).start_cursor(start).bind(addr) {
            Ok(listener) => listener,
            Err(e) if e.reason() == Reason::AddrInUse => {
                say("busy");
                thread::sleep(Duration::from_millis(random.below(4)));
                continue;
            }
            Err(e) => panic!("bind: {:?}: {e}", e.reason()),
        };
        assert!(lock(&witness, libc::F_WRLCK), "two listen at {addr}");
        say("bound");
        for _ in 0..random.below(30) {
            match listener.accept_timeout(PATIENCE) {
                Ok(stream) => say(talk(stream, random.draw(), true)),
                Err(e) => panic!("accept: {:?}: {e}", e.reason()),
            }
        }
        assert!(lock(&witness, libc::F_UNLCK), "a lock can be given up");
        if random.below(2) == 0 {
            listener.close().expect("the name is mine");
        }
    }
}

/// Connects again and again.
pub(crate) fn connect(addr: &str, seed: u64) -> io::Result<String> {
    let mut random = Random::new(seed);
    loop {
        match Stream::connect_timeout(addr, PATIENCE) {
            Ok(stream) => say(talk(stream, random.draw(), false)),
            Err(e) if e.reason() == Reason::NotReady => {
                say("none");
                thread::sleep(Duration::from_millis(random.below(3)));
            }
            Err(e) => panic!("connect: {:?}: {e}", e.reason()),
        }
    }
}

/// Says a number and hears one, and sends back the one that was heard: so this region is fresh, and the same on both sides.
/// One speaks first, the other listens first, for the lanes may hold a single byte. "talked", or "lost" if the peer was
/// killed meanwhile.
fn talk(stream: Stream, number: u64, first: bool) -> &'static str {
    let stats = stream.stats();
    assert_eq!((stats.sent.bytes, stats.received.bytes), (0, 0), "the region is not fresh");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    let say = |number: u64| (&stream).write_all(&[MARK.to_ne_bytes(), number.to_ne_bytes()].concat());
    let hear = || -> io::Result<u64> {
        let (mut mark, mut number) = ([0; 8], [0; 8]);
        (&stream).read_exact(&mut mark)?;
        assert_eq!(u64::from_ne_bytes(mark), MARK, "these bytes are not of this connection");
        (&stream).read_exact(&mut number)?;
        Ok(u64::from_ne_bytes(number))
    };
    let both = || -> io::Result<()> {
        let answer = if first {
            say(number)?;
            let theirs = hear()?;
            let mine = hear()?;
            say(theirs)?;
            mine
        } else {
            let theirs = hear()?;
            say(number)?;
            say(theirs)?;
            hear()?
        };
        assert_eq!(answer, number, "the peer heard another number");
        Ok(())
    };
    match both() {
        Ok(()) => "talked",
        Err(e) if e.kind() == ErrorKind::ConnectionReset => "lost",
        Err(e) => panic!("a connection broke: {e}"),
    }
}

fn lock(file: &File, kind: libc::c_int) -> bool {
    // SAFETY: `flock` is a C struct of integers, for which all zeros is a valid value. It means the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open; `lock` is an initialized `struct flock`, as F_SETLK wants, and outlives the call.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) == 0 }
}

/// Tells the process that started this one. If that is gone, this one is about to be killed.
fn say(what: &str) {
    let _ = writeln!(io::stdout(), "ok {what}");
}
