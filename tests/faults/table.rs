//! All runs of all scenarios, side by side on all cores, and the table of how they went.

use std::fmt;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::boundary::Fault;
use crate::scenarios::Scenario;
use crate::suite::{Reference, Verdict};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Every how manieth of the single faults: 1 is all of them.
    pub stride: usize,
    /// Pairs of faults a scenario.
    pub pairs: u64,
    /// Runs with two leaders a scenario.
    pub races: u64,
    /// Runs in a hostile account a scenario.
    pub hostile: u64,
    /// The first seed.
    pub seed: u64,
    /// Stop at the first failure: whoever tries mutants wants no more than a verdict.
    pub stop: bool,
}

/// One kind of fault in one scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell {
    pub plans: usize,
    pub converged: usize,
    pub lost: usize,
    pub stranded: usize,
}

/// One scenario.
#[derive(Clone, Debug)]
pub struct Row {
    pub scenario: &'static str,
    pub effects: usize,
    /// By [`COLUMNS`].
    pub cells: [Cell; COLUMNS.len()],
}

const COLUMNS: [&str; 8] = [
    "crash-before",
    "crash-after",
    "response-lost",
    "error-returned",
    "error-after",
    "pairs",
    "two leaders",
    "hostile IAM",
];

/// How all runs went.
#[derive(Debug, Default)]
pub struct Table {
    pub rows: Vec<Row>,
    /// What went wrong, each with the command that shows it again.
    pub failures: Vec<String>,
}

impl Table {
    /// Runs everything.
    pub fn of(scenarios: &[&'static Scenario], effort: Effort) -> Self {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Self::default());
        let work = || {
            while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (row, failures) = match catch_unwind(|| row(scenario, effort)) {
                    Ok(found) => found,
                    Err(panic) => {
                        next.store(scenarios.len(), Ordering::Relaxed);
                        resume_unwind(panic);
                    }
                };
                if effort.stop && !failures.is_empty() {
                    next.store(scenarios.len(), Ordering::Relaxed);
                }
                let mut done = done.lock().unwrap();
                done.rows.push(row);
                done.failures.extend(failures);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let mut table = done.into_inner().unwrap();
        let place = |row: &Row| scenarios.iter().position(|scenario| scenario.name == row.scenario);
        table.rows.sort_by_key(place);
        table
    }

    /// The sum over all rows of one column, or of all.
    pub fn total(&self, column: Option<usize>) -> Cell {
        let mut total = Cell::default();
        for row in &self.rows {
            for (index, cell) in row.cells.iter().enumerate() {
                if column.is_none_or(|column| column == index) {
                    total.plans += cell.plans;
                    total.converged += cell.converged;
                    total.lost += cell.lost;
                    total.stranded += cell.stranded;
                }
            }
        }
        total
    }
}

fn row(scenario: &'static Scenario, effort: Effort) -> (Row, Vec<String>) {
    let reference = Reference::of(scenario);
    let name = scenario.name;
    let mut row = Row { scenario: name, effects: reference.effects.len(), cells: Default::default() };
    let mut failures = Vec::new();
    let mut note = |column: usize, replay: String, verdict: Verdict| {
        let cell = &mut row.cells[column];
        cell.plans += 1;
        cell.lost += verdict.lost;
        cell.stranded += verdict.stranded;
        cell.converged += usize::from(verdict.converged());
        if !verdict.is_good() {
            let problems = verdict.problems.join("\n");
            failures.push(format!(
                "cargo xtask faults --scenario {name} {replay}\n{} keys lost, {} stranded\n{problems}",
                verdict.lost, verdict.stranded
            ));
        }
    };
    for (fault, plan) in reference.singles().step_by(effort.stride) {
        let column = Fault::ALL.iter().position(|found| *found == fault).unwrap();
        note(column, format!("--plan {plan}"), reference.run(&plan));
    }
    for seed in (effort.seed..).take(usize::try_from(effort.pairs).unwrap()) {
        let plan = reference.pair(seed);
        note(5, format!("--plan {plan}"), reference.run(&plan));
    }
    for seed in (effort.seed..).take(usize::try_from(effort.races).unwrap()) {
        note(6, format!("--two-leaders {seed}"), reference.race(seed));
    }
    for seed in (effort.seed..).take(usize::try_from(effort.hostile).unwrap()) {
        note(7, format!("--hostile {seed}"), reference.hostile(seed));
    }
    (row, failures)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| scenario | effects | {} | lost | stranded |", COLUMNS.join(" | "))?;
        writeln!(f, "|---|{}", "---:|".repeat(COLUMNS.len() + 3))?;
        for row in &self.rows {
            write!(f, "| {} | {} |", row.scenario, row.effects)?;
            line(f, &row.cells)?;
        }
        let totals: Vec<Cell> = (0..COLUMNS.len()).map(|column| self.total(Some(column))).collect();
        write!(f, "| all | |")?;
        line(f, &totals)?;
        let all = self.total(None);
        writeln!(
            f,
            "{} plans run, {} converged, {} keys lost, {} keys stranded",
            all.plans, all.converged, all.lost, all.stranded
        )
    }
}

/// Each cell is `converged/run`.
fn line(f: &mut fmt::Formatter<'_>, cells: &[Cell]) -> fmt::Result {
    for cell in cells {
        write!(f, " {}/{} |", cell.converged, cell.plans)?;
    }
    let (lost, stranded) =
        cells.iter().fold((0, 0), |(lost, stranded), cell| (lost + cell.lost, stranded + cell.stranded));
    writeln!(f, " {lost} | {stranded} |")
}
