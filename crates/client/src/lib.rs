//! StackSync's desktop client: keeps a folder of this computer and a workspace of the service the same.
//!
//! The rules are `stacksync-core`'s; this crate carries its effects out on the real disk and the real network.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod cli;
pub mod disk;
pub mod driver;
pub mod home;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod session;
pub mod state;
pub mod transfer;
pub mod watch;
