//! The tables.

use std::fmt::Write;

use crate::plan::{Course, Pattern, Placement};
use crate::rounds::Results;
use crate::summary::{Line, lines, usual_regime};
use crate::transport::Waiting;
use crate::units;

/// What stands where there is no figure.
const NONE: &str = "-";

/// One table for each pattern, way of waiting and placement: a row for each transport, a column for each size. With
/// `long`, one for each size, with spread, percentiles, CPU time and system calls.
#[must_use]
pub fn report(results: &Results, long: bool) -> String {
    let lines = lines(results);
    let mut text = head(results);
    let mut groups: Vec<Course> = Vec::new();
    for row in &results.rows {
        let group = Course { size: if long { row.course.size } else { 0 }, ..row.course };
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    for group in groups {
        let Some(regime) = usual_regime(results, group) else { continue };
        let of_group: Vec<&Line> = lines
            .iter()
            .filter(|line| {
                let size = if long { line.course.size } else { 0 };
                Course { size, ..line.course } == group && line.regime == regime
            })
            .collect();
        let rounds = of_group.iter().map(|line| line.rounds).max().unwrap_or(0);
        let _ = write!(text, "\n{}; regime {}: {rounds} of {} rounds\n", title(group), regime.name(), results.rounds);
        text.push_str(&if long { long_table(&of_group) } else { short_table(&of_group) });
        let awake: usize = of_group.iter().map(|line| line.awake).sum();
        if awake > 0 {
            let _ = writeln!(text, "  {awake} turns are left out: a side did not sleep");
        }
    }
    for (name, why) in &results.skipped {
        let _ = writeln!(text, "\n{name} was left out: {why}");
    }
    text
}

fn head(results: &Results) -> String {
    let rounds = results.rounds;
    match results.cpus {
        Some((here, there)) => format!(
            "{rounds} interleaved rounds, medians. 'pinned': one side on CPU {here}, the other on CPU {there}; 'free': where \
             the\nscheduler puts them. 'near': two cache lines go there and back in less than 250 ns; 'far': they do not.\n"
        ),
        None => format!("{rounds} interleaved rounds, medians. Only one CPU is allowed here: nothing spins.\n"),
    }
}

fn title(course: Course) -> String {
    let what = match course.pattern {
        Pattern::Throughput => "Throughput one way",
        Pattern::RoundTrip => "Round trip",
    };
    let size = if course.size == 0 { String::new() } else { format!(" of {}", units::bytes(course.size)) };
    let waiting = match course.waiting {
        Waiting::Default => "default settings",
        Waiting::Busy => "both sides spin",
        Waiting::Asleep => "both sides sleep",
    };
    let placement = if course.placement == Placement::Pinned { "pinned" } else { "free" };
    format!("{what}{size}, {waiting}, {placement}")
}

/// The median of each size.
fn short_table(lines: &[&Line]) -> String {
    let mut sizes: Vec<usize> = lines.iter().map(|line| line.course.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut names: Vec<(&str, bool)> = Vec::new();
    for line in lines {
        if !names.contains(&(&line.name, line.is_floor)) {
            names.push((&line.name, line.is_floor));
        }
    }
    let mut cells = vec![[String::new()].into_iter().chain(sizes.iter().map(|size| units::bytes(*size))).collect()];
    for (name, is_floor) in names {
        let mut row = vec![label(name, is_floor)];
        for size in &sizes {
            let line = lines.iter().find(|line| line.name == name && line.course.size == *size);
            row.push(line.and_then(|line| figure(line)).unwrap_or_else(|| NONE.to_owned()));
        }
        cells.push(row);
    }
    aligned(&cells)
}

/// All that is known of one size.
fn long_table(lines: &[&Line]) -> String {
    let is_trip = lines.iter().any(|line| line.course.pattern == Pattern::RoundTrip);
    let mut titles = vec!["", "median", "min", "max", "x smstream", "x floor"];
    if is_trip {
        titles.extend(["p50", "p99", "p99.9", "longest"]);
    }
    titles.extend(["CPU", "calls"]);
    let mut cells = vec![titles.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for line in lines {
        let each = |nanos: f64| match line.course.pattern {
            Pattern::Throughput => units::rate(line.course.size as f64 * 1e9 / nanos),
            Pattern::RoundTrip => units::nanos(nanos),
        };
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let ratio = |ratio: Option<f64>| or_none(ratio.map(|ratio| format!("{ratio:.2}")));
        let mut row = vec![label(&line.name, line.is_floor)];
        row.push(or_none(line.nanos.map(|it| each(it.median))));
        // The fastest round has the least time: the highest rate.
        let (low, high) = match line.course.pattern {
            Pattern::Throughput => (line.nanos.map(|it| it.max), line.nanos.map(|it| it.min)),
            Pattern::RoundTrip => (line.nanos.map(|it| it.min), line.nanos.map(|it| it.max)),
        };
        row.extend([low, high].map(|value| or_none(value.map(each))));
        row.extend([ratio(line.to_smstream), ratio(line.to_floor)]);
        if is_trip {
            let percentiles = line.percentiles.map(|all| all.map(units::nanos));
            row.extend(percentiles.unwrap_or_else(|| [NONE; 4].map(str::to_owned)));
        }
        row.push(or_none(line.cpu.map(units::nanos)));
        row.push(or_none(line.calls.map(|calls| format!("{calls:.3}"))));
        cells.push(row);
    }
    aligned(&cells)
}

fn figure(line: &Line) -> Option<String> {
    match line.course.pattern {
        Pattern::Throughput => line.rate().map(units::rate),
        Pattern::RoundTrip => line.nanos.map(|nanos| units::nanos(nanos.median)),
    }
}

fn label(name: &str, is_floor: bool) -> String {
    if is_floor { format!("floor: {}", name.replace('_', " ")) } else { name.to_owned() }
}

/// Columns of equal width: the first to the left, the others to the right.
fn aligned(cells: &[Vec<String>]) -> String {
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in cells {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 { write!(line, "  {cell:<width$}") } else { write!(line, "  {cell:>width$}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let cells = vec![vec!["".into(), "8 B".into()], vec!["pipe".into(), "12.5 µs".into()]];
        assert_eq!(aligned(&cells), "            8 B\n  pipe  12.5 µs\n");
    }
}
