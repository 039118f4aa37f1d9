//! A child writes 123 into shared memory, and its parent reads it: the example of Vicare's manual, without the second
//! that its child sleeps, to be sure that the memory is there, and without waiting for the child to end.
//!
//! ```sh
//! cargo run --example vicare_123
//! ```

use smstream_shm::cleanup::{self, Object};
use smstream_shm::memory::SharedMemory;
use smstream_shm::posix::{Semaphore, SharedObject};
use std::io;
use std::process::Command;

/// Where the semaphore is, and where the number.
const READY: usize = 0;
const NUMBER: usize = 64;

fn main() -> io::Result<()> {
    match std::env::args().nth(1) {
        Some(name) => child(&name),
        None => parent(),
    }
}

fn parent() -> io::Result<()> {
    let name = format!("/smstream-123-{}", std::process::id());
    // It has its length before it has its name.
    let object = SharedObject::create_sized(&name, 4096)?;
    let guard = cleanup::register(Object::Shm(&object))?;
    let memory = object.map()?;
    let mut child = Command::new(std::env::current_exe()?).arg(&name).spawn()?;
    // Fresh memory is a semaphore of value 0.
    Semaphore::at(&memory, READY)?.wait();
    // Both have it: from here on even a SIGKILL leaves nothing.
    guard.remove()?;
    println!("the parent reads {}", memory.load_u32(NUMBER).unwrap_or_default());
    child.wait()?;
    Ok(())
}

fn child(name: &str) -> io::Result<()> {
    let memory = SharedObject::options().read(true).write(true).open(name)?.map()?;
    memory.copy_in(NUMBER, &123_u32.to_ne_bytes())?;
    println!("the child has written 123");
    Semaphore::at(&memory, READY)?.post()
}
