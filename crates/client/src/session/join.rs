//! Becoming a device of an account: a one-time code for a token.

use super::address::JoinCode;
use super::connect::Connector;
use super::http::{self, HttpError};
use crate::home::Token;
use hyper::StatusCode;
use stacksync_protocol::PROTOCOL_VERSION;
use stacksync_protocol::join::{HttpProblem, JOIN_PATH, JoinAnswer, JoinRequest};
use uuid::Uuid;

/// What the service said of the new device.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The account.
    pub user_id: Uuid,
    /// Its name.
    pub user_name: String,
    /// The device.
    pub device_id: Uuid,
    /// Its secret.
    pub token: Token,
}

/// Why the device has not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The service was not reached.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It does not take the code.
    #[error("the service does not accept this join code: {0}")]
    Code(String),
    /// It said something else.
    #[error("the service refused: {0}")]
    Refused(String),
    /// It is not a StackSync service, or one of another time.
    #[error("{0}")]
    Incompatible(String),
}

/// Uses the code up and brings the device's token back. Worth no second try once the service has answered.
///
/// # Errors
/// Why not.
pub async fn join(connector: &Connector, code: &JoinCode, device_name: &str) -> Result<Joined, JoinError> {
    let request = JoinRequest {
        code: code.code.clone(),
        device_name: device_name.to_owned(),
        os: std::env::consts::OS.to_owned(),
        app_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let json = serde_json::to_vec(&request).map_err(|error| JoinError::Incompatible(error.to_string()))?;
    let answer = http::post_json(connector, JOIN_PATH, json).await?;
    if answer.status != StatusCode::OK {
        return Err(refusal(answer.status, &answer.body));
    }
    let answer: JoinAnswer = serde_json::from_slice(&answer.body)
        .map_err(|_| JoinError::Incompatible(format!("{} is not a StackSync service", connector.address())))?;
    if answer.protocol_version != PROTOCOL_VERSION {
        let service = answer.protocol_version;
        let text = format!("the service speaks protocol version {service}, this program version {PROTOCOL_VERSION}");
        return Err(JoinError::Incompatible(text));
    }
    Ok(Joined {
        user_id: answer.user_id,
        user_name: answer.user_name,
        device_id: answer.device_id,
        token: Token::new(answer.token),
    })
}

fn refusal(status: StatusCode, body: &[u8]) -> JoinError {
    let problem = serde_json::from_slice::<HttpProblem>(body).ok();
    let message = problem.map_or_else(|| format!("HTTP {status}"), |problem| problem.message);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => JoinError::Code(message),
        StatusCode::NOT_FOUND => {
            JoinError::Incompatible("there is a web server at this address, but not a StackSync service".into())
        }
        _ => JoinError::Refused(message),
    }
}
