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

/// Writes the table of a whole run.
pub fn write(rows: &[Row]) -> Result<(), String> {
    let [before, _, behind] = parts()?;
    let mut table = HEAD.to_owned();
    for row in rows {
        let saw: Vec<_> = row.saw.iter().map(|(outcome, n)| format!("{outcome}: {n}")).collect();
        let calls = row.calls + row.asleep;
        let went_on = if row.asleep > 0 { "—".into() } else { row.went_on.to_string() };
        table += &format!("| {} | {} + {calls} | {} | {went_on} |\n", row.name, row.instructions, saw.join("<br>"));
    }
    let (instructions, calls) =
        rows.iter().fold((0, 0), |(i, c), row| (i + row.instructions, c + row.calls + row.asleep));
    let went_on: usize = rows.iter().map(|row| row.went_on).sum();
    let kills: usize = rows.iter().flat_map(|row| &row.saw).map(|(_, n)| n).sum();
    table += &format!("| all {} | {instructions} + {calls} | {kills} kills | {went_on} |\n", rows.len());
    let path = document();
    fs::write(&path, format!("{before}{BEGIN}{table}{END}{behind}"))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
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
