//! The report as a table for people.

use super::control::Test;
use super::report::{Report, Row, yardstick};
use crate::size::{Nanos, Rate};

/// The tests in their order, each with its title.
const SECTIONS: [(Test, &str); 3] = [
    (Test::Bulk, "Throughput one way, writes of 64 KiB"),
    (Test::Busy, "Round trip of 64 bytes, both ends busy (they spin)"),
    (Test::Asleep, "Round trip of 64 bytes, both ends asleep (spin set to 0)"),
];

/// Writes the whole report. On a terminal that is too narrow for it, least and most are left out; with 0 columns it may be as
/// wide as it needs.
pub fn table(report: &Report, columns: usize) -> String {
    let wide = lines(report, true);
    let fits = columns == 0 || wide.iter().all(|line| line.chars().count() <= columns);
    (if fits { wide } else { lines(report, false) }).join("\n") + "\n"
}

fn lines(report: &Report, wide: bool) -> Vec<String> {
    let mut lines = head(report);
    let width = report.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    for (test, title) in SECTIONS {
        lines.extend([String::new(), title.to_owned()]);
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.test == test).collect();
        if rows.is_empty() {
            lines.push("  skipped: with one processor, spinning would measure the scheduler".to_owned());
            continue;
        }
        let ratio = format!("x {}", yardstick(test).1);
        lines.push(line(
            width,
            ["", "median", "min", "max", &ratio, if test == Test::Asleep { "p99" } else { "" }],
            "",
            wide,
        ));
        lines.extend(rows.into_iter().map(|row| line_of(row, width, wide)));
    }
    lines
}

/// How it was measured.
fn head(report: &Report) -> Vec<String> {
    let (rounds, near) = (report.rounds, report.near_rounds);
    let Some((here, there)) = report.cpus else {
        let text = "Only one processor is allowed here: no target is set for throughput.";
        return vec![format!("{rounds} interleaved rounds. {text}")];
    };
    let regime = report.regime.name();
    let change = if near == 0 || near == rounds {
        String::new()
    } else {
        format!("; it changed on the way ({near} of {rounds} rounds were near)")
    };
    vec![
        format!("{rounds} interleaved rounds, the two processes on processors {here} and {there}."),
        format!("Regime: {regime}, by the cache line floor{change}."),
    ]
}

/// One line of the table.
fn line_of(row: &Row, width: usize, wide: bool) -> String {
    let figure = |value: Option<f64>| match (value, row.test) {
        (None, _) => String::new(),
        (Some(value), Test::Bulk) => Rate(value).to_string(),
        (Some(value), _) => Nanos(value).to_string(),
    };
    let verdict = match (row.target, row.met()) {
        (Some(target), Some(true)) => format!("target {target}: met"),
        (Some(target), Some(false)) => format!("target {target}: MISSED"),
        _ => String::new(),
    };
    let cells = [
        row.name.clone(),
        figure(row.summary.map(|it| it.median)),
        figure(row.summary.map(|it| it.min)),
        figure(row.summary.map(|it| it.max)),
        row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        figure(row.p99),
    ];
    line(width, cells.each_ref().map(String::as_str), &verdict, wide)
}

/// Sets one line; a last figure that is missing takes no room.
fn line(width: usize, [name, median, min, max, ratio, last]: [&str; 6], verdict: &str, wide: bool) -> String {
    let last = if last.is_empty() || !wide { String::new() } else { format!("{last:>9}  ") };
    let spread = if wide { format!("{min:>9}  {max:>9}  ") } else { String::new() };
    let verdict = if wide { verdict } else { verdict.split_once(": ").map_or(verdict, |(_, short)| short) };
    let line = format!("  {name:width$}  {median:>9}  {spread}{ratio:>8}  {last}{verdict}");
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::control::Contestant;
    use super::super::report::{Regime, Target};
    use super::*;
    use smstream_bench::stats::Summary;

    fn row(test: Test, contestant: Contestant, median: f64, ratio: f64, target: Option<Target>) -> Row {
        let summary = Some(Summary { median, min: median / 2.0, max: median * 2.0 });
        let (name, rounds) = (contestant.name().to_owned(), vec![median]);
        Row { test, contestant, name, summary, rounds, p99: None, ratio: Some(ratio), target }
    }

    #[test]
    fn a_table_with_two_processors() {
        let asleep = Row { p99: Some(90_000.0), ..row(Test::Asleep, Contestant::Floor, 40_000.0, 1.0, None) };
        let report = Report {
            regime: Regime::Near,
            near_rounds: 4,
            cpus: Some((0, 3)),
            rounds: 5,
            rows: vec![
                row(Test::Bulk, Contestant::Smstream, 9.81e9, 4.5, Some(Target::AtLeast(3.0))),
                row(Test::Busy, Contestant::Smstream, 312.4, 3.0, Some(Target::AtMost(2.5))),
                asleep,
            ],
        };
        let expected = "\
5 interleaved rounds, the two processes on processors 0 and 3.
Regime: near, by the cache line floor; it changed on the way (4 of 5 rounds were near).

Throughput one way, writes of 64 KiB
               median        min        max    x pipe
  smstream  9.81 GB/s  4.91 GB/s  19.6 GB/s      4.50  target >= 3: met

Round trip of 64 bytes, both ends busy (they spin)
               median        min        max   x floor
  smstream     312 ns     156 ns     625 ns      3.00  target <= 2.5: MISSED

Round trip of 64 bytes, both ends asleep (spin set to 0)
               median        min        max   x floor        p99
  floor       40.0 µs    20.0 µs    80.0 µs      1.00    90.0 µs
";
        assert_eq!(table(&report, 0), expected);
        assert_eq!(table(&report, 200), expected);
        let narrow = table(&report, 60);
        let rows: Vec<&str> = narrow.lines().filter(|line| line.starts_with("  ")).collect();
        assert!(rows.iter().all(|line| line.chars().count() <= 60) && !narrow.contains("min"), "{narrow}");
        assert!(narrow.contains("met") && narrow.contains("MISSED"), "{narrow}");
    }

    #[test]
    fn one_processor_leaves_out_what_spins_and_says_so() {
        let rows = vec![row(Test::Bulk, Contestant::Pipe, 2e9, 1.0, None)];
        let report = Report { regime: Regime::Unknown, near_rounds: 0, cpus: None, rounds: 5, rows };
        let text = table(&report, 0);
        assert!(text.starts_with("5 interleaved rounds. Only one processor is allowed"));
        assert!(text.contains("skipped: with one processor, spinning would measure the scheduler"));
    }
}
