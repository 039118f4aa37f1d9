use super::*;
use std::io::ErrorKind;
use std::path::PathBuf;

fn name(what: &str) -> String {
    format!("/smstream-cleanup-test-{what}-{}", std::process::id())
}

fn path(what: &str) -> PathBuf {
    Path::new("/dev/shm").join(&name(what)[1..])
}

#[test]
fn a_guard_removes_once_or_keeps() {
    let object = SharedObject::create_sized(name("guard"), 1).unwrap();
    register(Object::Shm(&object)).unwrap().keep();
    assert!(path("guard").exists());
    let guard = register(Object::Shm(&object)).unwrap();
    guard.remove().unwrap();
    assert!(!path("guard").exists());
    let second = SharedObject::create_sized(name("guard"), 1).unwrap();
    drop(register(Object::Shm(&second)).unwrap());
    assert!(!path("guard").exists());
}

#[test]
fn another_object_under_the_name_stays() {
    let object = SharedObject::create_sized(name("other"), 1).unwrap();
    let guard = register(Object::Shm(&object)).unwrap();
    SharedObject::unlink(name("other")).unwrap();
    let second = SharedObject::create_sized(name("other"), 1).unwrap();
    let last = second.unlink_on_drop();
    guard.remove().unwrap();
    assert!(path("other").exists());
    drop(last);
    assert!(!path("other").exists());
}

#[test]
fn a_full_table_is_an_error() {
    let status = crate::testing::helper("cleanup::tests::helper_full_table", "full-table").status().unwrap();
    assert!(status.success(), "{status}");
}

/// In a process of its own, where no other test needs the table.
#[test]
fn helper_full_table() {
    if crate::testing::role() != Some("full-table".into()) {
        return;
    }
    let dir = std::env::temp_dir().join(format!("smstream-table-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("file");
    std::fs::write(&file, "").unwrap();
    let mut guards = Vec::new();
    let e = loop {
        match register(Object::File(&file)) {
            Ok(guard) => guards.push(guard),
            Err(e) => break e,
        }
        assert!(guards.len() < 1000);
    };
    assert_eq!(e.kind(), ErrorKind::OutOfMemory, "{e}");
    assert!(guards.len() > 200);
    for guard in guards {
        guard.keep();
    }
    drop(register(Object::File(&file)).unwrap());
    assert!(!file.exists());
    assert_eq!(register(Object::File(&file)).unwrap_err().kind(), ErrorKind::NotFound);
    let long = dir.join("x".repeat(250)).join("x".repeat(250)).join("x");
    std::fs::create_dir_all(long.parent().unwrap()).unwrap();
    std::fs::write(&long, "").unwrap();
    assert_eq!(register(Object::File(&long)).unwrap_err().kind(), ErrorKind::InvalidInput);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn what_is_gone_is_removed() {
    for object in [Object::SysvShm(i32::MAX), Object::SysvSem(i32::MAX), Object::SysvMsg(i32::MAX)] {
        register(object).unwrap().remove().unwrap();
    }
}

#[test]
fn signals_that_make_no_sense_are_refused() {
    for signal in [0, -1, 65, 1000, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGCHLD, libc::SIGTSTP] {
        let e = on_signals(&[libc::SIGTERM, signal]).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
    }
}
