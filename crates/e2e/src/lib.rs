//! The harness for tests and benchmarks that run the real programs: servers on free ports, devices with homes and folders of their
//! own, generated trees, random edits, comparison byte by byte, and the means to break things: `kill -9`, cut connections, small disks.
//!
//! Nothing here looks into the programs: they are used as a person would, by command line, files and HTTP. Nobody depends on this crate.
//! A harness fails by panicking, with words that say what was expected.

#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod bench;
pub mod bench_world;
pub mod cluster;
pub mod counting;
pub mod crash;
pub mod device;
pub mod device_line;
pub mod edit;
pub mod http;
pub mod load;
pub mod measure;
pub mod mischief;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod rabbit;
pub mod random;
pub mod raw_rows;
pub mod seed;
pub mod server;
pub mod small_disk;
pub mod spec;
pub mod storage;
pub mod tree;
pub mod wait;
pub mod world;
