//! The operator's own storages as places for chunks: S3, OpenStack Swift, FTP, SFTP.
//!
//! Each is a [`Backend`]: a dozen verbs on packed chunks, speaking its own protocol. [`RemoteStore`] makes a chunk storage of any of
//! them: it proves what it stores, tries again, and keeps the number of requests in flight bounded. Knows nothing of items, users
//! or versions; the service decides who may do what before it asks here. Never logs a key, a token or a signed address.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod backend;
pub mod bundled;
pub mod check;

mod clock;
mod digest;
mod fanned;
pub mod ftp;
mod http;
mod remote;
pub mod s3;
pub mod sftp;
pub mod swift;

pub use backend::{Backend, Trouble};
pub use bundled::BundledStore;
pub use http::HttpSetup;
pub use remote::RemoteStore;
