//! The rules of StackSync: values, chunk cutting, reconcile (the planner), decide (the commit rule), the client's engine.
//!
//! Nothing in this crate does I/O, waits, reads a clock, draws a random number or looks at the environment: time, randomness
//! and observations are arguments. Whoever wants to know what StackSync decides, and why, reads this crate alone.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod commit;
pub mod cut;
pub mod decide;
pub mod engine;
pub mod names;
pub mod planted;
pub mod reconcile;
pub mod trees;
pub mod values;
