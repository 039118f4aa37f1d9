//! Death at every instruction. `tests/kill/run` builds and starts this, and says how it is used.

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    smstream_kill::run()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    eprintln!("tests/kill: this steps through x86-64 code on Linux, and this machine is another one");
    ExitCode::from(2)
}
