//! The command line.

use std::time::{Duration, SystemTime};

/// How to call it.
pub const USAGE: &str = "\
usage: tests/faults/run [--sample | --all | --minutes N | --seconds N] [--seed N] [--only TEXT] [--cell TEXT | --row TEXT]
                        [--messages] [--write]
       tests/faults/run --self-test
  --sample      as many cells as fit into 30 seconds, chosen by the seed (the default)
  --all         every cell
  --minutes N   as many as fit into N minutes; --seconds N: into so many seconds
                Before, each scenario is done twice without a fault; that is not counted
  --seed N      another choice: 1 if none is said, and with --minutes the number of the day
  --only TEXT   the scenarios whose names contain the text
  --cell TEXT   the cells whose names begin so: SCENARIO|CALL|ERROR|NTH
  --row TEXT    the environments with the text in their names, each with each scenario, and no other cells
  --messages    show every message, once
  --self-test   show that it notices: programs that are broken on purpose, each in another way
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
    /// Whether to try programs that are broken on purpose, and nothing else.
    pub self_test: bool,
}

impl Options {
    /// Of a command line.
    pub fn parse(arguments: impl Iterator<Item = String>, sample: Duration) -> Option<Self> {
        let mut this = Self {
            worker: false,
            share: (0, 1),
            time: Some(sample),
            seed: FIRST_SEED,
            only: None,
            cell: None,
            row: None,
            messages: false,
            write: false,
            self_test: false,
        };
        let mut arguments = arguments;
        let mut seed = None;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--sample" => this.time = Some(sample),
                "--all" => this.time = None,
                "--minutes" => {
                    this.time = Some(Duration::from_secs(arguments.next()?.parse::<u64>().ok()? * 60));
                    // Each night another choice.
                    this.seed = today();
                }
                "--seconds" => this.time = Some(Duration::from_secs(arguments.next()?.parse().ok()?)),
                "--seed" => seed = Some(arguments.next()?.parse().ok()?),
                "--only" => this.only = Some(arguments.next()?),
                "--cell" => this.cell = Some(arguments.next()?),
                "--row" => {
                    this.row = Some(arguments.next()?);
                    this.time = None;
                }
                "--messages" => this.messages = true,
                "--self-test" => this.self_test = true,
                "--write" => this.write = true,
                "--worker" => {
                    this.worker = true;
                    this.share = (arguments.next()?.parse().ok()?, arguments.next()?.parse().ok()?);
                }
                _ => return None,
            }
        }
        this.seed = seed.unwrap_or(this.seed);
        Some(this)
    }
}

/// What a sample's choice begins from.
const FIRST_SEED: u64 = 1;

/// How many days there have been since 1970.
fn today() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(FIRST_SEED, |since| since.as_secs() / (24 * 60 * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_has_a_choice_of_its_own_unless_one_is_said() {
        let seed = |line: &str| {
            let options = Options::parse(line.split_whitespace().map(str::to_owned), Duration::from_secs(1));
            options.map(|options| options.seed)
        };
        assert_eq!(seed("--sample"), Some(FIRST_SEED));
        assert!(seed("--minutes 60").is_some_and(|seed| seed > 20_000));
        assert_eq!(seed("--minutes 60 --seed 7"), Some(7));
        assert_eq!(seed("--seed 7 --minutes 60"), Some(7));
    }
}
