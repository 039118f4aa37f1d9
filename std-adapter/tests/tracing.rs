//! Events for `tracing`: a subscriber sees what happens to connections, and nothing on the way of bytes.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smstream::{BufMode, Builder, Error, Reason, Stream};
use smstream_core::layout::FIELDS;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

const PATIENCE: Duration = Duration::from_secs(60);

/// The events, in lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;
    fn make_writer(&self) -> Lines {
        self.clone()
    }
}

impl Lines {
    /// Of this thread, as long as the guard lives.
    fn listen() -> (Self, impl Drop) {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(lines.clone());
        let guard = subscriber.set_default();
        (lines, guard)
    }

    /// The events since the last call.
    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap();
        text.lines().map(|line| line.trim_start().to_owned()).collect()
    }
}

/// There is one line, and it has all these words.
#[track_caller]
fn tells(lines: &Lines, words: &[&str]) {
    let all = lines.take();
    let [line] = &all[..] else { panic!("not one line: {all:#?}") };
    for word in words {
        assert!(line.contains(word), "{line:?} has no {word:?}");
    }
}

/// A directory that is removed, and a process that is killed, in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/dev/shm/smstream-tracing-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }
    fn addr(&self) -> String {
        format!("file:{}/name", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Killed(Child);

impl Killed {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Says to a process of this test program where it is to connect.
const CONNECT: &str = "SMSTREAM_TRACING_CONNECT";

/// Another process, which connects and waits for bytes.
fn connector(addr: &str) -> Killed {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "role_connects", "--test-threads=1"]).env(CONNECT, addr);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Killed(command.spawn().unwrap())
}

/// The other process of [`connector`]; in this one there is nothing to do.
#[test]
fn role_connects() {
    let Ok(addr) = std::env::var(CONNECT) else { return };
    let mut stream = Stream::connect(addr).unwrap();
    while stream.read(&mut [0; 64]).is_ok_and(|n| n != 0) {}
}

#[test]
fn a_connection_from_its_beginning_to_the_peers_death() {
    let scratch = Scratch::new("life");
    let (lines, _guard) = Lines::listen();
    Stream::connect(scratch.addr()).unwrap_err();
    tells(&lines, &["DEBUG smstream: cannot connect", &scratch.addr(), "reason=NotReady", "start the listener"]);

    let listener = Builder::new().capacity(4096).bind(scratch.addr()).unwrap();
    tells(&lines, &["DEBUG smstream: listening", &scratch.addr(), "capacities=[4096, 4096]"]);
    Builder::new().bind(scratch.addr()).unwrap_err();
    tells(&lines, &["DEBUG smstream: cannot listen", "reason=AddrInUse"]);

    let mut peer = connector(&scratch.addr());
    let mut stream = listener.accept_timeout(PATIENCE).unwrap();
    let pid = format!("pid={}", peer.0.id());
    tells(&lines, &["DEBUG smstream: accepted", "the connector at file:", &pid, "capacities=[4096, 4096]"]);

    stream.write_all(b"hello").unwrap();
    tells_nothing(&lines);
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    tells(&lines, &["TRACE smstream: waits", "half=Reader", "bytes=1"]);

    peer.kill();
    assert!(stream.wait_peer_closed(Some(PATIENCE)));
    let e = stream.read(&mut [0]).unwrap_err();
    assert_eq!(Error::from_io(&e).unwrap().reason(), Reason::PeerGone);
    tells(&lines, &["WARN smstream: the peer died", "during=read", "reported=true", "died without closing"]);
    for _ in 0..3 {
        stream.read(&mut [0]).unwrap_err();
    }
    tells_nothing(&lines);
    stream.write_all(b"hello").unwrap_err();
    tells(&lines, &["WARN smstream: the peer died", "during=write", "written=0"]);
    drop(stream);
    let last = lines.take();
    assert!(last.iter().any(|l| l.contains("DEBUG smstream: closed") && l.contains("half=Reader")), "{last:#?}");
    assert!(last.iter().any(|l| l.contains("DEBUG smstream: closed") && l.contains("half=Writer")), "{last:#?}");
}

#[track_caller]
fn tells_nothing(lines: &Lines) {
    assert_eq!(lines.take(), Vec::<String>::new());
}

#[test]
fn a_pair_whose_bytes_go_by_unseen() {
    let (lines, _guard) = Lines::listen();
    let (mut here, mut there) = Builder::new().capacity(4096).buf_mode(BufMode::Full).pair().unwrap();
    let made = lines.take();
    assert!(made.len() == 2 && made.iter().all(|l| l.contains("DEBUG smstream: paired")), "{made:#?}");
    let mut bytes = [0; 1000];
    for _ in 0..100 {
        here.write_all(&bytes).unwrap();
        here.flush().unwrap();
        there.read_exact(&mut bytes).unwrap();
    }
    tells_nothing(&lines);
    // No call returns an error about the bytes that were buffered: the event is all there is besides the history.
    here.write_all(b"hello").unwrap();
    drop(there);
    lines.take();
    assert_eq!(here.read(&mut [0]).unwrap(), 0);
    tells_nothing(&lines);
    here.shutdown(std::net::Shutdown::Write).unwrap();
    let last = lines.take();
    assert!(
        last.iter().any(|l| l.contains("WARN") && l.contains("during=close") && l.contains("reported=false")),
        "{last:#?}"
    );
}

/// A process writes where only the peer may.
#[test]
fn a_peer_that_breaks_the_rules() {
    let scratch = Scratch::new("corrupt");
    let listener = Builder::new().capacity(4096).bind(scratch.addr()).unwrap();
    let file = File::options().read(true).write(true).open(scratch.0.join("name")).unwrap();
    let _peer = connector(&scratch.addr());
    let mut stream = listener.accept_timeout(PATIENCE).unwrap();
    let offset = |name| FIELDS.iter().find(|f| f.name == name).unwrap().offset as u64;
    let word = |at| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from(u32::from_ne_bytes(bytes))
    };
    let second = (word(offset("lane_offset")) + 4096).next_multiple_of(word(offset("align")));
    file.write_all_at(&0x4000_0000_u32.to_ne_bytes(), second + offset("sent")).unwrap();
    let (lines, _guard) = Lines::listen();
    let e = stream.read(&mut [0]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidData, "{e}");
    tells(&lines, &["ERROR smstream: the peer broke the rules", "reason=Corrupt", "during=read"]);
}
