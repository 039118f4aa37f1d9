//! CHICKEN's example: writes "Hello, world!" into a shared memory object as into a file, and reads it back eight bytes
//! at a time.
//!
//! ```sh
//! cargo run --example hello_shm
//! ```

use smstream_shm::posix::SharedObject;
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    if !smstream_shm::posix::is_supported() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no POSIX shared memory"));
    }
    let text = b"Hello, world!";
    let name = format!("/smstream-hello-{}", std::process::id());

    let mut object = SharedObject::options().read(true).write(true).create_new(true).open(&name)?;
    let _gone_in_the_end = object.unlink_on_drop();
    object.set_len(text.len() as u64)?;
    object.write_all(text)?;
    drop(object);

    let mut object = SharedObject::open(&name)?;
    loop {
        let mut block = [0; 8];
        let count = object.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        println!("{:?}", String::from_utf8_lossy(&block[..count]));
    }
}
