//! Crashes of the real programs: at every crash point, at random moments, and with the power.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod points;
mod power;
mod rounds;
