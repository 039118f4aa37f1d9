//! A picture of the live view, as SVG, drawn from the very cells that a terminal would show.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::args::StatArgs;
use super::followed::Followed;
use super::view::View;
use crate::failure::{Context, Failure};

/// The size of the terminal in the picture.
const SIZE: (u16, u16) = (104, 27);
/// The size of a cell.
const CELL: (f64, f64) = (8.4, 18.0);
/// The space around.
const MARGIN: f64 = 12.0;
const PAPER: &str = "#14171c";
const INK: &str = "#d5dae1";

/// Looks so often, and draws what is seen then.
pub fn make(args: &StatArgs, file: &Path, looks: u32) -> Result<(), Failure> {
    let mut followed = Followed::new(args.target.clone())?;
    let mut view = View::new(true, true, args.interval);
    for _ in 0..looks {
        followed.find_more();
        view.take(followed.look());
        thread::sleep(args.interval);
    }
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).or_broken("could not draw")?;
    terminal.draw(|frame| view.draw(frame)).or_broken("could not draw")?;
    let text = svg(terminal.backend().buffer());
    fs::write(file, text).or_broken(format!("could not write {}", file.display()))
}

/// The cells as SVG.
fn svg(buffer: &Buffer) -> String {
    let area = buffer.area;
    let (width, height) =
        (f64::from(area.width) * CELL.0 + 2.0 * MARGIN, f64::from(area.height) * CELL.1 + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" \
         font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n"
    );
    for y in 0..area.height {
        let cells: Vec<&Cell> = (0..area.width).map(|x| &buffer[(x, y)]).collect();
        let mut x = 0;
        while x < cells.len() {
            let like = |other: &&&Cell| look(other) == look(cells[x]);
            let run = cells[x..].iter().take_while(like).count();
            draw(&mut out, &cells[x..x + run], x as f64, f64::from(y));
            x += run;
        }
    }
    out.push_str("</svg>\n");
    out
}

/// What cells of one run have in common.
fn look(cell: &Cell) -> (Color, Color, Modifier, bool) {
    (cell.fg, cell.bg, cell.modifier, shape(cell).is_some())
}

/// The part of a cell that a block character fills: left, top, width, height, in parts of the cell.
fn shape(cell: &Cell) -> Option<(f64, f64, f64, f64)> {
    let char = cell.symbol().chars().next()?;
    let eighths = |n: u32| f64::from(n) / 8.0;
    match char {
        '▁'..='█' => {
            let part = eighths(u32::from(char) - 0x2580);
            Some((0.0, 1.0 - part, 1.0, part))
        }
        '▉'..='▏' => Some((0.0, 0.0, eighths(0x2590 - u32::from(char)), 1.0)),
        _ => None,
    }
}

fn draw(out: &mut String, run: &[&Cell], x: f64, y: f64) {
    let (left, top) = (MARGIN + x * CELL.0, MARGIN + y * CELL.1);
    let cell = run[0];
    let faint = if cell.modifier.contains(Modifier::DIM) { " opacity=\".62\"" } else { "" };
    if cell.bg != Color::Reset {
        let (width, fill) = (run.len() as f64 * CELL.0, colour(cell.bg, PAPER));
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{fill}\"/>",
            top + 2.0,
            CELL.1 - 4.0
        );
    }
    let ink = colour(cell.fg, INK);
    if shape(cell).is_some() {
        // A bar keeps inside its background; a curve fills its cells, so that its lines join.
        let (inset, room) = if cell.bg == Color::Reset { (0.0, CELL.1) } else { (2.0, CELL.1 - 4.0) };
        for (n, (a, b, width, height)) in run.iter().filter_map(|cell| shape(cell)).enumerate() {
            let _ = writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{ink}\"/>",
                left + (n as f64 + a) * CELL.0,
                top + inset + b * room,
                width * CELL.0 + if width == 1.0 { 0.2 } else { 0.0 },
                height * room
            );
        }
        return;
    }
    let text: String = run.iter().map(|cell| cell.symbol()).collect();
    if text.trim().is_empty() {
        return;
    }
    let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{left:.1}\" y=\"{:.1}\" fill=\"{ink}\"{faint}{weight} textLength=\"{:.1}\" xml:space=\"preserve\">{escaped}</text>",
        top + CELL.1 - 4.5,
        run.len() as f64 * CELL.0
    );
}

/// The few colours that the view uses.
fn colour(colour: Color, reset: &'static str) -> &'static str {
    match colour {
        Color::Green => "#7fd08b",
        Color::Red => "#f0716d",
        Color::Yellow => "#e6c35c",
        Color::Cyan => "#5cc4d6",
        Color::Indexed(236) => "#2a2f38",
        _ => reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn text_and_bars_are_drawn() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 1));
        buffer.set_string(0, 0, "a<b", Style::new().fg(Color::Green).add_modifier(Modifier::BOLD));
        buffer.set_string(4, 0, "█▌", Style::new().fg(Color::Cyan));
        let text = svg(&buffer);
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{text}");
        assert!(text.contains("fill=\"#7fd08b\" font-weight=\"bold\"") && text.contains(">a&lt;b</text>"), "{text}");
        assert!(text.contains("width=\"4.20\"") && text.contains("width=\"8.60\""), "{text}");
    }
}
