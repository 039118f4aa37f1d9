use super::*;
use rustix::fs::{CWD, mknodat};
use std::fs;

/// A directory that goes when it is dropped, and a name in it.
struct Dir(PathBuf);

impl Dir {
    fn new(what: &str) -> (Self, PathBuf, PathBuf) {
        let dir = std::env::temp_dir().join(format!("smstream-test-name-{what}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let [path, lock] = ["name", "name.lock"].map(|name| dir.join(name));
        (Dir(dir), path, lock)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listen(path: &Path) -> Result<(OwnedFd, Right), RendezvousError> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let right = SocketName::of_path(path)?.listen(&socket, 1, false, true)?;
    Ok((socket, right.unwrap()))
}

#[test]
fn a_foreign_lock_file_is_left_alone() {
    let (_dir, path, lock) = Dir::new("foreign");
    let longer = [&lock_of((1, 2))[..], b"!"].concat();
    for content in
        [&b""[..], b"4711\n", b"lock of smstream", b"lock of smstream\n and more", &lock_of((1, 2))[..23], &longer]
    {
        fs::write(&lock, content).unwrap();
        let e = listen(&path).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::AlreadyExists, "{e}");
        assert!(e.to_string().contains("name.lock"), "{e}");
        assert_eq!(fs::read(&lock).unwrap(), content);
        assert!(!path.exists());
    }
    fs::remove_file(&lock).unwrap();
    mknodat(CWD, &lock, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let e = listen(&path).unwrap_err();
    assert!(e.to_string().contains("fifo"), "{e}");
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("nowhere", &lock).unwrap();
    let e = listen(&path).unwrap_err();
    assert!(e.to_string().contains("symbolic link"), "{e}");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let e = listen(&path).unwrap_err();
    assert!(e.to_string().contains("directory"), "{e}");
}

/// The lock file of a listener that has bound this socket.
fn lock_of(bound: (u64, u64)) -> Vec<u8> {
    [&b"\x89SML\r\n\x1a\n"[..], &bound.0.to_ne_bytes(), &bound.1.to_ne_bytes()].concat()
}

fn identity_of(path: &Path) -> (u64, u64) {
    identity(&rustix::fs::lstat(path).unwrap())
}

#[test]
fn what_was_left_is_taken_over() {
    let (_dir, path, lock) = Dir::new("left");
    fs::write(&lock, lock_of((0, 0))).unwrap();
    let (_socket, right) = listen(&path).unwrap();
    assert_eq!(fs::read(&lock).unwrap(), lock_of(identity_of(&path)));
    // What a killed listener leaves: both, and neither is locked.
    drop(right);
    drop(_socket);
    let (_socket, right) = listen(&path).unwrap();
    assert_eq!(fs::read(&lock).unwrap(), lock_of(identity_of(&path)));
    drop((_socket, right));
    // It was killed before it could say which socket is its own.
    fs::remove_file(&path).unwrap();
    fs::write(&lock, lock_of((0, 0))).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (_socket, right) = listen(&path).unwrap();
    SocketName::of_path(&path).unwrap().remove(&right).unwrap();
    assert!(!lock.exists() && !path.exists());
}

/// A socket that no process listens at, of a program that has no lock file, or another socket than the lock file names.
#[test]
fn the_socket_of_another_program_is_left_alone() {
    let (_dir, path, lock) = Dir::new("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let before = identity_of(&path);
    let refused = |left: Option<&[u8]>| {
        let e = listen(&path).unwrap_err();
        assert!(matches!(e.reason(), RendezvousReason::Occupied(_)), "{e}");
        assert!(e.to_string().contains("left alone"), "{e}");
        assert_eq!(identity_of(&path), before);
        assert_eq!(fs::read(&lock).ok().as_deref(), left);
    };
    refused(None);
    fs::write(&lock, lock_of((before.0, before.1 + 1))).unwrap();
    refused(None);
    // The lock file is younger than the socket, so its listener has bound none.
    fs::write(&lock, lock_of((0, 0))).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&lock).unwrap().set_modified(later).unwrap();
    refused(None);
}

#[test]
fn who_cannot_listen_leaves_no_lock() {
    let (_dir, path, lock) = Dir::new("no-lock");
    fs::write(&path, "something else").unwrap();
    let e = listen(&path).unwrap_err();
    assert!(matches!(e.reason(), RendezvousReason::Occupied(_)), "{e}");
    assert!(path.exists() && !lock.exists());
}

/// Another process may have replaced it.
#[test]
fn another_lock_is_not_removed() {
    let (_dir, path, lock) = Dir::new("replaced");
    let (_socket, right) = listen(&path).unwrap();
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "another").unwrap();
    SocketName::of_path(&path).unwrap().remove(&right).unwrap();
    assert_eq!(fs::read(&lock).unwrap(), b"another");
}
