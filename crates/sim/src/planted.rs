//! Who checks the checks: every deliberate bug of the product must be found.

use crate::hunt::{self, Hunt, Progress};
use crate::report::Report;
use crate::shrink::Bound;
use stacksync_core::planted::Bug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Worlds within which a bug must be found, if nothing else is said.
const SEEDS_EACH: u64 = 3_000;

/// What became of one bug.
struct Row {
    bug: Bug,
    report: Report,
    limit: u64,
}

impl Row {
    fn caught(&self) -> bool {
        !self.report.failures.is_empty()
    }

    /// Markdown: what, where, by which check, after how many worlds.
    fn line(&self) -> String {
        let Self { bug, report, limit } = self;
        let (check, seeds) = match report.failures.first() {
            Some(found) => (found.check.clone(), format!("{} of {limit}", found.seed - report.from + 1)),
            None => ("**not caught**".to_owned(), format!("more than {}", report.worlds)),
        };
        format!("| {} | {} | {} | {check} | {seeds} |", bug.name(), bug.part(), bug.text())
    }
}

/// Plants the bugs one after the other and prints the table. Returns the exit code.
///
/// # Errors
/// If there is no such bug.
pub fn table(which: &str, seeds_each: Option<u64>, hunt: &Hunt, stop: &AtomicBool) -> Result<i32, String> {
    let bugs: Vec<Bug> = Bug::ALL.iter().copied().filter(|bug| which == "all" || bug.name() == which).collect();
    if bugs.is_empty() {
        return Err(format!("there is no bug {which}"));
    }
    println!("| bug | part | what it does | found by | worlds it took |\n|---|---|---|---|---:|");
    let mut rows = Vec::new();
    for bug in bugs {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let limit = seeds_each.unwrap_or(SEEDS_EACH);
        let hunt = Hunt {
            count: limit,
            time: Duration::MAX,
            failures_max: 1,
            planted: Some(bug.name().to_owned()),
            progress: Progress::Silent,
            shrink: Bound { runs: 0, time: Duration::ZERO },
            report: None,
            failures: None,
            // The switch is the process's, and a caught bug is confirmed with it off.
            jobs: 1,
            ..hunt.clone()
        };
        let row = Row { bug, report: hunt::worlds(&hunt, stop), limit };
        println!("{}", row.line());
        rows.push(row);
    }
    let missed: Vec<&str> = rows.iter().filter(|row| !row.caught()).map(|row| row.bug.name()).collect();
    println!(
        "\n{} of {} bugs found. The product has no garbage collection of chunks yet, so no bug is planted in one.",
        rows.len() - missed.len(),
        rows.len()
    );
    if missed.is_empty() {
        return Ok(0);
    }
    println!("Not found: {}", missed.join(", "));
    Ok(1)
}
