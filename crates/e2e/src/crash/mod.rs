//! Real crashes: the real programs, killed at random moments and at every crash point, again and again, and what must hold afterwards.

pub mod checks;
pub mod database;
pub mod ledger;
pub mod play;
pub mod points;
pub mod power;
pub mod sweep;
pub mod visit;
