//! Party 0 of a channel to a microcontroller: a Linux process that maps the memory of an emulated board as a file. Sends bytes, and
//! checks that the firmware (`tests/firmware/src/bin/two_machines.rs`) sends back the same. `tests/firmware/run` runs it.
//!
//! The board is QEMU's mps2-an386, a Cortex-M4, whose 16 MiB of memory are a file that both map.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use smstream_core::error::{ReadError, WriteError};
use smstream_core::geometry::{self, Attachment, Config};
use smstream_core::identity::{Problem, Whose};
use smstream_core::layout::Features;
use smstream_core::park::Spin;
use smstream_core::stream::End;
use smstream_tests::flow::Random;
use smstream_tests::party::Scratch;

/// The memory of the board.
const MEMORY: usize = 16 << 20;
/// The channel: 4 KiB to the board, 1 KiB back. Neither party sleeps.
const CHANNEL: Config = Config { features: Features::AWAKE, ..Config::new([4096, 1024]) };
/// What is sent there and back.
const BYTES: usize = 1 << 20;
/// How long the board may take before it says or does something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The memory of the board, as this process sees it.
struct Memory {
    base: *mut u8,
}

impl Memory {
    fn map(file: &File) -> std::io::Result<Self> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, where the system wants it.
        let base = unsafe { mmap(std::ptr::null_mut(), MEMORY, flags, MapFlags::SHARED, file.as_fd(), 0) }?;
        Ok(Memory { base: base.cast() })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length. The ends that point into it borrow this.
        let _ = unsafe { munmap(self.base.cast(), MEMORY) };
    }
}

/// The board. It is switched off when this is dropped.
struct Board(Child);

impl Board {
    fn start(firmware: &str, memory: &str) -> std::io::Result<Self> {
        let object = format!("memory-backend-file,id=ram,size={}M,mem-path={memory},share=on", MEMORY >> 20);
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args(["-machine", "mps2-an386,memory-backend=ram", "-object", &object, "-nographic", "-monitor", "none"]);
        qemu.args(["-serial", "null", "-semihosting-config", "enable=on,target=native", "-kernel", firmware]);
        Ok(Board(qemu.stdin(Stdio::null()).spawn()?))
    }

    /// An error if it has stopped, or has done nothing for too long.
    fn check(&mut self, since: Instant) -> Result<(), String> {
        std::thread::yield_now();
        match self.0.try_wait() {
            Ok(None) if since.elapsed() < PATIENCE => Ok(()),
            Ok(None) => Err(format!("the board has done nothing for {PATIENCE:?}")),
            Ok(Some(status)) => Err(format!("the board has stopped too early: {status}")),
            Err(e) => Err(format!("cannot ask for the board: {e}")),
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> ExitCode {
    let Some(firmware) = std::env::args().nth(1) else {
        eprintln!("usage: two_machines FIRMWARE, an ELF file for mps2-an386; tests/firmware/run makes it");
        return ExitCode::from(2);
    };
    match run(&firmware) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("two_machines: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(firmware: &str) -> Result<String, String> {
    let scratch = Scratch::new();
    let path = scratch.name();
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.and_then(|file| file.set_len(MEMORY as u64).map(|()| file));
    let memory = file.and_then(|file| Memory::map(&file)).map_err(|e| format!("cannot make the memory: {e}"))?;
    let mut board = Board::start(firmware, &path.to_string_lossy())
        .map_err(|e| format!("cannot start qemu-system-arm: {e}; apt-get install qemu-system-arm"))?;
    let mut end = meet(&memory, &mut board)?.into_end(Spin, Spin);
    let begun = Instant::now();
    exchange(&mut end, &mut board)?;
    let spent = begun.elapsed();
    end.finish();
    // The board reads the end, says so too, and stops.
    drain(&mut end, &mut board)?;
    let status = board.0.wait().map_err(|e| format!("cannot wait for the board: {e}"))?;
    if !status.success() {
        return Err(format!("the firmware has failed: {status}"));
    }
    Ok(format!("{BYTES} bytes there and back, all as they were sent, in {spent:.1?}"))
}

/// Sets up the own segment, and waits until the firmware has set up the other one.
fn meet<'m>(memory: &'m Memory, board: &mut Board) -> Result<Attachment<'m>, String> {
    let ([first, second], len) = CHANNEL.block();
    let (mine, theirs) = (memory.base.wrapping_add(first), memory.base.wrapping_add(second));
    // SAFETY: the memory is mapped for as long as it is borrowed, and longer than the channel. No end is attached yet, and the
    // firmware looks at nothing but the header before this is done, by atomics.
    unsafe { geometry::init(mine, second, &CHANNEL, 0) }.map_err(|finding| finding.to_string())?;
    let since = Instant::now();
    loop {
        // SAFETY: as above. This is the only end of party 0 in this program, and the firmware, which is trusted as any code on
        // the board, writes its own segment only.
        match unsafe { geometry::attach(mine, second, theirs, len - second) } {
            Ok(attached) => return Ok(attached),
            Err(finding) if (finding.whose, finding.problem) == (Whose::Peer, Problem::NotReady) => {
                board.check(since)?
            }
            Err(finding) => return Err(finding.to_string()),
        }
    }
}

/// Sends all bytes, and checks what comes back meanwhile.
fn exchange(end: &mut End<'_, Spin>, board: &mut Board) -> Result<(), String> {
    let mut random = Random::new(0x5eed);
    let bytes: Vec<u8> = (0..BYTES).map(|_| random.draw() as u8).collect();
    let (mut sent, mut received, mut out) = (0, 0, [0; 700]);
    let mut since = Instant::now();
    while received < BYTES {
        let before = (sent, received);
        match end.write(&bytes[sent..(sent + 300).min(BYTES)]) {
            Ok(n) => sent += n,
            Err(WriteError::Full) => {}
            Err(e) => return Err(format!("cannot write: {e}")),
        }
        match end.read(&mut out) {
            Ok(0) => return Err(format!("the firmware has closed after {received} bytes")),
            Ok(n) if out[..n] == bytes[received..received + n] => received += n,
            Ok(n) => return Err(format!("other bytes came back among the {n} after {received}")),
            Err(ReadError::Empty) => {}
            Err(e) => return Err(format!("cannot read: {e}")),
        }
        if (sent, received) != before {
            since = Instant::now();
        } else {
            board.check(since)?;
        }
    }
    Ok(())
}

/// Reads until the end, before which nothing may come.
fn drain(end: &mut End<'_, Spin>, board: &mut Board) -> Result<(), String> {
    let since = Instant::now();
    loop {
        match end.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err("more came back than was sent".into()),
            // The board may have stopped since, and what it had said before is still there.
            Err(ReadError::Empty) if since.elapsed() < PATIENCE => std::thread::yield_now(),
            Err(e) => {
                board.check(since)?;
                return Err(format!("cannot read the end: {e}"));
            }
        }
    }
}
