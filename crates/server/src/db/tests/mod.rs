//! Tests of the store as a whole, through its interface, on a real file.

mod commits;
mod world;
