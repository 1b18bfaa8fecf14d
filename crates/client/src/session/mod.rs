//! This device and its service: how they find and trust each other, and what they say.
//!
//! Everything that speaks to the service goes through here; what comes in is checked and turned into core's values before anyone sees it.

mod address;
mod connect;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
mod http;
mod join;
mod link;
mod notices;
mod service;
mod tls;

pub use address::{Address, AddressError, Fingerprint, JoinCode, JoinCodeError};
pub use connect::{ConnectError, Connection, Connector};
pub use http::HttpError;
pub use join::{JoinError, Joined, join};
pub use link::{Link, refusal_text};
pub use notices::{News, follow_user, follow_workspace};
pub use service::{Service, WorkspaceInfo};
pub use tls::TlsError;
