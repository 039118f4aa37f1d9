//! The command line.

use std::time::Duration;

/// How to call it.
pub const USAGE: &str = "\
usage: tests/faults/run [--sample | --all | --minutes N | --seconds N] [--seed N] [--only TEXT] [--cell TEXT | --row TEXT]
                        [--messages] [--write]
  --sample      as many cells as fit into 45 seconds, chosen by the seed (the default)
  --all         every cell
  --minutes N   as many as fit into N minutes; --seconds N: into so many seconds
  --seed N      another choice
  --only TEXT   the scenarios whose names contain the text
  --cell TEXT   the cells whose names begin so: SCENARIO|CALL|ERROR|NTH
  --row TEXT    the environments with the text in their names, each with each scenario, and no other cells
  --messages    show every message, once
  --write       put the table into docs/FAULTS.md";

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// This process is one of several workers.
    pub worker: bool,
    /// Which share of the scenarios it does, of how many.
    pub share: (usize, usize),
    /// How long; `None`: all cells.
    pub time: Option<Duration>,
    /// What the choice begins from.
    pub seed: u64,
    /// Scenarios.
    pub only: Option<String>,
    /// Cells.
    pub cell: Option<String>,
    /// Environments.
    pub row: Option<String>,
    /// Whether to show the messages.
    pub messages: bool,
    /// Whether to write the table.
    pub write: bool,
}

impl Options {
    /// Of a command line.
    pub fn parse(arguments: impl Iterator<Item = String>, sample: Duration) -> Option<Self> {
        let mut this = Self {
            worker: false,
            share: (0, 1),
            time: Some(sample),
            seed: 1,
            only: None,
            cell: None,
            row: None,
            messages: false,
            write: false,
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--sample" => this.time = Some(sample),
                "--all" => this.time = None,
                "--minutes" => this.time = Some(Duration::from_secs(arguments.next()?.parse::<u64>().ok()? * 60)),
                "--seconds" => this.time = Some(Duration::from_secs(arguments.next()?.parse().ok()?)),
                "--seed" => this.seed = arguments.next()?.parse().ok()?,
                "--only" => this.only = Some(arguments.next()?),
                "--cell" => this.cell = Some(arguments.next()?),
                "--row" => {
                    this.row = Some(arguments.next()?);
                    this.time = None;
                }
                "--messages" => this.messages = true,
                "--write" => this.write = true,
                "--worker" => {
                    this.worker = true;
                    this.share = (arguments.next()?.parse().ok()?, arguments.next()?.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(this)
    }
}
