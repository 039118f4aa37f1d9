//! Runs the processes of a scenario, answers what the filter asks, and collects what they say. It waits for events, and
//! never longer than until a deadline.

use crate::calls::Call;
use crate::notify::{Question, Questions};
use crate::program::{Child, file_name};
use crate::rule::{Phase, Watched};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// The first argument of a `prctl` by which a party says where it is: the second one is the phase.
pub const MARK: u64 = 0x736d_7374;

/// The program that says where it is.
pub const PARTY: &str = "faults-party";

/// The processes, of which one may be asked about its calls.
#[derive(Debug)]
pub struct Run {
    /// The processes.
    pub children: Vec<Child>,
    /// What is asked about the first one.
    pub watched: Watched,
    asked: Option<usize>,
    questions: Option<Questions>,
    nothing: File,
    code: Option<Range<u64>>,
}

impl Run {
    /// Without processes.
    pub fn new(watched: Watched) -> io::Result<Self> {
        let nothing = File::open("/dev/null")?;
        Ok(Self { children: Vec::new(), watched, asked: None, questions: None, nothing, code: None })
    }

    /// Adds a process.
    pub fn add(&mut self, child: Child) -> usize {
        self.children.push(child);
        self.children.len() - 1
    }

    /// Adds the one that is asked about.
    pub fn add_asked(&mut self, child: Child) -> io::Result<usize> {
        self.questions = Some(Questions::of(&child.pidfd)?);
        self.asked = Some(self.children.len());
        Ok(self.add(child))
    }

    /// Goes on until something holds. `false`: it does not at the deadline.
    pub fn until(&mut self, deadline: Instant, holds: impl Fn(&[Child]) -> bool) -> io::Result<bool> {
        while !holds(&self.children) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.step(left.as_millis().try_into().unwrap_or(i32::MAX).max(1))?;
        }
        Ok(true)
    }

    /// Answers what is asked, for about so long.
    pub fn answer_for(&mut self, time: Duration) -> io::Result<()> {
        self.step(time.as_millis().try_into().unwrap_or(i32::MAX))
    }

    fn step(&mut self, timeout: i32) -> io::Result<()> {
        let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = vec![entry(self.questions.as_ref().map_or(-1, AsRawFd::as_raw_fd))];
        for child in &self.children {
            let pipe = |pipe: &Option<File>| pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let ended = if child.ended() { -1 } else { child.pidfd.as_raw_fd() };
            fds.extend([ended, pipe(&child.output.pipe), pipe(&child.errors.pipe)].map(entry));
        }
        // SAFETY: the list is as long as it says.
        if unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) } < 0 {
            return match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(()),
                e => Err(e),
            };
        }
        if fds[0].revents & libc::POLLIN != 0 {
            self.answer()?;
        } else if fds[0].revents != 0 {
            // All that could ask have ended.
            self.questions = None;
        }
        for (child, fds) in self.children.iter_mut().zip(fds[1..].chunks(3)) {
            if fds[1].revents != 0 {
                child.output.take()?;
            }
            if fds[2].revents != 0 {
                child.errors.take()?;
            }
            // What it has said comes first.
            if fds[0].revents != 0 && fds[1].revents == 0 && fds[2].revents == 0 {
                child.reap()?;
            }
        }
        Ok(())
    }

    fn answer(&mut self) -> io::Result<()> {
        let Some(questions) = &self.questions else { return Ok(()) };
        let Some(question) = questions.next()? else { return Ok(()) };
        let number = i64::from(question.number);
        if number == libc::SYS_prctl && question.arguments[0] == MARK {
            self.watched.phase = if question.arguments[1] == 1 { Phase::Tried } else { Phase::After };
            return questions.succeed(&question, 0);
        }
        let call = Call { number, arguments: question.arguments, own: self.is_own(&question) };
        let Some(questions) = &self.questions else { return Ok(()) };
        let answered = match self.watched.decide(&call) {
            None => questions.go_on(&question),
            Some(error) => {
                if number == libc::SYS_close {
                    questions.close(&question, call.arguments[0] as u32, &self.nothing)?;
                }
                // It returns no error: it leaves the end where it is. At 0 libc asks again.
                if number == libc::SYS_brk { questions.succeed(&question, 0) } else { questions.fail(&question, error) }
            }
        };
        // The last that std does before main is to give the thread a stack for signals.
        let first = self.watched.phase == Phase::Before;
        if first && number == libc::SYS_sigaltstack && call.arguments[0] != 0 && !self.is_party() {
            self.watched.phase = Phase::Tried;
        }
        answered
    }

    /// A party says itself where it is.
    fn is_party(&self) -> bool {
        self.asked().is_some_and(|child| file_name(&child.program.file) == PARTY)
    }

    fn asked(&self) -> Option<&Child> {
        self.asked.and_then(|index| self.children.get(index))
    }

    /// Whether the call was made by the program's own code. The process is stopped in it.
    fn is_own(&mut self, question: &Question) -> bool {
        if self.watched.phase == Phase::Before {
            return false;
        }
        if self.code.is_none() {
            self.code = self.asked().and_then(code_of);
        }
        self.code.as_ref().is_some_and(|code| code.contains(&question.instruction))
    }
}

/// Where the code of a process's program is.
fn code_of(child: &Child) -> Option<Range<u64>> {
    let file = child.program.file.to_str()?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid)).ok()?;
    let line = maps.lines().find(|line| line.contains(" r-xp ") && line.ends_with(file))?;
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    Some(u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?)
}
