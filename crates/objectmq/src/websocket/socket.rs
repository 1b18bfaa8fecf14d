//! A WebSocket as this crate sees it: a stream and a sink of frames. Any library's socket can be adapted in a few lines.

use bytes::Bytes;
use futures_util::{Sink, Stream};

/// A WebSocket that is already upgraded. It must answer pings by itself, as common libraries do.
pub trait Socket: Stream<Item = Result<Frame, SocketError>> + Sink<Frame, Error = SocketError> + Send + Unpin + 'static {}

impl<S> Socket for S where S: Stream<Item = Result<Frame, SocketError>> + Sink<Frame, Error = SocketError> + Send + Unpin + 'static {}

/// A WebSocket frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// UTF-8 text.
    Text(Bytes),
    /// Not used by the protocol; it is answered with an error.
    Binary(Bytes),
    /// A ping.
    Ping(Bytes),
    /// The answer to a ping.
    Pong(Bytes),
    /// The end.
    Close(Option<CloseReason>),
}

/// Why a WebSocket was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// Close code of RFC 6455.
    pub code: u16,
    /// At most 123 bytes.
    pub text: String,
}

impl CloseReason {
    /// Normal closure.
    pub const NORMAL: u16 = 1000;
    /// The server goes away, or is restarted.
    pub const AWAY: u16 = 1001;
    /// The caller may no longer be here.
    pub const POLICY: u16 = 1008;
    /// A frame was too long.
    pub const TOO_LARGE: u16 = 1009;

    /// A reason; `text` is cut to what fits into a close frame.
    pub fn new(code: u16, text: &str) -> CloseReason {
        const TEXT_BYTES_MAX: usize = 123;
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        CloseReason { code, text: text[..end].to_owned() }
    }
}

/// Why a socket failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// A frame longer than allowed.
    #[error("a frame was too long")]
    TooLarge,
    /// The connection or its framing is lost.
    #[error("{0}")]
    Broken(String),
}
