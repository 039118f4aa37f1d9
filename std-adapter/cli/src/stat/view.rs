//! The live view, drawn.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};
use smstream::inspect::{InspectedStream, Report, State};

use super::bar::bar;
use super::rows::{self, DIRECTIONS};
use crate::style::Role;

/// How many looks are remembered for the curve: more than any terminal is wide.
const REMEMBERED: usize = 600;
/// The narrowest terminal on which both lanes fit side by side.
const SIDE_BY_SIDE: u16 = 72;
/// The widest that a lane gets: beyond that the eye has to travel.
const WIDEST: u16 = 76;

const KEYS: &str = "q end   Tab next stream   + - pace   space hold";

/// The frame of a lane where the terminal knows nothing but ASCII.
const ASCII: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// One stream, with its past.
struct Seen {
    stream: InspectedStream,
    report: Report,
    /// The bytes a second of each lane, the last one at the end.
    past: [VecDeque<u64>; 2],
    ended: bool,
}

/// What is on the terminal.
pub struct View {
    seen: Vec<Seen>,
    shown: usize,
    colours: bool,
    unicode: bool,
    /// Nothing changes until it is let go again.
    pub held: bool,
    /// The time between two looks.
    pub interval: Duration,
}

impl View {
    /// Nothing seen yet.
    pub fn new(colours: bool, unicode: bool, interval: Duration) -> Self {
        Self { seen: Vec::new(), shown: 0, colours, unicode, held: false, interval }
    }

    /// Takes what was seen just now.
    pub fn take(&mut self, reports: Vec<(InspectedStream, Report)>) {
        let id = |stream: &InspectedStream| stream.channel.segment(0).0.id();
        for seen in &mut self.seen {
            seen.ended = !reports.iter().any(|(stream, _)| id(stream) == id(&seen.stream));
        }
        for (stream, report) in reports {
            let rates = [0, 1].map(|lane| report.lanes[lane].writer.rates.map(|rates| rates.bytes as u64));
            let place = self.seen.iter().position(|seen| id(&seen.stream) == id(&stream));
            let seen = match place {
                Some(place) => {
                    let seen = &mut self.seen[place];
                    (seen.stream, seen.report) = (stream, report);
                    seen
                }
                None => {
                    self.seen.push(Seen { stream, report, past: Default::default(), ended: false });
                    let last = self.seen.len() - 1;
                    &mut self.seen[last]
                }
            };
            for (past, rate) in seen.past.iter_mut().zip(rates) {
                past.extend(rate);
                past.drain(..past.len().saturating_sub(REMEMBERED));
            }
        }
        // What has ended is shown until the user turns to another stream.
        let shown = self.shown;
        let mut number = 0;
        let before = self.seen.iter().take(shown).filter(|seen| seen.ended).count();
        self.seen.retain(|seen| {
            number += 1;
            !seen.ended || number - 1 == shown
        });
        self.shown -= before;
    }

    /// Shows another stream.
    pub fn turn(&mut self, forward: bool) {
        let count = self.seen.len().max(1);
        self.shown = (self.shown + if forward { 1 } else { count - 1 }) % count;
    }

    fn style(&self, role: Role) -> Style {
        let (colour, modifier) = match role {
            Role::Good => (Some(Color::Green), Modifier::empty()),
            Role::Bad => (Some(Color::Red), Modifier::BOLD),
            Role::Note => (Some(Color::Yellow), Modifier::empty()),
            Role::Strong => (None, Modifier::BOLD),
            Role::Faint => (None, Modifier::DIM),
        };
        let style = Style::new().add_modifier(modifier);
        match colour {
            Some(colour) if self.colours => style.fg(colour),
            _ => style,
        }
    }

    /// Draws everything.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let Some(seen) = self.seen.get(self.shown) else {
            frame.render_widget(Paragraph::new("nothing to look at any more   q end"), frame.area());
            return;
        };
        let (stream, look) = (&seen.stream, &seen.report.look);
        let parties: Vec<Line<'_>> = rows::parties(stream, look)
            .into_iter()
            .take(4)
            .map(|(line, dead)| Line::styled(line, self.style(if dead { Role::Bad } else { Role::Faint })))
            .collect();
        let side_by_side = frame.area().width >= SIDE_BY_SIDE;
        // More room than there is something to say is left empty, at the bottom.
        let most = if side_by_side { 22 } else { 34 };
        let [title, people, lanes, note, keys, _] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(u16::try_from(parties.len()).unwrap_or(4)),
            Constraint::Max(most),
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Fill(0),
        ])
        .areas(frame.area());
        frame.render_widget(self.title(seen, title.width), title);
        frame.render_widget(Paragraph::new(parties), people);
        let halves = if side_by_side {
            Layout::horizontal([Constraint::Max(WIDEST), Constraint::Max(WIDEST)]).split(lanes)
        } else {
            Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).split(lanes)
        };
        for (lane, area) in halves.iter().enumerate().take(2) {
            self.lane(frame, seen, lane, *area);
        }
        if let Some(why) = seen.report.why_stuck() {
            frame.render_widget(Line::styled(why, self.style(Role::Note)), note);
        }
        let pace = format!("{KEYS}   every {} s", self.interval.as_secs_f64());
        frame.render_widget(Line::styled(pace, self.style(Role::Faint)), keys);
    }

    fn title(&self, seen: &Seen, width: u16) -> Line<'static> {
        let state = seen.report.look.state();
        let role = match state {
            State::Listening | State::Connecting | State::Connected => Role::Good,
            State::PeerDead | State::Orphaned => Role::Bad,
            _ => Role::Note,
        };
        let mut spans = vec![
            Span::raw("  "),
            Span::styled(state.name(), self.style(role)),
            Span::raw(format!("  {}", rows::age(&seen.report.look))),
        ];
        if self.seen.len() > 1 {
            spans.push(Span::raw(format!("  {} of {}", self.shown + 1, self.seen.len())));
        }
        if seen.ended {
            spans.push(Span::styled("  it has ended", self.style(Role::Note)));
        }
        if self.held {
            spans.push(Span::styled("  held", self.style(Role::Note)));
        }
        let taken: usize = spans.iter().map(Span::width).sum();
        let name = rows::shorten(&rows::title(&seen.stream), usize::from(width).saturating_sub(taken));
        spans.insert(0, Span::styled(name, self.style(Role::Strong)));
        Line::from(spans)
    }

    /// One lane in its frame.
    fn lane(&self, frame: &mut Frame<'_>, seen: &Seen, lane: usize, area: Rect) {
        let block = Block::bordered()
            .border_set(if self.unicode { border::ROUNDED } else { ASCII })
            .border_style(self.style(Role::Faint))
            .title(Span::styled(format!(" {} ", DIRECTIONS[lane]), self.style(Role::Strong)));
        let inside = block.inner(area);
        frame.render_widget(block, area);
        let rows = rows::rows(&seen.report);
        let count = u16::try_from(rows.len()).unwrap_or(u16::MAX);
        let [top, fill, curve, facts] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(count.min(inside.height.saturating_sub(2))),
        ])
        .areas(inside);
        let look = &seen.report.look;
        let words = &look.sample.lanes[lane];
        let (full, empty) = bar(words.fill.unwrap_or(0), words.capacity, top.width as usize, self.unicode);
        let filled = if self.colours { Style::new().fg(Color::Cyan).bg(Color::Indexed(236)) } else { Style::new() };
        frame.render_widget(Line::from(vec![Span::styled(full, filled), Span::styled(empty, filled)]), top);
        let odd = if words.fill.is_none() { Role::Bad } else { Role::Faint };
        frame.render_widget(Line::styled(rows::fill(look, lane), self.style(odd)), fill);
        self.curve(frame, &seen.past[lane], curve);
        let lines: Vec<Line<'_>> = rows
            .into_iter()
            .map(|row| {
                let role = if row.odd[lane] { self.style(Role::Bad) } else { Style::new() };
                let [first, second] = row.cells;
                let cell = if lane == 0 { first } else { second };
                Line::from(vec![
                    Span::styled(format!("{:<8}", row.label), self.style(Role::Faint)),
                    Span::styled(cell, role),
                ])
            })
            .collect();
        frame.render_widget(Paragraph::new(lines), facts);
    }

    /// The rate over time, the present at the right.
    fn curve(&self, frame: &mut Frame<'_>, past: &VecDeque<u64>, area: Rect) {
        if !self.unicode || area.height == 0 {
            return;
        }
        let width = area.width as usize;
        let mut data = vec![0; width.saturating_sub(past.len())];
        data.extend(past.iter().skip(past.len().saturating_sub(width)));
        let style = if self.colours { Style::new().fg(Color::Cyan) } else { Style::new() };
        let most = past.iter().copied().max().unwrap_or(0).max(1);
        frame.render_widget(Sparkline::default().data(data).max(most).style(style), area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame)).expect("drawn");
        terminal.backend().to_string()
    }

    fn with_view(unicode: bool, act: impl FnOnce(&mut View, (InspectedStream, Report))) {
        rows::tests::with_report(|stream, report| {
            let mut view = View::new(true, unicode, Duration::from_secs(1));
            view.take(vec![(stream.clone(), report.clone())]);
            act(&mut view, (stream.clone(), report.clone()));
        });
    }

    #[test]
    fn a_usual_terminal_shows_all() {
        with_view(true, |view, _| {
            for width in [80, 100, 200] {
                let text = drawn(view, width, 24);
                for part in ["connected", "64 KiB of 256 KiB", "avoided", "listener > connector", "q end", "alive"] {
                    assert!(text.contains(part), "no '{part}' in\n{text}");
                }
            }
        });
    }

    #[test]
    fn no_size_makes_it_panic() {
        with_view(true, |view, _| {
            for width in [1, 2, 3, 8, 40, 71, 72, 300] {
                for height in [1, 2, 3, 4, 5, 8, 12, 50] {
                    drawn(view, width, height);
                }
            }
        });
        drawn(&View::new(true, true, Duration::from_secs(1)), 80, 24);
    }

    #[test]
    fn ascii_is_ascii() {
        with_view(false, |view, _| {
            let text = drawn(view, 80, 24);
            // The backend itself draws its edges with quotes.
            assert!(text.is_ascii(), "{text}");
        });
    }

    #[test]
    fn what_has_ended_stays_while_it_is_looked_at() {
        with_view(true, |view, seen| {
            view.take(Vec::new());
            assert!(drawn(view, 80, 24).contains("it has ended"));
            view.take(vec![seen]);
            assert!(!drawn(view, 80, 24).contains("it has ended"));
            view.turn(true);
            view.turn(false);
            assert!(drawn(view, 80, 24).contains("connected"));
        });
    }
}
