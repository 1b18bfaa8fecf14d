//! How a device joins: `POST /v1/join` with a one-time code, answered with the device's token.
//!
//! A join code is `CODE` or, when the service made its own certificate, `CODE.FINGERPRINT` with the SHA-256 fingerprint of that
//! certificate in lower-case hexadecimal: the client then trusts this certificate and no other. Only `CODE` is sent.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Path of the request.
pub const JOIN_PATH: &str = "/v1/join";
/// Path of the ObjectMQ WebSocket. The device token goes in `Authorization: Bearer`.
pub const OBJECTMQ_PATH: &str = "/v1/objectmq";

/// Body of the request.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRequest {
    /// The one-time code, without a fingerprint.
    pub code: String,
    /// Name of the device, for people.
    pub device_name: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Version of the program.
    #[serde(default)]
    pub app_version: String,
}

/// Body of the answer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinAnswer {
    /// The account that the device belongs to now.
    pub user_id: Uuid,
    /// Name of the account.
    pub user_name: String,
    /// The device.
    pub device_id: Uuid,
    /// What the device shows from now on; cannot be had again.
    pub token: String,
    /// [`crate::PROTOCOL_VERSION`] of the service.
    pub protocol_version: u32,
}

/// Body of every HTTP error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProblem {
    /// A stable word.
    pub code: String,
    /// One sentence for people.
    pub message: String,
}
