//! The commands `shm`, `sem` and `msg`, run as their users run them, each test in a directory of its own: the key is made
//! of that.

#[path = "../../shm/tests/sysv/roles.rs"]
#[allow(dead_code, reason = "the tests of smstream-shm use the rest")]
mod roles;

use std::process::Command;

use smstream::sysv::MessageType as Type;
use smstream::sysv::{Key, Queue, RemoveOnDrop, Select, Semaphores, Shm};

use roles::{Dir, Second, until};

/// A directory, and what the commands create there.
struct Place(Dir);

impl Place {
    fn new() -> Self {
        Self(Dir::new())
    }

    fn key(&self, letter: u8) -> Key {
        Key::from_path(&self.0.0, letter).unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smstream"));
        command.current_dir(&self.0.0).args(line.split(' '));
        command
    }

    /// Runs a command: its exit code, its output, its errors.
    fn run(&self, line: &str) -> (i32, String, String) {
        let output = self.command(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn prints(&self, line: &str, wanted: &str) {
        assert_eq!(self.run(line), (0, wanted.to_owned(), String::new()), "{line}");
    }

    #[track_caller]
    fn fails(&self, line: &str, wanted: i32, words: &[&str]) {
        let (code, _, errors) = self.run(line);
        assert_eq!(code, wanted, "{line}: {errors}");
        assert!(errors.starts_with("smstream: ") && words.iter().all(|word| errors.contains(word)), "{line}: {errors}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(Shm::open(self.key(b'S')).map(RemoveOnDrop::new));
        drop(Semaphores::options().adopt(true).open(self.key(b's')).map(RemoveOnDrop::new));
        drop(Queue::open(self.key(b'M')).map(RemoveOnDrop::new));
    }
}

#[test]
fn shm() {
    let place = Place::new();
    place.prints("shm write hello", "Creating new shared memory segment.\n");
    let shm = Shm::open(place.key(b'S')).unwrap();
    assert_eq!((shm.stat().unwrap().size, shm.stat().unwrap().perm.mode), (100, 0o666));
    let open = "Shared memory exists. Opening as client\n";
    let remark = "smstream: Shared memory exists. Opening as client\n";
    assert_eq!(place.run("shm read"), (0, "hello\n".to_owned(), remark.to_owned()));
    place.prints("shm w bye", open);
    assert_eq!(place.run("shm r"), (0, "bye\n".to_owned(), remark.to_owned()));
    place.prints("shm mode 600", &format!("{open}Old permissions : 0666\nNew permissions : 0600\n"));
    assert_eq!(shm.stat().unwrap().perm.mode, 0o600);
    let (key, id) = (place.key(b'S'), shm.id());
    let json = format!("{{\"action\":\"read\",\"key\":\"{key}\",\"id\":{id},\"created\":false,\"text\":\"bye\"}}\n");
    place.prints("shm read --json", &json);
    let modes = r#","created":false,"old_mode":"0600","new_mode":"0640"}"#;
    let json = format!("{{\"action\":\"mode\",\"key\":\"{key}\",\"id\":{id}{modes}\n");
    place.prints("shm mode 0640 --json", &json);
    place.prints("shm delete", &format!("{open}Shared memory marked for deletion\n"));
    assert!(Shm::open(key).is_err());
}

#[test]
fn shm_trouble() {
    let place = Place::new();
    place.fails(&format!("shm write {}", "x".repeat(100)), 2, &["99 bytes"]);
    place.fails("shm mode 438", 2, &["octal"]);
    place.fails("shm fly", 2, &[]);
    assert!(Shm::open(place.key(b'S')).is_err(), "a wrong command line creates nothing");
    let _small = RemoveOnDrop::new(Shm::create(place.key(b'S'), 50).unwrap());
    place.fails("shm read", 1, &["fewer than 100 bytes"]);
}

#[test]
fn sem() {
    let place = Place::new();
    place.fails("sem print", 1, &["create it first"]);
    place.prints("sem create 2", "Trying to create a new semaphore set with 2 members.\n");
    place.fails("sem create 2", 1, &["Semaphore set already exists."]);
    let set = Semaphores::open(place.key(b's')).unwrap();
    let id = set.id();
    let change = |what: &str, by: &str, value| {
        format!(
            "Attempting to {what} member 1 of semaphore {id}\nSemaphore resources {by} by one\n\
             Value for member 1 is {value}\n"
        )
    };
    place.prints("sem lock 1", &change("lock", "decremented", 4));
    place.prints(
        "sem print",
        &format!("Semaphore {id} has 2 Members\nValue for member 0 is 5\nValue for member 1 is 4\n"),
    );
    place.prints("sem unlock 1", &change("unlock", "incremented", 5));
    place.fails("sem unlock 1", 1, &["Semaphore not locked"]);
    place.fails("sem lock 2", 1, &["semaphore member out of range", "0 to 1"]);
    set.set(1, 0).unwrap();
    place.fails("sem lock 1", 4, &["Semaphore resources exhausted (no lock)"]);
    place.fails("sem lock 1 --nowait", 4, &["exhausted"]);
    place.prints("sem mode 600", "Old permissions were : 0666\nSet permissions to 0600\n");
    let key = place.key(b's');
    let json = format!("{{\"action\":\"print\",\"key\":\"{key}\",\"id\":{id},\"values\":[5,0]}}\n");
    place.prints("sem print --json", &json);
    let mut waits = place.command("sem lock 1 --wait");
    let mut waits = Second::start(waits.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()));
    until("the command waits", || set.waiting(1).unwrap() == 1);
    set.release(1).unwrap();
    waits.says("Value for member 1 is 0");
    waits.ends_well();
    place.prints("sem delete", "Semaphore removed\n");
}

#[test]
fn msg() {
    let place = Place::new();
    place.prints("msg send 3 hello", "Sending message.\n");
    place.prints("msg send 2 there", "Sending message.\n");
    place.prints("msg receive -5", "Reading message.\nType : 2 Text : there\n");
    let queue = Queue::open(place.key(b'M')).unwrap();
    let (key, id) = (place.key(b'M'), queue.id());
    let json = format!("{{\"action\":\"receive\",\"key\":\"{key}\",\"id\":{id},\"type\":3,\"text\":\"hello\"}}\n");
    place.prints("msg receive 3 --json", &json);
    place.fails("msg receive 0 --nowait", 4, &["there is no such message"]);
    // A message is a Pascal string of 256 bytes; what others send is shown as it is.
    place.prints("msg s 1 x", "Sending message.\n");
    let (_, message) = queue.recv_vec(Select::Any).unwrap();
    assert_eq!((message.len(), &message[..3]), (256, &[1, b'x', 0][..]));
    queue.send(ty(8), b"plain").unwrap();
    place.prints("msg r 0", "Reading message.\nType : 8 Text : plain\n");
    queue.set_max_bytes(300).unwrap();
    place.prints("msg send 1 x --nowait", "Sending message.\n");
    place.fails("msg send 1 x --nowait", 4, &["full"]);
    place.fails("msg send 0 x", 2, &["from 1 on"]);
    place.fails(&format!("msg send 1 {}", "x".repeat(256)), 2, &["255 bytes"]);
    place.prints("msg mode 640", "Old permissions : 0666\nNew permissions : 0640\n");
    place.prints("msg delete", &format!("Removed Queue with id {id}\n"));
}

#[test]
fn every_help_shows_examples_and_exit_codes() {
    for name in ["shm", "sem", "msg"] {
        let (code, text, _) = Place::new().run(&format!("{name} --help"));
        assert_eq!(code, 0);
        for part in ["Usage: smstream", "Examples:", "Exit codes:", "octal"] {
            assert!(text.contains(part), "no '{part}' in {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

fn ty(number: i64) -> Type {
    Type::new(number).unwrap()
}
