//! Fixed seeds: worlds that found something once, replayed for ever.

use crate::{Scenario, run};

/// The seeds that are replayed by the tests, with what each of them found.
pub const FIXED: &str = include_str!("../seeds.txt");

/// A line of a seeds file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedSeed {
    /// The world.
    pub scenario: Scenario,
    /// What it found.
    pub cause: String,
}

/// Reads a seeds file: one world per line, as a failing run prints it, then `#` and what it found. Empty lines and lines that begin
/// with `#` are for people.
///
/// # Errors
/// Names the line that makes no sense.
pub fn read(text: &str) -> Result<Vec<FixedSeed>, String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let worlds = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    worlds
        .map(|(number, line)| {
            let (world, cause) = line.split_once('#').unwrap_or((line, ""));
            let scenario = Scenario::parse(world).map_err(|error| format!("line {number}: {error}"))?;
            Ok(FixedSeed { scenario, cause: cause.trim().to_owned() })
        })
        .collect()
}

/// Runs a world twice.
///
/// # Errors
/// What is wrong with it, for people.
pub fn replay(scenario: &Scenario) -> Result<(), String> {
    let (first, second) = (run(scenario), run(scenario));
    if let Some(failure) = first.failure {
        return Err(format!("sim {scenario}\n{failure}\n{}", first.trace.join("\n")));
    }
    if first.digest != second.digest {
        return Err(format!("sim {scenario}\ntwo runs differ ({} and {} steps)", first.steps, second.steps));
    }
    Ok(())
}
