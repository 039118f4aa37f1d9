//! A terminal, and a person at it who uses an interactive shell.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::command::{HANGS, in_the_end};

/// A terminal on which a program runs, and what it shows.
pub struct Terminal {
    master: File,
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Runs a command on a new terminal, whose foreground it is.
    pub fn run(command: &mut Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave: OwnedFd = rustix::fs::open(name, flags, Mode::empty()).expect("its other side");
        let copy = || slave.try_clone().expect("a copy");
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let own = || {
            rustix::process::setsid()?;
            // SAFETY: TIOCSCTTY takes a number; descriptor 0 is the terminal by now.
            if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
            for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGTTIN, libc::SIGTTOU] {
                // SAFETY: the default action is no function of this program's; a process of one thread changes its own.
                if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(own) };
        let child = command.spawn().expect("a process");
        drop(slave);
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut from, to) = (master.try_clone().expect("a copy"), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that no process has open any more cannot be read.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().expect("its text").push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { master, child, shown }
    }

    /// An interactive shell in a directory, with this command on the path.
    pub fn shell(directory: &std::path::Path) -> Self {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "-i"]).current_dir(directory).env("TERM", "dumb").env("PS1", "> ");
        let here = std::path::Path::new(env!("CARGO_BIN_EXE_smstream")).parent().expect("a directory").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(here).chain(std::env::split_paths(&path));
        bash.env("PATH", std::env::join_paths(all).expect("a path")).env_remove("HISTFILE");
        Self::run(&mut bash)
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until it shows a text.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let start = std::time::Instant::now();
        while !self.text().contains(text) {
            assert!(start.elapsed() < HANGS, "the terminal does not show '{text}': {}", self.text());
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// All that it has shown.
    pub fn text(&self) -> String {
        self.shown.lock().expect("its text").clone()
    }

    /// The exit code of what runs on it.
    pub fn code(&mut self) -> Option<i32> {
        in_the_end(|| self.child.try_wait().expect("its state")).code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
