//! Chunks at rest: how one is packed ([`pack`]), where packed chunks are kept ([`store`]), how many of them travel in one body
//! ([`batch`]) or lie in one object ([`bundle`]), and the signed tickets with which devices move them ([`ticket`]).
//! [`original`] has the names that the original gave its chunks.
//!
//! Knows nothing of items, versions or users, and speaks no HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod batch;
pub mod bundle;
pub mod crash;
pub mod gc;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
pub mod original;
pub mod pack;
pub mod store;
pub mod ticket;
