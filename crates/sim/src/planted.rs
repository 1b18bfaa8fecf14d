//! Who checks the checks: every deliberate bug of the product must be found.

use crate::hunt::{self, Hunt, Progress};
use crate::report::Report;
use crate::shrink::Bound;
use stacksync_core::planted::Bug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Worlds within which a bug must be found, if nothing else is said.
const USUALLY_WITHIN: u64 = 500;

/// Worlds within which this one must be found: about five times what it took when it was measured.
const fn within(bug: Bug) -> u64 {
    match bug {
        Bug::CursorBeforeRows | Bug::NoticeIsChanges | Bug::CycleIgnored => 1_000,
        Bug::LostRootIsEmpty | Bug::ParentIgnored => 2_000,
        Bug::TimeIsAgreed | Bug::ModeFromService | Bug::EpochIgnored | Bug::UnreadableIsGone | Bug::ChunksIgnored => 4_000,
        Bug::MoveOnto | Bug::FreshServiceDeletes | Bug::OlderServiceWins => 7_000,
        Bug::GuardForgets | Bug::GuardLetsRestPass => 10_000,
        _ => USUALLY_WITHIN,
    }
}

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
            Some(found) => (found.check.clone(), (found.seed - report.from + 1).to_string()),
            None => ("**not caught**".to_owned(), format!("more than {}", report.worlds)),
        };
        format!("| {} | {} | {} | {check} | {seeds} | {limit} |", bug.name(), bug.part(), bug.text())
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
    println!("| Bug | Part | What it does | Found by | Worlds it took | Within |\n|---|---|---|---|---:|---:|");
    let mut rows = Vec::new();
    for bug in bugs {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let limit = seeds_each.unwrap_or(within(bug));
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
        "\n{} of {} bugs found. The worlds collect no garbage, so no bug is planted in that.",
        rows.len() - missed.len(),
        rows.len()
    );
    if missed.is_empty() {
        return Ok(0);
    }
    println!("Not found: {}", missed.join(", "));
    Ok(1)
}
