//! Tests of the store as a whole, through its interface, on a real file.

mod accounts;
mod commits;
mod crash;
mod open;
mod outbox;
mod random;
mod world;
