//! `config.json`: who this device is, which service it speaks to and which folder it keeps. Never a secret.

use super::{HomeError, Limits};
use crate::disk::RootIdentity;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use uuid::Uuid;

const FORMAT: u32 = 1;

/// What a device has been told when it joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Version of this file.
    pub format: u32,
    /// Address of the service, `http://...` or `https://...`.
    pub server: String,
    /// SHA-256 of the service's own certificate in lower-case hexadecimal; absent: the platform's authorities decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whether unencrypted connections to another computer were allowed when the device joined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_http: bool,
    /// The account.
    pub user_id: Uuid,
    /// Its name.
    pub user_name: String,
    /// This device.
    pub device_id: Uuid,
    /// Its name, for people.
    pub device_name: String,
    /// The folder that is kept in sync, absolute.
    pub root: PathBuf,
    /// Which folder that was when the device joined.
    pub root_identity: RootIdentity,
    /// How fast bytes may go.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

impl Config {
    /// A configuration of the present format.
    pub const FORMAT: u32 = FORMAT;

    pub(super) fn parse(file: &Path, text: &[u8]) -> Result<Self, HomeError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |error: serde_json::Error| HomeError::Damaged { file: file.to_owned(), problem: error.to_string() };
        // The format first: a newer file need not have the members that this version knows.
        let Format { format } = serde_json::from_slice(text).map_err(damaged)?;
        if format > FORMAT {
            return Err(HomeError::Newer { file: file.to_owned(), found: format, known: FORMAT });
        }
        serde_json::from_slice(text).map_err(damaged)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    #[cfg(test)]
    pub(crate) fn example(root: &Path) -> Self {
        Self {
            format: FORMAT,
            server: "http://127.0.0.1:8181".into(),
            fingerprint: None,
            plain_http: false,
            user_id: Uuid::from_u128(1),
            user_name: "ana".into(),
            device_id: Uuid::from_u128(2),
            device_name: "laptop".into(),
            root: root.to_owned(),
            root_identity: RootIdentity { device: 5, inode: 3, born_ns: 4 },
            limits: Limits::default(),
        }
    }
}
