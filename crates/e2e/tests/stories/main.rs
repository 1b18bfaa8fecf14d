//! Stories of people, devices and accidents, played with the real programs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod edges;
