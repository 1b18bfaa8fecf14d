//! One HTTP request on one connection, for what is asked once: joining.

use super::connect::{ConnectError, Connector};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A connection, but no answer that HTTP knows.
    #[error("the service's answer was cut off or is not HTTP: {0}")]
    Broken(String),
    /// None in time, or one that is too long.
    #[error("the service did not answer within {} seconds", ANSWER_MAX.as_secs())]
    TooSlow,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Status.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

/// Posts JSON, brings back what is answered.
///
/// # Errors
/// When there is no answer.
pub async fn post_json(connector: &Connector, path: &str, json: Vec<u8>) -> Result<HttpAnswer, HttpError> {
    let request = Request::post(path)
        .header(header::HOST, connector.address().authority())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(json)))
        .map_err(|error| HttpError::Broken(error.to_string()))?;
    let answer = tokio::time::timeout(ANSWER_MAX, send(connector, request));
    answer.await.unwrap_or(Err(HttpError::TooSlow))
}

async fn send(connector: &Connector, request: Request<Full<Bytes>>) -> Result<HttpAnswer, HttpError> {
    let broken = |error: &dyn std::fmt::Display| HttpError::Broken(error.to_string());
    let connection = TokioIo::new(connector.connect().await?);
    let (mut sender, driver) = hyper::client::conn::http1::handshake(connection).await.map_err(|error| broken(&error))?;
    let driver = tokio::spawn(driver);
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| broken(&error))?;
    driver.abort();
    Ok(HttpAnswer { status, body: body.to_bytes() })
}
