//! The live view on a terminal: looking, drawing, keys.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::args::{LONGEST, SHORTEST, StatArgs};
use super::followed::Followed;
use super::picture;
use super::view::View;
use crate::failure::{Context, Failure};
use crate::signals;
use crate::style::{Paint, is_unicode};

/// Held by the thread that draws, and by the one that ends the view for good.
static DRAWING: Mutex<()> = Mutex::new(());
/// How long to wait for keys at a time.
const GRAIN: Duration = Duration::from_millis(100);

/// Ends the view and the command, for a signal. It does not wait for the thread that shows: where the terminal is gone,
/// that one may never come back from waiting for its keys.
fn end(signal: i32) {
    // The thread that draws is done soon, or hangs on a terminal that takes nothing any more.
    let drawn = (0..10).find_map(|_| match DRAWING.try_lock() {
        Ok(guard) => Some(guard),
        Err(_) => {
            thread::sleep(GRAIN / 10);
            None
        }
    });
    if drawn.is_some() {
        let _ = ratatui::try_restore();
    }
    std::process::exit(128 + signal);
}

/// Shows it until the user ends it.
pub fn run(args: &StatArgs) -> Result<(), Failure> {
    if let (Some(file), Some(looks)) = (&args.picture, args.looks) {
        return picture::make(args, file, looks);
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if dumb || !io::stdout().is_terminal() {
        return Err(Failure::usage(
            "--watch needs a terminal that can be drawn on: use --watch --json, or leave --watch out",
        ));
    }
    let mut followed = Followed::new(args.target.clone())?;
    signals::on_end(end).or_broken("could not prepare to be ended")?;
    let mut terminal = ratatui::try_init().or_broken("could not draw on the terminal")?;
    let mut view = View::new(Paint::for_stdout().is_on(), is_unicode(), args.interval);
    let result = show(&mut terminal, &mut followed, &mut view);
    // However it ends, the terminal is as it was.
    let restored = ratatui::try_restore();
    result.and(restored).or_broken("could not draw on the terminal")
}

/// Looks, draws, and does what the keys say.
fn show(terminal: &mut DefaultTerminal, followed: &mut Followed, view: &mut View) -> io::Result<()> {
    let mut next = Instant::now();
    let mut changed = true;
    loop {
        let now = Instant::now();
        if now >= next && !view.held {
            followed.find_more();
            view.take(followed.look());
            next = now + view.interval;
            changed = true;
        }
        if std::mem::take(&mut changed) {
            let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
            terminal.draw(|frame| view.draw(frame))?;
        }
        let wait = if view.held { GRAIN } else { next.saturating_duration_since(Instant::now()).min(GRAIN) };
        if !event::poll(wait)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if press(key, view) {
                    return Ok(());
                }
                next = next.min(Instant::now() + view.interval);
                changed = true;
            }
            Event::Resize(..) => changed = true,
            _ => {}
        }
    }
}

/// Does what a key says. `true`: it is the end.
fn press(key: KeyEvent, view: &mut View) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if control => return true,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => return true,
        KeyCode::Tab | KeyCode::Right | KeyCode::Down | KeyCode::Char('n') => view.turn(true),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Up | KeyCode::Char('p') => view.turn(false),
        KeyCode::Char(' ') => view.held = !view.held,
        KeyCode::Char('+') => view.interval = (view.interval / 2).max(SHORTEST),
        KeyCode::Char('-') => view.interval = (view.interval * 2).min(LONGEST),
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let mut view = View::new(true, true, Duration::from_secs(1));
        let mut press = |code, modifiers| (press(KeyEvent::new(code, modifiers), &mut view), view.interval, view.held);
        let none = KeyModifiers::NONE;
        let second = Duration::from_secs(1);
        assert_eq!(press(KeyCode::Char('c'), none), (false, second, false));
        assert_eq!(press(KeyCode::Char('+'), none), (false, second / 2, false));
        assert_eq!(press(KeyCode::Char('-'), none), (false, second, false));
        assert_eq!(press(KeyCode::Char(' '), none), (false, second, true));
        assert_eq!(press(KeyCode::Tab, none), (false, second, true));
        for (code, modifiers) in
            [(KeyCode::Char('q'), none), (KeyCode::Esc, none), (KeyCode::Char('c'), KeyModifiers::CONTROL)]
        {
            assert!(press(code, modifiers).0);
        }
    }
}
