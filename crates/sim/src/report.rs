//! What a run of many worlds tells people: rates, coverage, failures; as text, Markdown or JSON.

use crate::outcome::{Check, Outcome};
use crate::planner::Tally;
use crate::{Coverage, Scenario};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::Path;
use std::time::Duration;

/// Why a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// Everything was run; or it has not ended yet.
    #[default]
    Done,
    /// The time was up.
    Time,
    /// By a signal.
    Asked,
    /// Enough had failed.
    Failures,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "all were run",
            Self::Time => "the time was up",
            Self::Asked => "it was asked to stop",
            Self::Failures => "enough had failed",
        })
    }
}

/// A world that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The seed of the world or case.
    pub seed: u64,
    /// The arguments that run the shrunk world.
    pub replay: String,
    /// Those of the world that failed first.
    pub original: String,
    /// Which check.
    pub check: String,
    /// What it saw.
    pub text: String,
}

impl Found {
    /// A failure of this world, shrunk to that one.
    pub fn new(original: &Scenario, shrunk: &Scenario, check: Check, text: &str) -> Self {
        Self {
            seed: original.seed,
            replay: shrunk.to_string(),
            original: original.to_string(),
            check: check.to_string(),
            text: text.to_owned(),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED {}: {}\n  sim {}", self.check, self.text, self.replay)?;
        if self.original != self.replay { write!(f, "\n  found by: sim {}", self.original) } else { Ok(()) }
    }
}

/// What a run was like.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was run.
    pub what: &'static str,
    /// The first seed.
    pub from: u64,
    /// Threads.
    pub jobs: usize,
    /// How long it took, by the clock.
    pub seconds: f64,
    /// Whole worlds.
    pub worlds: u64,
    /// Worlds that were run twice.
    pub twice: u64,
    /// Steps of the schedulers.
    pub steps: u64,
    /// The world that took longest, in seconds.
    pub slowest: (u64, f64),
    /// What happened in the worlds.
    pub coverage: Coverage,
    /// Planner cases.
    pub planner: Tally,
    /// What failed.
    pub failures: Vec<Found>,
    /// Why it ended.
    pub ended: Ended,
}

impl Report {
    /// Adds a world that ran.
    pub fn add(&mut self, seed: u64, outcome: &Outcome, took: Duration, twice: u64) {
        self.worlds += 1;
        self.twice += twice;
        self.steps += outcome.steps;
        self.coverage.add(&outcome.coverage);
        if took.as_secs_f64() > self.slowest.1 {
            self.slowest = (seed, took.as_secs_f64());
        }
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds.max(0.001)
    }

    /// One line, while it runs.
    pub fn progress_line(&self) -> String {
        let failed = self.failures.len();
        if self.planner.cases > 0 {
            return format!(
                "{:7.0} s  {} cases ({:.0}/s), {} decisions, {failed} failed",
                self.seconds,
                self.planner.cases,
                self.per_second(self.planner.cases),
                self.planner.decisions
            );
        }
        let (seen, possible) = self.coverage.pairs_seen();
        format!(
            "{:7.0} s  {} worlds ({:.0}/s), {} steps ({:.0}/s), {seen} of {possible} pairs, {failed} failed",
            self.seconds,
            self.worlds,
            self.per_second(self.worlds),
            self.steps,
            self.per_second(self.steps)
        )
    }

    /// In the form that the file's name asks for: `.json`, `.md`, else text.
    pub fn for_file(&self, file: &Path) -> String {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => self.json(),
            Some("md") => self.markdown(),
            _ => self.text(),
        }
    }

    fn numbers(&self) -> Vec<(&'static str, String)> {
        let mut numbers = vec![
            ("what", self.what.to_owned()),
            ("first seed", self.from.to_string()),
            ("threads", self.jobs.to_string()),
            ("seconds", format!("{:.0}", self.seconds)),
        ];
        if self.planner.cases > 0 {
            let tally = &self.planner;
            numbers.extend([
                ("cases", format!("{} ({:.0} per second)", tally.cases, self.per_second(tally.cases))),
                ("decisions", tally.decisions.to_string()),
                ("cases with a circle", tally.circles.to_string()),
                ("cases with a conflict copy", tally.copies.to_string()),
                ("cases of wild trees", tally.wild.to_string()),
            ]);
        } else {
            let (seen, possible) = self.coverage.pairs_seen();
            numbers.extend([
                ("worlds", format!("{} ({:.0} per second)", self.worlds, self.per_second(self.worlds))),
                ("run twice and equal", self.twice.to_string()),
                ("steps", format!("{} ({:.0} per second)", self.steps, self.per_second(self.steps))),
                ("things that people did", self.coverage.operations.values().sum::<u64>().to_string()),
                ("things that went wrong", self.coverage.faults.values().sum::<u64>().to_string()),
                ("pairs (operation x fault)", format!("{seen} of {possible}")),
                ("slowest world", format!("seed {}, {:.1} s", self.slowest.0, self.slowest.1)),
            ]);
        }
        numbers.extend([("failed", self.failures.len().to_string()), ("ended", self.ended.to_string())]);
        numbers
    }

    fn failures_by_check(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for found in &self.failures {
            *counts.entry(found.check.as_str()).or_default() += 1;
        }
        counts
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.numbers() {
            let _ = writeln!(text, "{name:28} {value}");
        }
        for (check, count) in self.failures_by_check() {
            let _ = writeln!(text, "  {check:26} {count}");
        }
        for found in &self.failures {
            let _ = writeln!(text, "{found}");
        }
        text
    }

    /// For documentation.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| | |\n|---|---|\n");
        for (name, value) in self.numbers() {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        if self.worlds > 0 {
            let _ = write!(text, "\n{}", self.coverage.markdown());
        }
        for found in &self.failures {
            let _ = write!(text, "\n```text\n{found}\n```\n");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        let failures: Vec<_> = self
            .failures
            .iter()
            .map(|found| {
                serde_json::json!({ "check": found.check, "text": found.text, "replay": found.replay, "original": found.original })
            })
            .collect();
        let value = serde_json::json!({
            "what": self.what,
            "from": self.from,
            "jobs": self.jobs,
            "seconds": self.seconds,
            "worlds": self.worlds,
            "twice": self.twice,
            "steps": self.steps,
            "cases": self.planner.cases,
            "decisions": self.planner.decisions,
            "slowest": { "seed": self.slowest.0, "seconds": self.slowest.1 },
            "coverage": self.coverage.json(),
            "failures": failures,
            "ended": self.ended.to_string(),
        });
        format!("{value:#}\n")
    }
}
