//! Sockets that a server listens at: those that it inherits, and names that it may replace.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::Signal;
use smstream::Listener;

use crate::command::{Dir, Running, reach, smstream, within_time};

/// A proxy that listens: it has said so.
fn proxy(from: &str, to: &str) -> Running {
    let mut running = Running::start(&mut smstream(["proxy", from, to]));
    running.expect_stderr("smstream: listening at ");
    running.next_stderr(b'\n').expect("where");
    running
}

/// Starts a command that inherits a listening socket, as from systemd, as descriptor 3.
fn with_socket(socket: &impl AsRawFd, mut command: Command) -> Running {
    let number = socket.as_raw_fd();
    let give = move || {
        // SAFETY: dup2 takes any numbers and touches no memory.
        let copied = unsafe { libc::dup2(number, 3) };
        // If it had this number before, it would be closed by exec.
        // SAFETY: it takes no pointers; the descriptor stays open in the program.
        match unsafe { libc::fcntl(copied, libc::F_SETFD, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it makes a system call only.
    unsafe { command.pre_exec(give) };
    Running::start(&mut command)
}

#[test]
fn a_listening_socket_may_be_inherited() {
    let dir = Dir::new();
    let target = format!("uds:{}", dir.path("target").display());
    let server = UnixListener::bind(dir.path("target")).expect("a listener");
    let echo = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut socket, _) = server.accept().expect("a connection");
            let mut bytes = [0; 5];
            socket.read_exact(&mut bytes).expect("read");
            socket.write_all(&bytes).expect("written");
        }
    });
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let door = tcp.local_addr().expect("its address");
    let proxy = with_socket(&tcp, smstream(["proxy", "fd:3", &target]));
    drop(tcp);
    let mut client = TcpStream::connect(door).expect("a connection");
    client.write_all(b"hello").expect("written");
    let mut back = String::new();
    within_time(move || {
        client.shutdown(std::net::Shutdown::Write).expect("shut down");
        client.read_to_string(&mut back).expect("read");
        assert_eq!(back, "hello");
    });
    proxy.end().expect(0);
    let uds = UnixListener::bind(dir.path("door")).expect("a listener");
    let proxy = with_socket(&uds, smstream(["proxy", "fd:3", &target]));
    let mut client = UnixStream::connect(dir.path("door")).expect("a connection");
    client.write_all(b"hello").expect("written");
    within_time(move || client.read_exact(&mut [0; 5]).expect("read"));
    proxy.end().expect(0);
    echo.join().expect("a thread");
    let plain = UnixStream::pair().expect("a pair").0;
    with_socket(&plain, smstream(["proxy", "fd:3", &target])).end().expect(3).saying("does not listen");
}

/// A socket that listens for streams, as a service manager makes it.
fn seqpacket(path: &Path) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &SocketAddrUnix::new(path).expect("a path")).expect("a name");
    listen(&socket, 16).expect("a listener");
    socket
}

/// A script runs one command after the other at a socket that it has inherited, under any number: no connector is lost in
/// between, and the name stays.
#[test]
fn a_script_listens_at_a_socket_that_it_inherits() {
    let dir = Dir::new();
    let door = dir.path("stream");
    let socket = seqpacket(&door);
    let script = "exec 7<&3 3<&-; \"$0\" listen -v -d fd:7 && echo behind && \"$0\" listen fd:7 -- tr a-z A-Z";
    let mut bash = Command::new("bash");
    bash.args(["-c", script, env!("CARGO_BIN_EXE_smstream")]);
    bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let addr = format!("unix:{}", door.display());
    // It has connected before any command accepts.
    let first = UnixConnector::start(&addr, b"first\n");
    let mut bash = with_socket(&socket, bash);
    assert_eq!(first.end(), b"");
    bash.expect_stdout(b"first\nbehind\n");
    assert_eq!(UnixConnector::start(&addr, b"second\n").end(), b"SECOND\n");
    bash.end().expect(0).saying("listening at fd:7").saying("connected at fd:7");
    assert!(door.exists(), "the name is the service manager's");
    assert!(!dir.path("stream.lock").exists());
    // It still listens, for the next one who has it.
    let third = UnixConnector::start(&addr, b"third");
    let mut last = with_socket(&socket, smstream(["listen", "fd:3"]));
    last.expect_stdout(b"third");
    third.end();
    last.end().expect(0);
}

/// `smstream connect`, which is killed with the test.
struct UnixConnector(Running);

impl UnixConnector {
    fn start(addr: &str, text: &[u8]) -> Self {
        let (running, mut stdin) = Running::start_with_input(&mut smstream(["connect", "--wait", "60", addr]));
        stdin.write_all(text).expect("written");
        Self(running)
    }

    fn end(self) -> Vec<u8> {
        self.0.end().expect(0).stdout
    }
}

#[test]
fn a_server_keeps_on_at_a_socket_that_it_inherits() {
    let dir = Dir::new();
    let socket = seqpacket(&dir.path("stream"));
    let addr = format!("unix:{}", dir.path("stream").display());
    let target = UnixListener::bind(dir.path("target")).expect("a listener");
    let echo = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut socket, _) = target.accept().expect("a connection");
            std::io::copy(&mut socket.try_clone().expect("a copy"), &mut socket).expect("copied");
        }
    });
    let to = format!("uds:{}", dir.path("target").display());
    for command in [&["listen", "-k", "fd:3", "--", "cat"][..], &["proxy", "-k", "fd:3", &to]] {
        let server = with_socket(&socket, smstream(command));
        for _ in 0..3 {
            let mut client = reach(&addr);
            within_time(move || {
                client.write_all(b"hello").expect("written");
                client.shutdown(std::net::Shutdown::Write).expect("shut down");
                let mut back = String::new();
                client.read_to_string(&mut back).expect("read");
                assert_eq!(back, "hello");
            });
        }
        server.signal(Signal::TERM);
        assert_eq!(server.end().status.code(), Some(143));
    }
    within_time(|| echo.join().expect("a thread"));
    assert!(dir.path("stream").exists());
}

#[test]
fn what_is_no_listening_socket_is_refused_with_the_reason() {
    let dir = Dir::new();
    let listen = |socket: &dyn AsRawFd, number: &str, why: &str| {
        let ended = with_socket(&socket.as_raw_fd(), smstream(["listen", number])).end().expect(3);
        ended.saying(&format!("could not listen at {number}")).saying(why);
    };
    let stream = UnixListener::bind(dir.path("stream")).expect("a listener");
    listen(&stream, "fd:3", "SOCK_SEQPACKET");
    listen(&UnixStream::pair().expect("a pair").0, "fd:3", "does not listen");
    listen(&std::fs::File::open("/dev/null").expect("a file"), "fd:3", "is no socket");
    listen(&stream, "fd:1000000", "is not open");
    listen(&stream, "fd:1", "is a standard stream");
}

/// What a proxy that was killed has left is taken over, and nothing else.
#[test]
fn a_leftover_socket_of_our_own_is_replaced_and_no_other() {
    let dir = Dir::new();
    let path = dir.path("socket");
    let place = format!("uds:{}", path.display());
    let killed = proxy(&place, &dir.addr());
    killed.signal(Signal::KILL);
    killed.end();
    assert!(path.exists(), "a proxy that is killed removes nothing");
    let running = proxy(&place, &dir.addr());
    let ended = Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3);
    ended.saying(&format!("could not listen at {place}")).saying("already");
    let listener = Listener::bind(dir.addr()).expect("a listener");
    let mut client = UnixStream::connect(&path).expect("a connection");
    client.write_all(b"hello").expect("written");
    drop(client);
    let mut heard = String::new();
    within_time(move || {
        listener.accept().expect("a connection").read_to_string(&mut heard).expect("read");
        assert_eq!(heard, "hello");
    });
    running.end().expect(0);
    assert!(!path.exists() && !dir.path("socket.lock").exists(), "the name was left");

    std::fs::write(&path, "a user's letter").expect("a file");
    Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3);
    assert_eq!(std::fs::read(&path).expect("a file"), b"a user's letter");
    std::fs::remove_file(&path).expect("a file");
    // Dead sockets of another program, of any type, and one that a program listens at: nc and socat replace none of them
    // either.
    drop(UnixListener::bind(&path).expect("a listener"));
    let identity = |path: &Path| std::fs::symlink_metadata(path).map(|it| (it.dev(), it.ino())).expect("a socket");
    let before = identity(&path);
    let refused = Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3);
    refused.saying("another program left").saying("remove it if no program needs it");
    assert_eq!(identity(&path), before);
    std::fs::remove_file(&path).expect("a socket");
    drop(UnixDatagram::bind(&path).expect("a socket"));
    let before = identity(&path);
    Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3).saying("another program left");
    assert_eq!(identity(&path), before);
    std::fs::remove_file(&path).expect("a socket");
    let living = UnixListener::bind(&path).expect("a listener");
    Running::start(&mut smstream(["proxy", &place, &dir.addr()])).end().expect(3).saying("already");
    living.set_nonblocking(true).expect("a socket");
    UnixStream::connect(&path).expect("it still listens");
    assert!(!dir.path("socket.lock").exists(), "a lock file was left");
}
