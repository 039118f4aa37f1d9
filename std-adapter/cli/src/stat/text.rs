//! One report, for people.

use smstream::inspect::{InspectedStream, Report};

use super::bar::bar;
use super::rows::{self, DIRECTIONS};
use crate::ls;
use crate::style::{self, Paint, Role};

/// The width of a lane.
const WIDTH: usize = 34;

/// All streams, one under the other.
pub fn all(reports: &[(InspectedStream, Report)], paint: Paint) -> String {
    let texts: Vec<String> = reports.iter().map(|(stream, report)| one(stream, report, paint)).collect();
    texts.join("\n")
}

fn one(stream: &InspectedStream, report: &Report, paint: Paint) -> String {
    let (look, state) = (&report.look, report.look.state());
    let title = paint.text(Role::Strong, rows::title(stream));
    let mut text = format!("{title}  {}  {}\n", paint.text(ls::role(state), state.name()), rows::age(look));
    for (line, dead) in rows::parties(stream, look) {
        text += &format!("  {}\n", if dead { paint.text(Role::Bad, line) } else { line });
    }
    let columns = |label: &str, cells: [String; 2], odd: [bool; 2]| {
        let [first, second] = cells;
        let pad = " ".repeat(WIDTH.saturating_sub(first.chars().count()));
        let mark = |text: String, odd| if odd { paint.text(Role::Bad, text) } else { text };
        let line = format!("  {label:<9}  {}{pad}  {}", mark(first, odd[0]), mark(second, odd[1]));
        format!("{}\n", line.trim_end())
    };
    text += &columns("", DIRECTIONS.map(str::to_owned), [false; 2]);
    let bars = [0, 1].map(|n| {
        let lane = &look.sample.lanes[n];
        let (full, empty) = bar(lane.fill.unwrap_or(0), lane.capacity, WIDTH - 2, style::is_unicode());
        format!("[{full}{empty}]")
    });
    text += &columns("fill", bars, [false; 2]);
    text += &columns("", [0, 1].map(|n| rows::fill(look, n)), [0, 1].map(|n| look.sample.lanes[n].fill.is_none()));
    for row in rows::rows(report) {
        text += &columns(row.label, row.cells, row.odd);
    }
    text +=
        &format!("  {}\n", paint.text(Role::Faint, "parks, wakes and wakes avoided: of the writer / of the reader"));
    if let Some(why) = report.why_stuck() {
        text += &format!("  {}\n", paint.text(Role::Note, why));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_both_lanes_side_by_side() {
        rows::tests::with_report(|stream, report| {
            let text = one(stream, report, Paint::off());
            assert!(text.contains("  connected  made "), "{text}");
            let lines: Vec<&str> = text.lines().collect();
            assert!(
                lines.iter().any(|line| line.contains("64 KiB of 256 KiB") && line.contains("0 bytes of")),
                "{text}"
            );
            assert!(lines.iter().all(|line| line.trim_end() == *line && !line.contains('\x1b')), "{text}");
        });
    }
}
