//! The command line: the arguments of each command, gathered.

use clap::{Parser, Subcommand};

use crate::options::EXIT_CODES;
use crate::sysv::{self, msg, sem, shm};
use crate::{addresses, bench, completions, conform, connect, demo, doctor, gc, listen, ls, man, proxy, stat};

const EXAMPLES: &str = "\
Examples:
  smstream demo                                see it work on this machine, and how fast
  smstream listen unix:/tmp/x > copy           in one terminal
  smstream connect unix:/tmp/x < data          in another
  smstream ls                                  see the connections";

const SYSV: &str = "\
Commands for System V objects, as Free Pascal's shmtool, semtool and msgtool have them:
  shm          A text in shared memory
  sem          A set of semaphores
  msg          Texts in a message queue";

/// Byte streams between processes through shared memory, for the shell
#[derive(Debug, Parser)]
#[command(name = "smstream", version, bin_name = "smstream", max_term_width = 100)]
#[command(about = "Byte streams between processes through shared memory, for the shell")]
#[command(after_help = format!("{SYSV}\n\n{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Listen for a connection: standard input is sent, and what is received goes to standard output
    #[command(after_help = listen::more())]
    Listen(listen::ListenArgs),
    /// Connect to a listener: standard input is sent, and what is received goes to standard output
    #[command(after_help = connect::more())]
    Connect(connect::ConnectArgs),
    /// Pass connections on: from streams to sockets, from sockets to streams, or between two of a kind
    #[command(after_help = proxy::more())]
    Proxy(proxy::ProxyArgs),
    /// Check on this machine that every byte arrives, and measure beside pipes, sockets and the machine's floors
    #[command(after_help = demo::more())]
    Demo(demo::DemoArgs),
    /// Measure streams beside pipes, sockets and message queues: throughput, round trips, CPU time, system calls
    #[command(after_help = bench::more())]
    Bench(bench::BenchArgs),
    /// List listeners and connections, with the processes at both ends
    #[command(after_help = ls::MORE)]
    Ls(ls::LsArgs),
    /// Show both directions of a stream: how full, how fast, and which end sleeps until what
    #[command(after_help = stat::MORE)]
    Stat(stat::StatArgs),
    /// Check every rule of a region, whatever its state, and say what is wrong
    #[command(after_help = doctor::MORE)]
    Doctor(doctor::DoctorArgs),
    /// Play the other side to a program in any language, and say which clauses of the layout it keeps
    #[command(after_help = conform::MORE)]
    Conform(conform::ConformArgs),
    /// Remove what crashed processes of smstream have left
    #[command(after_help = gc::MORE)]
    Gc(gc::GcArgs),
    /// A text in System V shared memory, as Free Pascal's shmtool has it
    #[command(hide = true, after_help = format!("{}\n\n{}", shm::MORE, sysv::EXIT_CODES))]
    Shm(shm::ShmArgs),
    /// A set of System V semaphores, as Free Pascal's semtool has it
    #[command(hide = true, after_help = format!("{}\n\n{}", sem::MORE, sysv::EXIT_CODES))]
    Sem(sem::SemArgs),
    /// Texts in a System V message queue, as Free Pascal's msgtool has them
    #[command(hide = true, after_help = format!("{}\n\n{}", msg::MORE, sysv::EXIT_CODES))]
    Msg(msg::MsgArgs),
    /// Write what a shell needs to complete command lines
    #[command(after_help = completions::more())]
    Completions(completions::CompletionsArgs),
    /// Write the manual, as pages for man
    #[command(after_help = man::more())]
    Man(man::ManArgs),
    /// What may stand where an address is due, for the scripts of `completions`
    #[command(name = addresses::NAME, hide = true)]
    CompleteAddress(addresses::CompleteAddressArgs),
    /// The demo's second process
    #[command(name = demo::PEER, hide = true)]
    DemoPeer {
        /// The first process
        parent: u32,
    },
    /// The second process of `bench`
    #[command(name = bench::PEER, hide = true)]
    BenchPeer {
        /// The first process
        parent: u32,
        /// The file with the words that both share
        memory: std::path::PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::options::When;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn progress_with_and_without_a_value() {
        let progress = |line: &str| match Cli::try_parse_from(line.split(' ')).map(|cli| cli.command) {
            Ok(Command::Connect(args)) => Some(args.transfer.progress.progress),
            _ => None,
        };
        assert_eq!(progress("smstream connect file:x"), Some(When::Auto));
        assert_eq!(progress("smstream connect --progress file:x"), Some(When::Always));
        assert_eq!(progress("smstream connect --progress=never file:x"), Some(When::Never));
        assert_eq!(progress("smstream connect --progress=what file:x"), None);
    }
}
