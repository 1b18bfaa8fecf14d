//! Runs one world to its end.

use crate::{Coverage, Outcome, Scenario};

/// Runs the world. Panics of the product are failures.
pub fn run(_scenario: &Scenario) -> Outcome {
    Outcome { digest: [0; 32], steps: 0, coverage: Coverage::default(), failure: None, trace: Vec::new() }
}
