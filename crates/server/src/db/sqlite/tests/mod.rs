//! What holds for SQLite files only.

mod crash;
mod open;
