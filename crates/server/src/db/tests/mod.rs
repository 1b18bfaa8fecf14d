//! Tests of the store as a whole, through its interface, on a real file.

mod accounts;
mod commits;
mod outbox;
mod random;
pub mod world;
