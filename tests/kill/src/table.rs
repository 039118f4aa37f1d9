//! The table in `docs/SAFETY.md`.

use std::fs;
use std::path::PathBuf;

use crate::operation::Operation;
use crate::plan::Row;

const BEGIN: &str = "<!-- kill: made by tests/kill/run --table -->\n";
const END: &str = "<!-- end -->";
const HEAD: &str = "| operation | points: instructions + at system calls | killed there, the survivor saw | stopped there, went on |\n\
                    |---|---|---|---|\n";

fn document() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/SAFETY.md")
}

/// The document: before the table, the table, behind it.
fn parts() -> Result<[String; 3], String> {
    let path = document();
    let text = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let no_place = || format!("{} has no place for the table, between {BEGIN:?} and {END:?}", path.display());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(no_place)?;
    let (table, behind) = rest.split_once(END).ok_or_else(no_place)?;
    Ok([before, table, behind].map(str::to_owned))
}

/// What a line of the table says of an operation.
fn line(row: &Row) -> String {
    let saw: Vec<_> = row.saw.iter().map(|(outcome, n)| format!("{outcome}: {n}")).collect();
    let calls = row.calls + row.asleep;
    let went_on = if row.asleep > 0 { "—".into() } else { row.went_on.to_string() };
    format!("| {} | {} + {calls} | {} | {went_on} |", row.name, row.instructions, saw.join("<br>"))
}

/// Writes the lines of these operations into the table, where all come in their order, and the sum.
pub fn write(rows: &[Row], operations: &[Box<dyn Operation>]) -> Result<(), String> {
    let [before, old, behind] = parts()?;
    let lines: Vec<_> = operations
        .iter()
        .filter_map(|operation| {
            let name = operation.name();
            let begin = format!("| {name} | ");
            let fresh = rows.iter().find(|row| row.name == name).map(line);
            fresh.or_else(|| old.lines().find(|line| line.starts_with(&begin)).map(str::to_owned))
        })
        .collect();
    let mut sums = [0; 4];
    for line in &lines {
        for (sum, n) in
            sums.iter_mut().zip(numbers(line).ok_or_else(|| format!("this is no line of the table: {line}"))?)
        {
            *sum += n;
        }
    }
    let [instructions, calls, kills, went_on] = sums;
    let sum = format!("| all {} | {instructions} + {calls} | {kills} | {went_on} |", lines.len());
    let path = document();
    fs::write(&path, format!("{before}{BEGIN}{HEAD}{}\n{sum}\n{END}{behind}", lines.join("\n")))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The numbers in a line: instructions, system calls, kills, those that went on.
fn numbers(line: &str) -> Option<[usize; 4]> {
    let cells: Vec<_> = line.trim_end_matches(" |").split(" | ").collect();
    let [_, points, saw, went_on] = cells[..] else { return None };
    let (instructions, calls) = points.split_once(" + ")?;
    let kills = saw.split("<br>").map(|part| part.rsplit_once(": ")?.1.parse::<usize>().ok()).sum::<Option<_>>()?;
    Some([instructions.parse().ok()?, calls.parse().ok()?, kills, went_on.parse().unwrap_or(0)])
}

/// That the table has these operations and no others, and of each the outcomes that it may have, in this order.
pub fn check(operations: &[Box<dyn Operation>]) -> Result<(), String> {
    let [_, table, _] = parts()?;
    let body = table.strip_prefix(HEAD).ok_or("the table has another head than tests/kill/run --table gives it")?;
    let lines: Vec<_> = body.lines().collect();
    if lines.len() != operations.len() + 1 {
        return Err(format!("the table has {} operations, and there are {}", lines.len(), operations.len()));
    }
    for (line, operation) in lines.iter().zip(operations) {
        let cells: Vec<_> = line.split(" | ").collect();
        let name = operation.name();
        if cells.len() != 4 || cells[0] != format!("| {name}") {
            return Err(format!("the table has no line for {name:?} where it is to be"));
        }
        let outcomes: Vec<_> = cells[2].split("<br>").filter_map(|part| Some(part.rsplit_once(": ")?.0)).collect();
        if outcomes != operation.after_a_kill() {
            return Err(format!("the table has other outcomes for {name:?} than its truth: {outcomes:?}"));
        }
    }
    Ok(())
}
