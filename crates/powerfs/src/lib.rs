//! A file system in memory, mounted by FUSE, that can lose its power.
//!
//! It keeps a log of everything that programs do to it: writes, truncations, times and modes, names made, linked, moved, exchanged and
//! removed, and every `fsync`. From any prefix of that log it builds a disk as a power cut at that moment could have left it, under the
//! model that [`image`] states, and goes on with it. What a program was told to be durable is on every such disk; anything else may be.
//!
//! For tests. Mounting needs root and `/dev/fuse`. Not shown: `syncfs` (the kernel does not tell FUSE of it), and disks that lie.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod disk;
mod image;
mod mount;

pub use disk::{Ino, Op};
pub use image::{Dice, Model};
pub use mount::{PowerFs, Renames, Snapshot};

#[cfg(test)]
mod tests;
