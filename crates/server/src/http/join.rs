//! `POST /v1/join`: a one-time code for a device's token.
//!
//! Why a code is not honoured is not told, and attempts are limited per address and in all.

use super::{Door, Problem, failed};
use crate::accounts::secret::{JoinCode, Token};
use crate::db::{NewDevice, RedeemError};
use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use stacksync_protocol::PROTOCOL_VERSION;
use stacksync_protocol::join::{JoinAnswer, JoinRequest};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Longest text that a device says about itself, in bytes.
const TEXT_BYTES_MAX: usize = 255;

pub async fn join(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<JoinAnswer>, Problem> {
    let body = door.uploads.receive(&headers, body, BODY_BYTES_MAX, BODY_BYTES_MAX).await?.rest().await?;
    let request: JoinRequest =
        serde_json::from_slice(&body).map_err(|error| Problem::bad_request(format!("The body is not a join request: {error}.")))?;
    if [&request.device_name, &request.os, &request.app_version].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Problem::bad_request(format!("The device's name, system or version has more than {TEXT_BYTES_MAX} bytes.")));
    }
    let attempts = || door.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    let metrics = &door.service.metrics;
    attempts().begin(peer.ip(), Instant::now()).map_err(|too_many| {
        metrics.join_refused.one();
        let text = "Too many join codes were wrong. Wait a moment and try again.";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "tooManyAttempts", text).retry_after(too_many.retry_after)
    })?;
    let answer = redeem(&door, &request, peer).await;
    match &answer {
        Ok(joined) => {
            attempts().succeeded(peer.ip());
            metrics.joined.one();
            tracing::info!(user = %joined.user_id, device = %joined.device_id, %peer, "a device joined");
        }
        Err(problem) => {
            metrics.join_refused.one();
            tracing::warn!(code = problem.code(), %peer, "a join was refused");
        }
    }
    answer.map(Json)
}

async fn redeem(door: &Door, request: &JoinRequest, peer: SocketAddr) -> Result<JoinAnswer, Problem> {
    let refused = || {
        let text = "The join code is wrong, expired or was used before. Ask for another (stacksync-server device invite NAME).";
        Problem::new(StatusCode::FORBIDDEN, "badJoinCode", text)
    };
    let code = JoinCode::parse(&request.code).ok_or_else(refused)?;
    let token = Token::random().map_err(|error| failed(&door.service.metrics, "making a token", &error))?;
    let device = NewDevice {
        name: request.device_name.clone(),
        os: request.os.clone(),
        app_version: request.app_version.clone(),
        ip: peer.ip().to_string(),
    };
    match door.service.db.redeem_join_code(code.hash(), device, token.hash()).await {
        Ok((user, device)) => Ok(JoinAnswer {
            user_id: user.id.0,
            user_name: user.name,
            device_id: device.id.0,
            token: token.reveal(),
            protocol_version: PROTOCOL_VERSION,
        }),
        Err(RedeemError::Unknown | RedeemError::Expired | RedeemError::Disabled) => Err(refused()),
        Err(RedeemError::Db(error)) => Err(failed(&door.service.metrics, "joining", &error)),
    }
}
