//! Secrets of accounts: join codes and device tokens (only their hashes are kept), and passwords.

pub mod password;
pub mod secret;
