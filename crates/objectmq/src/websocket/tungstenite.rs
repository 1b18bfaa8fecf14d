//! The socket of `tokio-tungstenite`.

use super::socket::{CloseReason, Frame, SocketError};
use futures_util::{Sink, Stream, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// Good size of the buffer that a WebSocket reads into, in bytes. The library clears all of it before every read, so that its own
/// default of 128 KiB costs more than the read itself.
pub const READ_BUFFER_BYTES: usize = 8 << 10;

/// The configuration of a WebSocket that carries frames of up to `frame_bytes_max` bytes.
pub(super) fn config(frame_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(frame_bytes_max))
        .max_frame_size(Some(frame_bytes_max))
}

/// Adapts a `WebSocketStream`.
pub struct TungsteniteSocket<S>(pub WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for TungsteniteSocket<S> {
    type Item = Result<Frame, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(failure(error)))),
                Some(Ok(Message::Text(text))) => Frame::Text(text.into()),
                Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes),
                Some(Ok(Message::Ping(bytes))) => Frame::Ping(bytes),
                Some(Ok(Message::Pong(bytes))) => Frame::Pong(bytes),
                Some(Ok(Message::Close(reason))) => Frame::Close(
                    reason.map(|reason| CloseReason { code: reason.code.into(), text: reason.reason.as_str().to_owned() }),
                ),
                // Never read, says the library.
                Some(Ok(Message::Frame(_))) => continue,
            };
            return Poll::Ready(Some(Ok(frame)));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Frame> for TungsteniteSocket<S> {
    type Error = SocketError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.0).poll_ready(cx).map_err(failure)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), SocketError> {
        let message = match frame {
            Frame::Text(text) => Message::Text(Utf8Bytes::try_from(text).map_err(|error| SocketError::Broken(error.to_string()))?),
            Frame::Binary(bytes) => Message::Binary(bytes),
            Frame::Ping(bytes) => Message::Ping(bytes),
            Frame::Pong(bytes) => Message::Pong(bytes),
            Frame::Close(reason) => {
                Message::Close(reason.map(|reason| CloseFrame { code: reason.code.into(), reason: reason.text.into() }))
            }
        };
        Pin::new(&mut self.0).start_send(message).map_err(failure)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(failure)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Pin::new(&mut self.0).poll_close(cx).map_err(failure)
    }
}

fn failure(error: Error) -> SocketError {
    match error {
        Error::Capacity(_) => SocketError::TooLarge,
        other => SocketError::Broken(other.to_string()),
    }
}
