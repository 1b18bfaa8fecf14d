//! The engine in a small world: disks in memory, a service in memory, virtual time, everything out of one seed.

mod contradictions;
mod disk;
mod races;
mod random;
mod scenarios;
mod service;
mod world;
