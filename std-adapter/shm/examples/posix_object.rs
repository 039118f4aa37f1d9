//! Shared memory objects from the command line, for the tests against other programs: `tests/interop/posix`.
//!
//! ```sh
//! cargo run --example posix_object -- create /numbers 4096   # standard input is what it begins with
//! cargo run --example posix_object -- map /numbers           # all its bytes to standard output, by a mapping
//! cargo run --example posix_object -- read /numbers          # the same, by reads of eight bytes
//! cargo run --example posix_object -- unlink /numbers
//! ```

use smstream_shm::memory::SharedMemory;
use smstream_shm::posix::SharedObject;
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut output = io::stdout().lock();
    match words[..] {
        ["create", name, len] => {
            let len = len.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, format!("{len}: {e}")))?;
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes)?;
            let options = SharedObject::options().read(true).write(true).create_new(true).len(len);
            options.open_with(name, |memory| memory.copy_in(0, &bytes)).map(drop)
        }
        ["map", name] => {
            let memory = SharedObject::open(name)?.map()?;
            let mut bytes = vec![0; memory.len()];
            memory.copy_out(0, &mut bytes)?;
            output.write_all(&bytes)
        }
        ["read", name] => {
            let mut object = SharedObject::open(name)?;
            let mut block = [0; 8];
            loop {
                match object.read(&mut block)? {
                    0 => return Ok(()),
                    count => output.write_all(&block[..count])?,
                }
            }
        }
        ["unlink", name] => SharedObject::unlink(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "create NAME LEN | map NAME | read NAME | unlink NAME")),
    }
}
