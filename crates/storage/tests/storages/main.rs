//! The suite of storages, and what only a real server shows, against servers that scripts/backends start on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ftp;
mod plain;
mod s3;
mod servers;
mod sftp;
mod skew;
mod swift;
mod tickets;
