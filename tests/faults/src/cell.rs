//! One scenario with one rule: what comes of it.

use crate::descendants;
use crate::judge::{Expected, answer, judge, plain, said, tried};
use crate::outcome::{Outcome, Wrong};
use crate::program::Child;
use crate::room::Room;
use crate::rule::{Phase, Rule, Watched};
use crate::scenario::{Kind, Scenario};
use crate::supervise::Run;
use std::io;
use std::time::{Duration, Instant};

/// How long anything may take, on a machine that is busy. What takes longer hangs.
const BOUND: Duration = Duration::from_secs(45);
/// How long what is to hang is waited for. It hangs for ever.
const BRIEF: Duration = Duration::from_secs(3);
/// Between two looks at what the processes have started.
const PAUSE: Duration = Duration::from_millis(5);

/// What a run shows.
#[derive(Debug)]
pub struct Shown {
    /// What came of it.
    pub outcome: Outcome,
    /// What was asked about.
    pub watched: Watched,
    /// What a party has open at its end; what a command says.
    pub usual: String,
}

/// Runs it.
pub fn run(scenario: &Scenario, rule: Rule, room: &Room, expected: Expected<'_>) -> io::Result<Shown> {
    let mut run = Run::new(Watched::new(rule))?;
    let mut outcome = attempt(scenario, &mut run, room, expected)?;
    let is_hang = |outcome: &Outcome| matches!(outcome, Outcome::Wrong(Wrong::Hang, _));
    if !is_hang(&outcome) {
        outcome = started_ends(&mut run, expected)?.unwrap_or(outcome);
    }
    if run.watched.phase == Phase::Before && !is_hang(&outcome) {
        outcome = Outcome::Ended("before main".to_owned());
    }
    let usual = run.children.last().and_then(|child| match scenario.kind {
        Kind::Party => answer(child, "left"),
        Kind::Transfer | Kind::Proxy | Kind::Command => Some(plain(&child.output.text())),
    });
    let Run { children, watched, .. } = run;
    drop(children);
    descendants::kill();
    room.clear()?;
    let reached = watched.failed > 0 || expected.lasting;
    let outcome = if reached || matches!(outcome, Outcome::Wrong(..)) { outcome } else { Outcome::NotReached };
    Ok(Shown { outcome, watched, usual: usual.unwrap_or_default() })
}

fn attempt(scenario: &Scenario, run: &mut Run, room: &Room, expected: Expected<'_>) -> io::Result<Outcome> {
    let is_transfer = scenario.kind == Kind::Transfer;
    // The partner, if there is one, is the first of the children, and the tried one the last.
    if let Some(program) = &scenario.partner {
        run.add(program.start(false)?);
        let ready = |p: &Child| p.ended() || said(p, "ready") > 0 || is_transfer && is_ready(p);
        if let Some(hang) = wait(run, expected, "before it began", |all| ready(&all[0]))? {
            return Ok(hang);
        }
    }
    run.add_asked(scenario.tried.start(true)?)?;
    if matches!(scenario.kind, Kind::Transfer | Kind::Proxy) {
        // It goes on listening, and can serve no connector: these get the reason. Where the parties meet in a file it cannot
        // say it to them, and says it itself.
        let refused = |all: &[Child]| {
            let partner = said(&all[0], "refused") > 0 || all[0].errors.text().contains("refused: ");
            partner || expected.lasting && tried(all).errors.text().contains("could not accept a connection")
        };
        if let Some(hang) =
            wait(run, expected, "it does not end, and gives no reason", |all| tried(all).ended() || refused(all))?
        {
            return Ok(hang);
        }
        if refused(&run.children) {
            tried(&run.children).signal(libc::SIGTERM);
        }
    }
    if let Some(hang) = wait(run, expected, "it does not end", |all| tried(all).ended())? {
        return Ok(hang);
    }
    if scenario.partner.is_some() {
        let settled =
            |p: &Child| p.ended() || if is_transfer { !is_met(p) } else { said(p, "begin") == said(p, "end ") };
        if let Some(hang) =
            wait(run, expected, "the partner does not notice that it has ended", |all| settled(&all[0]))?
        {
            return Ok(hang);
        }
        // Its standard input ends.
        run.children[0].input = None;
        if is_transfer {
            run.children[0].signal(libc::SIGTERM);
        }
        if let Some(hang) = wait(run, expected, "the partner does not end", |all| all[0].ended())? {
            return Ok(hang);
        }
    }
    Ok(judge(scenario, &run.children, room, expected))
}

/// Goes on until something holds. What came of it if it does not in time.
fn wait(
    run: &mut Run,
    expected: Expected<'_>,
    what: &str,
    holds: impl Fn(&[Child]) -> bool,
) -> io::Result<Option<Outcome>> {
    let bound = if expected.hangs == Some(what) { BRIEF } else { BOUND };
    let holds = run.until(Instant::now() + bound, holds)?;
    Ok((!holds).then(|| hang(what, &run.children)))
}

/// The processes of the scenario have ended. What they have started must end, too, and is answered meanwhile. What came of it
/// if it does not.
fn started_ends(run: &mut Run, expected: Expected<'_>) -> io::Result<Option<Outcome>> {
    let what = "what it has started does not end";
    let bound = if expected.hangs == Some(what) { BRIEF } else { BOUND };
    let deadline = Instant::now() + bound;
    while descendants::any()? {
        if Instant::now() > deadline {
            return Ok(Some(Outcome::Wrong(Wrong::Hang, format!("{what}: {}", descendants::names()))));
        }
        run.answer_for(PAUSE)?;
    }
    Ok(None)
}

/// Whether the command, which is asked to say so, is there to be met.
fn is_ready(child: &Child) -> bool {
    let connects = child.program.arguments.first().is_some_and(|first| first == "connect");
    connects || child.errors.text().contains("listening at")
}

/// Whether it has met another one.
fn is_met(child: &Child) -> bool {
    child.errors.text().contains("connected")
}

fn hang(what: &str, children: &[Child]) -> Outcome {
    let each = children.iter().filter(|child| !child.ended());
    let each: Vec<_> = each
        .map(|child| format!("{} {} at {}", child.output.text(), child.errors.text(), child.whereabouts()))
        .collect();
    Outcome::Wrong(Wrong::Hang, format!("{what}: {}", each.join(" | ")))
}
