//! Second processes.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smstream_shm::sysv::{Key, Op, Queue, Select, Semaphores, Shm};

/// After this time a test hangs.
pub const HANGS: Duration = Duration::from_secs(60);

/// A key that no other process uses. It carries the process and a count.
pub fn fresh_key() -> Key {
    static COUNT: AtomicI32 = AtomicI32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Key::new((std::process::id().cast_signed() & 0x3f_ffff) << 9 | 1 << 8 | (count & 0xff))
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < HANGS, "never came: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// This program in a role: the test of this name, which others skip.
pub fn role(name: &str, ids: &[i32]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
    command.args([
        "--exact",
        &if name.contains("::") { name.to_owned() } else { format!("roles::{name}") },
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env("SMSTREAM_SYSV_ROLE", ids.join(","));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A second process. It is ended with the test.
pub struct Second {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Second {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("a second process");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, input, output }
    }

    /// Waits until it says this line. What the test harness says is skipped.
    pub fn says(&mut self, wanted: &str) {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("text") > 0 {
            if line.trim_end().ends_with(wanted) {
                return;
            }
            line.clear();
        }
        panic!("it never said {wanted:?}");
    }

    pub fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Kills it without mercy.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    pub fn end(&mut self) -> ExitStatus {
        drop(self.input.take());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < HANGS, "the second process hangs");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn ends_well(&mut self) {
        let status = self.end();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of a test's own.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("smstream-sysv-{}-{}", std::process::id(), fresh_key().raw()));
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The ids that the first process gave; `None` in an ordinary run of the tests.
pub fn given_ids() -> Option<Vec<i32>> {
    let ids = std::env::var("SMSTREAM_SYSV_ROLE").ok()?;
    Some(ids.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().expect("an id")).collect())
}

pub fn say(line: &str) {
    println!("{line}");
}

/// Waits until the first process says so.
pub fn listen() {
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

/// Writes into a segment, and stays attached until the first process lets it go.
#[test]
fn writer() {
    let Some(ids) = given_ids() else { return };
    let attached = Shm::from_id(ids[0]).unwrap().attach().unwrap();
    let start = attached.as_mut_ptr().unwrap();
    for (i, byte) in b"123".iter().enumerate() {
        // SAFETY: attached for writing, and long enough.
        unsafe { start.wrapping_add(i).write_volatile(*byte) };
    }
    say("written");
    listen();
}

/// Takes one of semaphore 0, to be undone, and stays until the first process lets it go.
#[test]
fn taker() {
    let Some(ids) = given_ids() else { return };
    let set = Semaphores::from_id(ids[0]).unwrap();
    set.op(&[Op::sub(0, 2).undo()]).unwrap();
    say("taken");
    listen();
}

/// Waits for semaphore 0.
#[test]
fn waiter() {
    let Some(ids) = given_ids() else { return };
    Semaphores::from_id(ids[0]).unwrap().acquire(0).unwrap();
}

/// Opens the set with this key, over and over until it is there: it must have its values.
#[test]
fn opener() {
    let Some(ids) = given_ids() else { return };
    say("here");
    let set = loop {
        match Semaphores::open(Key::new(ids[0])) {
            Ok(set) => break set,
            Err(e) if e.reason() == smstream_shm::sysv::SysvReason::NotFound => {}
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(set.values().unwrap(), [3, 4, 5]);
}

/// Sends back what it receives of type 1, as type 2.
#[test]
fn echo() {
    let Some(ids) = given_ids() else { return };
    let queue = Queue::from_id(ids[0]).unwrap();
    let (ty, text) = queue.recv_vec(Select::Type(smstream_shm::sysv::MessageType::ONE)).unwrap();
    assert_eq!(ty.raw(), 1);
    queue.send(smstream_shm::sysv::MessageType::new(2).unwrap(), &text).unwrap();
}
