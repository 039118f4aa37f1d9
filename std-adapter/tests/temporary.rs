//! Listeners at names that no process had before: `Listener::bind_temp` and `Builder::bind_temp`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use smstream::{Addr, Builder, Kind, Listener, Reason, Stream};

const KINDS: [Kind; 4] = [Kind::File, Kind::Shm, Kind::Unix, Kind::Abstract];
/// After this time a test hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Says to a process of this test program that it is to listen, whatever comes of it.
const ROLE: &str = "SMSTREAM_TEMPORARY_ROLE";
/// Held by who starts a child, which for a moment has open what this process has, and by who must be the only one that has.
static CHILDREN: Mutex<()> = Mutex::new(());

fn bind(kind: Kind) -> Listener {
    Builder::new().capacity(4096).bind_temp(kind).unwrap_or_else(|e| panic!("{kind:?}: {e}"))
}

/// The file that has the name, if it is one of the file system.
fn path(addr: &Addr) -> Option<PathBuf> {
    match addr {
        Addr::File(path) | Addr::Unix(path) => Some(path.clone()),
        Addr::Shm(name) => Some(Path::new("/dev/shm").join(name)),
        _ => None,
    }
}

/// What is in the directory of a name under that name, or one that begins so.
fn traces(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap();
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_its = |it: &PathBuf| it.file_name().is_some_and(|it| it.as_bytes().starts_with(name.as_bytes()));
    entries.filter(is_its).collect()
}

/// Connects to a listener, and carries a text each way. The connector's thread says it first.
fn talk(listener: &Listener, text: &str) {
    let addr = listener.local_addr();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = Stream::connect_timeout(addr, PATIENCE).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, format!("{text}, too"));
        });
        let mut stream = listener.accept_timeout(PATIENCE).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, text, "another process came to {addr}");
        stream.write_all(format!("{heard}, too").as_bytes()).unwrap();
    });
}

#[test]
fn bytes_go_both_ways() {
    for kind in KINDS {
        let listener = bind(kind);
        talk(&listener, "hello");
        // The name stays for the next one.
        talk(&listener, "once more");
    }
    let listener = Listener::bind_temp().unwrap();
    assert_eq!(listener.local_addr().kind(), "file");
    talk(&listener, "hello");
}

#[test]
fn an_address_is_of_the_kind_that_was_asked_for() {
    for kind in KINDS {
        let addr = bind(kind).local_addr().clone();
        let fits = matches!(
            (kind, &addr),
            (Kind::File, Addr::File(_))
                | (Kind::Shm, Addr::Shm(_))
                | (Kind::Unix, Addr::Unix(_))
                | (Kind::Abstract, Addr::Abstract(_))
        );
        assert!(fits, "{kind:?}: {addr}");
        // As text it leads to the same place.
        assert_eq!(addr.to_string().parse(), Ok(addr.clone()));
        if let Addr::File(path) | Addr::Unix(path) = &addr {
            assert_eq!(path.parent(), Some(&*std::env::temp_dir()));
        }
    }
}

/// A hundred at once, and each name still leads to the listener that has it.
#[test]
fn names_are_all_different() {
    for kind in KINDS {
        let listeners: Vec<Listener> = (0..100).map(|_| bind(kind)).collect();
        let names: BTreeSet<String> = listeners.iter().map(|it| it.local_addr().to_string()).collect();
        assert_eq!(names.len(), listeners.len(), "{kind:?}");
        for (number, listener) in listeners.iter().enumerate() {
            talk(listener, &number.to_string());
        }
    }
}

#[test]
fn a_name_that_is_in_use_is_not_given_to_another_listener() {
    for kind in KINDS {
        let listener = bind(kind);
        let error = Listener::bind(listener.local_addr()).unwrap_err();
        assert_eq!(error.reason(), Reason::AddrInUse, "{kind:?}: {error}");
        talk(&listener, "still here");
    }
}

#[test]
fn a_name_goes_with_its_listener() {
    let _no_child_starts = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    for kind in KINDS {
        let listener = bind(kind);
        talk(&listener, "hello");
        let addr = listener.local_addr().clone();
        if let Some(path) = path(&addr) {
            assert!(traces(&path).contains(&path), "{kind:?}");
        }
        drop(listener);
        if let Some(path) = path(&addr) {
            assert_eq!(traces(&path), Vec::<PathBuf>::new(), "{kind:?}");
        }
        let error = Stream::connect_timeout(&addr, PATIENCE).unwrap_err();
        assert_eq!(error.reason(), Reason::NotReady, "{kind:?}: {error}");
        // So it can be taken by the next process that asks for it.
        talk(&Listener::bind(&addr).unwrap(), "hello");
    }
}

/// There is no kind for a descriptor: no process listens at one. And a builder may ask for what a kind cannot do.
#[test]
fn what_is_not_for_a_temporary_name() {
    let error = Listener::bind("fd:0").unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidInput);
    assert!(error.to_string().contains("fd:0"), "{error}");
    let signal = Builder::new().wake_signal(10);
    for kind in [Kind::File, Kind::Shm] {
        let error = signal.bind_temp(kind).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidInput, "{kind:?}: {error}");
        assert!(error.to_string().contains("use unix:"), "{error}");
    }
    let error = Builder::new().capacities(0, 0).bind_temp(Kind::Abstract).unwrap_err();
    assert_eq!(error.reason(), Reason::Capacity);
}

/// A directory that cannot be used is an error that names it. It is not tried for ever.
#[test]
fn a_directory_for_temporary_files_that_is_none() {
    let helper = |directory: &OsStr| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "helper_listens", "--nocapture"]).env(ROLE, "listens").env("TMPDIR", directory);
        let child = {
            let _alone = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        };
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let said = helper(OsStr::new("/nonexistent/smstream"));
    for kind in ["File", "Unix"] {
        let line = said.lines().find(|line| line.starts_with(&format!("{kind}: System: "))).expect(&said);
        assert!(line.contains("/nonexistent/smstream/") && line.ends_with("make the directory first"), "{line}");
    }
    for line in ["Shm: it works", "Abstract: it works"] {
        assert!(said.contains(line), "no '{line}' in {said}");
    }
    // Longer than the name of a socket may be.
    let directory = std::env::temp_dir().join(format!("smstream-temporary-{}{:0>100}", std::process::id(), ""));
    std::fs::create_dir(&directory).unwrap();
    let said = helper(directory.as_os_str());
    let left = std::fs::read_dir(&directory).unwrap().count();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(said.contains("File: it works"), "{said}");
    assert!(said.contains("Unix: InvalidInput: "), "{said}");
    assert_eq!(left, 0, "{said}");
}

#[test]
fn helper_listens() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    for kind in KINDS {
        let result = match Builder::new().bind_temp(kind) {
            Ok(_) => "it works".to_owned(),
            Err(error) => format!("{:?}: {error}", error.reason()),
        };
        let _ = writeln!(io::stdout(), "{kind:?}: {result}");
    }
}
