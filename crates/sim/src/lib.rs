//! A simulated world that runs the real engine, planner, service and store: laptops, a network, a chunk storage and people, out of
//! one seed. The same [`Scenario`] gives the same [`Outcome`], byte for byte: nothing here reads a clock, waits or draws
//! randomness but from [`Random`].
//!
//! [`run()`] runs one world; `world` is what is in it, `disk` one file system, `people` what they do, `checks` what must hold.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod checks;
pub mod cli;
pub mod coverage;
pub mod disk;
pub mod failing;
pub mod hunt;
mod outcome;
pub mod people;
pub mod planner;
#[cfg(feature = "planted-bugs")]
pub mod planted;
mod random;
pub mod report;
mod run;
pub mod scenario;
pub mod seeds;
pub mod shrink;
pub mod world;

pub use coverage::Coverage;
pub use outcome::{Check, Failure, Outcome};
pub use random::Random;
pub use run::{run, run_keeping, run_once};
pub use scenario::{Fault, Rates, Scenario};
