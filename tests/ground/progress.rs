//! How far a long build is: one line that changes on a terminal, a line each tenth elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// No line of a plain log is older than this while something is being built.
const SILENCE: Duration = Duration::from_secs(60);
/// A terminal's line changes no more often.
const FRAME: Duration = Duration::from_millis(100);

/// A build of so many steps. Dropping it leaves the last line.
#[derive(Debug)]
pub struct Progress {
    what: String,
    total: usize,
    done: usize,
    start: Instant,
    terminal: bool,
    shown: Option<(Instant, usize)>,
}

impl Progress {
    /// A build of `total` steps, such as packages, that `what` names, with how long it usually takes.
    #[must_use]
    pub fn new(what: &str, total: usize) -> Self {
        let (start, terminal) = (Instant::now(), std::io::stderr().is_terminal());
        let mut progress = Self { what: what.to_owned(), total, done: 0, start, terminal, shown: None };
        progress.show();
        progress
    }

    /// One step more is done.
    pub fn step(&mut self) {
        self.done += 1;
        let due = self.shown.is_none_or(|(at, done)| {
            let since = at.elapsed();
            let tenth = (self.done * 10).checked_div(self.total) != (done * 10).checked_div(self.total);
            if self.terminal { since >= FRAME } else { tenth || since >= SILENCE }
        });
        if due {
            self.show();
        }
    }

    /// All is done, also where some steps were not needed.
    pub fn finish(mut self) {
        self.show();
        if self.terminal {
            eprintln!();
        }
    }

    fn show(&mut self) {
        self.shown = Some((Instant::now(), self.done));
        let line = line(&self.what, self.done, self.total, self.start.elapsed());
        if self.terminal {
            eprint!("\r\x1b[2K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
}

fn line(what: &str, done: usize, total: usize, since: Duration) -> String {
    let (minutes, seconds) = (since.as_secs() / 60, since.as_secs() % 60);
    format!("building {what}: {done} of {total} packages, {minutes}:{seconds:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_built_how_far_it_is_and_since_when() {
        let line = line("etcd (two minutes on two cores)", 7, 900, Duration::from_secs(65));
        assert_eq!(line, "building etcd (two minutes on two cores): 7 of 900 packages, 1:05");
    }

    #[test]
    fn a_plain_log_has_a_line_each_tenth() {
        let mut progress = Progress::new("it", 100);
        progress.terminal = false;
        let mut lines = 0;
        for _ in 0..100 {
            let before = progress.shown;
            progress.step();
            lines += usize::from(before != progress.shown);
        }
        assert_eq!(lines, 10);
    }
}
