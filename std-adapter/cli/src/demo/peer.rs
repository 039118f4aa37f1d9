//! The demo's second process: does what the first one orders.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::control::{self, Contestant, Control, Order, Test};
use super::tuning::stream_options;
use super::verify;
use super::workload::Ends;
use crate::failure::{Context, Failure};
use crate::transport::{self, Addr, Stream};
use smstream_bench::cpus;
use smstream_bench::floor::Words;

/// Runs until the first process says that it is done.
pub fn run(parent: u32) -> Result<(), Failure> {
    let what = "the second process of `smstream demo`";
    end_with(parent).or_broken(what)?;
    let talk = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).or_broken(what)?;
    let [pipe_in, pipe_out, socket, memory] = control::take(&talk).or_broken(what)?;
    let words = Words::map(&memory).or_broken(what)?;
    let mut ends = Ends::new(pipe_in, pipe_out, UnixStream::from(socket), words);
    let mut control = Control::over(talk).or_broken(what)?;
    let mut verified = None;
    loop {
        let line = match control.hear() {
            // The first process has ended early and says why itself.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            heard => heard.or_broken(what)?,
        };
        let order: Order = line.parse().or_broken(what)?;
        if order == Order::End {
            return Ok(());
        }
        let context = format!("{what}, at '{order}'");
        obey(order, &mut control, &mut ends, &mut verified).or_broken(context)?;
    }
}

/// Does one thing and answers.
fn obey(order: Order, control: &mut Control, ends: &mut Ends, verified: &mut Option<Stream>) -> io::Result<()> {
    match order {
        Order::Pin(cpu) => {
            cpus::pin(cpu)?;
            control.say("pinned")
        }
        Order::Connect(test, addr) => {
            let addr: Addr = addr.parse().map_err(io::Error::other)?;
            let stream = transport::connect(&addr, &stream_options(test), None)?;
            match test {
                Some(test) => ends.set_stream(test, stream),
                None => *verified = Some(stream),
            }
            control.say("connected")
        }
        Order::Verify(bytes) => {
            let stream = verified.take().ok_or_else(|| io::Error::other("no stream to verify"))?;
            let sums = verify::exchange(stream, bytes, verify::Seed::Second)?;
            control.say(sums)
        }
        Order::Run(Test::Bulk, contestant, count) => {
            control.say("ready")?;
            let end = ends.recv_blocks(contestant, count)?;
            control.say(end)
        }
        Order::Run(test, contestant, count) => {
            if contestant == Contestant::Floor {
                ends.words().reset();
            }
            control.say("ready")?;
            ends.pong(test, contestant, count)
        }
        Order::End => Ok(()),
    }
}

/// Makes the kernel ask this process to end when the first one dies, which may have happened already.
pub fn end_with(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let here = getppid().map(Pid::as_raw_nonzero).map(|pid| pid.get().unsigned_abs());
    if here == Some(parent) {
        return Ok(());
    }
    Err(io::Error::other("the first process is gone"))
}
