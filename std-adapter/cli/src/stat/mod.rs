//! `smstream stat`: both lanes of a stream, side by side.

mod args;
mod bar;
mod followed;
mod json;
mod picture;
mod rows;
mod screen;
mod text;
mod view;

use std::thread;
use std::time::Duration;

use crate::failure::Failure;
use crate::stdio::Output;
use crate::style::Paint;
use crate::target::Target;
use followed::Followed;

pub use args::StatArgs;

/// What the help says beside the options.
pub const MORE: &str = "\
The command only looks: it takes no lock, wakes no process and writes nothing. Rates are those
between two looks. A time of sleep is how long this command has seen that sleep; the sleep may be
longer. While the command looks, the memory of the stream stays, even when both ends have gone.

An address stands for its listener and the streams that it has accepted. At a unix: address there
is nothing to look at before the first stream. The streams of a process that has accepted at
several such addresses are named by PID:FD only: the address of each cannot be found out.

Keys of --watch:
  q, Esc, Ctrl-C  end                      + -    look more or less often
  Tab, arrows     the next stream          space  hold still

Examples:
  smstream stat file:/dev/shm/x                once
  smstream stat unix:@web                      the streams that met there
  smstream stat --watch 4711:9                 live; `smstream ls` shows the numbers
  smstream stat --watch --json 4711:9          a line of JSON every second

Keys of --json (with --watch, a line for each look):
  streams          a list:
    state, address, address_hex, capacities, fill, age_seconds, alive
                   as `smstream ls --json` has them
    holders        likewise:
      pid, fd, command, party
    stuck          why nothing can move any more, or null
    lanes          the listener's lane, then the connector's:
      capacity
      fill         or null
      sent, received  cursors
      finished, stopped
      writer, reader
        rest       awake, asleep or odd
        wants      bytes (or bytes of room) waited for, or null
        seen_for   seconds
        bytes, operations, parks, wakes_sent, wakes_avoided
                   in all, or null without counters
        rates      the same in a second, or null:
          bytes, operations, parks, wakes_sent, wakes_avoided

Exit codes:
  0  done; the end of what is watched is no failure
  1  standard output could not be written
  2  the command line is wrong, or --watch has no terminal
  3  nothing is there to look at";

/// The time between the two looks of a single report.
const MOMENT: Duration = Duration::from_millis(250);

/// Shows it.
pub fn run(args: &StatArgs) -> Result<(), Failure> {
    if args.picture.is_some() || (args.watch && !args.json) {
        return screen::run(args);
    }
    let mut followed = Followed::new(args.target.clone())?;
    followed.look();
    loop {
        thread::sleep(if args.watch { args.interval } else { MOMENT });
        if args.watch {
            followed.find_more();
        }
        let reports = followed.look();
        if reports.is_empty() {
            return if args.watch { Ok(()) } else { Err(nothing(&args.target)) };
        }
        let text =
            if args.json { format!("{}\n", json::all(&reports)) } else { text::all(&reports, Paint::for_stdout()) };
        Output::new().print(&text)?;
        if !args.watch {
            return Ok(());
        }
    }
}

fn nothing(target: &Target) -> Failure {
    Failure::no_connection(format!("{target}: nothing is there to look at any more"))
}
