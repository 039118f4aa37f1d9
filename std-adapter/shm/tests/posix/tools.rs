//! Names that are gone in the end, other processes that are ended, and C.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const ROLE: &str = "SMSTREAM_POSIX_ROLE";

/// A name of a shared memory object that no other process has. What has it in the end is removed.
pub struct Name(String);

impl Name {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("/smstream-posix-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0[1..])
    }

    pub fn exists(&self) -> bool {
        self.path().symlink_metadata().is_ok()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

/// A child that does not outlive its test.
pub struct Party(pub Child);

impl Drop for Party {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has a child killed when this process ends, so that it does not go on when the test is stopped.
fn bind(command: &mut Command) {
    let die_with_parent = || {
        // SAFETY: it takes no pointers, and changes only what happens when the parent dies.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(die_with_parent) };
}

/// What this process was started as, with its arguments: `None` for the test program itself.
pub fn role(name: &str) -> Option<Vec<String>> {
    let text = std::env::var(ROLE).ok()?;
    let mut words = text.split(' ').map(str::to_owned);
    (words.next()? == name).then(|| words.collect())
}

/// A command that runs the test `test` in a role.
pub fn helper(test: &str, role: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of the test program"));
    let words: Vec<&str> = [role].iter().chain(arguments).copied().collect();
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, words.join(" "));
    command.stdout(Stdio::null());
    bind(&mut command);
    command
}

/// Starts it.
pub fn start(mut command: Command) -> Party {
    Party(command.spawn().expect("a process can be started"))
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("this has not happened in 20 s: {what}");
}

/// A program in C, in a directory that is removed in the end.
pub struct Program {
    directory: PathBuf,
}

impl Program {
    pub fn compile(source: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("smstream-c-{}-{number}", std::process::id()));
        std::fs::create_dir(&directory).expect("a directory for a program");
        let program = Self { directory };
        let file = program.directory.join("program.c");
        std::fs::write(&file, source).expect("a source can be written");
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-O1", "-Wall", "-Werror", "-o"]).arg(program.path()).arg(&file).arg("-lrt");
        let output = cc.output().expect("the C compiler, cc, can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    }

    fn path(&self) -> PathBuf {
        self.directory.join("program")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path());
        command.args(arguments);
        bind(&mut command);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program can be run")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
