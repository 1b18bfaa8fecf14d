//! `GET /v1/objectmq`: the WebSocket of ObjectMQ. Who connects is known before the upgrade, by the token in the request's head.

use super::{Door, Problem, failed};
use crate::accounts::secret::Token;
use crate::db::{Access, DeviceSeen};
use crate::service::{Principal, SessionGate};
use ::objectmq::websocket::{CloseReason, Frame, READ_BUFFER_BYTES, SocketError};
use axum::extract::ws::{self, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::{Sink, Stream, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

pub async fn connect(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = authenticate(&door, &parts.headers, peer).await?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &door).await.map_err(|rejection| {
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgradeRequired", format!("This address is a WebSocket: {rejection}."))
    })?;
    let frame_max = door.sessions.frame_bytes_max();
    let upgrade = upgrade.read_buffer_size(READ_BUFFER_BYTES).max_message_size(frame_max).max_frame_size(frame_max);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _presence = door.connected.enter(caller.device);
        tracing::info!(device = %caller.device, user = %caller.user, %peer, "a device connected");
        let gate = Arc::new(SessionGate::new(Arc::clone(&door.service), caller));
        let end = door.sessions.serve(AxumSocket(socket), gate).await;
        tracing::info!(device = %caller.device, user = %caller.user, %peer, %end, "a device left");
    }))
}

async fn authenticate(door: &Door, headers: &HeaderMap, peer: SocketAddr) -> Result<Principal, Problem> {
    let metrics = &door.service.metrics;
    let refused = |text: &'static str| {
        metrics.sessions_refused.one();
        tracing::warn!(%peer, reason = text, "a connection was refused");
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", text)
    };
    let unknown = || refused("The token is not known, or its device was revoked. Join again.");
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(|| refused("A device's token is needed."))?;
    let token = Token::parse(token).ok_or_else(unknown)?;
    let db = &door.service.db;
    let found = db.device_by_token(token.hash()).await.map_err(|error| failed(metrics, "looking a token up", &error))?;
    let (user, device) = found.ok_or_else(unknown)?;
    if user.access == Access::Disabled {
        return Err(refused("The user is disabled."));
    }
    let seen = DeviceSeen { ip: Some(peer.ip().to_string()), ..DeviceSeen::default() };
    db.touch_device(device.id, seen).await.map_err(|error| failed(metrics, "noting that a device was seen", &error))?;
    Ok(Principal { user: user.id, device: device.id })
}

/// The socket of the HTTP library, as ObjectMQ sees one.
struct AxumSocket(WebSocket);

impl Stream for AxumSocket {
    type Item = Result<Frame, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(Pin::new(&mut self.0).poll_next(task)).map(|frame| match frame {
            Ok(Message::Text(text)) => Ok(Frame::Text(text.into())),
            Ok(Message::Binary(bytes)) => Ok(Frame::Binary(bytes)),
            Ok(Message::Ping(bytes)) => Ok(Frame::Ping(bytes)),
            Ok(Message::Pong(bytes)) => Ok(Frame::Pong(bytes)),
            Ok(Message::Close(reason)) => {
                let reason = reason.map(|reason| CloseReason { code: reason.code, text: reason.reason.as_str().to_owned() });
                Ok(Frame::Close(reason))
            }
            Err(error) => Err(failure(error)),
        });
        Poll::Ready(frame)
    }
}

impl Sink<Frame> for AxumSocket {
    type Error = SocketError;

    fn poll_ready(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.0).poll_ready(task).map_err(failure)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), SocketError> {
        let message = match frame {
            Frame::Text(text) => Message::Text(Utf8Bytes::try_from(text).map_err(|error| SocketError::Broken(error.to_string()))?),
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping(bytes) => Message::Ping(bytes),
            Frame::Pong(bytes) => Message::Pong(bytes),
            Frame::Close(reason) => {
                Message::Close(reason.map(|reason| ws::CloseFrame { code: reason.code, reason: reason.text.into() }))
            }
        };
        Pin::new(&mut self.0).start_send(message).map_err(failure)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.0).poll_flush(task).map_err(failure)
    }

    fn poll_close(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.0).poll_close(task).map_err(failure)
    }
}

fn failure(error: axum::Error) -> SocketError {
    // The library does not say in a type that a frame was too long.
    let text = error.to_string();
    if text.contains("too long") || text.contains("too large") { SocketError::TooLarge } else { SocketError::Broken(text) }
}
