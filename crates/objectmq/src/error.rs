//! What can go wrong, and what whoever is told can do about it.

use std::time::Duration;

/// An error that a remote object answers with. `kind` is its class name on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct RemoteError {
    /// Class name, for example `com.stacksync.commons.exceptions.UserNotFoundException`.
    pub kind: String,
    /// One sentence for the caller; may be empty.
    pub message: String,
}

/// Kind of the errors that the middleware itself answers with: no such method, an undecodable request, a failure of the object.
pub const REMOTE_EXCEPTION: &str = "omq.exception.RemoteException";
/// Kind of the error for a request that could not be decoded.
pub const SERIALIZER_EXCEPTION: &str = "omq.exception.SerializerException";

impl RemoteError {
    /// An error of the given class.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> RemoteError {
        RemoteError { kind: kind.into(), message: message.into() }
    }

    /// The object has no such method.
    pub fn unknown_method(method: &str) -> RemoteError {
        RemoteError::new(REMOTE_EXCEPTION, format!("There is no method {method:?}"))
    }

    /// The parameters are not what the method takes.
    pub fn bad_params(method: &str, why: impl std::fmt::Display) -> RemoteError {
        RemoteError::new(SERIALIZER_EXCEPTION, shortened(format!("Bad parameters for {method:?}: {why}")))
    }

    /// The object failed for a reason of its own; `message` must not tell internals.
    pub fn failed(message: impl Into<String>) -> RemoteError {
        RemoteError::new(REMOTE_EXCEPTION, message)
    }
}

/// Longest text about input that is sent back, in bytes: such a text may quote the input.
const QUOTE_BYTES_MAX: usize = 400;

/// Cuts what may quote input of any length.
pub(crate) fn shortened(mut text: String) -> String {
    if text.len() > QUOTE_BYTES_MAX {
        let end = (0..=QUOTE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Why a transport did not take, or could not deliver, a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection at the moment. The message was not delivered, or nobody knows whether it was.
    #[error("not connected: {0}")]
    Disconnected(String),
    /// The transport was closed; it will not come back.
    #[error("the transport is closed")]
    Closed,
    /// Nobody is bound to the reference.
    #[error("nobody is bound to {0:?}")]
    NotBound(String),
    /// The gate does not let this caller do this.
    #[error("refused: {0}")]
    Refused(String),
    /// A queue or a limit of calls in flight is full: try again later.
    #[error("busy: {0}")]
    Busy(String),
    /// The message is longer than what the transport carries.
    #[error("the message has {bytes} bytes, more than the {limit} that are carried")]
    TooLarge {
        /// Length of the message, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The other side could not read what was sent.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Why a reference could not be bound or listened to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// This broker already binds or listens to the reference.
    #[error("{0:?} is already bound")]
    AlreadyBound(String),
    /// Empty, or longer than [`REFERENCE_BYTES_MAX`](crate::transport::REFERENCE_BYTES_MAX) bytes.
    #[error("{0:?} cannot be a reference")]
    BadReference(String),
    /// The transport refused or failed.
    #[error("cannot bind {reference:?}: {source}")]
    Transport {
        /// The reference.
        reference: String,
        /// What the transport said.
        source: SendError,
    },
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// No answer in time, in any try. Whether the call was executed is not known.
    #[error("no answer to {method:?} in {tries} tries of {timeout:?}")]
    Timeout {
        /// The method.
        method: String,
        /// Tries in total.
        tries: u32,
        /// Time per try.
        timeout: Duration,
    },
    /// The connection is gone. Whether the call was executed is not known.
    #[error("not connected: {0}")]
    Disconnected(String),
    /// The broker was closed.
    #[error("the broker is closed")]
    Closed,
    /// The object answered with an error.
    #[error(transparent)]
    Remote(RemoteError),
    /// Nobody is bound to the reference.
    #[error("nobody is bound to {0:?}")]
    NotBound(String),
    /// This caller may not do this.
    #[error("refused: {0}")]
    Refused(String),
    /// Too much is under way: try again later.
    #[error("busy: {0}")]
    Busy(String),
    /// The encoded call is too long.
    #[error("the call has {bytes} bytes, more than the {limit} that are carried")]
    TooLarge {
        /// Length of the encoded call, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The parameter could not be encoded, or the answer is not what was expected.
    #[error("malformed: {0}")]
    Malformed(String),
}

impl CallError {
    /// Whether the same call may well succeed later, unchanged.
    pub fn is_transient(&self) -> bool {
        match self {
            CallError::Timeout { .. } | CallError::Disconnected(_) | CallError::Busy(_) | CallError::NotBound(_) => true,
            CallError::Closed
            | CallError::Remote(_)
            | CallError::Refused(_)
            | CallError::TooLarge { .. }
            | CallError::Malformed(_) => false,
        }
    }
}

impl From<SendError> for CallError {
    fn from(error: SendError) -> CallError {
        match error {
            SendError::Disconnected(why) => CallError::Disconnected(why),
            SendError::Closed => CallError::Closed,
            SendError::NotBound(reference) => CallError::NotBound(reference),
            SendError::Refused(why) => CallError::Refused(why),
            SendError::Busy(what) => CallError::Busy(what),
            SendError::TooLarge { bytes, limit } => CallError::TooLarge { bytes, limit },
            SendError::Malformed(why) => CallError::Malformed(why),
        }
    }
}
